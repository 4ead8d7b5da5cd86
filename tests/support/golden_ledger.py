"""The ledger that each release writes once, and every later one must read.

`python tests/support/golden_ledger.py RELEASE` adds that of this release to tests/golden/ledger.
"""

import os
import sys
import tempfile
from pathlib import Path

from registry_audit.ledger.accept import waive
from registry_audit.ledger.chain import Draft, Kind
from registry_audit.ledger.connecting import open_ledger
from registry_audit.ledger.record import accepted_draft, begin
from registry_audit.ledger.store import Ledger
from registry_audit.ledger.transfer import export_lines

if __name__ == "__main__":  # as pytest does it
    sys.path.insert(0, str(Path(__file__).parents[1]))

from support.ledgers import FILES, REGISTRY, options, record, row, scope_of

DIRECTORY = Path(__file__).parents[1] / "golden" / "ledger"
CHANGED = {**FILES, "model.pkl": b"another"}
REASON = "retrained, with ü and\na second line"


def filled(url: str) -> Ledger:
    """A new ledger with every kind of entry: new, accepted, changed, waived, gone, resolved, interrupted."""
    ledger = open_ledger(url, create=True)
    odd, changed = row("café \u202e"), row(files=CHANGED)
    record(ledger, row(), row(version="2"), row("beer"), odd, audit_id="first", accept_new=True)
    record(ledger, changed, row(version="2", files=CHANGED), odd, audit_id="second")
    with ledger.writing() as writer:
        manifest = changed.reg_model.manifest if changed.reg_model else None
        assert manifest is not None
        gone = {"manifest": None, "by": "alice", "reason": "retired"}
        accepted = accepted_draft(REGISTRY, "second", changed, manifest, "alice", REASON)
        writer.append([accepted, Draft(Kind.ACCEPTED, REGISTRY, "beer", "1", body=gone)])
    waive(ledger, REGISTRY, "wine", "2", "RA002", path=None, by="bob", reason="known", until="2999-12-31")
    record(ledger, changed, row(version="2", files=CHANGED), odd, audit_id="third")
    begin(ledger, scope_of(odd), options(), "killed")
    ledger.append([Draft(Kind.REGISTRY, REGISTRY, body={"address": "http://another.example", "name": "prod"})])
    return ledger


def main(release: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ["REGISTRY_AUDIT_HOME"] = home
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        target = DIRECTORY / f"{release}.db"
        assert not target.exists(), f"{target} is there already: a release writes its ledger once"
        ledger = filled(f"sqlite:///{target}")
        lines = "".join(f"{line}\n" for line in export_lines(ledger))
        target.with_suffix(".jsonl").write_text(lines, encoding="ascii")
        head = ledger.verify()
        sys.stdout.write(f"{head.digest if head else None}\n")
        ledger.close()


if __name__ == "__main__":
    main(sys.argv[1])
