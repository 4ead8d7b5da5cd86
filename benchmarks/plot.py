"""Draws one picture of all cases: the seconds of every contestant, with a separate scale for each case."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.contestants import AUDIT
from benchmarks.results import Result

_OURS, _FLOOR, _PEER = "#1f6feb", "#8b949e", "#d4a24c"
_ROW_INCHES, _CASE_INCHES, _WIDTH_INCHES = 0.24, 0.75, 9.0


def draw(results: Mapping[str, Result], file: Path) -> None:
    if not results:
        return
    import matplotlib

    matplotlib.use("svg")
    # Equal numbers give equal files. Text stays text, so that it is searchable and small.
    matplotlib.rcParams.update({"svg.hashsalt": "registry-audit", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    rows = {name: _rows(result) for name, result in results.items()}
    heights = [len(found) * _ROW_INCHES + _CASE_INCHES for found in rows.values()]
    figure, axes = pyplot.subplots(
        len(rows), 1, figsize=(_WIDTH_INCHES, sum(heights)), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for axis, (name, found) in zip(axes[:, 0], rows.items(), strict=True):
        seconds = [row["wall_seconds"] for row in found]
        bars = axis.barh([row["label"] for row in found], seconds, color=[_colour(row["key"]) for row in found])
        axis.bar_label(bars, labels=[f"{value:.2f} s" for value in seconds], padding=3, fontsize=8)
        axis.set_title(f"{name}: {results[name]['shape']['words']}", loc="left", fontsize=9, fontweight="bold")
        axis.invert_yaxis()
        axis.margins(x=0.12)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(axis="x", labelsize=8)
    figure.savefig(file, metadata={"Date": None}, facecolor="white")
    pyplot.close(figure)
    text = file.read_text(encoding="utf-8")
    file.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")


def _rows(result: Result) -> list[dict[str, Any]]:
    return [row for row in result["contestants"] if "samples" in row]


def _colour(key: str) -> str:
    if key.startswith((AUDIT, "flow", "help", "check")):
        return _OURS
    return _FLOOR if key.startswith(("floor", "cat", "b3sum", "bare", "registry-client", "import")) else _PEER
