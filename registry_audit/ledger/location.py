"""Where a user's own ledger lies."""

from registry_audit.home import home_directory


def default_ledger_url() -> str:
    return f"sqlite:///{home_directory() / 'ledger.db'}"
