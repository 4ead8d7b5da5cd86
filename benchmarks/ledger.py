"""Measures how much time a ledger adds to an audit, and how much data it keeps: `python -m benchmarks.ledger`.

    python -m benchmarks.ledger [--versions 10000] [--files 8] [--rounds 5] [--postgres URL]

Each round runs real `registry-audit audit` commands, interleaved, over one generated registry: without a ledger, with a
new ledger that accepts everything (`--accept-new`), and with that ledger again; on SQLite, and on PostgreSQL if a
server is given. Every ratio is to the audit without a ledger of the same round. The first round does not count. This
process stays small, because a child's peak memory is counted from its parent's.
"""

import argparse
import contextlib
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy

from benchmarks.generate import REG_MODELS, RUN_MODELS, database_name
from benchmarks.machine import describe_machine
from benchmarks.measure import Sample, run_once
from benchmarks.shapes import Shape

VERSIONS, FILES, ROUNDS, MODEL_BYTES = 10_000, 8, 5, 2_048
TARGET_RATIO = 1.2

_GENERATED_FILES = 5  # files per model, as made by benchmarks.generate
_FILE_BYTES = 200
_REPORT = "report"


@dataclass(slots=True)
class Arm:
    """This is one way to audit, measured once per round."""

    key: str
    label: str
    samples: list[Sample] = field(default_factory=list)
    ledger_bytes: list[int] = field(default_factory=list)  # after the audit


def main(arguments: list[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    kept = tempfile.TemporaryDirectory(prefix="registry-audit-bench-") if chosen.work_dir is None else chosen.work_dir
    with kept if isinstance(kept, tempfile.TemporaryDirectory) else contextlib.nullcontext(str(kept)) as directory:
        work = Path(directory).resolve()
        work.mkdir(parents=True, exist_ok=True)
        environment = _environment(work)
        shape = Shape(f"ledger-{chosen.files}", chosen.versions, chosen.model_bytes)
        _say(f"making a registry of {chosen.versions:,} versions, {chosen.files} files each")
        command = [sys.executable, "-m", "benchmarks.generate", shape.name, "--name", shape.name]
        command += ["--versions", str(shape.versions), "--model-bytes", str(shape.model_bytes)]
        subprocess.run(command, cwd=work, env=environment, check=True)
        add_files(work / shape.name, chosen.files - _GENERATED_FILES)
        os.sync()
        result = {
            "versions": chosen.versions,
            "files": chosen.files,
            "model_bytes": chosen.model_bytes,
            "rounds": chosen.rounds,
            "command": f"python -m benchmarks.ledger {' '.join(_sizes(chosen))}",
            "machine": describe_machine(),
        } | measure(work, shape, chosen.rounds, environment, chosen.postgres)
    print(table(result))
    if chosen.results_dir is not None or (chosen.versions, chosen.files) == (VERSIONS, FILES):
        directory = chosen.results_dir or Path(__file__).resolve().parent / "results"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "ledger.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    else:
        print("Not saved: these are not the sizes that the issue names (--results-dir saves anyway).")
    return 0


def add_files(registry: Path, count: int) -> None:
    """Add more small files to every model, equal in both copies. A registry that already has them is left unchanged."""
    if count < 0:
        raise SystemExit(f"--files: a generated model has {_GENERATED_FILES} files, so that many or more")
    done = registry / "added.json"
    if done.is_file() and json.loads(done.read_text()) == count:
        return
    for model in sorted((registry / RUN_MODELS).glob("*/artifacts/model")):
        run_id = model.parent.parent.name
        for number in range(count):
            content = f"{run_id} {number}\n".encode().ljust(_FILE_BYTES, b".")
            for copies in (RUN_MODELS, REG_MODELS):
                directory = registry / copies / run_id / "artifacts" / "model" / "data"
                directory.mkdir(exist_ok=True)
                (directory / f"part-{number:02}.txt").write_bytes(content)
    done.write_text(json.dumps(count))


def measure(
    work: Path, shape: Shape, rounds: int, environment: dict[str, str], postgres: str | None
) -> dict[str, object]:
    plain = Arm("none", "without a ledger")
    arms = [plain]
    databases: list[tuple[str, Callable[[], contextlib.AbstractContextManager[str]]]] = [
        ("SQLite", lambda: sqlite_ledger(work))
    ]
    if postgres is not None:
        databases.append(("PostgreSQL", lambda: postgres_ledger(postgres)))
    for database, _ in databases:
        arms.append(Arm(f"{database.lower()}-first", f"{database}, first audit, --accept-new"))
        arms.append(Arm(f"{database.lower()}-later", f"{database}, a later audit"))
    by_key = {arm.key: arm for arm in arms}
    for number in range(rounds + 1):
        samples = {"none": (_audit(work, shape, environment, "none"), 0)}
        for database, ledger in databases:
            with ledger() as url:
                for key, extra in (("first", ("--accept-new",)), ("later", ())):
                    sample = _audit(work, shape, environment, url, *extra)
                    samples[f"{database.lower()}-{key}"] = sample, ledger_bytes(url)
        told = ", ".join(f"{key} {sample.wall_seconds:.2f} s" for key, (sample, _) in samples.items())
        _say(f"{f'round {number} of {rounds}' if number else 'warm-up'}: {told}")
        for key, (sample, size) in samples.items() if number else ():
            by_key[key].samples.append(sample)
            by_key[key].ledger_bytes.append(size)
    return {"arms": [_row(arm, plain, arms, shape.versions) for arm in arms]}


def _audit(work: Path, shape: Shape, environment: dict[str, str], ledger: str, *extra: str) -> Sample:
    report, output = work / _REPORT, work / "output.txt"
    shutil.rmtree(report, ignore_errors=True)
    uri = f"sqlite:///{work / shape.name / database_name('local')}"
    program = str(Path(sys.executable).with_name("registry-audit"))
    command = [program, "audit", "--tracking-uri", uri, "--report-dir", str(report), "--ledger", ledger, *extra]
    sample = run_once(command, cwd=work, environment=environment, output=output)
    os.sync()  # so that writes of one audit are not flushed while the next one is measured
    if sample.exit_status != 0:
        raise SystemExit(f"an audit ended with exit status {sample.exit_status}:\n{output.read_text()[-2_000:]}")
    document = json.loads((report / "audit.json").read_text(encoding="utf-8"))
    _must_have_worked(document, shape.versions, ledger != "none", "--accept-new" in extra)
    return sample


def _must_have_worked(document: dict[str, Any], versions: int, remembers: bool, first: bool) -> None:
    """Refuse a number unless the whole work was done: every version was read and compared with its baseline."""
    if document["summary"]["verdicts"]["match"] != versions:
        raise SystemExit(f"not every version was compared: {document['summary']}")
    if remembers and document["summary"]["baseline"]["new" if first else "unchanged"] != versions:
        raise SystemExit(f"not every version was put beside its baseline: {document['summary']}")
    if first and document["ledger"]["accepted_new"] != versions:
        raise SystemExit(f"not every version was accepted: {document['ledger']}")


@contextlib.contextmanager
def sqlite_ledger(work: Path) -> Iterator[str]:
    """Yield the URL of a new file: the product notices a ledger that vanished from a known place."""
    with tempfile.TemporaryDirectory(prefix="ledger-", dir=work) as directory:
        yield f"sqlite:///{directory}/ledger.db"


@contextlib.contextmanager
def postgres_ledger(server: str) -> Iterator[str]:
    """Yield the URL of a new database on that server, which is dropped afterwards."""
    name = f"registry_audit_bench_{secrets.token_hex(4)}"
    engine = sqlalchemy.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    try:
        yield sqlalchemy.make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(f"DROP DATABASE {name} WITH (FORCE)"))


def ledger_bytes(url: str) -> int:
    """Return the size on disk: for SQLite of the files, for PostgreSQL of the two tables with their indexes."""
    if url.startswith("sqlite"):
        file = Path(sqlalchemy.make_url(url).database or "")
        return sum(part.stat().st_size for part in file.parent.glob(f"{file.name}*"))
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    tables = "pg_total_relation_size('entries') + pg_total_relation_size('manifests')"
    with engine.connect() as connection:
        return int(connection.execute(sqlalchemy.text(f"SELECT {tables}")).scalar_one())


def _row(arm: Arm, plain: Arm, arms: list[Arm], versions: int) -> dict[str, Any]:
    walls = [sample.wall_seconds for sample in arm.samples]
    row: dict[str, Any] = {
        "key": arm.key,
        "label": arm.label,
        "wall_seconds": statistics.median(walls),
        "cpu_seconds": statistics.median(sample.cpu_seconds for sample in arm.samples),
        "peak_bytes": max(sample.peak_bytes for sample in arm.samples),
        "samples": [asdict(sample) for sample in arm.samples],
    }
    if arm is plain:
        return row
    # What this audit added to the ledger: all of it for the first audit, the growth for a later one.
    before = next((other.ledger_bytes for other in arms if other.key == arm.key.replace("-later", "-first")), None)
    grown = arm.ledger_bytes if arm.key.endswith("-first") or before is None else _minus(arm.ledger_bytes, before)
    pairs = list(zip(walls, (sample.wall_seconds for sample in plain.samples), strict=True))
    ratio = statistics.median(one / two for one, two in pairs)
    return row | {
        "times_without": ratio,
        "added_seconds": statistics.median(one - two for one, two in pairs),
        "met": ratio < TARGET_RATIO,
        "ledger_bytes": statistics.median(arm.ledger_bytes),
        "added_bytes_per_version": statistics.median(grown) / versions,
    }


def _minus(later: list[int], first: list[int]) -> list[int]:
    return [one - two for one, two in zip(later, first, strict=True)]


def _environment(work: Path) -> dict[str, str]:
    """Return an environment without the user's settings: no server, no ledger, no cache of earlier audits."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "REGISTRY_AUDIT_"))}
    return kept | {
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        "REGISTRY_AUDIT_CACHE_DIR": str(work / "cache"),
        "REGISTRY_AUDIT_HOME": str(work / "home"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "LC_ALL": "C",
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table(result: dict[str, Any]) -> str:
    machine = result["machine"]
    target = f"Target: less than {TARGET_RATIO} times as long as without a ledger. Median of {result['rounds']} rounds"
    measured_on = f"{machine['cores']} cores ({machine['processor']}), load {machine['load_at_start']} when it began"
    lines = [
        f"### ledger: {result['versions']:,} versions, two copies each, {result['files']} files a copy",
        "",
        "| | seconds | min-max | times without | CPU seconds | peak memory, MB | ledger, MB | added, bytes a version |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
        *map(_line, result["arms"]),
        "",
        f"{target} after one that does not count. {measured_on}.",
    ]
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    walls = [sample["wall_seconds"] for sample in row["samples"]]
    cells = [row["label"], f"{row['wall_seconds']:.2f}", f"{min(walls):.2f}-{max(walls):.2f}"]
    ratio = f"{row['times_without']:.2f}{'' if row['met'] else ' (**not met**)'}" if "met" in row else ""
    cells += [ratio, f"{row['cpu_seconds']:.2f}", f"{row['peak_bytes'] / 1e6:.0f}"]
    kept = (f"{row['ledger_bytes'] / 1e6:.1f}", f"{row['added_bytes_per_version']:,.0f}") if "met" in row else ("", "")
    return f"| {' | '.join((*cells, *kept))} |"


def _sizes(chosen: argparse.Namespace) -> list[str]:
    sizes = [f"--versions {chosen.versions}", f"--files {chosen.files}", f"--rounds {chosen.rounds}"]
    return sizes + (["--postgres URL"] if chosen.postgres else [])


def _parser() -> argparse.ArgumentParser:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=__doc__.splitlines()[0])
    parser.add_argument("--versions", type=int, default=VERSIONS, metavar="N", help=f"({VERSIONS:,})")
    parser.add_argument("--files", type=int, default=FILES, metavar="N", help=f"of each model ({FILES})")
    parser.add_argument(
        "--model-bytes", type=int, default=MODEL_BYTES, metavar="N", help=f"model.pkl ({MODEL_BYTES:,})"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"after the warm-up ({ROUNDS})")
    parser.add_argument("--postgres", metavar="URL", help="SQLAlchemy URL of a database on a server that makes others")
    parser.add_argument("--work-dir", type=Path, metavar="DIR", help="keep the registry there, for the next time")
    parser.add_argument("--results-dir", type=Path, metavar="DIR", help="save the JSON there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
