"""Samples to a result: medians, ratios within rounds, targets; as JSON."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.contestants import AUDIT, RCLONE_DOWNLOAD, Contestant
from benchmarks.measure import Sample
from benchmarks.shapes import SHAPES, Shape

SMALL_TARGET_SECONDS = 5.0


@dataclass(slots=True)
class Measured:
    contestant: Contestant
    samples: list[Sample]  # one a round
    skipped: str | None  # why it did not run
    says: str = ""


def to_result(
    shape: Shape, runs: int, both_copies_bytes: int, machine: dict[str, object], measured: Sequence[Measured]
) -> dict[str, Any]:
    walls = {each.contestant.key: [sample.wall_seconds for sample in each.samples] for each in measured if each.samples}
    return {
        "shape": asdict(shape) | {"words": shape.words},
        "both_copies_bytes": both_copies_bytes,
        "runs": runs,
        "command": _command(shape, runs),
        "machine": machine,
        "contestants": [_row(each, walls) for each in measured],
        "targets": _targets(shape, walls, {each.contestant.key: each.contestant.start for each in measured}),
    }


def save(result: dict[str, Any], directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{result['shape']['name']}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _row(each: Measured, walls: dict[str, list[float]]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "key": each.contestant.key,
        "label": each.contestant.label,
        "command": " ".join(each.contestant.command),
    }
    if each.skipped is not None:
        return row | {"skipped": each.skipped}
    mine, audit = walls[each.contestant.key], walls.get(AUDIT)
    return row | {
        "says": each.says,
        "wall_seconds": statistics.median(mine),
        "minus_start_seconds": _median(_without(walls, each.contestant.key, each.contestant.start)),
        "cpu_seconds": statistics.median(sample.cpu_seconds for sample in each.samples),
        "peak_bytes": max(sample.peak_bytes for sample in each.samples),
        "times_audit": _median([one / two for one, two in zip(mine, audit, strict=True)]) if audit else None,
        "samples": [asdict(sample) for sample in each.samples],
    }


def _targets(shape: Shape, walls: dict[str, list[float]], starts: dict[str, str | None]) -> list[dict[str, Any]]:
    """What the audit promises at the shapes' own sizes; other sizes promise nothing."""
    seconds = _without(walls, AUDIT, starts.get(AUDIT))
    if shape != SHAPES.get(shape.name) or not seconds:
        return []
    targets = []
    if shape.name == "small":
        audit = statistics.median(seconds)
        text = f"audit minus start-up below {SMALL_TARGET_SECONDS:g} s"
        targets.append({"text": text, "seconds": audit, "met": audit < SMALL_TARGET_SECONDS})
    if shape.name == "large" and RCLONE_DOWNLOAD in walls:
        over = statistics.median(one - two for one, two in zip(seconds, walls[RCLONE_DOWNLOAD], strict=True))
        text = "audit no longer than start-up and `rclone check --download` together; longer by"
        targets.append({"text": text, "seconds": over, "met": over <= 0})
    return targets


def _without(walls: dict[str, list[float]], key: str, start: str | None) -> list[float]:
    """Each round's seconds without its start-up; empty where either was not measured."""
    if start is None or key not in walls or start not in walls:
        return []
    return [one - two for one, two in zip(walls[key], walls[start], strict=True)]


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


def _command(shape: Shape, runs: int) -> str:
    own = SHAPES.get(shape.name, shape)
    command = f"python -m benchmarks.run --shape {shape.name} --runs {runs}"
    if shape.versions != own.versions:
        command += f" --versions {shape.versions}"
    if shape.model_bytes != own.model_bytes:
        command += f" --model-bytes {shape.model_bytes}"
    return command
