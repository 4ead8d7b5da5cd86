"""Turns samples into results, with medians and ratios within rounds, and stores them as JSON with every single run."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.cases import Case
from benchmarks.contestants import AUDIT, Contestant, Done
from benchmarks.measure import Sample
from benchmarks.servers import Requests

Result = Mapping[str, Any]


@dataclass(slots=True)
class Measured:
    contestant: Contestant
    skipped: str | None = None  # reason why it did not run
    failed: bool = False  # it ran, but did not do the whole work
    samples: list[Sample] = field(default_factory=list)  # one per round
    done: Done | None = None
    requests: Requests | None = None  # logged by the MLflow server in the last round


def to_result(
    case: Case,
    *,
    rounds: int,
    scale: float,
    stored_bytes: int,
    mlmodel_bytes: int,
    machine: dict[str, object],
    servers: list[str],
    command: str,
    measured: Sequence[Measured],
) -> dict[str, Any]:
    walls = {
        each.contestant.key: [sample.wall_seconds for sample in each.samples]
        for each in measured
        if each.skipped is None
    }
    return {
        "case": case.name,
        "store": case.store,
        "shape": asdict(case.shape) | {"words": case.shape.words},
        "stored_bytes": stored_bytes,
        "mlmodel_bytes": mlmodel_bytes,
        "stored_files": case.shape.stored_files,
        "rounds": rounds,
        "scale": scale,
        "command": command,
        "machine": machine,
        "servers": servers,
        "contestants": [_row(each, walls) for each in measured],
    }


def save(result: Result, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{result['case']}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def load(directory: Path) -> dict[str, Result]:
    """Load all results, by case."""
    found = (json.loads(file.read_text(encoding="utf-8")) for file in sorted(directory.glob("*.json")))
    return {result["case"]: result for result in found if "case" in result}  # ledger.json has no case


def row_of(result: Result, key: str) -> dict[str, Any] | None:
    """Return the row of a contestant; None if it was not measured."""
    found: list[dict[str, Any]] = [row for row in result["contestants"] if row["key"] == key and "samples" in row]
    return found[0] if found else None


def _row(each: Measured, walls: dict[str, list[float]]) -> dict[str, Any]:
    key = each.contestant.key
    row: dict[str, Any] = {"key": key, "label": each.contestant.label, "command": " ".join(each.contestant.command)}
    if each.skipped is not None:
        return row | {"skipped": each.skipped, "failed": each.failed}
    mine, audit = walls[key], walls.get(AUDIT)
    start = walls.get(each.contestant.start or "")
    return row | {
        "says": each.done.says if each.done else "",
        "facts": (each.done.facts if each.done else None) or {},
        "requests": asdict(each.requests) if each.requests else None,
        "wall_seconds": statistics.median(mine),
        # Seconds of each round minus the start-up in the same round; null if the contestant has no start-up.
        "minus_start_seconds": [one - two for one, two in zip(mine, start, strict=True)] if start else None,
        "cpu_seconds": statistics.median(sample.cpu_seconds for sample in each.samples),
        "peak_bytes": max(sample.peak_bytes for sample in each.samples),
        "peak_tree_bytes": _most(sample.peak_tree_bytes for sample in each.samples),
        "peak_descriptors": _most(sample.peak_descriptors for sample in each.samples),
        "peak_threads": _most(sample.peak_threads for sample in each.samples),
        "written_bytes": statistics.median(sample.written_bytes for sample in each.samples),
        "times_audit": statistics.median(one / two for one, two in zip(mine, audit, strict=True)) if audit else None,
        "samples": [asdict(sample) for sample in each.samples],
    }


def _most(values: Any) -> int | None:
    known = [value for value in values if value is not None]
    return max(known) if known else None
