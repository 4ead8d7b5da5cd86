"""A row on disk is the row in memory, whatever the registry put into its names."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from support.ledgers import FILES, row

from registry_audit.audit.comparing import Comparison, Difference, Kind
from registry_audit.audit.judging import BaselineView, Finding, VersionAudit, Waiver
from registry_audit.audit.rows import decode_row, encode_row
from registry_audit.registry.version import version_spool
from registry_audit.verdict import BaselineStatus, Severity, Storage, Verdict

# Surrogates too: a file system gives names that are no text.
TEXT = st.text(st.characters(exclude_categories=()), min_size=1, max_size=8)
MAYBE = st.none() | TEXT

differences = st.builds(
    Difference,
    path=TEXT,
    kind=st.sampled_from(Kind),
    sizes=st.tuples(st.none() | st.integers(0, 2**60), st.none() | st.integers(0, 2**60)),
    digests=st.tuples(MAYBE, MAYBE),
    expected_by=MAYBE,
)
findings = st.builds(
    Finding,
    rule=st.just("RA002"),
    severity=st.sampled_from(Severity),
    message=TEXT,
    remedy=TEXT,
    path=MAYBE,
    first_seen=MAYBE,
    new=st.none() | st.booleans(),
    waiver=st.none() | st.builds(Waiver, TEXT, TEXT, TEXT),
)


@st.composite
def rows(draw: st.DrawFn) -> VersionAudit:
    files = draw(st.dictionaries(TEXT, st.binary(max_size=4), max_size=3)) | FILES
    some = row(draw(TEXT), "7", files, run_files=draw(st.none() | st.just(FILES)), listed=draw(st.booleans()))
    return replace(
        some,
        version=replace(some.version, aliases=tuple(draw(st.lists(TEXT, max_size=2))), run_id=draw(MAYBE)),
        verdict=draw(st.sampled_from(Verdict)),
        reason=draw(MAYBE),
        storage=draw(st.sampled_from(Storage)),
        comparison=draw(
            st.none()
            | st.builds(Comparison, st.tuples(differences), st.just("bytes"), st.integers(0, 9), st.booleans())
        ),
        findings=tuple(draw(st.lists(findings, max_size=2))),
        baseline=draw(st.none() | st.builds(BaselineView, st.sampled_from(BaselineStatus), st.tuples(differences))),
    )


@given(rows())
def test_a_row_survives_the_disk(audit: VersionAudit) -> None:
    line = encode_row(audit)
    assert line.isascii()
    assert "\n" not in line
    assert decode_row(line) == audit


@given(rows())
def test_a_version_survives_the_disk(audit: VersionAudit) -> None:
    spool = version_spool(in_memory=0)
    spool.append(audit.version)
    assert list(spool) == [audit.version]
