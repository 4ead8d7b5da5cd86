"""Compares the results with what the audit promises on two cores. Everything is computed from the results."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from benchmarks.contestants import AUDIT, ONE_AUDIT
from benchmarks.results import Result, row_of

_MIB = 2**20
Unit = Literal["x", "%", "ms", "s", "MiB", "bytes"]
_FORMS: dict[Unit, Callable[[float], str]] = {
    "x": lambda value: f"{value:.2f}x",
    "%": lambda value: f"{100 * value:.1f} %",
    "ms": lambda value: f"{value * 1_000:.2f} ms",
    "s": lambda value: f"{value:.2f} s",
    "MiB": lambda value: f"{value / _MIB:.1f} MiB",
    "bytes": lambda value: f"{value:,.0f} bytes",
}
_TAKES_TIME: frozenset[Unit] = frozenset({"x", "%", "ms", "s"})


@dataclass(frozen=True, slots=True)
class Target:
    case: str
    text: str
    measured: Callable[[Result], float | None]  # None if one of its contestants was not measured
    bound: float | Callable[[Result], float]
    unit: Unit
    at_least: bool = False  # otherwise the bound is a maximum


@dataclass(frozen=True, slots=True)
class Verdict:
    case: str
    text: str
    bound: str
    measured: str
    met: bool | None  # None if it was not measured


def verdicts(results: Mapping[str, Result]) -> list[Verdict]:
    return [_verdict(target, results.get(target.case)) for target in TARGETS]


def _verdict(target: Target, result: Result | None) -> Verdict:
    value = target.measured(result) if result is not None else None
    form, limit = _FORMS[target.unit], "at least" if target.at_least else "at most"
    if result is None or value is None:
        bound_words = "" if callable(target.bound) else f"{limit} {form(target.bound)}"
        return Verdict(target.case, target.text, bound_words, "not measured", None)
    if value <= 0 and target.unit in _TAKES_TIME:  # the start-up took longer than the whole
        return Verdict(target.case, target.text, "", "lost in the noise", None)
    bound = target.bound(result) if callable(target.bound) else target.bound
    met = value >= bound if target.at_least else value <= bound
    measured = form(value) if result["scale"] == 1 else f"{form(value)} at {result['scale']:g} of the size"
    return Verdict(target.case, target.text, f"{limit} {form(bound)}", measured, met)


def walls(result: Result, key: str, *, less_start: bool = False) -> list[float] | None:
    """Return the seconds of each round; None if the contestant was not measured."""
    row = row_of(result, key)
    if row is None:
        return None
    if less_start:
        without: list[float] | None = row["minus_start_seconds"]
        return without
    return [sample["wall_seconds"] for sample in row["samples"]]


def ratio(
    result: Result, key: str, other: str, *, less_start: bool = True, other_less_start: bool = False
) -> float | None:
    """Return the median over the rounds of one contestant's seconds over another's, with or without start-up."""
    return _over(walls(result, key, less_start=less_start), walls(result, other, less_start=other_less_start))


def _over(mine: list[float] | None, theirs: list[float] | None) -> float | None:
    if mine is None or theirs is None:
        return None
    return statistics.median(one / two for one, two in zip(mine, theirs, strict=True))


def net_seconds(result: Result, key: str) -> float | None:
    """Return the median seconds without start-up and without the time of MLflow's client for the same requests."""
    found = _net(result, key)
    return None if found is None else statistics.median(found)


def _net(result: Result, key: str) -> list[float] | None:
    """Return the seconds of each round for `net_seconds`."""
    mine, client = walls(result, key, less_start=True), walls(result, "registry-client", less_start=True)
    if mine is None or client is None:
        return None
    return [one - two for one, two in zip(mine, client, strict=True)]


def _a_version(seconds: Callable[[Result], float | None]) -> Callable[[Result], float | None]:
    def measured(result: Result) -> float | None:
        value = seconds(result)
        return None if value is None else value / result["shape"]["versions"]

    return measured


def _seconds(key: str, *, less_start: bool = False) -> Callable[[Result], float | None]:
    def measured(result: Result) -> float | None:
        found = walls(result, key, less_start=less_start)
        return None if not found else statistics.median(found)

    return measured


def _share_of(client: str, *, less_start: bool = False) -> Callable[[Result], float | None]:
    def measured(result: Result) -> float | None:
        times = ratio(result, AUDIT, client, other_less_start=less_start)
        return None if times is None else 1 / times

    return measured


_share_of_bare, _share_of_digesting = _share_of("bare-client"), _share_of("bare-client-sha256")
_share_of_bare_without_start = _share_of("bare-client", less_start=True)


def _more(field: str, key: str, than: str) -> Callable[[Result], float | None]:
    def measured(result: Result) -> float | None:
        mine, other = row_of(result, key), row_of(result, than)
        if mine is None or other is None or mine[field] is None or other[field] is None:
            return None
        return float(mine[field] - other[field])

    return measured


def _bytes_read(key: str) -> Callable[[Result], float | None]:
    def measured(result: Result) -> float | None:
        row = row_of(result, key)
        return None if row is None else row["facts"].get("bytes_read")

    return measured


def _one_model(result: Result) -> float:
    return float(result["shape"]["model_bytes"])


def _remote(case: str, client: str) -> tuple[Target, ...]:
    return (
        Target(f"large-{case}", f"of the throughput of a bare {client}", _share_of_bare, 0.85, "%", True),
        Target(f"large-{case}", "the same, its start-up taken off too", _share_of_bare_without_start, 0.85, "%", True),
        Target(f"large-{case}", "of one that takes the sha256 too", _share_of_digesting, 0.85, "%", True),
        Target(f"small-{case}", f"of the throughput of a bare {client}", _share_of_bare, 0.85, "%", True),
        Target(
            f"large-{case}",
            "memory over that of one small version: less than one of its files",
            _more("peak_bytes", AUDIT, ONE_AUDIT),
            _one_model,
            "MiB",
        ),
        Target(
            f"large-{case}",
            "written to disk over that of one small version: report and ledger, no model",
            _more("written_bytes", AUDIT, ONE_AUDIT),
            lambda result: 0.01 * result["stored_bytes"],
            "MiB",
        ),
    )


def _bucket(case: str, share: float) -> tuple[Target, ...]:
    """Return the targets for a bucket: against the library that the audit uses for buckets, and against rclone."""
    bare = _share_of("bare-obstore-sha256", less_start=True)
    return (
        Target(case, "of a bare obstore client that lists model by model and digests", bare, share, "%", True),
        Target(
            case, "audit / `rclone check --download`", lambda result: ratio(result, AUDIT, "rclone-download"), 1, "x"
        ),
    )


TARGETS = (
    Target(
        "large-local", "audit / floor that reads all and takes the sha256 of one copy, all cores",
        lambda result: ratio(result, AUDIT, "floor-sha256"), 1.25, "x",
    ),
    Target(
        "large-local", "audit with blake3 / `b3sum` of all the bytes",
        lambda result: ratio(result, "audit-blake3", "b3sum"), 1.25, "x",
    ),
    Target("small-local", "a version", _a_version(_seconds(AUDIT, less_start=True)), 0.003, "ms"),
    Target(
        "small-local", "a version, less what the registry client costs",
        _a_version(lambda result: net_seconds(result, AUDIT)), 0.001, "ms",
    ),
    # The same two targets for a machine of any speed. They were set where the predecessor took 16 ms per version.
    Target(
        "small-local", "the predecessor / audit",
        lambda result: ratio(result, "predecessor", AUDIT, other_less_start=True), 16 / 3, "x", True,
    ),
    Target(
        "small-local", "the predecessor / audit less what the registry client costs",
        lambda result: _over(walls(result, "predecessor", less_start=True), _net(result, AUDIT)), 16, "x", True,
    ),
    *_remote("proxy", "concurrent HTTP client"),
    *_remote("s3", "concurrent boto3 client"),
    *_bucket("small-s3", 0.75),
    *_bucket("large-s3", 0.95),
    Target("small-10000-proxy", "`--liveness`, the whole process", _seconds("audit-liveness"), 60, "s"),
    Target(
        "memory", "memory over `import mlflow`, 100,000 versions",
        _more("peak_bytes", AUDIT, "import-mlflow"), 100 * _MIB, "MiB",
    ),
    Target("start-up", "`registry-audit --help`", _seconds("help"), 0.3, "s"),
    Target(
        "start-up", "`check-model-version` / `import mlflow` and the client's calls",
        lambda result: ratio(result, "check", "bare-check", less_start=False), 1.3, "x",
    ),
    Target(
        "one-directory-local", "bytes read of a storage that all share: once",
        _bytes_read(AUDIT), lambda result: float(result["stored_bytes"]), "bytes",
    ),
    Target(
        "small-10000-local", "the flow / the command, whole processes",
        lambda result: ratio(result, "flow", AUDIT, less_start=False), 1.25, "x",
    ),
    Target(
        "small-10000-local", "`--quick` on an unchanged registry: nothing read but each root MLmodel",
        _bytes_read("audit-quick"), lambda result: float(result["mlmodel_bytes"]), "bytes",
    ),
)  # fmt: skip
