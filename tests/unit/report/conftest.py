"""Hand-made report documents: every verdict and rule once, and names that try to break out of each format."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from registry_audit.report.document import (
    AuditDocument,
    CopyRow,
    Coverage,
    DifferenceRow,
    FindingRow,
    Outcome,
    Registry,
    SidedDigests,
    SidedSizes,
    Summary,
    Tool,
    VersionRow,
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


def copy_row(
    seed: str, *, uri: str = "models:/m-1", root: str | None = None, files: int = 5, size: int = 48_213
) -> CopyRow:
    return CopyRow(uri=uri, root=root or f"s3://mlflow/1/{seed}", manifest_digest=digest(seed), files=files, bytes=size)


def finding(rule: str, message: str, *, severity: Severity | None = None, path: str | None = None) -> FindingRow:
    known = RULE_BY_ID[rule]
    return FindingRow(
        rule=rule, name=known.name, severity=severity or known.severity, message=message, remedy=known.remedy, path=path
    )


def difference(path: str, kind: Any = "content", *, expected_by: str | None = None) -> DifferenceRow:
    run, reg = kind != "only_in_reg_model", kind != "only_in_run_model"
    return DifferenceRow(
        path=path,
        kind=kind,
        expected_by=expected_by,
        sizes=SidedSizes(run_model=41_204 if run else None, reg_model=41_236 if reg else None),
        digests=SidedDigests(run_model=digest("3f") if run else None, reg_model=digest("b07e") if reg else None),
    )


def version_row(name: str, version: str, verdict: Verdict = Verdict.MATCH, **fields: Any) -> VersionRow:
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
        "run_model": copy_row(seed),
        "reg_model": copy_row(seed),
        "differences": (),
        "findings": (),
    }
    return VersionRow(name=name, version=version, verdict=verdict, **(defaults | fields))


def document(versions: Sequence[VersionRow], **fields: Any) -> AuditDocument:
    verdicts = Counter(row.verdict for row in versions)
    unverifiable, skipped = verdicts[Verdict.UNVERIFIABLE], verdicts[Verdict.SKIPPED]
    severities = [found.severity for row in versions for found in row.findings if found.rule != "RA009"]
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
        version_row("churn-classifier", "1", Verdict.SAME_STORAGE, baseline="unchanged"),
        version_row(
            "churn-classifier",
            "2",
            Verdict.SAME_STORAGE,
            aliases=("champion",),
            baseline="changed",
            findings=(
                finding(
                    "RA002",
                    "model.pkl holds other bytes than the accepted baseline of 2025-01-09: "
                    "sha256:3f3f3f3f3f3f… was accepted, sha256:b07eb07eb07e… was read.",
                    path="model.pkl",
                ),
            ),
        ),
        version_row(
            "churn-classifier",
            "10",
            Verdict.SAME_STORAGE,
            baseline="new",
            findings=(
                finding("RA012", "MLmodel names run 11aa22bb, the version names run 8f2c1d0a.", path="MLmodel"),
                finding("RA005", "Run 8f2c1d0a no longer exists."),
            ),
        ),
        version_row(
            "fraud-score",
            "7",
            Verdict.MISMATCH,
            stage="Production",
            aliases=("live", "eu-west"),
            run_model=copy_row("3f", uri="runs:/8f2c1d0a/model", root="s3://mlflow/1/8f2c1d0a/artifacts/model"),
            reg_model=copy_row(
                "b07e", uri="models:/fraud-score/7", root="s3://registry/fraud-score/7", files=6, size=49_001
            ),
            differences=(
                difference("MLmodel", expected_by="registered-model-meta"),
                difference("model.pkl"),
                difference("preprocessing/encoder.joblib", "only_in_reg_model"),
                difference("requirements.txt", "only_in_run_model"),
                difference("weights", "type"),
            ),
            findings=(finding("RA001", "4 of 7 files differ between the run model and the registry model."),),
        ),
        version_row(
            "fraud-score",
            "8",
            Verdict.EQUIVALENT,
            reg_model=copy_row("c4", uri="models:/fraud-score/8"),
            differences=(
                difference("registered_model_meta", "only_in_reg_model", expected_by="registered-model-meta"),
            ),
        ),
        version_row("prices/eu", "3", Verdict.MATCH, stage="Staging", compared_by="digests"),
        version_row(
            "prices/eu",
            "4",
            Verdict.UNVERIFIABLE,
            storage=Storage.UNKNOWN,
            baseline="not_read",
            run_model=None,
            reg_model=None,
            compared_by=None,
            reason="The artifact store denied access to s3://mlflow/7 (AccessDenied).",
            findings=(finding("RA009", "The artifact store denied access to s3://mlflow/7 (AccessDenied)."),),
        ),
        version_row(
            "search-ranker",
            "1",
            Verdict.SAME_STORAGE,
            run_model=CopyRow(
                uri="runs:/deadbeef/model", root="s3://mlflow/4/deadbeef", manifest_digest=None, files=0, bytes=0
            ),
            reg_model=None,
            baseline="vanished",
            findings=(finding("RA003", "READY, but s3://mlflow/4/deadbeef holds no file at all."),),
        ),
        version_row(
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
            findings=(finding("RA006", "The registration has been pending for 3 days."),),
        ),
        version_row(
            "search-ranker",
            "3",
            Verdict.SAME_STORAGE,
            findings=(
                finding("RA004", "Run 5c5c5c is deleted: the next `mlflow gc` destroys the bytes of this version."),
            ),
        ),
    )
    plain = document(versions)
    coverage = plain.coverage.model_copy(
        update={
            "listed": 12,
            "not_sampled": 2,
            "notes": ("The listing changed while it was read: 1 version was added.",),
        }
    )
    return plain.model_copy(update={"coverage": coverage})


def hostile_document(texts: Sequence[str] = HOSTILE) -> AuditDocument:
    """Each text in every string field of a version that has all parts, and in the fields of the report itself."""
    rows = []
    for number, text in enumerate(texts, start=1):
        sides = SidedDigests(run_model=text, reg_model=text)
        found = FindingRow(rule="RA001", name=text, severity=Severity.CRITICAL, message=text, remedy=text, path=text)
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
                storage=Storage.SEPARATE,
                compared_by="bytes",
                run_model=copy,
                reg_model=copy.model_copy(update={"files": 0}),
                differences=(differing,),
                findings=(found,),
            )
        )
    first = texts[0]
    plain = document(rows)
    return plain.model_copy(
        update={
            "generated_at": first,
            "tool": Tool(name=first, version=first, mlflow=first, python=first),
            "registry": Registry(tracking_uri=first + "t", registry_uri=first, mlflow_server=first),
            "options": {text: list(texts) for text in texts},
            "coverage": plain.coverage.model_copy(update={"notes": tuple(texts)}),
        }
    )


@pytest.fixture(scope="session")
def sample() -> AuditDocument:
    return sample_document()


@pytest.fixture(scope="session")
def hostile() -> AuditDocument:
    return hostile_document()


@pytest.fixture(scope="session")
def hostile_texts() -> tuple[str, ...]:
    return HOSTILE


@pytest.fixture(scope="session")
def make_hostile() -> Callable[[Sequence[str]], AuditDocument]:
    return hostile_document


@pytest.fixture(scope="session")
def make_document() -> Callable[..., AuditDocument]:
    return document


@pytest.fixture(scope="session")
def make_version() -> Callable[..., VersionRow]:
    return version_row


@pytest.fixture(scope="session")
def make_finding() -> Callable[..., FindingRow]:
    return finding


@pytest.fixture(scope="session")
def make_difference() -> Callable[..., DifferenceRow]:
    return difference
