"""Samples to a result: medians, ratios within rounds, targets; as JSON."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.contestants import AUDIT, AUDIT_START, RCLONE_DOWNLOAD, Contestant
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
        "audit_minus_start_seconds": _median_difference(walls, AUDIT, AUDIT_START),
        "targets": _targets(shape, walls),
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
        "cpu_seconds": statistics.median(sample.cpu_seconds for sample in each.samples),
        "peak_bytes": max(sample.peak_bytes for sample in each.samples),
        "times_audit": _median_ratio(mine, audit) if audit else None,
        "samples": [asdict(sample) for sample in each.samples],
    }


def _targets(shape: Shape, walls: dict[str, list[float]]) -> list[dict[str, Any]]:
    """What the audit promises at the shapes' own sizes; other sizes promise nothing."""
    if shape != SHAPES.get(shape.name):
        return []
    targets = []
    if shape.name == "small" and (audit := _median_difference(walls, AUDIT, AUDIT_START)) is not None:
        text = f"audit minus start-up below {SMALL_TARGET_SECONDS:g} s"
        targets.append({"text": text, "seconds": audit, "met": audit < SMALL_TARGET_SECONDS})
    if shape.name == "large" and {AUDIT, AUDIT_START, RCLONE_DOWNLOAD} <= walls.keys():
        rounds = zip(walls[AUDIT], walls[AUDIT_START], walls[RCLONE_DOWNLOAD], strict=True)
        over = statistics.median(audit - start - rclone for audit, start, rclone in rounds)
        text = "audit at most as long as start-up and `rclone check --download` together (seconds over)"
        targets.append({"text": text, "seconds": over, "met": over <= 0})
    return targets


def _median_ratio(mine: list[float], other: list[float]) -> float:
    return statistics.median(one / two for one, two in zip(mine, other, strict=True))


def _median_difference(walls: dict[str, list[float]], key: str, minus: str) -> float | None:
    if key not in walls or minus not in walls:
        return None
    return statistics.median(one - two for one, two in zip(walls[key], walls[minus], strict=True))


def _command(shape: Shape, runs: int) -> str:
    own = SHAPES.get(shape.name, shape)
    command = f"python -m benchmarks.run --shape {shape.name} --runs {runs}"
    if shape.versions != own.versions:
        command += f" --versions {shape.versions}"
    if shape.model_bytes != own.model_bytes:
        command += f" --model-bytes {shape.model_bytes}"
    return command
