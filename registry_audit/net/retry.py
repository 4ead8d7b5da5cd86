"""Decides whether a request is tried again, when, and how often. No other module repeats a request by itself.

A request is tried 1 + MLFLOW_HTTP_REQUEST_MAX_RETRIES times (4 by default), with pauses that grow from 0.3 to 5 seconds
and jitter. After a 429 or 503 with Retry-After the request is repeated when the server says, at most 8 times and after
at most 300 seconds each. A difference between models is never retried: it is no error.
"""

import os
import random
import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception

from registry_audit.errors import Refused, Transient
from registry_audit.net import deadline

_R = TypeVar("_R")

FIRST_PAUSE_SECONDS = 0.3
_MOST_SECONDS = 5.0
_RETRIES = 3
_ADVISED_TRIES = 8  # if the server names a time to come back
_ADVISED_RETRIES_AT_MOST = 100
_MAX_RETRIES_VARIABLE = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
_jitter = random.Random()  # noqa: S311 - not the module's own generator, which a program may have seeded


def retried(call: Callable[[], _R], *, pause: Callable[[float], None] = time.sleep) -> _R:
    """Call `call`, again if it fails with a retryable error, and return its result.

    Only a `Transient` is retried. An error whose attempts are used up in an inner call is not retried by an outer one.

    Args:
        pause: waits so many seconds; it may raise `Stopped` instead.

    Raises:
        OutOfTime: the deadline leaves no time for another try.
        Exception: whatever the last try raised.
    """
    deadline.check()
    try:
        return call()  # the usual case; with small models tenacity's overhead can be seen in the audit's time
    except Transient as error:
        if error.given_up:
            raise
        failed = [error]

    def again() -> _R:
        if failed:
            raise failed.pop()  # reports the first failure to tenacity
        deadline.check()
        return call()

    retrying = Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, Transient) and not error.given_up),
        stop=_often_enough,
        wait=_pause_seconds,
        sleep=pause,
        reraise=True,
    )
    try:
        return retrying(again)
    except Transient as error:
        error.given_up = True
        raise


def tries() -> int:
    """Return how often a request is tried if the server names no time to come back."""
    text = os.environ.get(_MAX_RETRIES_VARIABLE, "")
    if not (text.isascii() and text.isdecimal()):
        return 1 + _RETRIES
    return 1 + int(min(float(text), _ADVISED_RETRIES_AT_MOST))  # `int` refuses a text of thousands of digits


def _often_enough(state: RetryCallState) -> bool:
    return state.attempt_number >= (max(tries(), _ADVISED_TRIES) if _is_advised(state) else tries())


def _pause_seconds(state: RetryCallState) -> float:
    """Return the pause before the next try; 0 if the server named a time, because its `Throttle` waits until then."""
    if _is_advised(state):
        return 0.0
    grown: float = min(FIRST_PAUSE_SECONDS * 2 ** (state.attempt_number - 1), _MOST_SECONDS)
    return grown + _jitter.uniform(0, FIRST_PAUSE_SECONDS)  # so that the requests do not all return at once


def _is_advised(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    return isinstance(error, Refused) and error.retry_after is not None
