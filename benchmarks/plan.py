"""Estimates the cost of an audit of a very large registry from the measured unit costs.

    python -m benchmarks.plan [--update docs/scale.md] [--versions N] [--bytes N] ...

It draws a line through two measurements: the cost of a version with tiny files, and the cost of a byte in large files.
Nothing is measured here; if a result is missing, the table says so.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestants import AUDIT, ONE_AUDIT
from benchmarks.generate import STORES, Store
from benchmarks.results import Result, load, row_of
from benchmarks.targets import walls

_RESULTS = Path(__file__).resolve().parent / "results"
_BEGIN, _END = "<!-- Made by `python -m benchmarks.plan`; do not edit. -->", "<!-- End of what is made. -->"
_LIST_PAGE = 1_000  # keys per page in S3


@dataclass(frozen=True, slots=True)
class Estate:
    versions: int
    bytes: int
    files: int  # per version, all its copies together
    copies: int
    latency_seconds: float  # from a request to the first byte of the response
    network_bytes: float  # per second and worker
    in_flight: int  # requests per worker
    changed: float  # share of the versions that change between two audits
    parts: int  # the t of --subset n/t
    window_hours: float  # time in which an audit has to finish


@dataclass(frozen=True, slots=True)
class Units:
    """Holds unit costs of one worker on the machine of the results; None if they were not measured."""

    version_seconds: float | None
    byte_seconds: float | None
    quick_seconds: float | None  # per version
    registry_requests: float | None  # per version


@dataclass(frozen=True, slots=True)
class Cost:
    option: str
    requests: float | None
    bytes: float
    seconds: float | None  # for one worker
    limit: str  # what this option cannot detect


def units(results: dict[str, Result], where: Store) -> Units:
    small, large = results.get(f"small-{where}"), results.get(f"large-{where}")
    listed = results.get("small-proxy")
    row = row_of(listed, AUDIT) if listed else None
    bytes_stored = large["stored_bytes"] if large else 0
    net = _net(large, AUDIT)
    return Units(
        version_seconds=_a_version(small, AUDIT),
        byte_seconds=None if net is None else net / bytes_stored,
        quick_seconds=_a_version(small, "audit-quick"),
        registry_requests=row["requests"]["registry"] / listed["shape"]["versions"] if row and listed else None,
    )


def costs(estate: Estate, results: dict[str, Result], where: Store) -> list[Cost]:
    unit = units(results, where)
    files, versions = estate.files * estate.versions, estate.versions
    gets = 0 if where == "local" else files  # opening a local file is no request
    listing = _listing_requests(estate, where)
    registry = _times(unit.registry_requests, versions)
    listings = _added(registry, listing)

    def whole(option: str, share: float, limit: str) -> Cost:
        requests = _added(registry and registry * share, (listing + gets) * share)
        seconds = _slower(estate, requests, _times(unit.version_seconds, versions * share))
        return Cost(option, requests, estate.bytes * share, _read(estate, unit, seconds, estate.bytes * share), limit)

    found = [
        whole("everything, every byte", 1, "nothing: every stored byte was read"),
        whole(f"`--subset n/{estate.parts}`", 1 / estate.parts, f"a change for up to {estate.parts} runs"),
    ]
    if where != "proxy":
        reread = estate.bytes * estate.changed
        requests = _added(listings, (gets and versions * estate.copies) + gets * estate.changed)
        seconds = _slower(estate, requests, _times(unit.quick_seconds, versions))
        limit = "an overwrite that keeps size and time, or ETag; bytes that decay without being written"
        found.append(
            Cost(
                f"`--quick`, {estate.changed:.0%} changed",
                requests,
                reread,
                _read(estate, unit, seconds, reread),
                limit,
            )
        )
    if where == "s3":
        asked = _added(listings, files)
        found.append(
            Cost(
                "the provider's checksums",
                asked,
                0,
                _slower(estate, asked, _times(unit.version_seconds, versions)),
                "whether the provider still has the bytes: its digest is of the upload, and for uploads in parts "
                "of the parts",
            )
        )
    found.append(
        Cost(
            "`--liveness`",
            listings,
            0,
            _slower(estate, listings, _liveness(results, versions)),
            "any change of content",
        )
    )
    return found


def table(estate: Estate, results: dict[str, Result]) -> str:
    words = (
        f"{estate.versions:,} versions, {_bytes(estate.bytes)}, {estate.files} files a version"
        f" in {estate.copies} cop{'y' if estate.copies == 1 else 'ies'};"
        f" {estate.latency_seconds * 1_000:g} ms to a first byte,"
        f" {estate.in_flight} requests in flight and {estate.network_bytes * 8 / 1e9:g} Gbit/s a worker."
        f" Workers: the number that ends within {estate.window_hours:g} hours."
    )
    lines = [words, ""]
    stores: tuple[tuple[Store, str], ...] = (
        ("s3", "S3-compatible store, read directly"),
        ("proxy", "Through one `mlflow server` proxy"),
        ("local", "File system"),
    )
    for where, words in stores:
        lines += [
            f"**{words}**",
            "",
            "| option | requests | bytes read | hours, one worker | workers | cannot see |",
            "|---|--:|--:|--:|--:|---|",
            *(_line(estate, cost) for cost in costs(estate, results, where)),
            "",
        ]
    return "\n".join([*lines, *_unit_lines(results), *_own_lines(estate, results)])


def update(file: Path, made: str) -> None:
    """Rewrite the text between the two marks. The rest of the file is written by hand."""
    before, _, rest = file.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    file.write_text(f"{before}{_BEGIN}\n\n{made}\n{_END}{after}", encoding="utf-8")


def _listing_requests(estate: Estate, where: Store) -> float:
    """Return the requests to list all copies: pages in S3, none for a local file system, else one per directory."""
    if where == "local":
        return 0
    pages = math.ceil(estate.files / estate.copies / _LIST_PAGE) if where == "s3" else 1
    return float(estate.versions * estate.copies * pages)


def _slower(estate: Estate, requests: float | None, seconds: float | None) -> float | None:
    """Return the longer of two times: the one measured on loopback, and the one spent waiting for the network."""
    if requests is None or seconds is None:
        return None
    return max(seconds, requests * estate.latency_seconds / estate.in_flight)


def _read(estate: Estate, unit: Units, seconds: float | None, count: float) -> float | None:
    if seconds is None or unit.byte_seconds is None:
        return None
    return seconds + count * max(unit.byte_seconds, 1 / estate.network_bytes)


def _liveness(results: dict[str, Result], versions: int) -> float | None:
    return _times(_a_version(results.get("small-10000-proxy"), "audit-liveness"), versions)


def _net(result: Result | None, key: str) -> float | None:
    found = walls(result, key, less_start=True) if result else None
    net = statistics.median(found) if found else 0
    return net if net > 0 else None  # meaningless if the start-up took longer than the whole


def _a_version(result: Result | None, key: str) -> float | None:
    net = _net(result, key)
    return None if net is None or result is None else net / result["shape"]["versions"]


def _times(one: float | None, count: float) -> float | None:
    return None if one is None else one * count


def _added(one: float | None, other: float) -> float | None:
    return None if one is None else one + other


def _line(estate: Estate, cost: Cost) -> str:
    hours = None if cost.seconds is None else cost.seconds / 3_600
    workers = None if hours is None else math.ceil(hours / estate.window_hours)
    cells = [
        cost.option,
        _shown(cost.requests, lambda value: f"{value / 1e6:,.1f} M"),
        _bytes(cost.bytes),
        _shown(hours, lambda value: f"{value:,.1f}"),
        _shown(workers, lambda value: f"{value:,.0f}"),
        cost.limit,
    ]
    return f"| {' | '.join(cells)} |"


def _unit_lines(results: dict[str, Result]) -> list[str]:
    lines = [
        "Unit costs of one worker:",
        "",
        "| | a version of tiny files | a GB in large files | a version, `--quick` |",
    ]
    lines.append("|---|--:|--:|--:|")
    for where in STORES:
        unit = units(results, where)
        cells = [
            where,
            _shown(unit.version_seconds, lambda value: f"{value * 1_000:.2f} ms"),
            _shown(unit.byte_seconds, lambda value: f"{value * 1e9:.2f} s"),
            _shown(unit.quick_seconds, lambda value: f"{value * 1_000:.2f} ms") if where != "proxy" else "reads all",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    scales = sorted({result["scale"] for result in results.values() if result["scale"] != 1})
    if scales:
        lines += ["", "**Some results are not of the full size; these numbers only show that the plan is computed.**"]
    return [*lines, ""]


def _own_lines(estate: Estate, results: dict[str, Result]) -> list[str]:
    """Return lines about what the auditor itself needs: memory, and disk for ledger and reports."""
    memory = _more_a_version(results.get("memory"), "peak_bytes")
    written = _more_a_version(results.get("small-10000-local"), "written_bytes")
    found = (
        ("Memory of one process that audits all versions, in addition to its start", memory),
        ("Written to disk by one audit of all versions, ledger and report files together", written),
    )
    return [f"- {words}: {_shown(_times(one, estate.versions), _bytes)}." for words, one in found]


def _more_a_version(result: Result | None, field: str) -> float | None:
    """Return what each version adds to the audit of a single one."""
    audit, one = (row_of(result, key) if result else None for key in (AUDIT, ONE_AUDIT))
    if result is None or audit is None or one is None or audit[field] is None or one[field] is None:
        return None
    return float(max(0, audit[field] - one[field]) / result["shape"]["versions"])


def _shown(value: float | None, form: Callable[[float], str]) -> str:
    return "not measured" if value is None else form(value)


def _bytes(count: float) -> str:
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:,.0f} B"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plan", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--versions", type=int, default=1_000_000)
    add("--bytes", type=float, default=1e15)
    add("--files", type=int, default=10, help="of a version, all its copies together (10, as in the shape small)")
    add("--copies", type=int, default=2, help="1 where storage is shared (2, as in the shape small)")
    add("--latency-ms", type=float, default=30, help="from a request to its answer's first byte (30)")
    add("--gbit", type=float, default=10, help="a second, of one worker's network (10)")
    add("--in-flight", type=int, default=16, help="requests of one worker at once (16)")
    add("--changed", type=float, default=0.01, help="share of the versions between two audits (0.01)")
    add("--parts", type=int, default=30, help="of --subset (30)")
    add("--window-hours", type=float, default=8)
    add("--results-dir", type=Path, default=_RESULTS)
    add("--update", type=Path, metavar="FILE", help="write the table there instead, between its two marks")
    chosen = parser.parse_args(arguments)
    estate = Estate(
        versions=chosen.versions,
        bytes=int(chosen.bytes),
        files=chosen.files,
        copies=chosen.copies,
        latency_seconds=chosen.latency_ms / 1_000,
        network_bytes=chosen.gbit * 1e9 / 8,
        in_flight=chosen.in_flight,
        changed=chosen.changed,
        parts=chosen.parts,
        window_hours=chosen.window_hours,
    )
    made = table(estate, load(chosen.results_dir))
    if chosen.update is None:
        print(made)
    else:
        update(chosen.update, made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
