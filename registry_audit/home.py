"""Where this program keeps what is its own on a machine."""

import os
from pathlib import Path

NO_LEDGER = "none"  # instead of a URL
_LEDGER_VARIABLE = "REGISTRY_AUDIT_LEDGER"


def home_directory() -> Path:
    """`REGISTRY_AUDIT_HOME`, else the user's data directory as the platform has it."""
    chosen = os.environ.get("REGISTRY_AUDIT_HOME")
    if chosen:
        return Path(chosen)
    from platformdirs import user_data_path

    return user_data_path("registry-audit")


def default_ledger_url() -> str:
    """The user's own ledger."""
    return f"sqlite:///{home_directory() / 'ledger.db'}"


def is_from_environment(ledger_url: str | None) -> bool:
    """Whether the environment names this ledger, for every command that is run in it."""
    return ledger_url is not None and ledger_url == os.environ.get(_LEDGER_VARIABLE)


def usual_ledger_url() -> str | None:
    """The ledger to use where none is named: what `REGISTRY_AUDIT_LEDGER` says, else the user's own.

    Returns:
        None where the variable says `none`.
    """
    given = os.environ.get(_LEDGER_VARIABLE)
    if given == NO_LEDGER:
        return None
    return given or default_ledger_url()
