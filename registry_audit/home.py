"""Where this program keeps what is its own on a machine."""

import os
from pathlib import Path


def home_directory() -> Path:
    """`REGISTRY_AUDIT_HOME`, else the user's data directory as the platform has it."""
    chosen = os.environ.get("REGISTRY_AUDIT_HOME")
    if chosen:
        return Path(chosen)
    from platformdirs import user_data_path

    return user_data_path("registry-audit")
