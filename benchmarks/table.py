"""Results as Markdown, and into the generated section of README.md."""

import json
from pathlib import Path
from typing import Any

from benchmarks.shapes import SHAPES

_BEGIN = "<!-- Made by `python -m benchmarks.run` from results/*.json; do not edit. -->"
_END = "<!-- End of what is made. -->"


def section(result: dict[str, Any]) -> str:
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    measured = (
        f"{result['both_copies_bytes'] / 1e6:,.1f} MB in both copies together, read from a warm page cache. Median of "
        f"{result['runs']} rounds after one that does not count; the fastest and the slowest beside it."
    )
    measured_on = (
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_bytes'] / 2**30:.0f} GiB of memory, "
        f"{machine['system']}; {versions}; load {machine['load_at_start']} when it began."
    )
    if machine["load_at_start"] > machine["cores"] / 2:
        measured_on += " **The machine was busy with other work:** seconds are too high, differences and ratios rough."
    lines = [
        f"### {result['shape']['name']}: {result['shape']['words']}",
        "",
        measured,
        "",
        "| | seconds | min-max | times the audit | CPU seconds | peak memory, MB |",
        "|---|--:|--:|--:|--:|--:|",
        *(line for row in result["contestants"] for line in _lines(row)),
        "",
        *(
            f"Target: {target['text']}: {target['seconds']:.2f} s, {'met' if target['met'] else '**not met**'}.\n"
            for target in result["targets"]
        ),
        measured_on,
        "",
        f"Again: `{result['command']}`",
        "",
    ]
    return "\n".join(lines)


def update_readme(readme: Path, results: Path) -> None:
    """Rewrite what is between the two marks; the rest is written by hand."""
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    found = [json.loads(file.read_text()) for name in SHAPES if (file := results / f"{name}.json").is_file()]
    sections = "\n".join(section(result) for result in found)
    readme.write_text(f"{before}{_BEGIN}\n\n{sections}\n{_END}{after}", encoding="utf-8")


def _lines(row: dict[str, Any]) -> list[str]:
    if "skipped" in row:
        return [f"| {row['label']} | not measured: {row['skipped']} | | | | |"]
    walls = [sample["wall_seconds"] for sample in row["samples"]]
    label = f"**{row['label']}**" if row["key"] == "audit" else row["label"]
    times = "" if row["times_audit"] is None else f"{row['times_audit']:.2f}"
    seconds = f"{row['wall_seconds']:.2f} | {min(walls):.2f}-{max(walls):.2f} | {times} | {row['cpu_seconds']:.2f}"
    lines = [f"| {label} | {seconds} | {row['peak_bytes'] / 1e6:.0f} |"]
    if row["minus_start_seconds"] is not None:
        lines.append(f"| the same, minus start-up | {row['minus_start_seconds']:.2f} | | | | |")
    return lines
