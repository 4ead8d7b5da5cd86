"""Measures the audit beside its peers: `python -m benchmarks.run` (`make bench`).

All contestants of a shape run interleaved, A B C A B C, in one run; what is compared is the median over the rounds,
and the ratios are taken within each round. This process stays small: a child's peak memory counts from its parent's.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.contestants import Contestant, contestants
from benchmarks.generate import REG_MODELS, RUN_MODELS
from benchmarks.machine import describe_machine
from benchmarks.measure import Sample, run_once
from benchmarks.results import Measured, save, to_result
from benchmarks.shapes import ONE_VERSION, SHAPES, Shape
from benchmarks.table import section, update_readme

_HERE = Path(__file__).resolve().parent


def main(arguments: list[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    for name in chosen.shape or list(SHAPES):
        shape = SHAPES[name]
        if chosen.versions:
            shape = replace(shape, versions=chosen.versions)
        if chosen.model_bytes:
            shape = replace(shape, model_bytes=chosen.model_bytes)
        with _work_directory(chosen.work_dir) as work:
            result = _measure(shape, Path(work), chosen.runs, chosen.only, chosen.workers)
        print(section(result))
        if chosen.results_dir is not None:
            save(result, chosen.results_dir)
        elif (shape, chosen.only, chosen.workers) == (SHAPES[name], None, None):
            save(result, _HERE / "results")
            update_readme(_HERE / "README.md", _HERE / "results")
        else:
            print("Not saved: these are not the sizes and contestants of the tables (--results-dir saves anyway).")
    return 0


def _measure(shape: Shape, work: Path, runs: int, only: list[str] | None, workers: int | None) -> dict[str, object]:
    environment = _environment(work)
    for made in (shape, ONE_VERSION):
        _say(f"making the registry {made.name}: {made.words}")
        command = [sys.executable, "-m", "benchmarks.generate", made.name, "--name", made.name]
        command += ["--versions", str(made.versions), "--model-bytes", str(made.model_bytes)]
        command += ["--versions-per-model", str(made.versions_per_model)]
        if subprocess.run(command, cwd=work, env=environment, check=False).returncode != 0:
            raise SystemExit(f"the registry {made.name} could not be made")
    os.sync()
    tree_bytes = [_bytes_under(work / shape.name / tree) for tree in (RUN_MODELS, REG_MODELS)]
    machine = describe_machine()
    measured = [
        Measured(contestant, [], _why_not(contestant))
        for contestant in contestants(shape, tree_bytes[0], workers)
        if only is None or contestant.key in only
    ]
    for number in range(runs + 1):
        for each in measured:
            if each.skipped is not None:
                continue
            sample, each.says = _run(each.contestant, work, environment)
            which = f"round {number} of {runs}" if number else "warm-up"
            _say(f"{shape.name}, {which}: {each.contestant.label}: {sample.wall_seconds:.2f} s")
            if number:  # the first round fills the page cache and the caches of compiled Python files
                each.samples.append(sample)
    return to_result(shape, runs, sum(tree_bytes), machine, measured)


def _run(contestant: Contestant, work: Path, environment: dict[str, str]) -> tuple[Sample, str]:
    output = work / "output.txt"
    shutil.rmtree(work / "report", ignore_errors=True)
    sample = run_once(contestant.argv(), cwd=work, environment=environment, output=output)
    text = output.read_text(errors="replace")
    os.sync()  # what one contestant wrote is not flushed during the next one's time
    if sample.exit_status != 0:
        raise SystemExit(f"{contestant.label} ended with exit status {sample.exit_status}:\n{text[-2_000:]}")
    try:
        return sample, contestant.check(text, work)
    except ValueError as error:
        raise SystemExit(f"{contestant.label} did not do the whole work: {error}") from error


def _why_not(contestant: Contestant) -> str | None:
    program = contestant.command[0]
    return None if shutil.which(contestant.argv()[0]) else f"{program} is not installed"


def _environment(work: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_", "RCLONE_", "REGISTRY_AUDIT_"))
    }
    # rclone without a configuration says so; one of the user's own could slow it down or change it.
    (work / "rclone.conf").touch()
    return kept | {
        "PYTHONPATH": str(_HERE.parent),
        "REGISTRY_AUDIT_CACHE_DIR": str(work / "cache"),
        "REGISTRY_AUDIT_HOME": str(work / "home"),  # its ledger, which every audit here writes into
        "RCLONE_CONFIG": str(work / "rclone.conf"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "LC_ALL": "C",
    }


def _bytes_under(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _work_directory(kept: Path | None) -> contextlib.AbstractContextManager[str]:
    if kept is None:
        return tempfile.TemporaryDirectory(prefix="registry-audit-bench-")
    kept.mkdir(parents=True, exist_ok=True)
    return contextlib.nullcontext(str(kept.resolve()))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.splitlines()[0])
    parser.add_argument("--shape", action="append", choices=list(SHAPES), help="may be repeated; all by default")
    parser.add_argument("--versions", type=int, metavar="N", help="another number of versions")
    parser.add_argument("--model-bytes", type=int, metavar="N", help="another size of each version's model.pkl")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="measured rounds after the warm-up (5)")
    parser.add_argument("--workers", type=int, metavar="N", help="of the audit; its own default otherwise")
    parser.add_argument("--only", action="append", metavar="KEY", help="only this contestant; may be repeated")
    parser.add_argument("--work-dir", type=Path, metavar="DIR", help="keep the registries there, for the next time")
    parser.add_argument("--results-dir", type=Path, metavar="DIR", help="save the JSON there and leave README.md alone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
