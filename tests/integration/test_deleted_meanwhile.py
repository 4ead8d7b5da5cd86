"""A version that is deleted between the listing and its reading is skipped, and no alarm; a lost one stays one."""

import shutil
from pathlib import Path
from urllib.parse import urlsplit

from support.registry import Registry
from support.servers import MlflowServer

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
    assert [finding.rule for finding in rows[lost.name].findings] == ["RA003"]
