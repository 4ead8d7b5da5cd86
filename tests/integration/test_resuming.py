"""An audit that could not verify everything is tried again, and reads only the rest; what ended is read anew."""

from pathlib import Path

import pytest
from support import faults
from support.auditing import Auditor
from support.faulty_proxy import DOWNLOADS, FaultyProxy
from support.registry import Registry
from support.servers import MlflowServer

CLEAN, INCOMPLETE = 0, 3
VERSIONS = 3


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGISTRY_AUDIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("REGISTRY_AUDIT_HOME", str(tmp_path / "home"))
    return tmp_path / "cache" / "audits"


def test_behind_a_proxy_each_byte_is_read_once_and_each_row_says_when(
    audit: Auditor, mlflow_a: MlflowServer, proxy_a: FaultyProxy, cache: Path
) -> None:
    registry = Registry(mlflow_a)
    versions = [registry.add(registry.new_name(), seed=seed) for seed in range(VERSIONS)]
    asked = (proxy_a.uri, *(part for version in versions for part in ("--model", version.name)))

    def read() -> set[str]:
        """Runs whose models were read since the faults were cleared."""
        downloads = [r.target for r in proxy_a.requests if r.method == "GET" and "artifacts/experiment-" in r.target]
        return {version.run_id for version in versions if any(version.run_id in target for target in downloads)}

    proxy_a.fault(faults.status(404), path=f"{DOWNLOADS[:-1]}.*{versions[-1].run_id}")
    first = audit(*asked)
    assert first.exit_status == INCOMPLETE
    (kept,) = cache.iterdir()
    assert f"what was read is kept for a day: to try only the rest again, give --audit-id {kept.name}" in first.stderr

    proxy_a.clear()
    again = audit(*asked, "--audit-id", kept.name)
    assert again.exit_status == CLEAN
    assert read() == {versions[-1].run_id}
    assert [row["read_at"] for row in again.rows if row["run_id"] != versions[-1].run_id] == [
        row["read_at"] for row in first.rows if row["run_id"] != versions[-1].run_id
    ]
    assert all(row["read_at"] for row in again.rows)
    assert list(cache.iterdir()) == []

    proxy_a.clear()
    assert audit(*asked, "--audit-id", kept.name).exit_status == CLEAN
    assert read() == {version.run_id for version in versions}
