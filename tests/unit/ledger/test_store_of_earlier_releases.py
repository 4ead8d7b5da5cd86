"""Ledgers that earlier releases wrote are read forever.

`tests/golden/ledger/RELEASE.db` and `RELEASE.jsonl` are one ledger, written by that release; never write them again.
A new release adds its own: `python tests/support/golden_ledger.py RELEASE`.
"""

import shutil
from pathlib import Path

import pytest
from support.golden_ledger import CHANGED, DIRECTORY, REASON, filled
from support.ledgers import REGISTRY, import_lines, load_memory, record, registry_audit, row

from registry_audit.ledger.chain import Kind
from registry_audit.ledger.connecting import open_ledger
from registry_audit.ledger.store import Ledger
from registry_audit.ledger.transfer import export_lines
from registry_audit.printable import printable

RELEASES = sorted(path.stem for path in DIRECTORY.glob("*.db"))
# The last head of each: what a report of that time would have said.
HEADS = {"0.1.0": "235dfa0826fd82aadb9aed96c780f1d6cc218b4ff987c8a7446cc51391c795b2"}

every_release = pytest.mark.parametrize("release", RELEASES)


@pytest.fixture
def old(release: str, sqlite_url: str, tmp_path: Path) -> Ledger:
    shutil.copy(DIRECTORY / f"{release}.db", tmp_path / "ledger.db")
    return open_ledger(sqlite_url, create=False)


def test_every_release_is_here() -> None:
    assert sorted(HEADS) == RELEASES
    assert sorted(path.stem for path in DIRECTORY.glob("*.jsonl")) == RELEASES


@every_release
def test_it_verifies(old: Ledger, release: str, sqlite_url: str) -> None:
    head = old.verify()
    assert head is not None
    assert head.digest == HEADS[release]
    said = registry_audit("baseline", "verify", "--ledger", sqlite_url, "--head", HEADS[release])
    assert said.exit_status == 0, said.stderr
    assert "interrupted or running: audit killed" in said.stdout


@every_release
def test_it_is_remembered(old: Ledger, sqlite_url: str) -> None:
    with old.reading() as reader:
        memory = load_memory(reader, REGISTRY)
        kinds = {entry.kind for entry in reader.all_entries()}
    assert kinds == set(Kind) - {Kind.REGISTRY}  # later than 0.1.0
    assert {key: baseline.manifest is None for key, baseline in memory.baselines.items()} == {
        ("beer", "1"): True,
        ("café \u202e", "1"): False,
        ("wine", "1"): False,
        ("wine", "2"): False,
    }
    assert set(memory.open_findings) == {("wine", "2", "RA002", "")}
    assert set(memory.waivers) == {("wine", "2", "RA002", "")}
    history = registry_audit("baseline", "history", "wine/1", "--ledger", sqlite_url)
    assert (history.exit_status, printable(REASON) in history.stdout) == (0, True)
    assert registry_audit("baseline", "list", "--ledger", sqlite_url).stdout.count("\n") == 4
    assert registry_audit("baseline", "show", "wine/1", "--ledger", sqlite_url).stdout.count("sha256:") == 4


@every_release
def test_it_goes_on(old: Ledger) -> None:
    recorded = record(old, row(files=CHANGED), row(version="2", files=CHANGED), row("café \u202e"))
    statuses = [audit.baseline.status.value for audit in recorded.audits if audit.baseline]
    assert statuses == ["unchanged", "unchanged", "changed"]  # in the order of a report, café first
    ((finding,),) = [audit.findings for audit in recorded.audits if audit.findings]
    assert (finding.rule, finding.new, finding.waiver is not None) == ("RA002", False, True)
    assert recorded.previous_audit_at is not None
    old.verify()


@every_release
def test_its_export_is_the_same_ledger(old: Ledger, release: str, tmp_path: Path) -> None:
    lines = (DIRECTORY / f"{release}.jsonl").read_text(encoding="ascii").splitlines()
    new = open_ledger(f"sqlite:///{tmp_path / 'imported.db'}", create=True)
    assert import_lines(new, lines).digest == HEADS[release]
    assert list(export_lines(new)) == list(export_lines(old))
    new.close()


def test_this_release_writes_what_the_golden_tests_read(sqlite_url: str) -> None:
    ledger = filled(sqlite_url)
    ledger.verify()
    with ledger.reading() as reader:
        assert {entry.kind for entry in reader.all_entries()} == set(Kind)
    ledger.close()
