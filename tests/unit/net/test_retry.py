"""How often anything is tried."""

import pytest

from registry_audit.errors import CouldNotVerify, Transient
from registry_audit.net.retry import retried, tries


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_audit.net.retry.FIRST_PAUSE_SECONDS", 0)


def test_what_was_tried_often_enough_inside_is_not_tried_again_outside() -> None:
    asked = list[int]()

    def ask() -> None:
        asked.append(1)
        raise Transient("broken")

    with pytest.raises(Transient):
        retried(lambda: retried(lambda: retried(ask)))
    assert len(asked) == tries()


def test_what_does_not_pass_is_tried_once() -> None:
    asked = list[int]()

    def ask() -> None:
        asked.append(1)
        raise CouldNotVerify("denied")

    with pytest.raises(CouldNotVerify):
        retried(ask)
    assert asked == [1]


def test_what_passes_is_tried_until_it_does() -> None:
    answers = iter([Transient("broken"), Transient("broken"), None])

    def ask() -> str:
        if (error := next(answers)) is not None:
            raise error
        return "here"

    assert retried(ask) == "here"
