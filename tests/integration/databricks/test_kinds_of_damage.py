"""Every kind of damage that a service can hold, in one copy, in the other and in both: what the audit says of each.

One audit sees all kinds at once, each in a version of its own, as a registry holds them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import damage
from support.auditing import Audited, Auditor
from support.databricks import StandIn, Version

CLEAN, FINDINGS, INCOMPLETE = 0, 1, 3
WORKSPACE, CATALOG = "databricks://test_env", "databricks-uc://test_env"
FILES_COUNT, COPIES = 7, 2
ONE_SIDED = (*damage.CONTENT, *damage.MISSING, damage.break_mlmodel, *damage.COLLISIONS)

Damaged = dict[str, tuple[Version, str]]  # by the kind's name: its version, and the path that differs

registries = pytest.mark.parametrize("uri", [WORKSPACE, CATALOG], ids=["workspace", "catalog"])


def _add(service: StandIn, uri: str, seed: int) -> Version:
    name = "main.ml.wine" if uri == CATALOG else "Wine"
    return service.register_in_catalog(name, seed=seed) if uri == CATALOG else service.register(name, seed=seed)


def _damaged(
    service: StandIn, uri: str, kinds: tuple[damage.Damage, ...], of: Callable[[Version], tuple[Path, ...]]
) -> Damaged:
    found: Damaged = {}
    for seed, kind in enumerate(kinds):
        version = _add(service, uri, seed)
        paths = [kind(directory) for directory in of(version)]
        found[kind.__name__] = version, paths[0]
    _add(service, uri, len(kinds))  # and one that is whole
    return found


def _rows(audited: Audited, damaged: Damaged) -> dict[str, dict[str, Any]]:
    """The rows by the kind's name, after a look at the one that is whole."""
    rows = {row["version"]: row for row in audited.rows}
    whole = rows.pop(str(len(damaged) + 1))
    assert (whole["verdict"], whole["findings"], whole["compared_by"]) == ("match", [], "digests"), audited.everything
    assert whole["run_model"]["manifest_digest"] == whole["reg_model"]["manifest_digest"] is not None
    return {kind: rows[version.version] for kind, (version, _) in damaged.items()}


@registries
@pytest.mark.parametrize("side", ["reg", "run"])
def test_one_copy(test_env: StandIn, audit: Auditor, uri: str, side: str) -> None:
    damaged = _damaged(test_env, uri, ONE_SIDED, lambda version: (getattr(version, side),))
    audited = audit(uri)
    assert audited.exit_status == FINDINGS
    wrong = {}
    for kind, row in _rows(audited, damaged).items():
        path = damaged[kind][1].replace(".", "MLmodel") if damaged[kind][1] == "." else damaged[kind][1]
        differing = [difference["path"] for difference in row["differences"]]
        rules = {finding["rule"] for finding in row["findings"]}
        named = any(found == path or found.startswith(f"{path}/") for found in differing)
        if row["verdict"] != "mismatch" or not named or "RA001" not in rules:
            wrong[kind] = (row["verdict"], differing, rules)
        if kind in {each.__name__ for each in damage.MISSING} and "RA003" not in rules:
            wrong[kind] = ("no RA003", rules)
        if kind in {each.__name__ for each in damage.COLLISIONS} and "RA013" not in rules:
            wrong[kind] = ("no RA013", rules)
    assert wrong == {}


@registries
def test_both_copies_alike(test_env: StandIn, audit: Auditor, uri: str) -> None:
    """Equal is not the same as sound."""
    kinds = (*damage.INCOMPLETE, damage.break_mlmodel, *damage.MISSING)
    damaged = _damaged(test_env, uri, kinds, lambda version: (version.run, version.reg))
    audited = audit(uri)
    assert audited.exit_status == FINDINGS
    told = {
        kind: (row["verdict"], sorted({finding["rule"] for finding in row["findings"]}))
        for kind, row in _rows(audited, damaged).items()
    }
    missing = {kind.__name__ for kind in damage.MISSING}
    expected = {kind: ("unverifiable", ["RA003"]) if kind in missing else ("match", ["RA007"]) for kind in told}
    assert told == expected


@registries
def test_every_file_of_both_copies_is_read(test_env: StandIn, audit: Auditor, uri: str) -> None:
    version = _add(test_env, uri, 1)
    audited = audit(uri)
    held = sum(path.stat().st_size for path in version.run.rglob("*") if path.is_file())
    coverage = audited.document["coverage"]
    assert (coverage["files_read"], coverage["bytes_read"]) == (FILES_COUNT * COPIES, held * COPIES)
    assert (coverage["audited"], coverage["storages_read"]) == (1, COPIES)


@registries
def test_what_registering_adds_is_expected_and_shown(test_env: StandIn, audit: Auditor, uri: str) -> None:
    versions = [_add(test_env, uri, seed) for seed in range(3)]
    name = versions[0].name
    (versions[0].reg / "registered_model_meta").write_text(f"model_name: {name}\nmodel_version: '1'\n")
    (versions[1].reg / "registered_model_meta").write_text("model_name: Wine\nsomething: else\n")
    (versions[2].reg / "data" / "registered_model_meta").write_text(f"model_name: {name}\nmodel_version: '3'\n")
    audited = audit(uri)
    assert audited.exit_status == FINDINGS
    assert [row["verdict"] for row in audited.rows] == ["equivalent", "mismatch", "mismatch"]
    assert audited.rows[0]["differences"][0]["expected_by"] == "registered-model-meta"


@registries
def test_names_that_mean_trouble(test_env: StandIn, audit: Auditor, uri: str) -> None:
    """Names that a URL has to encode arrive as they are, in both copies; one byte in each is still seen."""
    names = [
        "with blank.txt",
        "per%20cent.txt",
        "hash#.txt",
        "question?.txt",
        "plus+.txt",
        "naïve é.txt",
        "a&b=c;d.txt",
    ]
    for seed in (1, 2):
        files = {f"data/{name}": name.encode() * (seed + 1) for name in names}
        logged = test_env.log_model(seed=seed, files=files)
        version = (
            test_env.register_in_catalog("main.ml.wine", logged)
            if uri == CATALOG
            else test_env.register("Wine", logged)
        )
    for name in names:
        path = version.reg / "data" / name
        path.write_bytes(b"x" + path.read_bytes()[1:])
    audited = audit(uri)
    assert [row["verdict"] for row in audited.rows] == ["match", "mismatch"], audited.everything
    differing = {difference["path"] for difference in audited.rows[1]["differences"]}
    assert differing == {f"data/{name}" for name in names}
