"""Another try for what may pass by itself, a bounded number of times, with growing and jittered pauses.

MLflow's client retries connections, 429 and 5xx by itself; an answer that breaks off, or is not what was asked for,
it does not. A difference between models is never retried: it is no error.
"""

from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from registry_audit import deadline
from registry_audit.errors import Transient

_R = TypeVar("_R")

ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.3


def patiently(call: Callable[[], _R], *, on: type[Transient] = Transient) -> _R:
    """What `call` returns; raises what its last try raised, or OutOfTime where there is no time for another.

    Args:
        on: the only error that is worth another try.
    """
    deadline.check()
    try:
        return call()  # nearly always; with small models tenacity's own accounts can be seen in the audit's time
    except on as error:
        failed = [error]

    def again() -> _R:
        if failed:
            raise failed.pop()  # the first try, told to tenacity
        deadline.check()
        return call()

    retrying = Retrying(
        retry=retry_if_exception_type(on),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential_jitter(multiplier=FIRST_PAUSE_SECONDS, max=5, jitter=FIRST_PAUSE_SECONDS),
        reraise=True,
    )
    return retrying(again)
