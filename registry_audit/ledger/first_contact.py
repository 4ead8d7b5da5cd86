"""What shows which registry is at an address that the ledger does not know: all of its versions, and no selection.

A copy of a database that went its own way still holds many versions of the original. Whoever sees only those would
take one for the other.
"""

from collections.abc import Sequence

from registry_audit.audit.session import Session
from registry_audit.audit.time_limits import in_time
from registry_audit.errors import CouldNotVerify
from registry_audit.ledger.identity import must_be_recognised
from registry_audit.ledger.store import Ledger
from registry_audit.printable import printable
from registry_audit.registry.version import RegisteredVersion
from registry_audit.registry.versions import list_versions


def versions_to_recognise(
    ledger: Ledger, session: Session, registry_name: str | None, seen: Sequence[RegisteredVersion]
) -> Sequence[RegisteredVersion]:
    """All versions of the registry where only they tell which one it is; else those that were seen anyway.

    It is one listing, of no bytes, and only the first time that an address is met.

    Raises:
        CouldNotVerify: the registry cannot be listed whole; `--registry-name` can say which one it is.
    """
    connection, limits = session.connection, session.limits
    with ledger.reading() as reader:
        if not must_be_recognised(reader, connection.identity, registry_name):
            return seen
    until = session.listing_deadline()
    try:
        listing = in_time(session, lambda: list_versions(connection, max_versions=limits.max_versions), deadline=until)
    except CouldNotVerify as error:
        raise _unrecognised(connection.identity, error.message) from error
    if not listing.whole:
        raise _unrecognised(connection.identity, "; ".join(listing.notes))
    return listing.versions


def _unrecognised(identity: str, why: str) -> CouldNotVerify:
    return CouldNotVerify(
        f"the ledger does not know {printable(identity)}, and whether it is one of its registries under another "
        f"address only a listing of all its versions can tell: {why}. Say which registry it is with --registry-name"
    )
