"""Renders results as Markdown: a table per case and the targets, all in the generated part of README.md."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES
from benchmarks.results import Result, load
from benchmarks.targets import verdicts

_BEGIN = "<!-- Made by `python -m benchmarks.run` from results/*.json; do not edit. -->"
_END = "<!-- End of what is made. -->"
_COLUMNS = (
    "seconds", "min-max", "less start-up", "times the audit", "CPU seconds", "memory, MB", "descriptors", "written, MB"
)  # fmt: skip


def update_page(directory: Path) -> None:
    """Rewrite the text between the two marks of README.md, and the plot. The rest of the page is written by hand."""
    from benchmarks.plot import draw  # its imports are heavy: never import it while measuring

    readme, results = directory / "README.md", load(directory / "results")
    ordered = {name: results[name] for name in CASES if name in results}
    draw(ordered, directory / "results.svg")
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    made = "\n".join(
        [targets_table(ordered), "![Seconds of every contestant](results.svg)\n", *map(section, ordered.values())]
    )
    readme.write_text(f"{before}{_BEGIN}\n\n{made}\n{_END}{after}", encoding="utf-8")


def targets_table(results: Mapping[str, Result]) -> str:
    words = {True: "met", False: "**not met**", None: "-"}
    return "\n".join(
        [
            "### Targets",
            "",
            "Of the whole process less its measured start-up, where nothing else is said.",
            "",
            "| case | target | bound | measured | |",
            "|---|---|--:|--:|---|",
            *(
                f"| {one.case} | {one.text} | {one.bound} | {one.measured} | {words[one.met]} |"
                for one in verdicts(results)
            ),
            "",
        ]
    )


def section(result: Result) -> str:
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    rounds = "One round" if result["rounds"] == 1 else f"Median of {result['rounds']} rounds"
    measured = (
        f"{result['stored_bytes'] / 1e6:,.1f} MB in {result['stored_files']:,} files, read from a warm page cache. "
        f"{rounds} after one that does not count; the fastest and the slowest beside it."
    )
    measured_on = (
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_bytes'] / 2**30:.0f} GiB of memory, "
        f"{machine['system']}; {versions}; load {machine['load_at_start']} when it began."
    )
    if machine["load_at_start"] > machine["cores"] / 2:
        measured_on += " **The machine was busy with other work:** seconds are too high, differences and ratios rough."
    skipped = [row for row in result["contestants"] if "skipped" in row]
    return "\n".join(
        [
            f"### {result['case']}: {result['shape']['words']}",
            "",
            measured + (f" Against {' and '.join(result['servers'])}." if result["servers"] else ""),
            "",
            f"| | {' | '.join(_COLUMNS)} |",
            f"|---|{'--:|' * len(_COLUMNS)}",
            *(_line(row) for row in result["contestants"] if "skipped" not in row),
            "",
            *(f"Not measured: {row['label']}: {row['skipped']}.\n" for row in skipped),
            *_requests(result),
            measured_on,
            "",
            f"Again: `{result['command']}`",
            "",
        ]
    )


def _line(row: dict[str, Any]) -> str:
    walls = [sample["wall_seconds"] for sample in row["samples"]]
    without = row["minus_start_seconds"]
    cells = [
        f"**{row['label']}**" if row["key"] == "audit" else row["label"],
        f"{row['wall_seconds']:.2f}",
        f"{min(walls):.2f}-{max(walls):.2f}",
        f"{statistics.median(without):.2f}" if without else "",
        "" if row["times_audit"] is None else f"{row['times_audit']:.2f}",
        f"{row['cpu_seconds']:.2f}",
        f"{max(row['peak_bytes'], row['peak_tree_bytes'] or 0) / 1e6:.0f}",
        "" if row["peak_descriptors"] is None else str(row["peak_descriptors"]),
        "" if row["written_bytes"] is None else f"{row['written_bytes'] / 1e6:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def _requests(result: Result) -> list[str]:
    versions = result["shape"]["versions"]
    counted = [
        f"{row['label']} {row['requests']['registry'] / versions:.2f} and {row['requests']['artifacts'] / versions:.2f}"
        for row in result["contestants"]
        if row.get("requests") and not row["key"].endswith("-start")
    ]
    return [f"Requests a version, to the registry and to the artifacts: {'; '.join(counted)}.\n"] if counted else []
