"""Writes the artifacts that Prefect shows on the page of a flow run. The result itself is always also in the report."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.utilities.context import get_task_and_flow_run_ids

from registry_audit.audit.comparing import Comparison
from registry_audit.audit.judging import Finding
from registry_audit.printable import markdown
from registry_audit.report import links
from registry_audit.report.document import AuditDocument, FindingRow, Registry
from registry_audit.report.registries_document import MigrationDocument
from registry_audit.report.registries_words import headline, label_of
from registry_audit.report.view import changes_words, life_words, placed_findings
from registry_audit.report.words import STATE_WORDS, VERDICT_WORDS, count
from registry_audit.report.write import render
from registry_audit.verdict import Verdict
from tasks.prefect_sender import send, send_artifact

# Markdown links to MLflow's own pages, but only where such a page certainly exists.

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _./-]*")


class MlflowPages:
    """Makes the Markdown of versions and runs, as links if the server has web pages."""

    def __init__(self, registry: Registry) -> None:
        # A server with workspaces has other routes; MLFLOW_WORKSPACE tells that it has workspaces.
        of_workspace = bool(os.environ.get("MLFLOW_WORKSPACE"))
        self._pages = links.MlflowPages(None, None) if of_workspace else links.mlflow_pages(registry)

    def version(self, name: str, version: str) -> str:
        return _link(f"{name}/{version}", self._pages.version(name, version))

    def run(self, run_id: str | None) -> str:
        return "" if run_id is None else _link(run_id, self._pages.run(run_id))


def _link(text: str, page: str | None) -> str:
    # Prefect's tables show the text of a link verbatim, so a name that needs escapes is not linked.
    return markdown(text) if page is None or not _PLAIN.fullmatch(text) else f"[{text}]({page})"


AUDIT_KEY = "registry-audit"  # prefix of the artifacts registry-audit-summary, -findings and -progress
CHECK_KEY = "check-model-version"
COMPARE_KEY = "compare-model-versions"
MIGRATION_KEY = "compare-registries"

ROW_LIMIT = 1_000  # a browser loads a table completely


@dataclass(frozen=True, slots=True)
class Told:
    """This is one comparison to show: of one version's two copies, or of two versions in one role."""

    title: str
    verdict: Verdict
    reason: str | None
    comparison: Comparison | None
    findings: tuple[tuple[str, Finding], ...]  # each with the label of its version
    note: str | None = None  # what the result is based on: a baseline, or none


def publish(document: AuditDocument) -> None:
    """Write the artifacts of an audit: its Markdown report and a table of its findings."""
    where = markdown(document.registry.registry_uri)
    changes = markdown(changes_words(document))
    # A list of artifacts shows the description, so it begins with the most important information.
    told = " ".join(filter(None, (f"{STATE_WORDS[document.outcome.state]}.", changes, where)))
    _summary(AUDIT_KEY, render(document, "markdown"), told)
    pages, findings = MlflowPages(document.registry), placed_findings(document)
    rows = (
        {
            "severity": placed.finding.severity.value,
            "life": _life(placed.finding),
            **_row(pages.version(placed.version.name, placed.version.version), placed.finding),
            "run": pages.run(placed.version.run_id),
        }
        for placed in findings
    )
    _table(AUDIT_KEY, rows, len(findings), changes)


def publish_single(key: str, told: tuple[Told, ...]) -> None:
    """Write the artifacts of one check or comparison: a summary and a table of its findings."""
    findings = tuple(dict.fromkeys(found for one in told for found in one.findings))
    said = told[0].note or told[0].reason
    description = f"{told[0].verdict}: {markdown(told[0].title)}{f': {markdown(said)}' if said else ''}"
    _summary(key, "\n".join(line for one in told for line in _told(one)), description)
    _table(key, (_row(markdown(label), finding) for label, finding in findings), len(findings))


def publish_migration(document: MigrationDocument) -> None:
    """Write the artifacts of a comparison of two registries: its Markdown report and a table of its findings."""
    text = render(document, "markdown")
    told = f"{headline(document)}. {markdown(document.summary.sentence)}"
    _summary(MIGRATION_KEY, text, told)
    of_models = (
        (model.source or model.target or "", finding) for model in document.models for finding in model.findings
    )
    of_versions = ((label_of(row), finding) for row in document.versions for finding in row.findings)
    rows = (_row(markdown(label), finding) for label, finding in chain(of_models, of_versions))
    _table(MIGRATION_KEY, rows, sum(document.summary.findings.values()))


class Progress:
    """Shows a bar from 0 to 100 on the flow run's page."""

    def __init__(self, total: int, description: str) -> None:
        self._total = total
        self._description = markdown(description)
        self._flow_run_id = get_task_and_flow_run_ids()[1]
        self._id: UUID | None = None  # set once the server has created it
        self.update(0)

    def update(self, done: int) -> None:
        percent = 100.0 * done / self._total if self._total else 100.0

        def show(client: SyncPrefectClient) -> None:
            if self._id is None:
                self._id = client.create_artifact(self._bar(percent)).id
            else:
                client.update_artifact(self._id, ArtifactUpdate(data=percent))

        send("progress", "the artifact for the progress could not be written", show)

    def _bar(self, percent: float) -> ArtifactCreate:
        return ArtifactCreate(
            type="progress",
            key=f"{AUDIT_KEY}-progress",
            description=self._description,
            data=percent,
            flow_run_id=self._flow_run_id,
        )


def _summary(key: str, text: str, description: str) -> None:
    send_artifact("markdown", f"{key}-summary", "summary", text, description)


def _table(key: str, rows: Iterable[dict[str, str]], total: int, changes: str = "") -> None:
    cut = f"The first {ROW_LIMIT:,} of {total:,} findings; the report has all of them."
    description = cut if total > ROW_LIMIT else count(total, "finding")
    data = json.dumps(list(islice(rows, ROW_LIMIT)))
    send_artifact("table", f"{key}-findings", "findings", data, f"{changes} {description}".strip())


def _life(finding: FindingRow) -> str:
    """Return `new`, `known since 2026-11-20`, or who waived it; empty without a ledger."""
    if finding.waived:
        return markdown(f"waived by {finding.waived.by} until {finding.waived.until}")
    return "**new**" if finding.new else markdown(life_words(finding))


def _row(version: str, finding: Finding | FindingRow) -> dict[str, str]:
    """Return a row of the table of findings. Prefect's pages render every cell as Markdown.

    Args:
        version: already Markdown.
    """
    return {
        "severity": finding.severity.value,
        "rule": f"{finding.rule} {markdown(finding.name)}",
        "version": version,
        "path": markdown(finding.path or ""),
        "found": markdown(finding.message),
        "to do": markdown(finding.remedy),
    }


def _told(one: Told) -> Iterator[str]:
    yield from (
        f"# {markdown(one.title)}",
        "",
        f"**{VERDICT_WORDS[one.verdict].label}.** {markdown(one.reason or '')}",
        "",
        *((markdown(_sentence(one.note)), "") if one.note else ()),
    )
    differences = one.comparison.differences if one.comparison else ()
    for difference in differences[:ROW_LIMIT]:
        expected = f" (expected: {markdown(difference.expected_by)})" if difference.expected_by else ""
        yield f"- {markdown(difference.kind.value)}: {markdown(difference.path)}{expected}"
    if len(differences) > ROW_LIMIT:
        yield f"- and {count(len(differences) - ROW_LIMIT, 'more difference')}"
    yield ""


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
