"""Where the Prefect server is and how to sign in: the environment, then the active profile, as Prefect's own client."""

import os
import tomllib
from pathlib import Path
from typing import Any

from registry_audit.errors import UsageError
from registry_audit.printable import printable

_NAMES = (
    "PREFECT_API_URL",
    "PREFECT_API_KEY",
    "PREFECT_API_AUTH_STRING",
    "PREFECT_API_SSL_CERT_FILE",
    "PREFECT_UI_URL",
)


def prefect_settings() -> dict[str, str]:
    """Those of `_NAMES` that are set.

    Raises:
        UsageError: the profiles cannot be read, or the one asked for is not there.
    """
    profile = _active_profile()
    found = {name: os.environ.get(name) or profile.get(name) for name in _NAMES}
    return {name: str(value) for name, value in found.items() if value}


def _active_profile() -> dict[str, Any]:
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    file = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml").expanduser()
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"the Prefect profiles in {file} cannot be read: {type(error).__name__}") from error
    profiles = content.get("profiles", {})
    asked_for = os.environ.get("PREFECT_PROFILE")
    if asked_for and asked_for not in profiles:
        raise UsageError(f"PREFECT_PROFILE is {printable(asked_for)}, and {file} has no such profile")
    profile = profiles.get(asked_for or content.get("active"), {})
    return profile if isinstance(profile, dict) else {}
