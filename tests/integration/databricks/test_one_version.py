"""One version, named in every way that a registry knows, and in those that it does not."""

from pathlib import Path

import pytest
from support import damage
from support.auditing import Auditor
from support.databricks import StandIn

CLEAN, FINDINGS, USAGE = 0, 1, 2
WORKSPACE, CATALOG = "databricks://test_env", "databricks-uc://test_env"


@pytest.mark.parametrize(
    ("uri", "model", "selector", "status", "says"),
    [
        (WORKSPACE, "Wine", "production", CLEAN, "Verdict: match"),
        (WORKSPACE, "Wine", "1", CLEAN, "Verdict: match"),
        (WORKSPACE, "Wine", "latest", FINDINGS, "Verdict: mismatch"),
        (WORKSPACE, "Wine", "@champion", USAGE, "has no aliases"),
        (WORKSPACE, "main.ml.wine", "1", USAGE, "databricks-uc://PROFILE"),
        (CATALOG, "main.ml.wine", "@champion", CLEAN, "Verdict: match"),
        (CATALOG, "main.ml.wine", "2", FINDINGS, "Verdict: mismatch"),
        (CATALOG, "Main.ML.Wine", "1", CLEAN, "Verdict: match"),
        (CATALOG, "Main.ML.Wine", "latest", FINDINGS, "Verdict: mismatch"),
        (CATALOG, "Main.ML.Wine", "@champion", CLEAN, "Verdict: match"),
        (CATALOG, "main.ml.wine", "@nobody", USAGE, "its aliases are @champion, @lost"),
        (CATALOG, "main.ml.wine", "@lost", USAGE, "stands for version 7, which is not there"),
        (CATALOG, "main.ml.wine", "staging", USAGE, "has no stages"),
        (CATALOG, "wine", "1", USAGE, "all three levels"),
    ],
)
def test_one_version(
    test_env: StandIn,
    audit: Auditor,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    uri: str,
    model: str,
    selector: str,
    status: int,
    says: str,
) -> None:
    from registry_audit.cli import boundary
    from registry_audit.cli.main import registry_audit

    test_env.register("Wine", seed=1, stage="Production")
    damage.flip_byte(test_env.register("Wine", seed=2).reg)
    test_env.register_in_catalog("main.ml.wine", seed=3, alias="champion")
    damage.flip_byte(test_env.register_in_catalog("main.ml.wine", seed=4).reg)
    test_env.aliases["main.ml.wine"]["lost"] = "7"
    command = ["check", "--model", model, "--version-or-stage", selector, "--tracking-uri", uri]
    report = ["--report-file", str(tmp_path / "report.json")]
    ended = int(boundary.run(registry_audit, "registry-audit", [*command, *report]))
    shown = capsys.readouterr()
    assert (ended, says in shown.out + shown.err) == (status, True), shown.err
    assert not list(audit.working_directory.iterdir())
