"""A ledger beside a served registry that is changed through MLflow's own API, as its users would."""

from pathlib import Path

import pytest
from support.auditing import Audited, Auditor
from support.ledgers import Said, registry_audit
from support.registry import Logged, Registry
from support.servers import MlflowServer, sqlite_store

CLEAN, FINDINGS, USAGE, INCOMPLETE = 0, 1, 2, 3
# Longer than what they replace: a shorter file would also be RA007, less than MLmodel says was logged.
FIRST, OTHER = b"first " * 2_000, b"other " * 3_000
HOWS = ("log_run_model", "log_logged_model")


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("REGISTRY_AUDIT_HOME", str(tmp_path / "home"))
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def registry(mlflow_a: MlflowServer) -> Registry:
    return Registry(mlflow_a)


def baseline(*arguments: str, ledger: str) -> Said:
    return registry_audit("baseline", *arguments, "--ledger", ledger)


def accept(registry: Registry, ledger: str, *references: str, reason: str = "meant") -> Said:
    uri = registry.server.uri
    return baseline("accept", *references, "--reason", reason, "--tracking-uri", uri, ledger=ledger)


def overwrite(registry: Registry, logged: Logged, tmp_path: Path, content: bytes, path: str = "model.pkl") -> None:
    """Through the API: the version's own client and nothing else."""
    directory, _, name = path.rpartition("/")
    file = tmp_path / name
    file.write_bytes(content)
    if logged.model_id:
        # There is no log_model_artifact to a directory of a LoggedModel but the one for whole directories.
        if directory:
            tree = tmp_path / "tree" / directory
            tree.mkdir(parents=True)
            file.rename(tree / name)
            registry.client.log_model_artifacts(logged.model_id, str(tmp_path / "tree"))
        else:
            registry.client.log_model_artifact(logged.model_id, str(file))
    else:
        registry.client.log_artifact(logged.run_id, str(file), f"model/{directory}" if directory else "model")


def sizes_and_digests(audited: Audited) -> list[tuple[str, str, object, object]]:
    return [
        (
            d["path"],
            d["kind"],
            (d["sizes"]["baseline"], d["sizes"]["now"]),
            (d["digests"]["baseline"], d["digests"]["now"]),
        )
        for d in audited.row["baseline_differences"]
    ]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("path", ["model.pkl", "data/nested/weights.bin"])
def test_an_overwrite_after_acceptance_is_found(
    registry: Registry, audit: Auditor, ledger: str, tmp_path: Path, how: str, path: str
) -> None:
    logged: Logged = getattr(registry, how)(seed=1)
    version = registry.add(logged=logged)
    before = registry.server.artifacts.files(version.run_location)[path]
    assert audit(registry.server.uri, "--model", version.name, "--ledger", ledger, "--accept-new").exit_status == CLEAN

    updated = registry.client.get_model_version(version.name, version.version).last_updated_timestamp
    overwrite(registry, logged, tmp_path, OTHER, path)
    assert registry.client.get_model_version(version.name, version.version).last_updated_timestamp == updated

    for again in (False, True):
        audited = audit(registry.server.uri, "--model", version.name, "--ledger", ledger, "--accept-new")
        assert (audited.exit_status, audited.row["baseline"]) == (FINDINGS, "changed")
        assert (audited.row["verdict"], audited.rules) == ("same_storage", {"RA002"})
        ((found, kind, sizes, digests),) = sizes_and_digests(audited)
        assert (found, kind, sizes) == (path, "content", (len(before), len(OTHER)))
        assert len(set(digests)) == 2
        (finding,) = audited.row["findings"]
        assert (finding["severity"], finding["new"]) == ("critical", not again)
        for word in (path, f"{len(before)} bytes", f"{len(OTHER)} bytes", *(digest[:19] for digest in digests)):
            assert word in finding["message"]
    assert path in audited.stdout


@pytest.mark.parametrize("how", HOWS)
def test_accepting_an_overwrite(registry: Registry, audit: Auditor, ledger: str, tmp_path: Path, how: str) -> None:
    logged: Logged = getattr(registry, how)(seed=1)
    version = registry.add(logged=logged)
    reference, uri = f"{version.name}/{version.version}", registry.server.uri
    arguments = ("--model", version.name, "--ledger", ledger)
    audit(uri, *arguments, "--accept-new")
    overwrite(registry, logged, tmp_path, FIRST)
    unseen = accept(registry, ledger, reference)
    assert (unseen.exit_status, "bytes are not those of the last audit" in unseen.stderr) == (FINDINGS, True)
    assert audit(uri, *arguments).exit_status == FINDINGS
    overwrite(registry, logged, tmp_path, OTHER)
    moved = accept(registry, ledger, reference)
    assert (moved.exit_status, "audit it again and look at what changed" in moved.stderr) == (FINDINGS, True)

    assert audit(uri, *arguments).exit_status == FINDINGS
    dry = baseline("accept", reference, "--reason", "r", "--dry-run", "--tracking-uri", uri, ledger=ledger)
    assert (dry.exit_status, dry.stdout.startswith(f"would accept {reference}")) == (CLEAN, True)
    assert audit(uri, *arguments).exit_status == FINDINGS
    done = accept(registry, ledger, reference, reason="a new tokenizer")
    assert (done.exit_status, "* model.pkl" in done.stdout) == (CLEAN, True)
    audited = audit(uri, *arguments)
    assert (audited.exit_status, audited.row["baseline"]) == (CLEAN, "unchanged")
    assert [gone["rule"] for gone in audited.document["resolved"]] == ["RA002"]
    history = baseline("history", reference, "--tracking-uri", uri, ledger=ledger).stdout
    assert "a new tokenizer" in history
    assert [line.split()[1] for line in history.splitlines()].count("reading") == 5
    assert baseline("verify", ledger=ledger).exit_status == CLEAN


def test_accepting_needs_an_audit_a_version_and_a_reason(registry: Registry, audit: Auditor, ledger: str) -> None:
    version = registry.add()
    reference = f"{version.name}/{version.version}"
    other = registry.add()
    audit(registry.server.uri, "--model", other.name, "--ledger", ledger, "--accept-new")
    never = accept(registry, ledger, reference)
    assert (never.exit_status, "was never audited" in never.stderr) == (USAGE, True)
    number = accept(registry, ledger, f"{version.name}/99")
    assert (number.exit_status, f"its only version is {version.version}" in number.stderr) == (USAGE, True)
    misspelt = accept(registry, ledger, f"{version.name}x/1")
    assert (misspelt.exit_status, f"did you mean '{version.name}'?" in misspelt.stderr) == (USAGE, True)
    for command in ("show", "history"):
        told = baseline(command, f"{other.name}x/1", "--tracking-uri", registry.server.uri, ledger=ledger)
        assert (told.exit_status, f"did you mean '{other.name}'?" in told.stderr) == (USAGE, True)
    assert accept(registry, ledger, version.name).exit_status == USAGE
    assert accept(registry, ledger, reference, reason="  ").exit_status == USAGE


def test_all_or_nothing(registry: Registry, audit: Auditor, ledger: str, tmp_path: Path) -> None:
    """One version that moved keeps the others from being accepted with it."""
    prefix = registry.new_name()
    logged = [registry.log_run_model(seed=seed) for seed in (1, 2)]
    versions = [registry.add(f"{prefix}-{number}", logged=one) for number, one in enumerate(logged)]
    # Only the command that accepts starts this ledger: nothing matches, so nothing is accepted.
    audit(registry.server.uri, "--model", "no-such-*", "--ledger", ledger, "--accept-new")
    audit(registry.server.uri, "--model", f"{prefix}*", "--ledger", ledger)
    overwrite(registry, logged[1], tmp_path, OTHER)
    assert accept(registry, ledger, *(f"{v.name}/{v.version}" for v in versions)).exit_status == FINDINGS
    audited = audit(registry.server.uri, "--model", f"{prefix}*", "--ledger", ledger)
    assert [row["baseline"] for row in audited.rows] == ["new", "new"]


def test_a_deleted_version(registry: Registry, audit: Auditor, ledger: str) -> None:
    version = registry.add()
    kept = registry.add(version.name)
    arguments = ("--model", version.name, "--ledger", ledger)
    audit(registry.server.uri, *arguments, "--accept-new")
    registry.client.delete_model_version(version.name, version.version)
    audited = audit(registry.server.uri, *arguments)
    rows = {row["version"]: row for row in audited.rows}
    assert (audited.exit_status, audited.rules) == (FINDINGS, {"RA011"})
    assert (rows[version.version]["baseline"], rows[kept.version]["baseline"]) == ("vanished", "unchanged")
    gone = accept(registry, ledger, f"{version.name}/{version.version}", reason="retired")
    assert (gone.exit_status, "as gone" in gone.stdout) == (CLEAN, True)
    audited = audit(registry.server.uri, *arguments)
    assert (audited.exit_status, [row["version"] for row in audited.rows]) == (CLEAN, [kept.version])


def test_what_another_server_does_not_have_is_not_gone(
    registry: Registry, audit: Auditor, ledger: str, tmp_path: Path
) -> None:
    """A mistyped address, under the name of the registry: nothing of it is accepted as gone."""
    version, other = registry.add(), sqlite_store(tmp_path)
    Registry(other).add()
    audit(registry.server.uri, "--model", version.name, "--ledger", ledger, "--accept-new", "--registry-name", "prod")
    asked = ("--tracking-uri", other.uri, "--registry-name", "prod", "--ledger", ledger)
    said = audit.command("baseline", "accept", f"{version.name}/1", "--reason", "retired", "--by", "me", *asked)
    assert (said.exit_status, said.stdout) == (USAGE, "")
    assert "no audit has found" in said.stderr


def test_a_deleted_model_that_is_asked_for_by_name(registry: Registry, audit: Auditor, ledger: str) -> None:
    version = registry.add()
    arguments = ("--model", version.name, "--ledger", ledger)
    audit(registry.server.uri, *arguments, "--accept-new")
    registry.client.delete_registered_model(version.name)
    audited = audit(registry.server.uri, *arguments)
    assert (audited.exit_status, audited.rules) == (FINDINGS, {"RA011"})


def test_a_denied_model_has_not_vanished(mlflow_auth: MlflowServer, audit: Auditor, ledger: str) -> None:
    registry, user = Registry(mlflow_auth), Registry.new_name("user")
    version = registry.add()
    arguments = ("--model", f"{version.name}*", "--ledger", ledger)
    mlflow_auth.add_user(user, "a-long-password-1")
    uri = mlflow_auth.uri_as(user, "a-long-password-1")
    assert audit(uri, *arguments, "--accept-new").exit_status == CLEAN
    mlflow_auth.deny("registered_model", version.name, user)
    audited = audit(uri, *arguments)
    assert "RA011" not in audited.rules
    assert audited.exit_status == INCOMPLETE


@pytest.mark.parametrize("same_bytes", [True, False])
def test_a_model_made_anew_inherits_nothing(registry: Registry, audit: Auditor, ledger: str, same_bytes: bool) -> None:
    logged = registry.log_run_model(seed=1)
    version = registry.add(logged=logged)
    arguments = ("--model", version.name, "--ledger", ledger, "--accept-new")
    assert audit(registry.server.uri, *arguments).exit_status == CLEAN
    registry.client.delete_registered_model(version.name)
    again = registry.add(version.name, logged=logged if same_bytes else registry.log_run_model(seed=2))
    assert (again.name, again.version) == (version.name, version.version)
    for _ in range(2):
        audited = audit(registry.server.uri, *arguments)
        assert (audited.exit_status, audited.row["baseline"], audited.rules) == (FINDINGS, "new", {"RA011"})
        assert audited.document["ledger"]["accepted_new"] == 0
    assert accept(registry, ledger, f"{again.name}/{again.version}").exit_status == CLEAN
    audited = audit(registry.server.uri, *arguments)
    assert (audited.exit_status, audited.row["baseline"]) == (CLEAN, "unchanged")


def test_waiving_from_the_command_line(registry: Registry, audit: Auditor, ledger: str, tmp_path: Path) -> None:
    logged = registry.log_run_model()
    version = registry.add(logged=logged)
    arguments = ("--model", version.name, "--ledger", ledger)
    audit(registry.server.uri, *arguments, "--accept-new")
    overwrite(registry, logged, tmp_path, FIRST)
    audit(registry.server.uri, *arguments)
    waived = baseline(
        "waive", f"{version.name}/{version.version}", "--rule", "RA002", "--reason", "known", "--until", "2999-12-31",
        ledger=ledger,
    )  # fmt: skip
    assert waived.exit_status == CLEAN, waived.stderr
    audited = audit(registry.server.uri, *arguments)
    (finding,) = audited.row["findings"]
    assert (audited.exit_status, finding["waived"]["reason"]) == (CLEAN, "known")
    assert (audited.row["baseline"], audited.document["changes"]["waived"]) == ("changed", 1)
    overwrite(registry, logged, tmp_path, OTHER)
    audited = audit(registry.server.uri, *arguments)
    assert (audited.exit_status, audited.row["findings"][0]["waived"]) == (FINDINGS, None)


def test_three_thirds_are_everything(registry: Registry, audit: Auditor, ledger: str) -> None:
    name = registry.new_name()
    versions = [registry.add(name, seed=seed) for seed in range(7)]
    seen: list[str] = []
    for part in ("1/3", "2/3", "3/3"):
        audited = audit(registry.server.uri, "--model", name, "--subset", part, "--ledger", ledger, "--accept-new")
        coverage = audited.document["coverage"]
        assert coverage["not_sampled"] == coverage["listed"] - len(audited.rows)
        assert audited.exit_status == (CLEAN if audited.rows else INCOMPLETE)
        seen += [row["version"] for row in audited.rows]
    assert sorted(seen) == sorted(version.version for version in versions)
    whole = audit(registry.server.uri, "--model", name, "--ledger", ledger)
    assert {row["baseline"] for row in whole.rows} == {"unchanged"}


def test_a_proxy_tells_no_changes_so_quick_reads_everything(
    registry: Registry, audit: Auditor, ledger: str, tmp_path: Path
) -> None:
    logged = registry.log_run_model()
    version = registry.add(logged=logged)
    arguments = ("--model", version.name, "--ledger", ledger)
    full = audit(registry.server.uri, *arguments, "--accept-new")
    quick = audit(registry.server.uri, *arguments, "--quick")
    assert quick.row["baseline"] == "unchanged"
    assert quick.document["coverage"]["bytes_read"] == full.document["coverage"]["bytes_read"] > 0
    size = len(registry.server.artifacts.files(version.run_location)["model.pkl"])
    overwrite(registry, logged, tmp_path, b"x" * size)
    assert audit(registry.server.uri, *arguments, "--quick").row["baseline"] == "changed"


def test_the_head_stands_in_every_report(registry: Registry, audit: Auditor, ledger: str) -> None:
    version = registry.add()
    heads = []
    for _ in range(2):
        audited = audit(registry.server.uri, "--model", version.name, "--ledger", ledger, "--accept-new")
        heads.append(audited.document["ledger"]["head"])
        assert f"head {heads[-1]}" in baseline("verify", ledger=ledger).stdout
    assert len(set(heads)) == 2
    assert all(baseline("verify", "--head", head, ledger=ledger).exit_status == CLEAN for head in heads)


def test_the_head_is_printed(registry: Registry, audit: Auditor, ledger: str) -> None:
    version = registry.add()
    audited = audit(registry.server.uri, "--model", version.name, "--ledger", ledger, "--accept-new")
    assert audited.document["ledger"]["head"] in audited.stdout + audited.stderr


def test_accepting_into_a_ledger_of_another_algorithm(registry: Registry, audit: Auditor, ledger: str) -> None:
    version = registry.add()
    audit(registry.server.uri, "--model", version.name, "--ledger", ledger, "--accept-new", "--digest", "blake3")
    assert accept(registry, ledger, f"{version.name}/{version.version}").exit_status == CLEAN
