"""Locations, held to MLflow: what is read for a text is byte for byte what MLflow serves for it, or is unverifiable.

MLflow runs in a directory of its own, and so does the auditor. The seed and the number of texts of each kind are in the
test's name; `registry_audit.registry.storage` names this test.
"""

import contextlib
import itertools
import re
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.clouds import Cloud, S3Cloud, azurite, fake_gcs
from support.locations import TAILS, Plant, World, both, corpus, model_of, plant_all, plant_in
from support.mlflow_reads import Question, Served, what_mlflow_serves
from support.registry import Registry
from support.s3 import S3Endpoint
from support.servers import MlflowServer

from registry_audit.audit.copies import Copy, ModelCopy
from registry_audit.audit.pipeline import AuditedVersion, audit_with_copies
from registry_audit.audit.session import Session
from registry_audit.model.listing import Limits
from registry_audit.registry.connection import Server
from registry_audit.registry.versions import list_versions
from registry_audit.verdict import Verdict

LONG = (pytest.mark.slow, pytest.mark.timeout(3_000))
PASSES = {Verdict.MATCH, Verdict.SAME_STORAGE, Verdict.EQUIVALENT}


@dataclass(frozen=True, slots=True)
class Bench:
    """A registry, the places that its locations may lead to, and the two directories in which they are asked for."""

    registry: Registry
    worlds: Sequence[World]
    elsewhere: Path  # where MLflow runs

    def register(self, locations: Sequence[tuple[str, str]]) -> str:
        """The name of a model with one version for each source and download URI, in this order."""
        name = Registry.new_name("locations")
        self.registry.insert_versions(name, locations)
        return name

    def audit(self, name: str) -> list[AuditedVersion]:
        # A text may lead to all that other tests have put on this server or this disk.
        session = Session(Server(self.registry.server.uri), limits=Limits(max_directories=500))
        try:
            versions = list(list_versions(session.connection, f"name = '{name}'", max_versions=100_000).versions)
            with ThreadPoolExecutor(8) as pool:
                found = list(pool.map(lambda version: audit_with_copies(session, version), versions))
        finally:
            session.stop()
        return sorted(found, key=lambda audited: int(audited.audit.version.version))

    def serves(self, texts: Sequence[str]) -> dict[str, tuple[Served, Served]]:
        """For each text what opening it serves, and what downloading it does."""
        questions = [Question(way, text) for text in texts for way in ("repository", "download")]
        uri = self.registry.server.uri
        served = what_mlflow_serves(self.elsewhere, uri, questions)
        return {text: (served[Question("repository", text)], served[Question("download", text)]) for text in texts}


def local(root: Path) -> World:
    beginnings = (
        "",
        "file:",
        "file://",
        "file://localhost",
        "file://LOCALHOST",
        "File://",
        "FILE:",
        "file:/",
        "file://otherhost",
        "file://user:pw@localhost",
        "file://127.0.0.1",
        "/",
    )
    return World("local", tuple(f"{beginning}{root}/" for beginning in beginnings), plant_in(root))


def relative(*roots: Path) -> World:
    beginnings = (
        "",
        "./",
        "../x/",
        "file:",
        "file:./",
        "C:/",
        "c:\\",
        "file:///C:/",
        "\\\\host\\share\\",
        "//host/share/",
        "~/",
        "mlruns/",
        "s3:",
        "x:",
    )
    return World("relative", beginnings, both(*(plant_in(root) for root in roots)))


def proxied(server: MlflowServer) -> World:
    root = Path(server.artifact_root, f"locations-{secrets.token_hex(4)}")
    home, port = root.name, server.host.partition(":")[2]
    beginnings = (
        f"mlflow-artifacts:/{home}/",
        f"mlflow-artifacts:///{home}/",
        f"mlflow-artifacts:{home}/",
        f"mlflow-artifacts://{server.host}/{home}/",
        f"mlflow-artifacts://LocalHost:{port}/{home}/",
        f"mlflow-artifacts://user:pw@{server.host}/{home}/",
        f"mlflow-artifacts://{port}/{home}/",
        f"MLflow-Artifacts:/{home}/",
        f"mlflow-artifacts:/api/2.0/mlflow-artifacts/artifacts/{home}/",
        f"http://{server.host}/api/2.0/mlflow-artifacts/artifacts/{home}/",
        f"HTTP://{server.host}/api/2.0/mlflow-artifacts/artifacts/{home}/",
        f"http://{server.host}//api/2.0/mlflow-artifacts/artifacts//{home}/",
        f"http://{server.host}/api/2.0/mlflow-artifacts/artifacts?path={home}/",
        f"http://{server.host}/ajax-api/2.0/mlflow-artifacts/artifacts/{home}/",
        f"http://{server.host}/{home}/",
    )
    return World("proxied", beginnings, plant_in(root))


def bucket(endpoint: S3Endpoint) -> World:
    cloud = S3Cloud(endpoint)
    name = cloud.bucket
    odd = (f"s3a://{name}/", f"s3n://{name}/", f"s3://{name}:80/", f"s3://user@{name}/", f"s3://user:pw@{name}/")
    return World("s3", (*_of_bucket("s3", name), *odd), _plant(cloud))


def google(cloud: Cloud) -> World:
    return World("gs", (*_of_bucket("gs", cloud.bucket), f"gcs://{cloud.bucket}/"), _plant(cloud))


def azure(cloud: Cloud) -> World:
    root = cloud.uri("")
    host = root.partition("://")[2]
    odd = (root.replace(".blob.", ".dfs."), root.replace("core.", "evil."), f"wasb://{host}", f"https://{host}")
    of_others = (root.replace("@", "@other"), root.replace("@devstoreaccount1", "@DevStoreAccount1"))
    return World("azure", (*_of_bucket("wasbs", host.rstrip("/")), *odd, *of_others), _plant(cloud))


def _of_bucket(scheme: str, name: str) -> tuple[str, ...]:
    spellings = ("{}://{}/", "{}://{}//", "{}:/{}/", "{}:///{}/", "{}:{}/", "{}://{}%2F", "{}:// {}/")
    texts = tuple(spelling.format(scheme, name) for spelling in spellings)
    return (*texts, f"{scheme.title()}://{name}/", f"{scheme}://{name.upper()}/")


def _plant(cloud: Cloud) -> Plant:
    from azure.core.exceptions import HttpResponseError

    def plant(key: str) -> None:
        if "\n" in key:
            return  # which no emulator keeps
        with contextlib.suppress(HttpResponseError):  # nor does Azurite some others
            cloud.put(f"{key}/MLmodel", model_of(f"{key} in {cloud.bucket}"))

    return plant


def of_a_run(registry: Registry) -> World:
    """A run with a directory of its own, and LoggedModels: alone, beside it and over it."""
    run = registry.client.create_run(registry.experiment_id).info
    root = registry.server.artifacts.path(run.artifact_uri)
    for name in ("logged", "both", "sp ace", "logged-2"):
        logged(registry, run.run_id, name)

    def plant(path: str) -> None:
        if "logged" not in path:
            plant_in(root)(path)

    beginnings = (
        f"runs:/{run.run_id}/",
        f"runs:///{run.run_id}/",
        f"runs:{run.run_id}/",
        f"runs://{run.run_id}/",
        f"runs://host/{run.run_id}/",
        f"runs:/{run.run_id}//",
        f"Runs:/{run.run_id}/",
        f"runs:/{run.run_id.upper()}/",
        "runs:/" + "0" * 32 + "/",
    )
    models = ("logged", "logged/inside", "logged-2", "logged/nowhere", "both", "both/inside", "own/both", "sp ace")
    return World("run", beginnings, plant, (*TAILS, *models, *models))


def logged(registry: Registry, run_id: str, name: str) -> str:
    """The id of a new LoggedModel that says where it lies, and holds another model inside."""
    model = registry.client.create_logged_model(registry.experiment_id, name=name, source_run_id=run_id)
    plant = plant_in(registry.server.artifacts.path(model.artifact_location))
    for path in (".", "inside"):
        plant(path)
    registry.client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def registered(registry: Registry, root: Path) -> World:
    """Registered models and LoggedModels, by their names, numbers, aliases and stages."""
    client, name = registry.client, Registry.new_name("Target")
    paths = [str(root / path) for path in ("one", "two", "three")] + [f"models:/{name}/1"]
    for path in ("one", "two", "three"):
        plant_in(root)(path)
    registry.insert_versions(name, [(path, path) for path in paths])
    client.set_registered_model_alias(name, "champion", "2")
    registry.change_row(name, "3", current_stage="Production")
    model_id = logged(registry, client.create_run(registry.experiment_id).info.run_id, "alone")
    beginnings = (
        "models:/",
        "models:///",
        "models:",
        "models://",
        "models://host/",
        "models:/x/",
        "Models:/",
        "MODELS:/",
    )
    of_model = (
        f"{name}/1",
        f"{name}/2",
        f"{name}/4",
        f"{name}/01",
        f"{name}/99",
        f"{name}/-1",
        f"{name}/1.0",
        f"{name}/\u0661",
    )
    named = (f"{name}@champion", f"{name}@Champion", f"{name}/champion", f"{name}/latest", f"{name}/Production", name)
    ids = (model_id, model_id, f"{model_id}/1", f"{model_id}/inside", f"{model_id}@1", f"{name}/1/inside")
    return World("models", beginnings, lambda path: None, (*of_model, *named, *ids))


@dataclass(frozen=True, slots=True)
class Case:
    """What a version's row says, and what MLflow serves for its source and for its download URI."""

    text: str
    audited: AuditedVersion
    source: tuple[Served, Served]
    download_uri: tuple[Served, Served]

    def wrong(self) -> Iterator[str]:
        """What the row says that MLflow belies. No two models hold the same bytes."""
        row, copies = self.audited.audit, (self.audited.run, self.audited.reg or self.audited.run)
        served = [{way.mlmodel for way in ways if way.mlmodel is not None} for ways in (self.source, self.download_uri)]
        read = [_mlmodel(copy) for copy in copies]
        # What MLflow serves one directory down, or in several ways, is read and said to be that.
        is_ambiguous = any(finding.rule == "RA015" for finding in row.findings)
        for content, places in zip(read, served, strict=True):
            if content is not None and content not in places and not is_ambiguous:
                yield f"{content} was read, and is not served"
        if row.verdict in PASSES and (len(served[0] | served[1]) != 1 or set(read) != served[0] | served[1]):
            yield f"it is {row.verdict.value}, and MLflow serves several things, or nothing"
        missing = any(finding.rule == "RA003" for finding in row.findings)
        if row.verdict is Verdict.MISMATCH and served[0] & served[1]:
            yield "it is a mismatch, and MLflow serves the same"
        if missing and served[0] and served[1]:
            yield "it is said to be missing"

    def __str__(self) -> str:
        ways = " | ".join(way.mlmodel or way.error[:90] or "nothing" for way in (*self.source, *self.download_uri))
        return f"{self.text} is {self.audited.audit.verdict.value}; MLflow: {ways}"


def _mlmodel(copy: Copy | None) -> str | None:
    """Of a copy that is vouched for as a whole."""
    if not isinstance(copy, ModelCopy) or copy.manifest is None or copy.reading is None or copy.reading.mlmodel is None:
        return None
    return copy.reading.mlmodel.decode()


def hold_to_mlflow(bench: Bench, seed: int, count: int) -> None:
    """Each text as source and download URI of one version, and as the source of another whose URI is much like it."""
    texts = corpus(bench.worlds, seed, count)
    plant_all(bench.worlds, texts)
    served = bench.serves([text.text for text in texts])
    alike = sorted(texts, key=lambda text: (text.world, re.sub(r"\W|%..", "", text.tail).lower(), text.text))
    pairs = [(text.text, text.text) for text in texts]
    pairs += [(one.text, two.text) for one, two in itertools.pairwise(alike)]
    audited = bench.audit(bench.register(pairs))
    cases = [
        Case(f"{source!r} with {uri!r}", found, served[source], served[uri])
        for (source, uri), found in zip(pairs, audited, strict=True)
    ]
    wrong = [f"{reason}: {case}" for case in cases for reason in case.wrong()]
    of_identity = defaultdict[str, dict[str, str]](dict)
    for case in cases[: len(texts)]:
        resolved = case.audited.resolved
        if case.audited.audit.verdict in PASSES and resolved and resolved.reg_model.identity:
            of_identity[resolved.reg_model.identity.key] |= {way.mlmodel or "": case.text for way in case.source}
    wrong += [f"one identity: {[*places.values()]}" for places in of_identity.values() if len(places.keys() - {""}) > 1]
    assert not wrong, "\n".join(wrong)
    passed = sum(case.audited.audit.verdict in PASSES for case in cases[: len(texts)])
    assert passed > len(texts) / 12, "hardly anything was read: nothing was tested"
    assert any(case.audited.audit.verdict is Verdict.MISMATCH for case in cases), "no two places were told apart"


@pytest.fixture
def directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """Where MLflow runs, where the auditor does, and a root for models."""
    elsewhere, here, root = (tmp_path / name for name in ("elsewhere", "here", "root"))
    for directory in (elsewhere, here, root):
        directory.mkdir()
    monkeypatch.chdir(here)
    return elsewhere, here, root


@pytest.mark.parametrize(("seed", "count"), [(1, 3), *(pytest.param(seed, 15, marks=LONG) for seed in range(2, 6))])
def test_what_is_read_is_what_mlflow_serves(
    mlflow_a: MlflowServer, s3_environment: S3Endpoint, directories: tuple[Path, Path, Path], seed: int, count: int
) -> None:
    elsewhere, here, root = directories
    registry = Registry(mlflow_a)
    worlds = (
        local(root),
        relative(elsewhere, here),
        proxied(mlflow_a),
        bucket(s3_environment),
        of_a_run(registry),
        registered(registry, root / "registered"),
    )
    hold_to_mlflow(Bench(registry, worlds, elsewhere), seed, count)


@pytest.mark.parametrize(("seed", "count"), [(1, 6), *(pytest.param(seed, 40, marks=LONG) for seed in range(2, 4))])
@pytest.mark.parametrize(("emulator", "world"), [(fake_gcs, google), (azurite, azure)], ids=["gs", "azure"])
def test_so_it_is_in_other_clouds(
    mlflow_local: MlflowServer,
    directories: tuple[Path, Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    emulator: Callable[[Path], AbstractContextManager[Cloud]],
    world: Callable[[Cloud], World],
    seed: int,
    count: int,
) -> None:
    with emulator(tmp_path) as cloud:
        for name, value in cloud.environment(cloud.url).items():
            monkeypatch.setenv(name, value)
        hold_to_mlflow(Bench(Registry(mlflow_local), (world(cloud),), directories[0]), seed, count)
