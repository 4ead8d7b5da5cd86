"""What was typed, as options."""

from pathlib import Path

import pytest

from registry_audit.audit.options import AuditOptions, checked_options
from registry_audit.cli.common_options import ROWS, audit_options
from registry_audit.cli.main import registry_audit
from registry_audit.errors import UsageError


def test_no_ledger_is_a_choice_and_not_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_AUDIT_LEDGER", "sqlite:////somebody/ledger.db")
    assert audit_options({"tracking_uri": "http://127.0.0.1", "ledger": None}).ledger is None
    assert audit_options({"tracking_uri": "http://127.0.0.1"}).ledger == "sqlite:////somebody/ledger.db"
    monkeypatch.delenv("REGISTRY_AUDIT_LEDGER")
    assert str(audit_options({"tracking_uri": "http://127.0.0.1"}).ledger).endswith("/ledger.db")


def test_what_was_not_typed_has_its_default() -> None:
    assert audit_options({"tracking_uri": "http://127.0.0.1", "digest": None}).digest == "sha256"


@pytest.mark.parametrize(
    ("chosen", "typed", "in_python"),
    [
        ({"subset": "x"}, "--subset is n/t", "`subset` is n/t"),
        ({"subset": "8/7"}, "--subset is n/t", "`subset` is n/t"),
        ({"ledger": None, "quick": True}, "--quick and --accept-new need", "`quick` and `accept_new` need"),
        ({"full_every": 3}, "--full-every needs --quick", "`full_every` needs `quick`"),
        ({"max_files": 0}, "--max-files: ", "max_files: "),
        ({"model": "Wine"}, "there is no option --model; did you mean 'models'", "there is no option model; did you"),
    ],
)
def test_options_are_named_as_they_are_written(chosen: dict[str, object], typed: str, in_python: str) -> None:
    given = {"tracking_uri": "http://127.0.0.1"} | chosen
    with pytest.raises(UsageError) as refused:
        audit_options(given)
    assert refused.value.message.startswith(typed)
    with pytest.raises(UsageError) as refused:
        checked_options(**given)
    assert refused.value.message.replace("`", "").startswith(in_python.replace("`", ""))


def test_one_name_is_a_list_of_one() -> None:
    given = checked_options(
        tracking_uri="http://127.0.0.1", models="Wine", signing_key="k", signing_ignore_paths="data"
    )
    assert (given.models, given.signing_ignore_paths) == (("Wine",), ("data",))
    with pytest.raises(UsageError, match=r"^models: give one text or a list of texts$"):
        checked_options(tracking_uri="http://127.0.0.1", models=3)


@pytest.mark.parametrize("name", sorted(AuditOptions.model_fields))
def test_a_command_and_python_have_one_default(name: str) -> None:
    field, row = AuditOptions.model_fields[name], ROWS[name]
    if (shown := row.given.get("default")) is not None:
        assert shown == field.default
    else:
        assert "default" not in row.given


_SERVERS = "  {host: http://127.0.0.1:9, model: m, version_or_stage: '1'}\n"
_COMPARE = f"tracking_server_1:\n{_SERVERS}tracking_server_2:\n{_SERVERS}"
_MIGRATION = "source: {host: http://127.0.0.1:9}\ntarget: {host: http://127.0.0.1:8}\n"


@pytest.mark.parametrize(
    ("command", "content", "inputs", "output"),
    [
        ("compare", _COMPARE, ["--config-file", "in/x"], ["--report-file", "x"]),
        ("check", "key", ["m/1", "--tracking-uri", "http://127.0.0.1:9", "--signing-key", "x"], ["--report-file", "x"]),
        ("compare-registries", _MIGRATION, ["--config-file", "in/migration.json"], ["--report-dir", "."]),
    ],
)
def test_no_report_replaces_what_the_command_reads(
    command: str, content: str, inputs: list[str], output: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").symlink_to(".")
    for name in ("x", "migration.json"):
        (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=r"would replace a file that is read: give another name"):
        registry_audit.main([command, *inputs, *output], standalone_mode=False)
    assert (tmp_path / "x").read_text() == content
