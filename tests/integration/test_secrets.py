"""No part of a secret is in anything that is shown, written or kept, whatever address or location it stands in."""

import itertools
import json
import logging
import random
import re
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import quote

import pytest
import requests
from mlflow.exceptions import MlflowException
from support.auditing import Auditor
from support.postgres import postgres_database
from support.registry import Registry
from support.servers import MlflowServer

from registry_audit.audit.options import AuditOptions
from registry_audit.audit.scope import Scope
from registry_audit.errors import UsageError
from registry_audit.ledger.chain import Entry
from registry_audit.ledger.entry_bodies import AuditStarted
from registry_audit.ledger.record import Recorded
from registry_audit.registry.address import parse_address, registry_identity, shown_address
from registry_audit.registry.translate import explain
from registry_audit.report.build_document import DocumentBuilder
from registry_audit.report.write import load_report, render, write_report

FORMATS = ("json", "html", "junit", "markdown", "csv", "text")
MARK = re.compile(r"zq\d{5}qz", re.IGNORECASE)  # a part of a secret, whatever is written around and between its parts
NOTHING_LISTENS = "127.0.0.1:1"


@dataclass(slots=True)
class Secrets:
    """Makes secrets of marked parts with all that a password may hold between them."""

    chance: random.Random
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __call__(self, between: str = "", *, parts: int = 3) -> str:
        marks = [f"zq{next(self._numbers):05}qz" for _ in range(parts)]
        glue = [self.chance.choice(between) if between else "" for _ in marks]
        return "".join(itertools.chain.from_iterable(zip(marks, glue, strict=True)))[: -1 if between else None]


def locations(make: Secrets) -> list[str]:
    """Of every kind that a registry may record."""
    odd, in_query = "@:'\"!$*,;%+=~ ü", "/+=:@'\"%$ü "
    found = []
    for scheme, host, path in (
        ("http", NOTHING_LISTENS, "/api/2.0/mlflow-artifacts/artifacts/m"),
        ("https", NOTHING_LISTENS, "/m"),
        ("mlflow-artifacts", NOTHING_LISTENS, "/m"),
        ("s3", "bucket", "/m"),
        ("gs", "bucket", "/m"),
        ("r2", "account.r2.cloudflarestorage.com", "/m"),
        ("ftp", NOTHING_LISTENS, "/m"),
        ("sftp", NOTHING_LISTENS, "/m"),
        ("hdfs", NOTHING_LISTENS, "/m"),
        ("x-plugin", "host", "/m"),
        ("file", "localhost", "/m"),
        ("dbfs", "databricks", "/m"),
        ("runs", "host", "/0123/m"),
        ("models", "host", "/m/1"),
    ):
        place = f"{host}{path}"
        if scheme != "dbfs":  # where it is the name of a profile
            found.append(f"{scheme}://{make(odd.replace(':', ''))}@{place}")
        found += [
            f"{scheme}://{make(odd)}:{make(odd)}@{place}",
            f"{scheme}://{make()}:@{place}",
            f"{scheme}://:{make(odd)}@{place}",
            f"{scheme}://user:{make('/')}@{place}",
            f"{scheme}://user:{quote(make('/@:%'), safe='')}@{place}",
            f"{scheme}://{place}?sv=2024&sig={make(in_query)}&se=1",
            f"{scheme}://{place}?X-Amz-Credential={make('/')}&X-Amz-Signature={make()}&X-Amz-Security-Token={make('+/=')}",
            f"{scheme}://{place}?{make()}",
            f"{scheme}://{place}?api-key={make(in_query)}&code={make()}#access_token={make()}",
        ]
    found += [
        f"wasbs://container:{make()}@account.blob.core.windows.net/m?sv=1&sig={make()}",
        f"https://account.blob.core.windows.net/c/m?sp=r&sig={quote(make('/+='), safe='')}",
        f"s3:/bucket/m?password={make()}",
        f"/srv/m?token={make()}",
        f"models:/m@{'a' * 3}?secret={make()}",
        f"mssql+pyodbc:///?odbc_connect=UID%3Dsa%3BPWD%3D{make()}",
        f"postgresql://user:{make('/')}@{NOTHING_LISTENS}/db?password={make()}",
    ]
    return found


def leaks(outputs: dict[str, str]) -> list[str]:
    """Where each secret came out, with what stands around it."""
    return [
        f"{where}: {text[max(0, found.start() - 120) : found.end() + 40]!r}"
        for where, text in outputs.items()
        for found in MARK.finditer(text)
    ]


@contextmanager
def logged() -> Iterator[list[str]]:
    """What is logged at the levels that people keep; of our own loggers all of it."""
    lines = list[str]()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.WARNING or record.name.startswith(("registry_audit", "flows", "tasks")):
                lines.append(f"{record.name}: {self.format(record)}")

    handler, root = Handler(logging.DEBUG), logging.getLogger()
    root.addHandler(handler)
    try:
        yield lines
    finally:
        root.removeHandler(handler)


def test_of_a_location(
    mlflow_local: MlflowServer, audit: Auditor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As source and as download URI; in every output of every command, in the ledger and in what Prefect is told."""
    for name in ("MLFLOW_S3_ENDPOINT_URL", "STORAGE_EMULATOR_HOST"):
        monkeypatch.setenv(name, f"http://{NOTHING_LISTENS}")
    connection = f"AccountName=account;AccountKey=eA==;BlobEndpoint=http://{NOTHING_LISTENS}/account"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection)
    monkeypatch.setenv("REGISTRY_AUDIT_TRACEBACK", "1")
    registry = Registry(mlflow_local)
    home = registry.add().run_location
    texts = locations(Secrets(random.Random(1)))
    assert len(texts) > 100
    name = Registry.new_name("secrets")
    registry.insert_versions(name, [(text, home) for text in texts] + [(home, text) for text in texts])
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    with logged() as lines:
        audited = audit(mlflow_local.uri, "--model", name, "--ledger", ledger, "--accept-new", "--format", "json", "-v")
        assert len(audited.rows) == 2 * len(texts)
        assert any(row["verdict"] == "same_storage" for row in audited.rows) is False
        outputs = {"audit": audited.everything}
        report = audited.report_dir / "audit.json"
        for form in FORMATS:
            outputs[form] = audit.command("report", str(report), "--format", form).stdout
        outputs |= commands(audit, mlflow_local.uri, name, ledger, tmp_path)
        pack = tmp_path / "pack.zip"
        outputs["evidence"] = audit.command("evidence", str(report), "-o", str(pack), "--ledger", ledger).stdout
        with zipfile.ZipFile(pack) as archive:
            outputs |= {f"pack {entry}": archive.read(entry).decode("utf-8", "replace") for entry in archive.namelist()}
        outputs |= told_to_prefect(report, monkeypatch)
    outputs["logs"] = "\n".join(lines)
    outputs["ledger"] = dump(tmp_path / "ledger.db")
    assert not leaks(outputs)


def commands(audit: Auditor, uri: str, name: str, ledger: str, tmp_path: Path) -> dict[str, str]:
    found, report = {}, tmp_path / "check.json"
    for version in (1, 6, 9):
        options = ("--tracking-uri", uri, "--ledger", ledger, "--report-file", str(report))
        said = audit.command("check", f"{name}/{version}", *options)
        found[f"check {version}"] = said.stdout + said.stderr + report.read_text()
        config = tmp_path / "compare.yaml"
        servers = {
            f"tracking_server_{n}": {"host": uri, "model": name, "version_or_stage": str(v)}
            for n, v in ((1, version), (2, version + 1))
        }
        config.write_text(json.dumps(servers))
        options = ("--download-dir", str(tmp_path / "downloads"), "--report-file", str(report), "--ledger", ledger)
        said = audit.command("compare", "--config-file", str(config), *options)
        found[f"compare {version}"] = said.stdout + said.stderr + report.read_text()
    for command in (["list"], ["show", f"{name}/1"], ["history", f"{name}/1"], ["verify"], ["registries"]):
        said = audit.command("baseline", *command, "--ledger", ledger)
        found[f"baseline {command}"] = said.stdout + said.stderr
    return found


def told_to_prefect(report: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the artifacts and the events would hold."""
    from tasks import artifacts, events

    told = dict[str, str]()

    def keep(name: str) -> Any:
        return lambda *arguments, **named: told.update({f"{name} {len(told)}": repr((arguments, named))})

    for module, name in (
        (artifacts, "send_artifact"),
        (events, "emit_event"),
    ):
        monkeypatch.setattr(module, name, keep(name))
    monkeypatch.setattr(events, "send", lambda key, what, call: call(Mock()))
    document = load_report(report)
    artifacts.publish(document)
    events.tell(document, "audit-id")
    return told


def dump(database: Path) -> str:
    connection = sqlite3.connect(database)
    try:
        return "\n".join(connection.iterdump())
    finally:
        connection.close()


def addresses(make: Secrets) -> list[str]:
    """Of tracking servers, registries and ledgers, quoted and as people write them."""
    odd, found = "@:/'\"#?&=;% ü", []
    for scheme in (
        "http",
        "https",
        "postgresql",
        "postgresql+psycopg2",
        "mysql+pymysql",
        "mssql+pyodbc",
        "plugin",
        "uc",
    ):
        for user, password in (
            (make(), make()),
            (quote(make(odd), safe=""), quote(make(odd), safe="")),
            (make("!$*,~+"), make("!$*,~+'\"")),
            ("user", make("/")),
            ("user", make("@")),
            ("user", make(odd)),
            (make(), ""),
            ("", make()),
        ):
            found.append(f"{scheme}://{user}:{password}@{NOTHING_LISTENS}/db")
        found += [
            f"{scheme}://{make()}@{NOTHING_LISTENS}/db",
            f"{scheme}://{NOTHING_LISTENS}/db?password={make()}&sslpassword={quote(make(odd), safe='')}&token={make()}",
            f"{scheme}:///?odbc_connect={quote(f'DRIVER=x;SERVER=h;UID={make()};PWD={make(odd)}', safe='')}",
            f"{scheme}://{NOTHING_LISTENS}/db?{make()}#/{make()}",
        ]
    return found


def test_of_an_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is shown, kept and told of it, and what becomes of other libraries' words about it."""
    found, accepted = list[str](), 0
    for address in addresses(Secrets(random.Random(2))):
        try:
            parse_address(address)
        except UsageError as error:
            outputs = {"refused": str(error), "shown": shown_address(address)}
        else:
            accepted += 1
            outputs = said_of(address, tmp_path, monkeypatch) | others_say(address)
        found += [f"{address}: {leak}" for leak in leaks(outputs)]
    assert not found, "\n".join(found)
    assert accepted > 40


def others_say(address: str) -> dict[str, str]:
    """The messages of other libraries' errors, as this one passes them on."""
    said = {}
    for text in (address, f"could not connect to {address} (refused)"):
        for error in (requests.ConnectionError(text), MlflowException(text), OSError(5, text), RuntimeError(text)):
            said[f"{type(error).__name__} {len(said)}"] = explain(error, "connect").message
    return said


def said_of(address: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Of an audit whose servers and ledger have this address: its reports, what Prefect is told, what is kept."""
    parsed = parse_address(address)
    identity = registry_identity(parsed, "team-a")
    options = AuditOptions(tracking_uri=address, registry_uri=address, ledger=address)
    scope = Scope((), address, address, None, 0, registry=identity)
    recorded = Recorded((), Entry(1, "now", "kind", identity, "", "", "id", "{}", "0", "1"), "id", None, 0)
    document = DocumentBuilder(options, scope).document(recorded=recorded, ledger_url=address)
    write_report(document, directory)
    started = AuditStarted(options=options.reported(), listed=0, selected=0).draft(identity, audit_id="id")
    shown = repr((parsed, options, identity, shown_address(address)))
    return {
        **{form: render(document, form) for form in FORMATS},
        **told_to_prefect(directory / "audit.json", monkeypatch),
        "kept": repr(started),
        "shown": shown,
    }


def test_of_an_address_that_nothing_listens_at(audit: Auditor, tmp_path: Path) -> None:
    """The drivers' own words, as the commands show them."""
    make, outputs = Secrets(random.Random(3)), dict[str, str]()
    for scheme in ("postgresql", "mysql+pymysql", "http"):
        address = f"{scheme}://{make()}:{quote(make('/@:'), safe='')}@{NOTHING_LISTENS}/db"
        for command in (
            ["audit", "--tracking-uri", address, "--report-dir", str(tmp_path / "report")],
            ["check", "m/1", "--tracking-uri", address],
            ["doctor", "--tracking-uri", address],
            ["baseline", "list", "--ledger", address],
            ["baseline", "accept", "m/1", "--reason", "x", "--tracking-uri", address, "--ledger", address],
        ):
            with logged() as lines:
                said = audit.command(*command)
            assert said.exit_status != 0
            outputs[f"{scheme} {command[:2]}"] = "\n".join((said.stdout, said.stderr, *lines))
    assert not leaks(outputs)


def test_of_a_user_whom_a_database_refuses(audit: Auditor, tmp_path: Path) -> None:
    """It says whom it refused, in its own words."""
    make, outputs = Secrets(random.Random(4)), dict[str, str]()
    with postgres_database() as url:
        place = url.rpartition("@")[2]
        user, password, name = make(), make(), place.rpartition("/")[2]
        for address in (
            f"postgresql://{user}:{password}@{place}",
            f"postgresql:///{name}?host=127.0.0.1&user={user}&password={password}",
        ):
            for command in (
                ["audit", "--tracking-uri", address, "--report-dir", str(tmp_path / "report")],
                ["doctor", "--tracking-uri", address, "--ledger", address],
                ["baseline", "list", "--ledger", address],
            ):
                said = audit.command(*command)
                assert said.exit_status != 0
                assert "***" in said.stdout + said.stderr, said.stderr
                outputs[f"{command[0]} {address}"] = said.stdout + said.stderr
    assert not leaks(outputs)
