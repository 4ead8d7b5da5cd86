"""`same_storage` proves nothing about the bytes without a baseline: every place that shows it says so."""

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from support.auditing import Audited, Auditor
from support.registry import Registered, Registry
from support.servers import MlflowServer

from registry_audit.ledger.connecting import open_ledger

SAID = "nothing was compared"


@pytest.fixture(scope="module")
def version(mlflow_local: MlflowServer) -> Registered:
    return Registry(mlflow_local).add()


def _in_csv(text: str) -> str:
    (row,) = csv.DictReader(io.StringIO(text))
    return row["reason"]


def _in_json(text: str) -> str:
    return str(json.loads(text)["versions"][0]["reason"])


def _in_html(text: str) -> str:
    (cell,) = re.findall(r'data-label="Storage">([^<]*)<', text)
    return str(cell)


def _in_junit(text: str) -> str:
    (case,) = ElementTree.fromstring(text).iter("testcase")
    return "".join(case.itertext())


# What each command shows, and where in it.
SHOWN: dict[str, tuple[tuple[str, ...], Callable[[str], str]]] = {
    "terminal": (("audit",), str),
    "terminal, every version": (("audit", "-v"), lambda text: text.splitlines()[0]),
    "json on stdout": (("audit", "--format", "json"), _in_json),
    "audit.json": (("audit", "report/audit.json"), _in_json),
    "audit.html": (("audit", "report/audit.html"), _in_html),
    "audit.md": (("audit", "report/audit.md"), str),
    "junit.xml": (("audit", "report/junit.xml"), _in_junit),
    "csv": (("report", "--format", "csv"), _in_csv),
    "check": (("check",), str),
    "check.json": (("check", "report/single.json"), lambda text: json.loads(text)["note"]),
    "compare": (("compare",), str),
    "compare.json": (
        ("compare", "report/single.json"),
        lambda text: json.loads(text)["Run_Model_Comparison"]["reason"],
    ),
}


@pytest.mark.parametrize("shown", SHOWN)
@pytest.mark.parametrize("ledger", ["none", "nothing accepted", "accepted"])
def test_it_is_said_wherever_it_is_shown(
    shown: str, ledger: str, version: Registered, mlflow_local: MlflowServer, audit: Auditor, tmp_path: Path
) -> None:
    (command, *options), where = SHOWN[shown]
    url = "none" if ledger == "none" else f"sqlite:///{tmp_path / 'ledger.db'}"
    of_model = ("--tracking-uri", mlflow_local.uri, "--model", version.name, "--ledger", url, "--quiet")
    if ledger == "accepted":
        audit.command("audit", *of_model, "--accept-new")
    elif ledger == "nothing accepted":
        open_ledger(url, create=True).close()
    (tmp_path / "report").mkdir()
    file = tmp_path / options.pop() if options and options[-1].startswith("report/") else None
    done = _run(command, options, version, mlflow_local.uri, url, audit, tmp_path)
    told = where(done.stdout if file is None else file.read_text(encoding="utf-8"))
    # Two versions behind one storage are never compared, whatever is remembered of each.
    nothing = ledger != "accepted" or command == "compare"
    assert (SAID in told or "nothing compared" in told) == nothing, told


def _run(
    command: str, options: list[str], version: Registered, uri: str, ledger: str, audit: Auditor, directory: Path
) -> Audited:
    report = directory / "report"
    at = ("--tracking-uri", uri, "--ledger", ledger)
    match command:
        case "audit":
            places = ("--model", version.name, "--report-dir", str(report), "--quiet")
            return audit.command("audit", *at, *places, *options)
        case "report":
            audit.command("audit", *at, "--model", version.name, "--report-dir", str(report), "--quiet")
            return audit.command("report", str(report / "audit.json"), *options)
        case "check":
            return audit.command("check", f"{version.name}/1", *at, "--report-file", str(report / "single.json"))
        case _:
            side = {"host": uri, "model": version.name, "version_or_stage": "1"}
            config = directory / "compare.yaml"
            config.write_text(yaml.safe_dump({"tracking_server_1": side, "tracking_server_2": side}), encoding="utf-8")
            places = ("--download-dir", str(directory / "kept"), "--report-file", str(report / "single.json"))
            return audit.command("compare", "--config-file", str(config), *places, "--ledger", ledger)
