"""Defines our own contestants: the command line and the Prefect flow."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.contestants import AUDIT, ONE_AUDIT, Contestant, Done, audited, listed
from benchmarks.place import Place

REPORT = "report"
INCOMPLETE = 3
_MOST_MLMODEL_BYTES = 2_048  # a quick audit reads the root MLmodel of each model again


def audit_contestants(place: Place, one: Place, workers: int | None) -> list[Contestant]:
    """Return our contestants for a registry.

    Args:
        one: a registry of one small version in the same kind of store, which measures the start-up of every audit
            there.
    """
    threads = ("--workers", str(workers)) if workers else ()
    own = f"sqlite:///ledger-{place.shape.name}-{place.store}.db"
    accepted = _command(place, "--ledger", own, "--accept-new", *threads)
    quick = _listed(place, "audit-quick", "a second audit, --quick", "--quick", ("--ledger", own, *threads), accepted)
    return [
        _whole(one, ONE_AUDIT, "registry-audit audit, one version", None, threads),
        _whole(place, AUDIT, "registry-audit audit", ONE_AUDIT, threads),
        _whole(place, "audit-no-ledger", "the same without a ledger", ONE_AUDIT, ("--ledger", "none", *threads)),
        _whole(place, "audit-blake3", "the same with --digest blake3", ONE_AUDIT, ("--digest", "blake3", *threads)),
        # Listings of a proxy have neither times nor ETags, so --quick reads everything again there.
        *([] if place.store == "proxy" else [quick]),
        _listed(place, "audit-liveness", "registry-audit audit --liveness", "--liveness", threads, None),
        _flow(one, "flow-start", "flow audit-registry, one version", None, threads),
        _flow(place, "flow", "flow audit-registry", "flow-start", threads),
    ]


def _command(place: Place, *options: str) -> tuple[str, ...]:
    return ("registry-audit", "audit", "--tracking-uri", place.tracking_uri, "--report-dir", REPORT, *options)


def _whole(place: Place, key: str, label: str, start: str | None, options: tuple[str, ...]) -> Contestant:
    return Contestant(key, label, _command(place, *options), _read_whole(place), start)


def _listed(
    place: Place, key: str, label: str, option: str, options: tuple[str, ...], prepare: tuple[str, ...] | None
) -> Contestant:
    most = place.shape.directories * len(place.trees) * _MOST_MLMODEL_BYTES if option == "--quick" else 0

    def check(output: str, cwd: Path) -> Done:
        return listed(cwd / REPORT, place.shape.versions, most)

    # An audit that only lists never ends as clean.
    status = INCOMPLETE if option == "--liveness" else 0
    command = _command(place, option, *options)
    return Contestant(key, label, command, check, ONE_AUDIT, prepare, needs_option=option, exit_status=status)


def _flow(place: Place, key: str, label: str, start: str | None, options: tuple[str, ...]) -> Contestant:
    command = ("python", "-m", "flows.audit_registry", *_command(place, *options)[2:])
    return Contestant(key, label, command, _read_whole(place), start, flow=True)


def _read_whole(place: Place) -> Callable[[str, Path], Done]:
    def check(output: str, cwd: Path) -> Done:
        # For the registry that measures start-up, the number of bytes is not known here.
        return audited(cwd / REPORT, place.shape.versions, place.verdict, place.stored_bytes or None)

    return check
