"""A version that is deleted between the listing and its reading is skipped, and no alarm; a lost one stays one."""

import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.registry import Registered, Registry
from support.servers import MlflowServer

from registry_audit.audit import pipeline
from registry_audit.audit.options import AuditOptions
from registry_audit.audit.pipeline import audit_version
from registry_audit.audit.scope import list_scope
from registry_audit.audit.session import Session
from registry_audit.registry.connection import Server
from registry_audit.verdict import Verdict


def test_a_version_deleted_meanwhile_is_skipped(mlflow_local: MlflowServer) -> None:
    registry = Registry(mlflow_local)
    gone, lost = registry.add(), registry.add()
    options = AuditOptions(tracking_uri=mlflow_local.uri, models=(gone.name, lost.name))
    session = Session(Server(mlflow_local.uri))
    listed = {version.name: version for version in list_scope(session, options).versions}
    for version in (gone, lost):
        shutil.rmtree(Path(urlsplit(version.reg_location).path))
    registry.client.delete_registered_model(gone.name)

    rows = {name: audit_version(session, version) for name, version in listed.items()}
    assert (rows[gone.name].verdict, rows[gone.name].findings) == (Verdict.SKIPPED, ())
    assert "deleted from the registry while" in (rows[gone.name].reason or "")
    assert {name: row.deleted_meanwhile for name, row in rows.items()} == {gone.name: True, lost.name: False}
    assert [finding.rule for finding in rows[lost.name].findings] == ["RA003"]


@pytest.mark.parametrize("server", ["mlflow_local", "mlflow_a"])
@pytest.mark.parametrize("step", ["open_store", "read_all"], ids=["before its files are listed", "while they are read"])
@pytest.mark.parametrize("files", [["model.pkl"], None], ids=["one file is gone", "all files are gone"])
def test_at_whatever_moment_its_files_go(
    server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, step: str, files: list[str] | None
) -> None:
    registry = Registry(request.getfixturevalue(server))
    gone, lost = registry.add(), registry.add()
    uri = registry.server.uri
    session = Session(Server(uri))
    options = AuditOptions(tracking_uri=uri, models=(gone.name, lost.name))
    listed = {version.name: version for version in list_scope(session, options).versions}
    real: Callable[..., object] = getattr(pipeline, step)

    def lose(version: Registered) -> None:
        if version is gone:
            registry.client.delete_registered_model(version.name)
        model = registry.server.artifacts.path(version.run_location)
        for file in (
            [model / name for name in files] if files else [path for path in model.rglob("*") if path.is_file()]
        ):
            file.unlink()

    for version in (gone, lost):

        def meanwhile(*arguments: object, of: Registered = version, **named: object) -> object:
            monkeypatch.setattr(pipeline, step, real)
            lose(of)
            return real(*arguments, **named)

        monkeypatch.setattr(pipeline, step, meanwhile)
        row = audit_version(session, listed[version.name])
        assert (row.verdict is Verdict.SKIPPED, row.findings == ()) == (version is gone, version is gone), row.findings
