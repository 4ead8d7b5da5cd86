"""An error says one thing, however it is shown."""

import pickle

import pytest

from registry_audit.errors import AuditError, Refused, Transient, UsageError


@pytest.mark.parametrize("error", [UsageError("refused"), Transient("refused"), Refused("refused", 1.5)])
def test_a_message_that_was_completed_is_what_the_error_says(error: AuditError) -> None:
    error.message = f"the source: {error.message}"
    for each in (error, pickle.loads(pickle.dumps(error))):
        assert (str(each), each.message) == ("the source: refused",) * 2
