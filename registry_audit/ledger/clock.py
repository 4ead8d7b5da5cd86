"""Clocks that disagree with the ledger, whose entries never go back in time: a clock that was ahead leaves its date."""

from datetime import UTC, datetime, timedelta

from registry_audit.ledger.chain import TIME_FORMAT, Entry

_TOLERATED = timedelta(minutes=5)


def clock_note(head: Entry | None) -> str | None:
    """What a reader must know where the newest entry is dated later than this machine's clock; None where it is not."""
    now = datetime.now(UTC)
    if head is None or head.at <= (now + _TOLERATED).strftime(TIME_FORMAT):
        return None
    return (
        f"a clock has jumped: the ledger's newest entry is dated {head.at}, and it is {now.strftime(TIME_FORMAT)} on "
        "this machine. Entries from now on carry the later date; --quick trusts no reading that is dated in the future"
    )
