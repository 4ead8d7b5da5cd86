"""`import registry_audit as ra`: the commands as functions. The page docs/python.md runs as it stands."""

import inspect
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support import damage
from support.auditing import Auditor
from support.ledgers import tamper
from support.registry import Registered, Registry
from support.servers import MlflowServer, sqlite_store

import registry_audit as ra
import registry_audit.api

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowServer:
    """A registry that the environment names, with a ledger that it names too."""
    directory = tmp_path / "registry"
    directory.mkdir()
    server = sqlite_store(directory)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("REGISTRY_AUDIT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("REGISTRY_AUDIT_LEDGER")
    monkeypatch.chdir(tmp_path)
    return server


@pytest.fixture
def wine(server: MlflowServer) -> Registered:
    registry = Registry(server)
    version = registry.add("Wine", seed=1)
    registry.add("Wine", seed=2)
    registry.client.set_registered_model_alias("Wine", "champion", "1")
    return version


def overwrite(server: MlflowServer, version: Registered) -> None:
    with server.artifacts.edit(version.reg_location) as directory:
        damage.flip_byte(directory)


def test_the_page_runs(wine: Registered, server: MlflowServer, capsys: pytest.CaptureFixture[str]) -> None:
    for copied in ("old.db", "new.db"):
        shutil.copy(server.db_uri.removeprefix("sqlite:///"), copied)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    said = capsys.readouterr().out
    assert Path("report", "audit.html").is_file()
    assert Path("model", "MLmodel").is_file()
    assert "2 versions without a finding are not listed" in said
    assert "Wine/1 and Wine/2: run models: mismatch" in said
    assert "False Not proved: 0 of 2 versions are in the target unchanged, 2 not moved." in said


def test_two_registries(tmp_path: Path) -> None:
    servers = []
    for side in ("old", "new"):
        (tmp_path / side).mkdir()
        servers.append(sqlite_store(tmp_path / side))
    old, new = map(Registry, servers)
    for seed in (1, 2, 3):
        old.add(HOSTILE, seed=seed)
    for seed in (1, 3):
        new.add(f"main.{HOSTILE}", seed=seed)
    addresses = {"host": servers[0].uri}, servers[1].uri

    result = ra.compare_registries(*addresses, mapping={"*": "main.*"}, report_dir=tmp_path / "report")

    assert (bool(result), result.complete, result.exit_status) == (False, False, 1)
    assert result.sentence == "Not complete: 0 of 3 versions are in the target unchanged, 2 explained, 1 missing."
    table = result.to_pandas()
    assert list(table["verdict"]) == ["equivalent", "missing", "equivalent"]
    assert list(table["target_version"].fillna("none")) == ["1", "none", "2"]
    assert set(result.to_pandas("findings")["rule"]) == {"RA020", "RA024"}
    shown = result._repr_html_()
    assert "&lt;img src=x onerror=alert(1)&gt;/2" in shown
    assert "<img" not in shown
    assert "RA020" in shown
    assert (tmp_path / "report" / "migration.json").is_file()
    assert str(result).startswith("Not complete\n")
    kept = ra.compare_registries(*addresses, mapping={f"{HOSTILE}/1": f"main.{HOSTILE}/1", "*": "main.*"})
    assert kept.versions[0].found_by == "map"
    with pytest.raises(ra.UsageError, match="both sides need the same number"):
        ra.compare_registries(*addresses, mapping={"*": "x"})
    with pytest.raises(ra.UsageError, match=r"^fail_on: give one of"):
        ra.compare_registries(*addresses, fail_on="worst")  # type: ignore[arg-type]
    with pytest.raises(ra.UsageError, match="has no host"):
        ra.compare_registries({"registry_uri": "x"}, servers[1].uri)


def test_it_remembers_as_the_commands_do(wine: Registered, server: MlflowServer, audit: Auditor, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.delenv("REGISTRY_AUDIT_LEDGER")  # the fixture's: without a ledger
    audited = ra.audit(accept_new=True)
    assert (bool(audited), audited.clean, audited.state) == (True, True, "clean")
    overwrite(server, wine)
    checked = ra.check("Wine/1")
    assert (bool(checked), checked.exit_status, checked.state) == (False, 1, "findings")
    assert [finding.rule for _, finding in checked.findings] == ["RA002"]
    assert audit.command("check", "Wine/1").exit_status == 1
    assert not ra.compare("Wine/1", "Wine/1")
    with pytest.raises(ra.NotAsAccepted) as raised:
        ra.pull("Wine/1", "pulled")
    assert [difference.path for difference in raised.value.differences] == ["model.pkl"]
    assert ra.check("Wine/1", ledger=None).exit_status == 0
    assert ra.check("Wine/1", ledger="none").exit_status == 0


def test_a_report_is_written_although_the_ledger_is_lost(
    wine: Registered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    ra.audit(ledger=ledger, accept_new=True)
    finish = registry_audit.api.finish

    def finished_on_a_damaged_ledger(*arguments: Any) -> Any:
        tamper(ledger, "UPDATE entries SET body = '{}' WHERE seq = 2")
        return finish(*arguments)

    monkeypatch.setattr("registry_audit.api.finish", finished_on_a_damaged_ledger)
    with pytest.raises(ra.LedgerError, match="chain is broken"):
        ra.audit(ledger=ledger, report_dir=tmp_path / "report")
    document = json.loads((tmp_path / "report" / "audit.json").read_text())
    assert [row["verdict"] for row in document["versions"]] == ["same_storage"] * 2
    assert document["outcome"]["exit_status"] == 4


def test_where_a_report_cannot_be_written_is_said_before_the_work(wine: Registered, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ra.UsageError, match=r"report_dir: .* cannot be written"):
        ra.audit(ledger=None, report_dir=tmp_path / "file")


def test_tables(wine: Registered, server: MlflowServer) -> None:
    ra.audit(accept_new=True)
    overwrite(server, wine)
    audited = ra.audit()
    versions, findings = audited.to_pandas(), audited.to_pandas("findings")
    assert list(versions["baseline"]) == ["changed", "unchanged"]
    assert list(versions["findings"]) == [1, 0]
    assert list(findings["rule"]) == ["RA002"]
    assert "RA002" in audited._repr_html_()
    assert "Wine/2" not in audited._repr_html_()
    empty = ra.check("Wine/2").to_pandas("findings")
    assert (len(empty), list(empty.columns)) == (0, list(findings.columns))
    with pytest.raises(ra.UsageError, match="give versions or findings"):
        audited.to_pandas("finding")  # type: ignore[arg-type]
    pair = ra.compare("Wine/1", "Wine/2")
    assert list(pair.to_pandas()["version"]) == ["1", "2"]
    shown = pair._repr_html_()
    assert "RA002" in shown
    # One storage is behind both copies of either version: a file that differs is one row.
    assert shown.count(">model.pkl</td>") == 1
    assert "<td style='text-align:left;vertical-align:top'>run models and registry models</td>" in shown


def test_hostile_names_are_shown_and_not_rendered(server: MlflowServer) -> None:
    registry = Registry(server)
    version = registry.add(HOSTILE, seed=1)
    with server.artifacts.edit(version.reg_location) as directory:
        (directory / HOSTILE.replace("/", "")).touch()
        damage.delete_file(directory)
    for result in (ra.audit(ledger=None), ra.check(f"{HOSTILE}/1", ledger=None)):
        shown = result._repr_html_()
        assert "&lt;img src=x onerror=alert(1)&gt;" in shown
        assert "<img" not in shown


def test_what_is_none_in_a_mapping_is_not_given(wine: Registered, server: MlflowServer) -> None:
    """YAML's word for nothing would be the name of a registry, or its address."""
    nothing: Any = {"registry_uri": None, "registry_name": None, "token_env": None}
    named: Any = {"host": server.uri, "model": "Wine", "version_or_stage": 1}
    assert ra.compare(named | nothing, named).exit_status == 0
    assert ra.compare("Wine/1", named | nothing | {"registry_name": "prod"}, ledger=None).exit_status == 0
    result = ra.compare_registries({"host": server.uri, **nothing}, server.uri, in_place=True)  # type: ignore[arg-type]
    assert {str(row.verdict) for row in result.versions} == {"same_storage"}


def test_errors_are_of_one_line_and_name_the_argument(wine: Registered, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ra.NotFound, match="has no version 9"):
        ra.check("Wine/9")
    for call in (lambda: ra.check("Wine", 1), lambda: ra.pull("Wine", "x", 1)):  # type: ignore[arg-type]
        with pytest.raises(ra.UsageError, match=r"^'Wine' is not a version: write NAME/V"):
            call()
    with pytest.raises(ra.UsageError, match=r"^1 is not a version: write 'NAME/V'"):
        ra.check(1)  # type: ignore[arg-type]
    with pytest.raises(ra.UsageError, match="there is no option max_fils; did you mean 'max_files'"):
        ra.compare("Wine/1", "Wine/2", "http://127.0.0.1:1", ledger=None, max_fils=3)
    with pytest.raises(ra.UsageError, match="there is no option max_fils; did you mean 'max_files'"):
        ra.check("Wine/1", max_fils=3)
    with pytest.raises(ra.UsageError, match="there is no option max_fils; did you mean 'max_files'"):
        ra.compare("Wine/1", "Wine/2", max_fils=3)
    with pytest.raises(ra.UsageError, match=r"^max_files: "):
        ra.compare("Wine/1", "Wine/2", max_files=0)
    with pytest.raises(ra.UsageError, match=r"^fail_on: "):
        ra.audit(fail_on="worst")  # type: ignore[arg-type]
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(ra.UsageError, match="set MLFLOW_TRACKING_URI"):
        ra.audit()


def test_a_name_is_suggested_from_a_registry_of_any_size(server: MlflowServer) -> None:
    """2,500 names come before it in the registry's own order."""
    Registry(server).add("Wine-quality")
    with closing(sqlite3.connect(server.uri.removeprefix("sqlite:///"))) as database, database:
        rows = [(f"A{number:04}",) for number in range(2_500)]
        database.executemany("INSERT INTO registered_models (name) VALUES (?)", rows)
    with pytest.raises(ra.NotFound, match="did you mean 'Wine-quality'"):
        ra.check("wine-qualty/1")


def test_importing_is_light_and_the_names_are_there() -> None:
    heavy = {"mlflow", "pydantic", "sqlalchemy", "click"}
    said = f"import sys, registry_audit as ra; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    for name in ra.__all__:
        assert getattr(ra, name) is not None
        assert name in dir(ra)
    assert {name for name in dir(ra) if not name.startswith("__")} == set(ra.__all__)


@pytest.mark.parametrize("first", ["", "import registry_audit.audit.options", "import registry_audit.api"])
def test_audit_is_a_function_and_a_package_whatever_was_imported_first(first: str) -> None:
    then = (
        "import registry_audit as ra",
        "print(callable(ra.audit))",
        "import registry_audit.audit.scope as s",
        "s.Scope",
    )
    said = "\n".join((first, *then))
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "True"
    assert "models" in inspect.signature(ra.audit).parameters
    assert "accept_new: record a baseline" in (inspect.getdoc(ra.audit) or "")
