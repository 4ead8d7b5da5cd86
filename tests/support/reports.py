"""Hand-made report documents: every verdict and rule once, and names that try to break out of each format."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from registry_audit.report.document import (
    AuditDocument,
    BaselineDifferenceRow,
    BaselineDigests,
    BaselineSizes,
    Changes,
    CopyRow,
    Coverage,
    DifferenceRow,
    EventRow,
    FindingRow,
    LedgerRow,
    Outcome,
    PastAudit,
    Registry,
    ResolvedRow,
    SidedDigests,
    SidedSizes,
    Summary,
    Tool,
    VersionRow,
    WaiverRow,
)
from registry_audit.rules import RULE_BY_ID
from registry_audit.verdict import Severity, Storage, Verdict

HOSTILE = (
    "\"double\" 'single'",
    "control \x00\x07\x1b[31m\x7f\x85",
    "<script>window.broken = true</script>",
    "</script><script>window.broken = true</script>",
    "<img src=x onerror='window.broken = true'>",
    "line\nbreak\r\nand\u2028separator\ttab",
    "a|b`c`[link](javascript:alert(1))<!-- -->",
    "right\u202eto left",
    "lone \ud800 surrogate",
    "caf\u00e9",
    "cafe\u0301",
    "=cmd()",
    "+1",
    "-1",
    "@SUM(A1)",
    "]]>",
    "{{ 7 * 7 }}{% raw %}",
    "[bold red]rich[/]",
    "\ufffe\uffff\U0010ffff",
    "back\\slash &lt; &amp; %3Cscript%3E",
)


def digest(seed: str) -> str:
    return "sha256:" + (seed * 64)[:64]


def make_copy(
    seed: str, *, uri: str = "models:/m-1", root: str | None = None, files: int = 5, size: int = 48_213
) -> CopyRow:
    return CopyRow(uri=uri, root=root or f"s3://mlflow/1/{seed}", manifest_digest=digest(seed), files=files, bytes=size)


def make_finding(
    rule: str, message: str, *, severity: Severity | None = None, path: str | None = None, **life: Any
) -> FindingRow:
    known = RULE_BY_ID[rule]
    return FindingRow(
        rule=rule,
        name=known.name,
        severity=severity or known.severity,
        message=message,
        remedy=known.remedy,
        path=path,
        **life,
    )


def make_difference(path: str, kind: Any = "content", *, expected_by: str | None = None) -> DifferenceRow:
    run, reg = kind != "only_in_reg_model", kind != "only_in_run_model"
    return DifferenceRow(
        path=path,
        kind=kind,
        expected_by=expected_by,
        sizes=SidedSizes(run_model=41_204 if run else None, reg_model=41_236 if reg else None),
        digests=SidedDigests(run_model=digest("3f") if run else None, reg_model=digest("b07e") if reg else None),
    )


def make_baseline_difference(
    path: str, kind: Any = "content", *, expected_by: str | None = None
) -> BaselineDifferenceRow:
    old, new = kind != "added", kind != "removed"
    return BaselineDifferenceRow(
        path=path,
        kind=kind,
        expected_by=expected_by,
        sizes=BaselineSizes(baseline=41_204 if old else None, now=41_204 if new else None),
        digests=BaselineDigests(baseline=digest("3f") if old else None, now=digest("b07e") if new else None),
    )


def make_waiver(**fields: str) -> WaiverRow:
    return WaiverRow(**({"by": "dana", "reason": "Known to the risk team.", "until": "2025-06-30"} | fields))


def make_version(name: str, version: str, verdict: Verdict = Verdict.MATCH, **fields: Any) -> VersionRow:
    shared = verdict is Verdict.SAME_STORAGE
    seed = format(sum(map(ord, name + version)) % 4096, "03x")
    defaults: dict[str, Any] = {
        "status": "READY",
        "stage": None,
        "aliases": (),
        "run_id": "8f2c1d0a4b7e4c6f9d3e5a1b2c3d4e5f",
        "reason": None,
        "baseline": "unchanged",
        "storage": Storage.SHARED if shared else Storage.SEPARATE,
        "compared_by": None if shared else "bytes",
        "run_model": make_copy(seed),
        "reg_model": make_copy(seed),
        "differences": (),
        "findings": (),
    }
    return VersionRow(name=name, version=version, verdict=verdict, **(defaults | fields))


def make_document(versions: Sequence[VersionRow], **fields: Any) -> AuditDocument:
    verdicts = Counter(row.verdict for row in versions)
    unverifiable, skipped = verdicts[Verdict.UNVERIFIABLE], verdicts[Verdict.SKIPPED]
    severities = [
        found.severity for row in versions for found in row.findings if found.rule != "RA009" and not found.waived
    ]
    failed = any(severity.rank >= Severity.MEDIUM.rank for severity in severities)
    incomplete = unverifiable or not versions
    outcome = (1, "findings") if failed else (3, "incomplete") if incomplete else (0, "clean")
    defaults: dict[str, Any] = {
        "generated_at": "2025-03-14T06:00:12Z",
        "tool": Tool(name="mlflow-registry-audit", version="0.1.0", mlflow="3.17.2", python="3.11.7"),
        "registry": Registry(
            tracking_uri="https://mlflow.example.com", registry_uri="https://mlflow.example.com", mlflow_server="3.17.2"
        ),
        "options": {"fail_on": "medium", "models": ["*"], "quick": False, "subset": None, "algorithm": "sha256"},
        "outcome": Outcome(exit_status=outcome[0], state=outcome[1]),
        "coverage": Coverage(
            listed=len(versions),
            audited=len(versions) - unverifiable - skipped,
            unverifiable=unverifiable,
            skipped=skipped,
            not_sampled=0,
            files_read=sum(row.run_model.files for row in versions if row.run_model),
            bytes_read=sum(row.run_model.bytes for row in versions if row.run_model),
            storages_read=len(versions),
        ),
        "summary": Summary(
            verdicts=verdicts,
            baseline=Counter(row.baseline for row in versions if row.baseline),
            findings=Counter(found.rule for row in versions for found in row.findings),
        ),
        "versions": tuple(versions),
    }
    return AuditDocument(**(defaults | fields))


def sample_document() -> AuditDocument:
    """Every verdict, most rules, and each kind of difference."""
    versions = (
        make_version(
            "churn-classifier",
            "1",
            Verdict.SAME_STORAGE,
            baseline="unchanged",
            signature="model.sig",
            signature_status="verified",
            signature_reason="signed by the key sha256:511ad2c05ef9: 7 of 7 files",
        ),
        make_version(
            "churn-classifier",
            "2",
            Verdict.SAME_STORAGE,
            aliases=("champion",),
            baseline="changed",
            findings=(
                make_finding(
                    "RA002",
                    "model.pkl holds other bytes than the accepted baseline of 2025-01-09: "
                    "sha256:3f3f3f3f3f3f… was accepted, sha256:b07eb07eb07e… was read.",
                    path="model.pkl",
                ),
            ),
        ),
        make_version(
            "churn-classifier",
            "10",
            Verdict.SAME_STORAGE,
            baseline="new",
            findings=(
                make_finding("RA012", "MLmodel names run 11aa22bb, the version names run 8f2c1d0a.", path="MLmodel"),
                make_finding("RA005", "Run 8f2c1d0a no longer exists."),
            ),
        ),
        make_version(
            "fraud-score",
            "7",
            Verdict.MISMATCH,
            stage="Production",
            aliases=("live", "eu-west"),
            run_model=make_copy("3f", uri="runs:/8f2c1d0a/model", root="s3://mlflow/1/8f2c1d0a/artifacts/model"),
            reg_model=make_copy(
                "b07e", uri="models:/fraud-score/7", root="s3://registry/fraud-score/7", files=6, size=49_001
            ),
            differences=(
                make_difference("MLmodel", expected_by="registered-model-meta"),
                make_difference("model.pkl"),
                make_difference("preprocessing/encoder.joblib", "only_in_reg_model"),
                make_difference("requirements.txt", "only_in_run_model"),
                make_difference("weights", "type"),
            ),
            findings=(make_finding("RA001", "4 of 7 files differ between the run model and the registry model."),),
        ),
        make_version(
            "fraud-score",
            "8",
            Verdict.EQUIVALENT,
            reg_model=make_copy("c4", uri="models:/fraud-score/8"),
            differences=(
                make_difference("registered_model_meta", "only_in_reg_model", expected_by="registered-model-meta"),
            ),
        ),
        make_version("prices/eu", "3", Verdict.MATCH, stage="Staging", compared_by="digests"),
        make_version(
            "prices/eu",
            "4",
            Verdict.UNVERIFIABLE,
            storage=Storage.UNKNOWN,
            baseline="not_read",
            run_model=None,
            reg_model=None,
            compared_by=None,
            reason="The artifact store denied access to s3://mlflow/7 (AccessDenied).",
            findings=(make_finding("RA009", "The artifact store denied access to s3://mlflow/7 (AccessDenied)."),),
        ),
        make_version(
            "search-ranker",
            "1",
            Verdict.SAME_STORAGE,
            run_model=CopyRow(
                uri="runs:/deadbeef/model", root="s3://mlflow/4/deadbeef", manifest_digest=None, files=0, bytes=0
            ),
            reg_model=None,
            baseline="vanished",
            findings=(make_finding("RA003", "READY, but s3://mlflow/4/deadbeef holds no file at all."),),
        ),
        make_version(
            "search-ranker",
            "2",
            Verdict.SKIPPED,
            status="PENDING_REGISTRATION",
            baseline=None,
            run_model=None,
            reg_model=None,
            storage=Storage.UNKNOWN,
            compared_by=None,
            reason="Its registration is pending.",
            findings=(make_finding("RA006", "The registration has been pending for 3 days."),),
        ),
        make_version(
            "search-ranker",
            "3",
            Verdict.SAME_STORAGE,
            findings=(
                make_finding(
                    "RA004", "Run 5c5c5c is deleted: the next `mlflow gc` destroys the bytes of this version."
                ),
            ),
        ),
    )
    plain = make_document(versions)
    coverage = plain.coverage.model_copy(
        update={
            "listed": 12,
            "not_sampled": 2,
            "notes": ("The listing changed while it was read: 1 version was added.",),
        }
    )
    return plain.model_copy(update={"coverage": coverage})


def ledger_document() -> AuditDocument:
    """A quick audit beside a ledger: every baseline status, findings new, known, waived and resolved."""
    accepted = {"accepted_at": "2025-02-01T06:00:09Z", "accepted_by": "alice@laptop"}
    known = {"first_seen": "2025-03-01", "new": False}
    new = {"first_seen": "2025-03-14", "new": True}
    versions = (
        make_version("churn-classifier", "1", Verdict.SAME_STORAGE, **accepted),
        make_version(
            "churn-classifier",
            "2",
            Verdict.SAME_STORAGE,
            aliases=("champion",),
            baseline="changed",
            baseline_differences=(
                make_baseline_difference("MLmodel"),
                make_baseline_difference("model.pkl"),
                make_baseline_difference("notes/extra.txt", "added"),
                make_baseline_difference("registered_model_meta", "added", expected_by="registered-model-meta"),
                make_baseline_difference("requirements.txt", "removed"),
            ),
            findings=(
                make_finding(
                    "RA002", "4 files are not what alice@laptop accepted on 2025-02-01: 'MLmodel' was ...", **new
                ),
            ),
            **accepted,
        ),
        make_version(
            "churn-classifier",
            "3",
            Verdict.SAME_STORAGE,
            baseline="changed",
            baseline_differences=(make_baseline_difference("model.pkl"),),
            findings=(
                make_finding(
                    "RA002",
                    "1 file is not what alice@laptop accepted on 2025-02-01: 'model.pkl' was ...",
                    waived=make_waiver(reason="Re-saved for numpy 2; accepted after the review of 3 April."),
                    **known,
                ),
            ),
            **accepted,
        ),
        make_version(
            "fraud-score", "7", Verdict.MATCH, baseline="not_read", last_read_at="2025-03-08T06:00:11Z", **accepted
        ),
        make_version(
            "fraud-score",
            "8",
            Verdict.MISMATCH,
            baseline="new",
            differences=(make_difference("model.pkl"),),
            findings=(
                make_finding(
                    "RA001",
                    "1 file differs between the run model and the registry model: 'model.pkl'",
                    waived=make_waiver(by="erin@risk"),
                    **known,
                ),
            ),
        ),
        make_version(
            "prices/eu",
            "3",
            Verdict.SAME_STORAGE,
            stage="Production",
            baseline="not_read",
            last_read_at="2025-03-12T06:00:10Z",
            findings=(
                make_finding("RA004", "Run 5c5c5c is deleted: the next `mlflow gc` destroys its bytes.", **known),
            ),
            **accepted,
        ),
        make_version(
            "prices/eu",
            "4",
            Verdict.EQUIVALENT,
            differences=(
                make_difference("registered_model_meta", "only_in_reg_model", expected_by="registered-model-meta"),
            ),
            baseline_differences=(
                make_baseline_difference("registered_model_meta", "added", expected_by="registered-model-meta"),
            ),
            **accepted,
        ),
        make_version("prices/eu", "5", Verdict.SAME_STORAGE, baseline="new"),
        make_version(
            "search-ranker",
            "1",
            Verdict.SKIPPED,
            status="DELETED",
            reason="it is no longer in the registry",
            baseline="vanished",
            storage=Storage.UNKNOWN,
            compared_by=None,
            run_id=None,
            run_model=None,
            reg_model=None,
            last_read_at="2025-03-08T06:00:12Z",
            findings=(
                make_finding(
                    "RA011",
                    "it was accepted on 2025-02-01 by alice@laptop and is no longer in the registry",
                    **new,
                ),
            ),
            **accepted,
        ),
    )
    plain = make_document(versions)
    return plain.model_copy(
        update={
            "options": plain.options | {"quick": True, "accept_new": True},
            "coverage": plain.coverage.model_copy(update={"listed": 8, "not_read": 2}),
            "ledger": LedgerRow(
                url="postgresql://audit:***@db.example.com/ledger",
                head=digest("541bdf42").removeprefix("sha256:"),
                entries=1_204,
                audit_id="b547ed06fe85",
                accepted_new=1,
            ),
            "changes": Changes(new=2, known=3, resolved=2, waived=2, since="2025-03-13T06:00:10Z"),
            "resolved": (
                ResolvedRow(
                    name="churn-classifier", version="1", rule="RA004", path=None, first_seen="2025-02-20T06:00:10Z"
                ),
                ResolvedRow(
                    name="prices/eu", version="4", rule="RA007", path="model.skops", first_seen="2025-03-02T06:00:10Z"
                ),
            ),
        }
    )


def make_hostile(texts: Sequence[str] = HOSTILE) -> AuditDocument:
    """Each text in every string field of a version that has all parts, and in the fields of the report itself."""
    rows = []
    for number, text in enumerate(texts, start=1):
        sides = SidedDigests(run_model=text, reg_model=text)
        found = FindingRow(
            rule="RA001",
            name=text,
            severity=Severity.CRITICAL,
            message=text,
            remedy=text,
            path=text,
            first_seen=text,
            new=False,
        )
        waived = found.model_copy(update={"waived": WaiverRow(by=text, reason=text, until=text)})
        changed = BaselineDifferenceRow(
            path=text,
            kind="content",
            expected_by=None,
            sizes=BaselineSizes(baseline=1, now=2),
            digests=BaselineDigests(baseline=text, now=text),
        )
        copy = CopyRow(uri=text, root=text, manifest_digest=text, files=number, bytes=number)
        differing = DifferenceRow(
            path=text, kind="content", expected_by=text, sizes=SidedSizes(run_model=1, reg_model=2), digests=sides
        )
        rows.append(
            VersionRow(
                name=text,
                version=text,
                status=text,
                stage=text,
                aliases=(text, text),
                run_id=text,
                verdict=Verdict.MISMATCH,
                reason=text,
                baseline="changed",
                signature=text,
                signature_status="invalid",
                signature_reason=text,
                storage=Storage.SEPARATE,
                compared_by="bytes",
                run_model=copy,
                reg_model=copy.model_copy(update={"files": 1}),
                differences=(differing,),
                findings=(found, found.model_copy(update={"rule": "RA002"}), waived),
                baseline_differences=(changed, changed.model_copy(update={"expected_by": text})),
                accepted_at=text,
                accepted_by=text,
                accepted_reason=text,
                last_read_at=text,
                history=(EventRow(at=text, kind="found", what=text),),
            )
        )
    first = texts[0]
    plain = make_document(rows)
    return plain.model_copy(
        update={
            "generated_at": first,
            "tool": Tool(name=first, version=first, mlflow=first, python=first),
            "registry": Registry(tracking_uri=first + "t", registry_uri=first, mlflow_server=first),
            "options": {text: list(texts) for text in texts},
            "coverage": plain.coverage.model_copy(update={"notes": tuple(texts), "not_read": 1}),
            "ledger": LedgerRow(url=first, head=first, entries=1, audit_id=first, accepted_new=0),
            "changes": Changes(new=0, known=3 * len(texts), resolved=len(texts), waived=len(texts), since=first),
            "history": tuple(
                PastAudit(at=text, exit_status=1, listed=2, audited=1, unverifiable=1, findings={Severity.LOW: 1})
                for text in (*texts, first)
            ),
            "resolved": tuple(
                ResolvedRow(name=text, version=text, rule=text, path=text, first_seen=text) for text in texts
            ),
        }
    )
