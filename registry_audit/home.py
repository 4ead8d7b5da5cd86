"""Says where this program keeps its own files on a machine."""

import os
from pathlib import Path

NO_LEDGER = "none"  # instead of a URL
_LEDGER_VARIABLE = "REGISTRY_AUDIT_LEDGER"


def home_directory() -> Path:
    """Return `REGISTRY_AUDIT_HOME`, or the platform's user data directory if it is not set."""
    chosen = os.environ.get("REGISTRY_AUDIT_HOME")
    if chosen:
        return Path(chosen)
    from platformdirs import user_data_path

    return user_data_path("registry-audit")


def default_ledger_url() -> str:
    """Return the URL of the user's own ledger."""
    return f"sqlite:///{home_directory() / 'ledger.db'}"


def is_from_environment(ledger_url: str | None) -> bool:
    """Say whether `REGISTRY_AUDIT_LEDGER` names this ledger, for every command that is run in the environment."""
    return ledger_url is not None and ledger_url == os.environ.get(_LEDGER_VARIABLE)


def usual_ledger_url() -> str | None:
    """Return the ledger to use if none is named: `REGISTRY_AUDIT_LEDGER`, or else the user's own ledger.

    Returns:
        A URL, or None if the variable says `none`.
    """
    given = os.environ.get(_LEDGER_VARIABLE)
    if given == NO_LEDGER:
        return None
    return given or default_ledger_url()
