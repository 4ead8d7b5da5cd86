"""A time-stamp's authority counts as it was when it made the stamp.

The stamps are OpenSSL's, of certificates whose keys are thrown away.
"""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from registry_audit.evidence.stamp import StampDoesNotHold, must_be_signed_by, time_of

_STAMPS = Path(__file__).parents[2] / "golden" / "stamps"
_STATEMENT = (_STAMPS / "statement.txt").read_bytes()


def _stamp(name: str) -> bytes:
    return (_STAMPS / f"{name}.tsr").read_bytes()


def test_an_authority_that_has_expired_since_holds_and_is_named() -> None:
    stamp = _stamp("expired-since")
    valid_until = must_be_signed_by(stamp, _STATEMENT, _STAMPS / "tsa-ca.pem")
    assert time_of(stamp, _STATEMENT) < valid_until < datetime.now(UTC)


@pytest.mark.parametrize(("name", "said"), [("expired-before", "expired on"), ("not-yet", "was not valid before")])
def test_an_authority_that_was_not_valid_when_it_stamped_proves_nothing(name: str, said: str) -> None:
    with pytest.raises(StampDoesNotHold, match=rf"does not prove its time, 2026-11-28: .* {said} 202"):
        must_be_signed_by(_stamp(name), _STATEMENT, _STAMPS / "tsa-ca.pem")


def test_certificates_that_are_there_twice_are_there_once(tmp_path: Path) -> None:
    """As in a file that was put together of an authority's chain and its root."""
    twice = tmp_path / "twice.pem"
    twice.write_bytes((_STAMPS / "tsa-ca.pem").read_bytes() * 2)
    assert must_be_signed_by(_stamp("expired-since"), _STATEMENT, twice)
