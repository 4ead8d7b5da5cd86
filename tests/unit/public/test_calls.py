"""An argument of the wrong type is a usage error that names it, before any server is asked."""

from collections.abc import Callable
from typing import Any

import pytest

import registry_audit as ra

NOBODY = "http://127.0.0.1:1"


def compare_registries(**wrong: Any) -> object:
    return ra.compare_registries(NOBODY, NOBODY, **wrong)


def audit(**wrong: Any) -> object:
    return ra.audit(NOBODY, ledger=None, **wrong)


def check(**wrong: Any) -> object:
    return ra.check("Wine/1", NOBODY, ledger=None, **wrong)


def compare(**wrong: Any) -> object:
    return ra.compare("Wine/1", "Wine/2", NOBODY, ledger=None, **wrong)


def pull(output: Any) -> object:
    return ra.pull("Wine/1", output, NOBODY)


@pytest.mark.parametrize(
    ("call", "wrong"),
    [
        (compare_registries, {"workers": "eight"}),
        (compare_registries, {"workers": 0}),
        (compare_registries, {"models": 5}),
        (compare_registries, {"models": [5]}),
        (compare_registries, {"mapping": [("Wine", "wine")]}),
        (compare_registries, {"mapping": {"Wine": 5}}),
        (compare_registries, {"mapping": {"Wine": ""}}),
        (compare_registries, {"report_dir": 5}),
        (audit, {"workers": "eight"}),
        (audit, {"models": 5}),
        (audit, {"report_dir": 5}),
        (check, {"download_dir": 5}),
        (compare, {"download_dir": 5}),
        (pull, {"output": 5}),
        (pull, {"output": None}),
    ],
)
def test_an_argument_of_another_type_is_named(call: Callable[..., object], wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ra.UsageError, match=f"^{name}: "):
        call(**wrong)
