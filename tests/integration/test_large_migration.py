"""`compare-registries` of 3,000 versions: every loss is found, nothing good accused, in memory that does not grow."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.large_migration import DAMAGE, VERSIONS_PER_MODEL, Arrived, LargeMigration
from support.processes import wait_until
from support.servers import clean_environment

from benchmarks.measure import Sample, run_once

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3_000)]

CLEAN, FINDINGS = 0, 1
SMALL, LARGE = 300, 3_000
_MAX_GROWTH_BYTES = 64 * 2**20  # of ten times as many versions; all their lists of files would be more
_LEGITIMATE = {"RA022", "RA024"}  # said once of a model: its order of creation and its numbers changed
_KEPT = 400  # readings, of 6,000


def _command(migration: LargeMigration, report_dir: Path, *options: str) -> list[str]:
    config = migration.directory / "migration.yaml"
    config.write_text(yaml.safe_dump({"source": {"host": migration.source}, "target": {"host": migration.target}}))
    command = [sys.executable, "-m", "registry_audit", "compare-registries", "--config-file", str(config), "--quiet"]
    return [*command, "--report-dir", str(report_dir), "--fail-on", "high", *options]


def _environment(directory: Path) -> dict[str, str]:
    return clean_environment() | {
        "REGISTRY_AUDIT_CACHE_DIR": str(directory / "cache"),
        "REGISTRY_AUDIT_HOME": str(directory / "home"),
    }


def _compared(migration: LargeMigration, name: str) -> tuple[Sample, dict[str, Any]]:
    reports = migration.directory / name
    environment = _environment(migration.directory)
    output = migration.directory / f"{name}.log"
    sample = run_once(_command(migration, reports), cwd=migration.directory, environment=environment, output=output)
    assert (reports / "migration.json").is_file(), output.read_text()
    return sample, json.loads((reports / "migration.json").read_text())


def _must_be_good(document: dict[str, Any], versions: int) -> None:
    assert Counter(row["verdict"] for row in document["versions"]) == {"equivalent": versions}
    assert [row for row in document["versions"] if row["findings"] or row["metadata"]] == []
    assert set(document["summary"]["findings"]) == _LEGITIMATE
    assert document["summary"]["complete"] is True


def test_three_thousand_versions(tmp_path: Path) -> None:
    small, large = LargeMigration(tmp_path / "small"), LargeMigration(tmp_path / "large")
    for migration, versions in ((small, SMALL), (large, LARGE)):
        migration.directory.mkdir()
        arrived = migration.make(versions)

    few, document = _compared(small, "good")
    assert few.exit_status == CLEAN
    _must_be_good(document, SMALL)
    many, document = _compared(large, "good")
    assert many.exit_status == CLEAN
    _must_be_good(document, LARGE)

    print(*(f"{sample.peak_bytes / 2**20:.0f} MiB, {sample.wall_seconds:.0f} s" for sample in (few, many)), sep="\n")  # noqa: T201 - with -rP
    assert many.peak_bytes - few.peak_bytes < _MAX_GROWTH_BYTES

    damaged = _damaged(large, arrived)
    document = _killed_and_resumed(large)
    rows = {f"{row['source']['name']}/{row['source']['version']}": row for row in document["versions"] if row["source"]}
    for label, kind in damaged.items():
        row = rows[label]
        rules: list[str | None] = [finding["rule"] for finding in row["findings"]]
        said = {(row["verdict"], rule) for rule in (*rules, None)}
        assert said & DAMAGE[kind][1], (label, kind, said)
    others = [row for label, row in rows.items() if label not in damaged]
    assert len(others) == LARGE - len(damaged)
    assert {row["verdict"] for row in others} == {"equivalent"}
    assert [row for row in others if row["findings"] or row["metadata"]] == []
    # What only the target has is what was made of a version of which nothing is left to recognise it by.
    assert {row["verdict"] for row in document["versions"] if not row["source"]} <= {"only_in_target"}


def _damaged(migration: LargeMigration, arrived: list[Arrived]) -> dict[str, str]:
    """One version of every second model, each in another place and of the next kind."""
    chosen = arrived[3 :: 2 * VERSIONS_PER_MODEL + 1]
    damaged = {}
    for number, one in enumerate(chosen):
        kind = list(DAMAGE)[number % len(DAMAGE)]
        migration.damage(one, kind)
        damaged[one.label] = kind
    assert set(damaged.values()) == set(DAMAGE)
    return damaged


def _killed_and_resumed(migration: LargeMigration) -> dict[str, Any]:
    """The comparison, killed in the middle, went on under its id; and nothing was read twice."""
    reports, environment = migration.directory / "resumed", _environment(migration.directory)
    command = _command(migration, reports, "--audit-id", "proof")
    kept = migration.directory / "cache" / "audits" / "proof"
    logs = {side: kept / side / "readings.jsonl" for side in ("source", "target")}

    def lines() -> int:
        return sum(log.read_bytes().count(b"\n") for log in logs.values() if log.exists())

    process = subprocess.Popen(command, cwd=migration.directory, env=environment, start_new_session=True)
    try:
        wait_until(lambda: lines() >= _KEPT or process.poll() is not None, timeout_seconds=600, what="readings")
        assert process.poll() is None
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert _KEPT <= lines() < 2 * LARGE
    assert not (reports / "migration.json").exists()
    for side, log in logs.items():  # whatever becomes of the directory
        os.link(log, migration.directory / f"{side}.jsonl")

    done = subprocess.run(
        command, cwd=migration.directory, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == FINDINGS, done.stderr
    # A version that is not ready cannot be compared: what was read is kept, to try only that one again.
    assert (kept.exists(), "give --audit-id proof" in done.stderr) == (True, True)
    for side in logs:
        whole = [
            line for line in (migration.directory / f"{side}.jsonl").read_text().splitlines() if line.count(" ") >= 2
        ]
        read = Counter(line.split(" ")[1] for line in whole)
        assert set(read.values()) == {1}
    found: dict[str, Any] = json.loads((reports / "migration.json").read_text())
    return found
