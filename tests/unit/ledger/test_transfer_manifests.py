"""An accepted manifest in forms that other tools check."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToJson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_signing import hashing
from model_signing._signing.signing import Payload
from support.ledgers import FILES, manifest_of, record, registry_audit, row

from registry_audit.errors import UsageError
from registry_audit.ledger.connecting import open_ledger
from registry_audit.ledger.transfer import model_signing_listing, sha256sum_listing
from registry_audit.model.manifest import Manifest, ManifestEntry

ODD: Mapping[str, bytes] = {
    **FILES,
    "": b"",
    "with space": b"1",
    " leading and trailing ": b"2",
    "back\\slash": b"3",
    "new\nline": b"4",
    "carriage\rreturn": b"5",
    "-c": b"6",
    "*star": b"7",
    "café 名前": b"8",
    "not utf-8 \udcff": b"9",
    "data/deep/er/$(touch x)": b"10",
    "#comment": b"11",
    "\x1b[31mred": b"12",
}
needs_sha256sum = pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum on this machine")


def write(directory: Path, files: Mapping[str, bytes]) -> dict[str, bytes]:
    written = {path: data for path, data in files.items() if path}
    for path, data in written.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return written


def sha256sum(directory: Path, listing: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["sha256sum", "--check", "--strict", "-"],
        cwd=directory,
        input=listing,
        capture_output=True,
        check=False,
    )


@needs_sha256sum
def test_sha256sum_checks_every_file(tmp_path: Path) -> None:
    files = write(tmp_path, ODD)
    checked = sha256sum(tmp_path, sha256sum_listing(manifest_of(files)))
    assert checked.returncode == 0, checked
    assert checked.stdout.count(b": OK") == len(files)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name == "x") == []


@needs_sha256sum
@pytest.mark.parametrize("path", [path for path in ODD if path], ids=ascii)
def test_sha256sum_finds_each_changed_file(tmp_path: Path, path: str) -> None:
    listing = sha256sum_listing(manifest_of(write(tmp_path, ODD)))
    (tmp_path / path).write_bytes(b"changed")
    checked = sha256sum(tmp_path, listing)
    assert (checked.returncode, checked.stdout.count(b": FAILED")) == (1, 1), checked


_names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..")
)


@needs_sha256sum
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_names)
def test_any_name_is_carried(tmp_path: Path, name: str) -> None:
    directory = tmp_path / hashlib.sha256(name.encode()).hexdigest()
    files = write(directory, {name: b"content"})
    assert sha256sum(directory, sha256sum_listing(manifest_of(files))).returncode == 0


def test_model_signing_statement() -> None:
    manifest = manifest_of(FILES)
    statement = json.loads(model_signing_listing(manifest, "wine"))
    assert (statement["_type"], statement["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "https://model_signing/signature/v1.0",
    )
    digests = {path: hashlib.sha256(data) for path, data in FILES.items()}
    assert statement["predicate"]["resources"] == [
        {"name": path, "algorithm": "sha256", "digest": digests[path].hexdigest()} for path in sorted(FILES)
    ]
    # The subject is the digest of all raw digests, in the order of the paths.
    root = hashlib.sha256(b"".join(digests[path].digest() for path in sorted(FILES))).hexdigest()
    assert statement["subject"] == [{"name": "wine", "digest": {"sha256": root}}]
    assert statement["predicate"]["serialization"]["method"] == "files"


def test_model_signing_makes_the_same_statement(tmp_path: Path) -> None:
    """Of the same directory, but for the order: by code point in the specification (5.2.1), by parts in the library."""
    model = tmp_path / "wine"
    odd = {path: data for path, data in ODD.items() if path.isprintable()}
    odd |= {"data.txt": b"", "data-1/x": b"1", ".gitignore": b"*", ".git/config": b"2", "data/.gitignore": b"3"}
    files = write(model, {**odd, "model.sig": b"of before"})
    hashed = hashing.Config().set_ignored_paths(paths=["model.sig"]).hash(model)
    theirs = json.loads(MessageToJson(Payload(hashed).statement.pb))
    ours = json.loads(model_signing_listing(manifest_of(files), "wine"))
    names = [resource["name"] for resource in ours["predicate"]["resources"]]
    assert names == sorted(names)
    for statement in (theirs, ours):
        statement["predicate"]["serialization"]["ignore_paths"].sort()
        statement["predicate"]["resources"].sort(key=lambda resource: resource["name"])
        del statement["subject"]  # of the digests in their order
    assert ours == theirs


@pytest.mark.parametrize("form", [sha256sum_listing, lambda manifest: model_signing_listing(manifest, "wine")])
def test_other_digests_are_refused(form: object) -> None:
    with pytest.raises(UsageError, match="needs sha256"):
        form(Manifest((ManifestEntry("a", 1, "blake3:00"),), "blake3"))  # type: ignore[operator]


@needs_sha256sum
def test_the_commands(tmp_path: Path, sqlite_url: str) -> None:
    ledger = open_ledger(sqlite_url, create=True)
    files = write(tmp_path / "model", ODD)  # of which one has a name that is no text
    record(ledger, row(files=files), accept_new=True)
    ledger.close()
    shown = registry_audit("baseline", "show", "wine/1", "--format", "sha256sum", "--ledger", sqlite_url)
    assert shown.exit_status == 0, shown.stderr
    assert sha256sum(tmp_path / "model", shown.stdout.encode("utf-8", "surrogateescape")).returncode == 0
    signing = registry_audit("baseline", "show", "wine/1", "--format", "model-signing", "--ledger", sqlite_url)
    assert json.loads(signing.stdout)["subject"][0]["name"] == "wine"
    text = registry_audit("baseline", "show", "wine/1", "--ledger", sqlite_url)
    assert all(path in text.stdout for path in FILES)
    unknown = registry_audit("baseline", "show", "wine/2", "--ledger", sqlite_url)
    assert (unknown.exit_status, "has no baseline" in unknown.stderr) == (2, True)


def test_a_name_that_looks_like_another_one_stored_is_not_that_one(sqlite_url: str) -> None:
    """What a ledger makes of a NUL character is what somebody may have typed."""
    ledger = open_ledger(sqlite_url, create=True)
    record(ledger, row("a\0b", files={**FILES, "of": b"another"}), row("a\\x00b"), accept_new=True)
    ledger.close()
    shown = registry_audit("baseline", "show", "a\\x00b/1", "--ledger", sqlite_url)
    assert (shown.exit_status, "  of\n" in shown.stdout) == (0, False), shown.stderr
    history = registry_audit("baseline", "history", "a\\x00b/1", "--ledger", sqlite_url)
    assert len(history.stdout.splitlines()) == 2, history.stderr
    listed = registry_audit("baseline", "list", "--ledger", sqlite_url)
    assert {line.split()[0] for line in listed.stdout.splitlines()} == {"a\\x00b/1", "a\\\\x00b/1"}
