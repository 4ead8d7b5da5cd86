"""Two workspaces with the same names at the same paths and other bytes: the profile that is named decides, alone."""

import json
import time
from pathlib import Path

import pytest
from support import damage
from support.auditing import Audited, Auditor
from support.databricks import StandIn, one_host, profiles
from support.processes import free_port

CLEAN, FINDINGS, USAGE, INCOMPLETE = 0, 1, 2, 3


def _twins(one: StandIn, other: StandIn) -> None:
    for seed, service in ((1, one), (2, other)):
        service.register("Sklearn_Wine", service.log_model(seed=seed, number=7), stage="Staging")


@pytest.mark.parametrize("ambient", ["nothing", "environment", "DEFAULT profile"])
def test_credentials_of_another_workspace_change_nothing(
    test_env: StandIn, prod_env: StandIn, audit: Auditor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ambient: str
) -> None:
    _twins(test_env, prod_env)
    damage.flip_byte(prod_env.register("Sklearn_Wine", prod_env.log_model(seed=3, number=8)).reg)
    test_env.register("Sklearn_Wine", test_env.log_model(seed=3, number=8))
    if ambient == "environment":
        monkeypatch.setenv("DATABRICKS_HOST", prod_env.url)
        monkeypatch.setenv("DATABRICKS_TOKEN", prod_env.token)
        monkeypatch.setenv("DATABRICKS_CONFIG_PROFILE", "prod_env")
    if ambient == "DEFAULT profile":
        file = profiles(tmp_path / "with-default", DEFAULT=prod_env, test_env=test_env, prod_env=prod_env)
        monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(file))
    audited = audit("databricks://test_env")
    assert (audited.exit_status, [row["verdict"] for row in audited.rows]) == (CLEAN, ["match", "match"]), (
        audited.stderr
    )
    assert prod_env.asked == []
    test_env.asked.clear()
    audited = audit("databricks://prod_env")
    assert (audited.exit_status, [row["verdict"] for row in audited.rows]) == (FINDINGS, ["match", "mismatch"])
    assert test_env.asked == []


def test_plain_databricks_is_the_default_one(
    test_env: StandIn, prod_env: StandIn, audit: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    _twins(test_env, prod_env)
    monkeypatch.setenv("DATABRICKS_HOST", prod_env.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", prod_env.token)
    monkeypatch.delenv("DATABRICKS_CONFIG_FILE")
    assert audit("databricks").exit_status == CLEAN
    assert test_env.asked == []


# As it stands in the documents that this product grew from, its mistake included: one key is given twice.
DOCUMENTS = """\
tracking_server_01:
  host: databricks://test_env
  model: Sklearn_Wine
  version_or_stage: staging
  native_model: model.pkl
tracking_server_01:
  host: databricks://prod_env
  model: Sklearn_Wine_Imported
  version_or_stage: staging
  native_model: model.pkl
"""


def test_the_configuration_of_the_documents(
    test_env: StandIn, prod_env: StandIn, audit: Auditor, tmp_path: Path
) -> None:
    test_env.register("Sklearn_Wine", test_env.log_model(seed=1, number=7), stage="Staging")
    imported = prod_env.register("Sklearn_Wine_Imported", prod_env.log_model(seed=1, number=7), stage="Staging")
    config, report = tmp_path / "config.yaml", tmp_path / "compare.json"

    def compare(text: str) -> Audited:
        config.write_text(text)
        place = tmp_path / f"download-{len(prod_env.asked)}"
        more = ("--download-dir", str(place), "--report-file", str(report), "--format", "json")
        done = audit.command("compare", "--config-file", str(config), *more)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    refused = compare(DOCUMENTS)
    assert (refused.exit_status, "'tracking_server_01' is given twice, on lines 1 and 6" in refused.stderr) == (
        USAGE,
        True,
    )
    assert (test_env.asked, prod_env.asked) == ([], [])
    mended = DOCUMENTS[::-1].replace("10_revres_gnikcart", "20_revres_gnikcart", 1)[::-1]
    assert compare(mended).exit_status == CLEAN
    assert json.loads(report.read_text())["Comparison_Summary"] == {"run_model": True, "reg_model": True}
    damage.flip_byte(imported.reg)
    assert compare(mended).exit_status == FINDINGS
    assert json.loads(report.read_text())["Comparison_Summary"] == {"run_model": True, "reg_model": False}


def test_one_registry_under_two_profiles_is_one(
    test_env: StandIn, audit: Auditor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    test_env.register("Wine", seed=1)
    file = profiles(tmp_path / "two-names", test_env=test_env, another=test_env)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(file))
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    assert audit("databricks://test_env", "--ledger", ledger, "--accept-new").row["baseline"] == "new"
    assert audit("databricks://another", "--ledger", ledger).row["baseline"] == "unchanged"


@pytest.mark.parametrize("equal", [False, True], ids=["other-versions", "equal-versions"])
def test_a_profile_that_leads_to_another_workspace_now_is_another_registry(
    test_env: StandIn,
    prod_env: StandIn,
    audit: Auditor,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    equal: bool,
) -> None:
    """Whatever its versions say of themselves: the ids of the workspaces are others."""
    for service, number in ((test_env, 7), (prod_env, 7 if equal else 8)):
        service.register("Wine", service.log_model(seed=number, number=number))
    prod_env.models["Wine"][0]["description"] = "another one"
    ledger = ("--ledger", f"sqlite:///{tmp_path}/ledger.db")
    assert audit("databricks://test_env", *ledger, "--accept-new").row["baseline"] == "new"
    file = profiles(tmp_path / "pointed-elsewhere", test_env=prod_env)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(file))
    audited = audit("databricks://test_env", *ledger, "--accept-new")
    assert (audited.exit_status, audited.row["baseline"]) == (CLEAN, "new"), audited.stderr
    assert "under another address" not in audited.everything
    shown = audit.command("baseline", "registries", *ledger).stdout
    assert (test_env.workspace_id in shown, prod_env.workspace_id in shown) == (True, True), shown


def test_workspaces_of_one_metastore_are_one_registry(
    test_env: StandIn, prod_env: StandIn, audit: Auditor, tmp_path: Path
) -> None:
    """Unity Catalog is known by its metastore; also where only the assignment of the workspace may be asked for."""
    prod_env.metastore_id = test_env.metastore_id
    for service in (test_env, prod_env):
        service.register_in_catalog("main.ml.wine", service.log_model(seed=1, number=7, at="Volumes/main/ml/v/model"))
    prod_env.catalog["main.ml.wine"][0]["run_workspace_id"] = test_env.workspace_id
    prod_env.faults.without_metastore = True
    ledger = ("--ledger", f"sqlite:///{tmp_path}/ledger.db")
    assert audit("databricks-uc://test_env", *ledger, "--accept-new").row["baseline"] == "new"
    audited = audit("databricks-uc://prod_env", *ledger)
    assert (audited.row["baseline"], audited.row["verdict"]) == ("unchanged", "unverifiable")  # its run is elsewhere
    shown = audit.command("baseline", "registries", *ledger).stdout
    assert f"metastore/{test_env.metastore_id}" in shown
    assert "workspace/" not in shown


def test_runs_are_in_the_workspace_of_their_registry_unless_it_says_otherwise(
    test_env: StandIn, prod_env: StandIn, audit: Auditor
) -> None:
    test_env.register("Sklearn_Wine", seed=1)
    audited = audit("databricks://prod_env", "--registry-uri", "databricks://test_env")
    assert (audited.exit_status, audited.row["verdict"]) == (INCOMPLETE, "unverifiable"), audited.everything
    assert f"its run is in the workspace {test_env.workspace_id}" in audited.everything


def test_a_run_of_another_workspace_is_not_looked_for_here(
    test_env: StandIn, prod_env: StandIn, audit: Auditor
) -> None:
    """Two workspaces share one metastore: the version says which of them its run is in."""
    test_env.register_in_catalog("main.ml.wine", test_env.log_model(seed=1, number=7))
    test_env.catalog["main.ml.wine"][0]["run_workspace_id"] = prod_env.workspace_id
    audited = audit("databricks-uc://test_env")
    assert (audited.exit_status, audited.row["verdict"]) == (INCOMPLETE, "unverifiable")
    assert prod_env.workspace_id in audited.everything


@pytest.mark.parametrize("scheme", ["databricks", "databricks-uc"])
@pytest.mark.parametrize("command", ["audit", "check", "compare"])
def test_a_dead_workspace(
    test_env: StandIn,
    audit: Auditor,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    scheme: str,
    command: str,
) -> None:
    """Nothing listens: one sentence within seconds, whatever is asked, also where the other workspace is well."""
    file = tmp_path / "dead"
    file.write_text(
        f"[dead]\nhost = http://127.0.0.1:{free_port()}\ntoken = t\n"
        f"[test_env]\nhost = {test_env.url}\ntoken = {test_env.token}\n"
    )
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(file))
    test_env.register("Wine", seed=1)
    began = time.monotonic()
    if command == "audit":
        audited = audit(f"{scheme}://dead")
    elif command == "check":
        audited = audit.command("check", "main.ml.wine/1", "--tracking-uri", f"{scheme}://dead")
    else:
        one = "host: databricks://test_env\n  model: Wine\n  version_or_stage: '1'\n"
        two = f"host: {scheme}://dead\n  model: main.ml.wine\n  version_or_stage: '1'\n"
        (tmp_path / "config.yaml").write_text(f"tracking_server_1:\n  {one}tracking_server_2:\n  {two}")
        more = ("--config-file", str(tmp_path / "config.yaml"), "--download-dir", str(tmp_path / "download"))
        audited = audit.command("compare", *more)
    assert time.monotonic() - began < 45
    assert audited.exit_status == INCOMPLETE, audited.stderr
    assert "nothing listens there" in audited.stderr
    assert audited.stderr.count("registry-audit: ") == 1, audited.stderr


@pytest.mark.parametrize(
    ("uri", "arguments", "says"),
    [
        ("databricks://test_env", ("--model", "main.ml.wine"), "databricks-uc://PROFILE"),
        ("databricks://nobody", (), "databricks configure --profile nobody"),
        ("uc:http://127.0.0.1:1", (), "--registry-uri"),
        ("databricks://of_a_browser", (), "workspace_id"),
        ("databricks-uc://console", (), "give the address of a workspace"),
        ("databricks://password", (), "holds a user's name or password"),
    ],
)
def test_what_to_do_instead(
    test_env: StandIn, audit: Auditor, named_profiles: Path, uri: str, arguments: tuple[str, ...], says: str
) -> None:
    test_env.register("Wine")
    with named_profiles.open("a", encoding="utf-8") as file:
        file.write(f"[of_a_browser]\nhost = {test_env.url}/?o=1234567890#mlflow\ntoken = {test_env.token}\n")
        file.write(f"[password]\nhost = {test_env.url.replace('//', '//user:hunter2@')}\ntoken = {test_env.token}\n")
        file.write("[console]\nhost = https://accounts.cloud.databricks.invalid\ntoken = dapi\n")
    audited = audit(uri, *arguments)
    assert (audited.exit_status, says in audited.stderr) == (USAGE, True), audited.stderr
    assert "hunter2" not in audited.everything


def test_the_profile_chooses_among_the_workspaces_of_one_host(
    audit: Auditor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    services = [StandIn(tmp_path / f"workspace-{number}", number=number) for number in (1, 2)]
    services[1].token = services[0].token
    _twins(*services)
    damage.flip_byte(services[1].files / services[1].models["Sklearn_Wine"][0]["registry_uri"].removeprefix("dbfs:/"))
    with one_host(*services):
        config = "".join(
            f"[w{n}]\nhost = {service.url}\ntoken = {service.token}\nworkspace_id = {service.workspace_id}\n"
            for n, service in enumerate(services, 1)
        )
        (tmp_path / "profiles").write_text(config, encoding="utf-8")
        monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "profiles"))
        audits = [audit(f"databricks://w{n}") for n in (1, 2)]
    assert [audited.row["verdict"] for audited in audits] == ["match", "mismatch"]
    known = [audited.document["registry"]["known_as"] for audited in audits]
    assert [service.workspace_id in name for service, name in zip(services, known, strict=True)] == [True, True]
    assert [row["path"] for row in audits[1].row["differences"]] == [damage.TOP_FILE]


def test_what_is_no_workspace_is_said(test_env: StandIn, audit: Auditor) -> None:
    test_env.faults.pages_of_html = ("/scim/",)
    audited = audit("databricks://test_env")
    assert (audited.exit_status, "is it the address of a workspace?" in audited.stderr) == (INCOMPLETE, True)


def test_a_refused_token(test_env: StandIn, audit: Auditor) -> None:
    test_env.faults.token_refused = True
    audited = audit("databricks://test_env")
    assert audited.exit_status == USAGE
    assert "refuses profile test_env" in audited.stderr
    assert test_env.token not in audited.everything


def test_a_workspace_is_known_by_its_id_whatever_asks(
    test_env: StandIn, prod_env: StandIn, audit: Auditor, tmp_path: Path
) -> None:
    """Baselines of another digest are those of this workspace, and of no other that a profile of this name meant."""
    uri, name = "databricks://test_env", "Sklearn_Wine"
    for seed, service in ((1, test_env), (2, prod_env)):
        service.register(name, service.log_model(seed=seed, number=7))
    ledger = ("--ledger", f"sqlite:///{tmp_path / 'ledger.db'}")
    assert audit(uri, *ledger, "--accept-new", "--digest", "blake3").row["baseline"] == "new"
    checked = audit.command("check", f"{name}/1", "--tracking-uri", uri, *ledger)
    assert (checked.exit_status, "blake3:" in checked.stdout) == (CLEAN, True), checked.stderr
    assert name in audit.command("baseline", "list", "--tracking-uri", uri, *ledger).stdout
    other = audit.command("baseline", "list", "--tracking-uri", uri.replace("test_env", "prod_env"), *ledger)
    assert (other.exit_status, "knows no registry" in other.stderr) == (USAGE, True)


def test_tokens_that_a_configuration_names_are_used_for_every_question(
    test_env: StandIn, prod_env: StandIn, audit: Auditor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also for the first one: which registry of the ledger it is. The profiles hold no token."""
    _twins(test_env, prod_env)
    ledger = ("--ledger", f"sqlite:///{tmp_path}/ledger.db")
    assert audit("databricks://test_env", *ledger, "--accept-new").exit_status == CLEAN
    services = {"test_env": test_env, "prod_env": prod_env}
    hosts = "".join(f"[{name}]\nhost = {service.url}\n" for name, service in services.items())
    (tmp_path / "hosts").write_text(hosts, encoding="utf-8")
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "hosts"))
    config = {}
    for number, (name, service) in enumerate(services.items(), 1):
        monkeypatch.setenv(f"TOKEN_{number}", service.token)
        version = {"model": "Sklearn_Wine", "version_or_stage": "staging", "token_env": f"TOKEN_{number}"}
        config[f"tracking_server_{number}"] = {"host": f"databricks://{name}", **version}
    (tmp_path / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    places = ("--config-file", str(tmp_path / "config.yaml"), "--download-dir", str(tmp_path / "kept"))
    compared = audit.command("compare", *places, *ledger)
    assert compared.exit_status == FINDINGS, compared.stderr


@pytest.mark.parametrize(
    ("secret", "login_page", "status", "says"),
    [
        (None, False, CLEAN, ""),
        ("another", False, USAGE, "invalid_client"),
        (None, True, INCOMPLETE, "gives no token"),
    ],
    ids=["signed-in", "wrong-secret", "no-token"],
)
def test_a_service_principal(
    test_env: StandIn,
    audit: Auditor,
    named_profiles: Path,
    secret: str | None,
    login_page: bool,
    status: int,
    says: str,
) -> None:
    test_env.register("Wine", seed=1)
    test_env.faults.pages_of_html = ("/oidc/v1/token",) if login_page else ()
    credentials = f"client_id = someone\nclient_secret = {secret or test_env.token}"
    named_profiles.write_text(f"[principal]\nhost = {test_env.url}\n{credentials}\n", encoding="utf-8")
    audited = audit("databricks://principal")
    assert (audited.exit_status, says in audited.stderr) == (status, True), audited.stderr
    assert test_env.token not in audited.everything
