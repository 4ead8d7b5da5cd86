"""Defines the cases. A case is a shape in a store with its contestants, measured interleaved in one run."""

from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.audits import audit_contestants
from benchmarks.contestants import Contestant, Done, containing, silent
from benchmarks.generate import Store, model_names
from benchmarks.peers import peer_contestants
from benchmarks.place import Place
from benchmarks.shapes import ONE_VERSION, SHAPES, Shape

_EVERYBODY = "*"
_AUDITS = ("audit-start", "audit", "audit-quick", "audit-liveness")


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    shape: Shape
    store: Store
    keys: tuple[str, ...]  # keys of its contestants; '*' means all
    rounds: int
    default: bool  # measured by `make bench`

    def takes(self, key: str) -> bool:
        return self.keys == (_EVERYBODY,) or key in self.keys


def _case(name: str, keys: tuple[str, ...] = (_EVERYBODY,), *, rounds: int = 3, default: bool = True) -> Case:
    shape, _, store = name.rpartition("-")
    stores: dict[str, Store] = {"local": "local", "proxy": "proxy", "s3": "s3"}
    return Case(name, SHAPES[shape], stores[store], keys, rounds, default)


_BARE = ("bare-client-start", "bare-client", "bare-client-sha256")
_REMOTE = (*_AUDITS, "registry-client-start", "registry-client", *_BARE, "rclone-download", "rclone-hash")
_BUCKET = (*_REMOTE, "bare-obstore-start", "bare-obstore-sha256")
_FLOORS = ("cat", "floor-read", "floor-sha256", "floor-blake3", "b3sum")
_COMPARING = ("rclone-download", "rclone-hash", "diff", "model-signing", "floor-compare", "floor-all")

CASES = {
    case.name: case
    for case in (
        Case("start-up", ONE_VERSION, "local", (_EVERYBODY,), 5, True),
        _case("small-local"),
        replace(_case("large-local"), shape=SHAPES["larger"]),
        _case("files-local", (*_AUDITS, "audit-blake3", *_FLOORS, *_COMPARING, "predecessor-start", "predecessor")),
        _case("shared-local", (*_AUDITS, *_FLOORS, "registry-client-start", "registry-client")),
        _case("one-directory-local", (*_AUDITS, *_FLOORS)),
        _case("small-proxy", (*_AUDITS, *_BARE), rounds=1),
        _case("large-proxy", (*_REMOTE, "predecessor-start", "predecessor"), rounds=2),
        _case("small-s3", _BUCKET, rounds=1),
        _case("large-s3", _BUCKET, rounds=2),
        _case("small-10000-local", (*_AUDITS, "audit-no-ledger", "flow-start", "flow"), rounds=2, default=False),
        _case("small-10000-proxy", ("audit-start", "audit-liveness"), rounds=1, default=False),
        Case("memory", SHAPES["memory"], "local", ("import-mlflow", "bare-check", "audit-start", "audit"), 1, False),
    )
}


def contestants(case: Case, place: Place, one: Place, workers: int | None) -> list[Contestant]:
    """Return the contestants of a case, in the order in which they run."""
    if case.name == "start-up":
        return _start_up(one)
    found = [*audit_contestants(place, one, workers), *peer_contestants(place, one)]
    if case.name == "memory":
        found = [_import_mlflow(), _bare_check(one), *found]
    return [contestant for contestant in found if case.takes(contestant.key)]


def scaled(case: Case, scale: float, model_bytes: int | None) -> Case:
    if case.name == "start-up":
        return case
    shape = case.shape if scale == 1 else case.shape.scaled(scale)
    return replace(case, shape=replace(shape, model_bytes=model_bytes) if model_bytes else shape)


def _start_up(one: Place) -> list[Contestant]:
    name, check = model_names(one.shape)[0], ("check-model-version", "--tracking-uri", one.tracking_uri)

    def equal(output: str, cwd: Path) -> Done:
        return containing(output, "Equals: True")

    return [
        Contestant(
            "help", "registry-audit --help", ("registry-audit", "--help"), lambda o, cwd: containing(o, "Usage:")
        ),
        _import_mlflow(),
        _bare_check(one),
        Contestant(
            "check",
            "check-model-version, one small version",
            (*check, "--model", name, "--version-or-stage", "1"),
            equal,
        ),
    ]


def _bare_check(one: Place) -> Contestant:
    name = model_names(one.shape)[0]
    return Contestant(
        "bare-check",
        "import mlflow and the client's calls",
        ("python", "-m", "benchmarks.bare_check", one.tracking_uri, name, "1"),
        lambda output, cwd: containing(output, f"{name}/1 of run "),
    )


def _import_mlflow() -> Contestant:
    return Contestant(
        "import-mlflow", "import mlflow", ("python", "-c", "import mlflow"), lambda output, cwd: silent(output)
    )
