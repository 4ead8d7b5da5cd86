"""The benchmark runs: a real registry, real contestants, each checked to have done the whole work."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("case", ["small-local", "shared-local", "small-proxy", "small-s3"])
def test_a_small_case(case: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.run", "--only", case, "--scale", "0.004", "--rounds", "1"]
    for key in ("audit-start", "audit", "floor-sha256", "bare-client"):
        command += ["--only-contestants", key]
    directories = ["--work-dir", str(tmp_path / "work"), "--results-dir", str(tmp_path)]
    done = subprocess.run([*command, *directories], cwd=_REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4_000:]
    result = json.loads((tmp_path / f"{case}.json").read_text())
    assert [row["key"] for row in result["contestants"] if row.get("skipped")] == []
    (audit,) = [row for row in result["contestants"] if row["key"] == "audit"]
    assert audit["facts"]["bytes_read"] == result["stored_bytes"] > 0
    assert audit["peak_descriptors"] is None or audit["peak_descriptors"] > 0
