"""One test per kind of damage, on every kind of store: what the audit says and how it ends."""

import os
import pickle
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import damage
from support.auditing import Audited, Auditor
from support.registry import Logged, Registry
from support.s3 import S3Endpoint
from support.servers import MlflowServer

CLEAN, FINDINGS, INCOMPLETE = 0, 1, 3
LOCAL, PROXIED, S3_PROXIED, S3_DIRECT = "mlflow_local", "mlflow_a", "mlflow_s3", "mlflow_s3_direct"
STORES = (LOCAL, PROXIED, S3_PROXIED, S3_DIRECT)
FILES_COUNT = 7  # of a model as it was logged
NAMED = {"ids": lambda kind: kind.__name__}

every_store = pytest.mark.parametrize("server", STORES, indirect=True)
# A proxied bucket is the slowest and holds no surprise of its own: the proxy and the bucket are there one by one.
every_quick_store = pytest.mark.parametrize(
    "server", [LOCAL, PROXIED, S3_DIRECT, pytest.param(S3_PROXIED, marks=pytest.mark.slow)], indirect=True
)


@pytest.fixture
def server(request: pytest.FixtureRequest, s3_environment: S3Endpoint) -> MlflowServer:
    store: MlflowServer = request.getfixturevalue(request.param)
    return store


def _damage(server: MlflowServer, location: str, kind: damage.Damage) -> str:
    with server.artifacts.edit(location) as directory:
        return kind(directory)


def _says_mismatch(audited: Audited, path: str) -> None:
    row = audited.row
    assert (audited.exit_status, row["verdict"]) == (FINDINGS, "mismatch")
    assert "RA001" in audited.rules
    differing = [difference["path"] for difference in row["differences"]]
    assert any(found == path or found.startswith(f"{path}/") for found in differing), differing
    assert [finding["severity"] for finding in row["findings"] if finding["rule"] == "RA001"] == ["critical"]


# ---- nothing is wrong


@pytest.mark.parametrize("how", ["log_run_model", "log_logged_model"])
@pytest.mark.parametrize("separate", [True, False], ids=["separate", "shared"])
@pytest.mark.parametrize(
    "server", [*STORES, pytest.param("mlflow_postgres", marks=pytest.mark.postgres)], indirect=True
)
def test_healthy(server: MlflowServer, audit: Auditor, separate: bool, how: str) -> None:
    registry = Registry(server)
    logged: Logged = getattr(registry, how)(seed=1)
    version = registry.add(logged=logged, separate=separate)
    audited = audit(server.uri, "--model", version.name)
    row, coverage = audited.row, audited.document["coverage"]
    assert audited.exit_status == CLEAN
    assert (row["verdict"], row["storage"]) == (("match", "separate") if separate else ("same_storage", "shared"))
    assert (row["findings"], row["differences"]) == ([], [])
    assert row["run_model"]["manifest_digest"] == row["reg_model"]["manifest_digest"] is not None
    copies = 2 if separate else 1
    held = sum(map(len, server.artifacts.files(version.run_location).values()))
    assert (coverage["audited"], coverage["storages_read"]) == (1, copies)
    # A pair on local disk is one pass over both; the count is of files that were really read.
    assert (coverage["files_read"], coverage["bytes_read"]) == (FILES_COUNT * copies, held * copies)


# ---- one copy is damaged


@every_quick_store
@pytest.mark.parametrize("kind", damage.CONTENT, **NAMED)
def test_damaged_registry_model(server: MlflowServer, audit: Auditor, kind: damage.Damage) -> None:
    version = Registry(server).add(separate=True)
    path = _damage(server, version.reg_location, kind)
    _says_mismatch(audit(server.uri, "--model", version.name), path)


@pytest.mark.parametrize("server", [LOCAL, PROXIED], indirect=True)
@pytest.mark.parametrize("kind", damage.CONTENT, **NAMED)
def test_damaged_run_model(server: MlflowServer, audit: Auditor, kind: damage.Damage) -> None:
    version = Registry(server).add(separate=True)
    path = _damage(server, version.run_location, kind)
    _says_mismatch(audit(server.uri, "--model", version.name), path)


@every_store
@pytest.mark.parametrize("kind", damage.MISSING, **NAMED)
def test_missing_registry_model(server: MlflowServer, audit: Auditor, kind: damage.Damage) -> None:
    version = Registry(server).add(separate=True)
    _damage(server, version.reg_location, kind)
    audited = audit(server.uri, "--model", version.name)
    _says_mismatch(audited, "MLmodel")
    assert "RA003" in audited.rules


@every_store
def test_broken_mlmodel(server: MlflowServer, audit: Auditor) -> None:
    version = Registry(server).add(separate=True)
    path = _damage(server, version.reg_location, damage.break_mlmodel)
    audited = audit(server.uri, "--model", version.name)
    _says_mismatch(audited, path)
    assert audited.rules == {"RA001", "RA007"}


@every_quick_store
@pytest.mark.parametrize("kind", damage.COLLISIONS, **NAMED)
def test_colliding_names(server: MlflowServer, audit: Auditor, kind: damage.Damage) -> None:
    version = Registry(server).add(separate=True)
    path = _damage(server, version.reg_location, kind)
    audited = audit(server.uri, "--model", version.name)
    _says_mismatch(audited, path)
    assert audited.rules == {"RA001", "RA013"}


# ---- both copies are damaged alike: equal is not the same as sound


@every_quick_store
@pytest.mark.parametrize("separate", [True, False], ids=["separate", "shared"])
@pytest.mark.parametrize("kind", damage.MISSING, **NAMED)
def test_nothing_never_equals_nothing(
    server: MlflowServer, audit: Auditor, kind: damage.Damage, separate: bool
) -> None:
    version = Registry(server).add(separate=separate)
    for location in sorted({version.run_location, version.reg_location}):
        _damage(server, location, kind)
    audited = audit(server.uri, "--model", version.name)
    assert (audited.exit_status, audited.row["verdict"]) == (FINDINGS, "unverifiable")
    assert audited.rules == {"RA003"}
    assert audited.document["coverage"]["audited"] == 0


@every_quick_store
@pytest.mark.parametrize("kind", [*damage.INCOMPLETE, damage.break_mlmodel], **NAMED)
def test_incomplete_model_behind_both(server: MlflowServer, audit: Auditor, kind: damage.Damage) -> None:
    version = Registry(server).add()
    _damage(server, version.run_location, kind)
    audited = audit(server.uri, "--model", version.name)
    assert (audited.exit_status, audited.rules) == (FINDINGS, {"RA007"})
    assert audited.row["verdict"] == "same_storage"


@every_store
def test_shared_storage_is_never_called_a_match(server: MlflowServer, audit: Auditor) -> None:
    """Without a baseline nobody can know of the flipped byte; but nothing was compared, and that is said."""
    version = Registry(server).add()
    before = audit(server.uri, "--model", version.name).row
    _damage(server, version.run_location, damage.flip_byte)
    audited = audit(server.uri, "--model", version.name)
    assert (audited.exit_status, audited.row["verdict"], audited.row["compared_by"]) == (CLEAN, "same_storage", None)
    assert audited.row["run_model"]["manifest_digest"] != before["run_model"]["manifest_digest"]


# ---- what only a file system can hold


@pytest.mark.parametrize("server", [LOCAL], indirect=True)
@pytest.mark.parametrize("where", ["registry model", "both", "shared"])
@pytest.mark.parametrize("kind", damage.UNSAFE, **NAMED)
@pytest.mark.timeout(60)  # whoever opens the pipe waits forever
def test_unsafe_entry(server: MlflowServer, audit: Auditor, kind: damage.Damage, where: str) -> None:
    version = Registry(server).add(separate=where != "shared")
    damaged = {"registry model": [version.reg_location], "shared": [version.run_location]}
    for location in damaged.get(where, [version.run_location, version.reg_location]):
        path = _damage(server, location, kind)
    audited = audit(server.uri, "--model", version.name)
    assert audited.exit_status == FINDINGS
    assert audited.row["verdict"] == ("mismatch" if where == "registry model" else "unverifiable")
    assert path in [finding["path"] for finding in audited.row["findings"] if finding["rule"] == "RA013"]


@pytest.mark.parametrize("server", [PROXIED], indirect=True)
@pytest.mark.parametrize("separate", [True, False], ids=["separate", "shared"])
@pytest.mark.parametrize(
    "kind", [damage.symlink_to_system, damage.dangling_symlink, damage.symlink_loop, damage.fifo], **NAMED
)
@pytest.mark.timeout(60)
def test_unsafe_entry_behind_a_proxy(server: MlflowServer, audit: Auditor, kind: damage.Damage, separate: bool) -> None:
    """The server trips over it or lists without end: all a client can know is that it did not see the whole."""
    version = Registry(server).add(separate=separate)
    _damage(server, version.reg_location, kind)
    audited = audit(server.uri, "--model", version.name)
    assert audited.exit_status in (FINDINGS, INCOMPLETE)
    assert audited.row["verdict"] in ("mismatch", "unverifiable")
    assert "RA009" in audited.rules


@pytest.mark.parametrize("server", [LOCAL], indirect=True)
def test_empty_directory_more(server: MlflowServer, audit: Auditor) -> None:
    version = Registry(server).add(separate=True)
    with server.artifacts.edit(version.reg_location) as directory:
        (directory / "data" / "empty").mkdir()
    _says_mismatch(audit(server.uri, "--model", version.name), "data/empty")


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Callable[[Path, Path], None]]:
    """Mounts the first directory at the second, below a layer of changes, as containers do."""
    mounted = list[Path]()

    def mount(lower: Path, place: Path) -> None:
        layers = [tmp_path / "changes", tmp_path / "work"]
        for directory in (*layers, place):
            directory.mkdir()
        named = f"lowerdir={lower},upperdir={layers[0]},workdir={layers[1]}"
        command = ["mount", "-t", "overlay", "overlay", "-o", named, str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"an overlay cannot be mounted here: {done.stderr.strip()}")
        mounted.append(place)

    yield mount
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("server", [LOCAL], indirect=True)
@pytest.mark.parametrize("way", ["symlink", "hard links", "overlay"])
def test_one_storage_under_two_names(
    server: MlflowServer, audit: Auditor, way: str, overlay: Callable[[Path, Path], None]
) -> None:
    version = Registry(server).add(separate=True)
    run_model, reg_model = (server.artifacts.path(place) for place in (version.run_location, version.reg_location))
    shutil.rmtree(reg_model)
    if way == "symlink":
        reg_model.symlink_to(run_model)
    elif way == "overlay":
        overlay(run_model, reg_model)
    else:
        shutil.copytree(run_model, reg_model, copy_function=os.link)
    audited = audit(server.uri, "--model", version.name)
    assert (audited.exit_status, audited.row["verdict"]) == (CLEAN, "same_storage")


# ---- an expected difference


@every_store
def test_registered_model_meta_is_expected_and_shown(server: MlflowServer, audit: Auditor) -> None:
    version = Registry(server).add(separate=True)
    with server.artifacts.edit(version.reg_location) as directory:
        (directory / "registered_model_meta").write_text(f"model_name: {version.name}\nmodel_version: '1'\n")
    audited = audit(server.uri, "--model", version.name)
    (difference,) = audited.row["differences"]
    assert (audited.exit_status, audited.row["verdict"]) == (CLEAN, "equivalent")
    assert (difference["path"], difference["kind"]) == ("registered_model_meta", "only_in_reg_model")
    assert difference["expected_by"] == "registered-model-meta"


@pytest.mark.parametrize("server", [LOCAL, PROXIED], indirect=True)
@pytest.mark.parametrize("path", ["data/registered_model_meta", "registered_model_meta/x", "Registered_model_meta"])
def test_only_the_very_file_is_expected(server: MlflowServer, audit: Auditor, path: str) -> None:
    version = Registry(server).add(separate=True)
    with server.artifacts.edit(version.reg_location) as directory:
        (directory / path).parent.mkdir(exist_ok=True)
        (directory / path).write_text("model_name: x\n")
    _says_mismatch(audit(server.uri, "--model", version.name), path)


# ---- models are data


class _Bomb:
    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self._marker,)


@every_store
def test_no_model_is_ever_loaded(server: MlflowServer, audit: Auditor, tmp_path: Path) -> None:
    marker = tmp_path / "loaded"
    payload = pickle.dumps(_Bomb(marker))
    registry = Registry(server)
    version = registry.add(logged=registry.log_run_model(files={damage.TOP_FILE: payload}), separate=True)
    assert audit(server.uri, "--model", version.name).row["verdict"] == "match"
    assert not marker.exists()
    pickle.loads(payload)
    assert marker.exists(), "the payload would have worked"


@pytest.mark.parametrize("server", [LOCAL, PROXIED], indirect=True)
def test_the_audit_writes_nothing_into_the_store(server: MlflowServer, audit: Auditor) -> None:
    version = Registry(server).add(separate=True)
    places = [server.artifacts.path(place) for place in (version.run_location, version.reg_location)]
    before = [[(path, path.lstat().st_mtime_ns) for path in sorted(place.rglob("*"))] for place in places]
    assert audit(server.uri, "--model", version.name).exit_status == CLEAN
    assert [[(path, path.lstat().st_mtime_ns) for path in sorted(place.rglob("*"))] for place in places] == before


# ---- the program as a process


@every_store
def test_program(server: MlflowServer, audit: Auditor) -> None:
    registry = Registry(server)
    name = registry.new_name()
    sound, damaged = (registry.add(name, seed=seed, separate=True) for seed in (1, 2))
    _damage(server, damaged.reg_location, damage.flip_byte)
    _damage(server, registry.add(name, seed=3).run_location, damage.delete_tree)
    audited = audit.program(server.uri, "--model", name)
    assert audited.exit_status == FINDINGS
    assert [row["verdict"] for row in audited.rows] == ["match", "mismatch", "unverifiable"]
    assert [row["version"] for row in audited.rows] == [sound.version, damaged.version, "3"]
    assert "Traceback" not in audited.stderr
    assert {file.name for file in audited.report_dir.iterdir()} == {"audit.json", "audit.html", "audit.md", "junit.xml"}
