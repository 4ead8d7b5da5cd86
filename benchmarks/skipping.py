"""Lets a contestant report that it cannot be measured here, with a special exit status and one line with the reason."""

from typing import NoReturn

SKIPPED = 77  # the convention of GNU test programs


def skip(reason: str) -> NoReturn:
    print(reason)
    raise SystemExit(SKIPPED)
