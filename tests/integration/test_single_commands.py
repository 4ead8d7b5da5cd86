"""`check` and `compare`: what they print, where they print it, and what makes them fail."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from support import damage
from support.auditing import Audited, Auditor
from support.registry import Registered, Registry
from support.servers import MlflowServer

from registry_audit.cli import compare_command

CLEAN, FINDINGS, USAGE = 0, 1, 2


def migrated(a: MlflowServer, b: MlflowServer) -> tuple[Registered, Registered]:
    """A version, and its identical copy on another server, where `MLmodel` still names the first server's run."""
    source, target = Registry(a), Registry(b)
    one = source.add(seed=1)
    two = target.add(seed=2)
    with target.server.artifacts.edit(two.reg_location) as directory:
        for path, content in source.server.artifacts.files(one.reg_location).items():
            (directory / path).write_bytes(content)
    return one, two


def compare(audit: Auditor, tmp_path: Path, versions: dict[str, Registered], *options: str) -> Audited:
    servers = {
        f"tracking_server_{n}": {"host": uri, "model": version.name, "version_or_stage": version.version}
        for n, (uri, version) in enumerate(versions.items(), 1)
    }
    (tmp_path / "compare.yaml").write_text(yaml.safe_dump(servers), encoding="utf-8")
    places = ("--config-file", str(tmp_path / "compare.yaml"), "--download-dir", str(tmp_path / "kept"))
    return audit.command("compare", *places, *options)


@pytest.mark.parametrize("ledger", ["none", "sqlite"])
@pytest.mark.parametrize("aliased", [False, True])
def test_identical_copies_on_two_servers_are_clean(
    mlflow_a: MlflowServer, mlflow_b: MlflowServer, audit: Auditor, tmp_path: Path, ledger: str, aliased: bool
) -> None:
    one, two = migrated(mlflow_a, mlflow_b)
    if aliased:  # raises severities elsewhere
        Registry(mlflow_b).client.set_registered_model_alias(two.name, "champion", two.version)
    versions = {mlflow_a.uri: one, mlflow_b.uri: two}
    where = ("--ledger", "none" if ledger == "none" else f"sqlite:///{tmp_path / 'ledger.db'}")
    if ledger == "sqlite":
        audit(mlflow_a.uri, "--model", one.name, *where, "--accept-new")
    done = compare(audit, tmp_path, versions, *where)
    assert done.exit_status == CLEAN, done.stdout
    assert [line[:40] for line in done.stdout.splitlines()[1:] if "RA012" in line] == [
        f"    low       RA012 lineage-mismatch  {two.name}/{two.version}"[:40]
    ]
    assert done.stdout.startswith(f"= {one.name}/1 and {two.name}/1: match; RA012 low\n")
    assert compare(audit, tmp_path, versions, *where, "--fail-on", "low").exit_status == FINDINGS


def test_a_difference_fails_whatever_the_threshold(
    mlflow_a: MlflowServer, mlflow_b: MlflowServer, audit: Auditor, tmp_path: Path
) -> None:
    one, two = migrated(mlflow_a, mlflow_b)
    with mlflow_b.artifacts.edit(two.reg_location) as directory:
        damage.flip_byte(directory)
    done = compare(audit, tmp_path, {mlflow_a.uri: one, mlflow_b.uri: two}, "--fail-on", "critical")
    assert done.exit_status == FINDINGS


def test_the_threshold_of_check(mlflow_local: MlflowServer, audit: Auditor) -> None:
    registry = Registry(mlflow_local)
    version = registry.add(seed=1)
    with mlflow_local.artifacts.edit(version.reg_location) as directory:
        damage.delete_file(directory)  # RA007, high
    check = ("check", f"{version.name}/1", "--tracking-uri", mlflow_local.uri)
    assert [audit.command(*check, "--fail-on", at).exit_status for at in ("high", "critical")] == [FINDINGS, CLEAN]


def test_a_version_that_is_named_is_told_in_sentences(mlflow_local: MlflowServer, audit: Auditor) -> None:
    registry = Registry(mlflow_local)
    version = registry.add(seed=1)
    check = ("check", f"{version.name}/1", "--tracking-uri", mlflow_local.uri)
    whole = audit.command(*check).stdout.splitlines()
    assert whole[0] == f"@ {version.name}/1  same storage"
    assert [line[:17].strip() for line in whole[1:]] == ["Files", "Baseline", "Result"]  # one storage is told once
    assert whole[-1] == "  Result          Clean (exit status 0)"
    with mlflow_local.artifacts.edit(version.reg_location) as directory:
        damage.delete_file(directory)
    damaged = audit.command(*check).stdout
    head, finding = damaged.splitlines()[:2]
    assert head == f"@ {version.name}/1  same storage: RA007 high"  # once, however much is missing
    assert finding.startswith(f"  high      RA007 model-incomplete  {version.name}/1")
    assert "\n            To do: Restore the named files" in damaged
    assert damaged.endswith("  Result          Findings (exit status 1)\n")
    # The options of mlflow-tools keep the text of mlflow-tools.
    asked = ("--model", version.name, "--version-or-stage", "1", "--tracking-uri", mlflow_local.uri)
    assert audit.command("check", *asked).stdout.startswith("Comparison:\n{")


def test_a_change_is_told_with_the_command_that_accepts_it(
    mlflow_local: MlflowServer, audit: Auditor, tmp_path: Path
) -> None:
    registry, ledger = Registry(mlflow_local), ("--ledger", f"sqlite:///{tmp_path / 'our ledger.db'}")
    one, two = registry.add(seed=1), registry.add(seed=2)
    for version in (one, two):
        audit(mlflow_local.uri, "--model", version.name, "--accept-new", *ledger)
    with mlflow_local.artifacts.edit(one.reg_location) as directory:
        damage.flip_byte(directory)
    check = ("check", f"{one.name}/1", "--tracking-uri", mlflow_local.uri, *ledger)
    compare = ("compare", f"{one.name}/1", f"{two.name}/1", "--tracking-uri", mlflow_local.uri, *ledger)
    commands = []
    for asked in (check, compare):
        done = audit.command(*asked)
        assert done.exit_status == FINDINGS, done.stderr
        (line,) = (line for line in done.stdout.splitlines() if "Accept the change: registry-audit " in line)
        commands.append(line.partition("Accept the change: registry-audit ")[2])
    assert commands[0] == commands[1]
    words = shlex.split(commands[0])
    assert audit.command(*words).exit_status == USAGE, "nobody accepts by only pasting"
    words[words.index("--reason") + 1] = "retrained"
    assert audit.command(*words).exit_status == CLEAN
    assert audit.command(*check).exit_status == CLEAN


def test_what_is_new_is_told_with_the_command_that_accepts_it(
    mlflow_local: MlflowServer, audit: Auditor, tmp_path: Path
) -> None:
    registry, ledger = Registry(mlflow_local), ("--ledger", f"sqlite:///{tmp_path / 'ledger.db'}")
    version = registry.add(seed=1)
    check = ("check", f"{version.name}/1", "--tracking-uri", mlflow_local.uri, *ledger)
    audit(mlflow_local.uri, "--model", registry.add(seed=2).name, "--accept-new", *ledger)
    (line,) = (line for line in audit.command(*check).stdout.splitlines() if "To accept these bytes: " in line)
    words = shlex.split(line.partition("To accept these bytes: registry-audit ")[2])
    words[words.index("--reason") + 1] = "as released"
    assert audit.command(*words).exit_status == CLEAN
    assert "To accept these bytes" not in audit.command(*check).stdout


def test_two_versions_that_are_named_are_told_in_sentences(
    mlflow_local: MlflowServer, audit: Auditor, tmp_path: Path
) -> None:
    registry = Registry(mlflow_local)
    one, two = registry.add(seed=1), registry.add(seed=2)
    with mlflow_local.artifacts.edit(two.reg_location) as directory:
        damage.add_file(directory)
    names = (f"{one.name}/1", f"{two.name}/1")
    done = audit.command("compare", *names, "--tracking-uri", mlflow_local.uri)
    assert done.exit_status == FINDINGS, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"* {names[0]} and {names[1]}: mismatch")
    assert lines[1] == "  Run models      mismatch"
    assert any(line.startswith("    + ") and line.endswith(f"  only in {names[1]}") for line in lines)
    assert len([line for line in lines if line.startswith("    * model.pkl  ") and " -> " in line]) == 1
    assert "  Registry models mismatch: the same differences" in lines
    assert lines[-1] == "  Result          Findings (exit status 1)"
    same = audit.command("compare", names[0], names[0], "--tracking-uri", mlflow_local.uri)
    assert (same.exit_status, same.stdout.count("nothing was compared")) == (CLEAN, 2), same.stdout
    # The program of mlflow-tools keeps the text of mlflow-tools.
    (tmp_path / "compare.yaml").write_text(
        yaml.safe_dump(
            {
                f"tracking_server_{n}": {"host": mlflow_local.uri, "model": each.name, "version_or_stage": "1"}
                for n, each in enumerate((one, two), 1)
            }
        ),
        encoding="utf-8",
    )
    places = ("--config-file", str(tmp_path / "compare.yaml"), "--download-dir", str(tmp_path / "kept"))
    old = CliRunner().invoke(compare_command.command, places, prog_name="compare-model-versions")
    assert old.stdout.startswith("Run_Model_Comparison:\n{")
    assert "\nComparison_Summary:\n{" in old.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "which versions? Give two, as NAME/V NAME/V"),
        (("Wine/1",), "which versions? Give two"),
        (("Wine/1", "Wine/2", "Wine/3"), "which versions? Give two"),
        (("Wine/1", "Wine"), "'Wine' is not a version"),
        (("Wine/1", "Wine/2", "--config-file", "x.yaml"), "not both"),
    ],
)
def test_which_two_versions(audit: Auditor, arguments: tuple[str, ...], says: str) -> None:
    asked = audit.command("compare", *arguments)
    assert (asked.exit_status, says in asked.stderr) == (2, True), asked.stderr


@pytest.mark.parametrize("as_json", [("--format", "json"), ("--report-file", "-")], ids=" ".join)
def test_json_on_stdout_is_the_file(
    mlflow_local: MlflowServer, audit: Auditor, tmp_path: Path, as_json: tuple[str, str]
) -> None:
    registry, file = Registry(mlflow_local), tmp_path / "report.json"
    version, other = registry.add(seed=1), registry.add(seed=2)
    check = ("check", f"{version.name}/1", "--tracking-uri", mlflow_local.uri)

    def without_time(text: str) -> object:
        report = json.loads(text)
        report["System"].pop("utc_time")
        report.get("Options", {}).pop("report_file", None)
        return report

    audit.command(*check, "--report-file", str(file))
    assert without_time(audit.command(*check, *as_json).stdout) == without_time(file.read_text())
    config = {
        f"tracking_server_{n}": {"host": mlflow_local.uri, "model": each.name, "version_or_stage": "1"}
        for n, each in enumerate((version, other), 1)
    }
    (tmp_path / "compare.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    places = ("--config-file", str(tmp_path / "compare.yaml"), "--download-dir", str(tmp_path / "kept"))
    audit.command("compare", *places, "--report-file", str(file))
    assert without_time(audit.command("compare", *places, *as_json).stdout) == without_time(file.read_text())


@pytest.mark.parametrize("inside", ["run_model", "reg_model"])
def test_a_download_that_another_version_was_registered_from_stays(
    mlflow_local: MlflowServer, audit: Auditor, tmp_path: Path, inside: str
) -> None:
    registry, kept = Registry(mlflow_local), tmp_path / "kept"
    at = ("--tracking-uri", mlflow_local.uri, "--ledger", "none", "--download-dir", str(kept))
    first, other = registry.add(), registry.add(seed=1)
    assert audit.command("check", f"{first.name}/1", *at).exit_status == CLEAN
    assert audit.command("check", f"{first.name}/1", *at).exit_status == CLEAN  # nobody has registered it yet
    (model,) = (kept / inside).iterdir()
    (tmp_path / "link").symlink_to(model)
    registry.client.create_model_version(first.name, (tmp_path / "link").as_uri())
    before = {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    for name in (first.name, other.name):
        refused = audit.command("check", f"{name}/1", *at)
        assert refused.exit_status != CLEAN
        assert f"the model of {first.name}/2, which was registered from an earlier download" in refused.stdout
    assert {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()} == before


def test_no_download_is_put_into_another_versions_model(
    mlflow_local: MlflowServer, audit: Auditor, tmp_path: Path
) -> None:
    registry = Registry(mlflow_local)
    first, other = registry.add(), registry.add(seed=1)
    inside = Path(first.run_location.removeprefix("file://")) / "data" / "new"
    at = ("--tracking-uri", mlflow_local.uri, "--ledger", "none", "--download-dir", str(inside))
    refused = audit.command("check", f"{other.name}/1", *at)
    assert refused.exit_status == USAGE
    assert "is in a model" in refused.stderr
    assert not inside.exists()


@pytest.mark.parametrize("inside", ["run_model", "reg_model", ""], ids=["download", "other download", "the model"])
def test_a_model_that_was_registered_from_a_download_is_not_emptied(
    mlflow_local: MlflowServer, audit: Auditor, tmp_path: Path, inside: str
) -> None:
    registry, kept = Registry(mlflow_local), tmp_path / "kept"
    at = ("--tracking-uri", mlflow_local.uri, "--ledger", "none", "--download-dir")
    first = registry.add()
    assert audit.command("check", f"{first.name}/1", *at, str(kept)).exit_status == CLEAN
    (model,) = (kept / (inside or "run_model")).iterdir()
    again = registry.client.create_model_version(first.name, model.as_uri())
    before = {path: path.read_bytes() for path in model.rglob("*") if path.is_file()}
    refused = audit.command("check", f"{first.name}/{again.version}", *at, str(kept if inside else model / "data"))
    assert refused.exit_status != CLEAN
    expected = "the model itself: give another directory" if inside else "is in a model"
    assert expected in refused.stdout + refused.stderr
    assert {path: path.read_bytes() for path in model.rglob("*") if path.is_file()} == before
    elsewhere = audit.command("check", f"{first.name}/{again.version}", *at, str(tmp_path / "elsewhere"))
    assert elsewhere.exit_status == CLEAN, elsewhere.stderr


@pytest.mark.parametrize("command", ["check", "compare", "audit"])
def test_over_http_nobody_waits_for_mlflow(command: str, mlflow_a: MlflowServer) -> None:
    """To import it takes longer than the work does."""
    version = Registry(mlflow_a).add()
    named = f"{version.name}/{version.version}"
    of_command = {"check": [named], "compare": [named, named], "audit": ["--model", version.name]}
    code = (
        "import sys\n"
        "from registry_audit.cli import boundary, main\n"
        "status = boundary.run(main.registry_audit, 'registry-audit', sys.argv[1:])\n"
        "print(status, 'mlflow' in sys.modules)"
    )
    arguments = [command, *of_command[command], "--tracking-uri", mlflow_a.uri]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines()[-1] == f"{CLEAN} False", done.stderr
