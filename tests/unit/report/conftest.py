"""The hand-made reports of `support.reports`, each made once."""

import pytest
from support.reports import ledger_document, make_hostile, sample_document

from registry_audit.report.document import AuditDocument


@pytest.fixture(scope="session")
def sample() -> AuditDocument:
    return sample_document()


@pytest.fixture(scope="session")
def with_ledger() -> AuditDocument:
    return ledger_document()


@pytest.fixture(scope="session")
def hostile() -> AuditDocument:
    return make_hostile()
