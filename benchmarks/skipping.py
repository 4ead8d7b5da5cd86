"""How a contestant says that it cannot be measured here: an exit status of its own, and one line that says why."""

from typing import NoReturn

SKIPPED = 77  # as test programs of the GNU tools say it


def skip(reason: str) -> NoReturn:
    print(reason)
    raise SystemExit(SKIPPED)
