"""Two servers in one command: each address is signed in to with its own credentials only."""

import pytest

from registry_audit.registry.connection import Server, each_with_its_own

A, B = "http://a.example:5000", "http://b.example:5000"
HERE = "http://localhost"  # another name of 127.0.0.1
UC_A, UC_B = "uc:http://a.example:8080", "uc:http://b.example:8080"


@pytest.mark.parametrize(
    ("owner", "registry_owner", "one", "two", "is_sent"),
    [
        # Nothing says whose the sign-in is, so MLflow's own client would send it everywhere.
        (None, None, (A, UC_A), (B, UC_B), ((True, True), (True, True))),
        (None, UC_A, (A, UC_A), (A, UC_B), ((True, True), (True, False))),
        (None, UC_A, ("sqlite:///a.db", UC_A), ("sqlite:///a.db", UC_B), ((True, True), (True, False))),
        (A, None, (A, UC_A), (B, UC_B), ((True, True), (False, False))),
        (A, None, (A, None), (B, None), ((True, True), (False, False))),
        (A, UC_B, (A, UC_A), (A, UC_B), ((True, False), (True, True))),
        (A, "uc://http://b.example:8080/", (A, UC_A), (A, UC_B), ((True, False), (True, True))),
        (A, UC_A, (B, UC_A), (A, None), ((False, True), (True, True))),
        (A, B, (A, B), (A, "http://c.example"), ((True, True), (True, False))),
        (B, UC_A, (A, A), (A, UC_B), ((False, False), (False, False))),
        (
            f"{HERE}:1",
            f"uc:{HERE}:2",
            ("http://127.0.0.1:1", "uc:http://127.0.0.1:2"),
            (A, UC_A),
            ((True,) * 2, (False,) * 2),
        ),
    ],
)
def test_the_environments_sign_in_is_for_the_servers_that_it_names(
    monkeypatch: pytest.MonkeyPatch,
    owner: str | None,
    registry_owner: str | None,
    one: tuple[str, str | None],
    two: tuple[str, str | None],
    is_sent: tuple[tuple[bool, bool], tuple[bool, bool]],
) -> None:
    for name, value in (("MLFLOW_TRACKING_URI", owner), ("MLFLOW_REGISTRY_URI", registry_owner)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    asked = each_with_its_own(Server(*one), Server(*two))
    assert tuple((not server.by_itself, not server.registry_by_itself) for server in asked) == is_sent
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    assert each_with_its_own(Server(*one), Server(*two), owner, registry_owner) == asked
