"""Measures the audit and its peers: `python -m benchmarks.run` (`make bench`).

All contestants of a case run interleaved, A B C A B C, in one run. Medians over the rounds are compared, and ratios are
computed within each round.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import plan
from benchmarks.audits import REPORT
from benchmarks.cases import CASES, Case, contestants, scaled
from benchmarks.contestants import Contestant, resolved
from benchmarks.generate import artifact_root, stored_paths
from benchmarks.machine import describe_machine
from benchmarks.measure import Sample, run_once
from benchmarks.page import section, update_page
from benchmarks.place import Place, database_uri
from benchmarks.results import Measured, save, to_result
from benchmarks.servers import Served, mlflow_server, prefect_server, s3_endpoint, s3_environment
from benchmarks.shapes import ONE_VERSION, Shape
from benchmarks.skipping import SKIPPED

_HERE = Path(__file__).resolve().parent


def main(arguments: list[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    cases = [case for case in CASES.values() if _wanted(case, chosen)]
    if not cases:
        raise SystemExit(f"nothing is called {' or '.join(chosen.only)}: the cases are {', '.join(CASES)}")
    whole = not chosen.only_contestants and chosen.workers is None and chosen.model_bytes is None
    saved_in = chosen.results_dir or (_HERE / "results" if whole and chosen.scale == 1 else None)
    failed = False
    with _work_directory(chosen.work_dir) as work:
        for case in cases:
            result = _measure(scaled(case, chosen.scale, chosen.model_bytes), Path(work), chosen)
            failed |= any(row.get("failed") for row in result["contestants"])
            print(section(result), flush=True)
            if saved_in is not None:
                save(result, saved_in)
    if saved_in is None:
        print("Not saved: these are not the sizes and contestants of the tables (--results-dir saves anyway).")
    elif chosen.results_dir is None:
        update_page(_HERE)
        plan.main(["--update", str(_HERE.parent / "docs" / "scale.md")])
    return 1 if failed else 0


def _wanted(case: Case, chosen: argparse.Namespace) -> bool:
    if chosen.only:
        return any(fnmatch(case.name, pattern) for pattern in chosen.only)
    return bool(chosen.all or case.default)


def _measure(case: Case, work: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    environment = _environment(work)
    shapes = list(dict.fromkeys((ONE_VERSION, case.shape)))
    for shape in shapes:
        _generate(shape, work, environment)
    os.sync()
    machine = describe_machine()
    with contextlib.ExitStack() as services:
        servers: dict[str, Served] = {}
        if case.store == "proxy":
            for shape in shapes:
                servers[shape.name] = services.enter_context(mlflow_server(work, shape, environment))
        elif case.store == "s3":
            servers["s3"] = services.enter_context(s3_endpoint(work, shapes, environment))
            environment |= s3_environment(servers["s3"])
        one, place = (_place(case, shape, work, servers) for shape in (ONE_VERSION, case.shape))
        measured = [
            Measured(contestant, skipped=_why_not(contestant))
            for contestant in contestants(case, place, one, chosen.workers)
            if not chosen.only_contestants or contestant.key in chosen.only_contestants
        ]
        if any(each.contestant.flow and each.skipped is None for each in measured):
            servers["prefect"] = services.enter_context(prefect_server(work, environment))
            environment["PREFECT_API_URL"] = servers["prefect"].url
        rounds = chosen.rounds or case.rounds
        _rounds(case, measured, rounds, work, environment, servers.get(case.shape.name))
    return to_result(
        case,
        rounds=rounds,
        scale=chosen.scale,
        stored_bytes=place.stored_bytes,
        mlmodel_bytes=place.mlmodel_bytes,
        machine=machine,
        servers=sorted({served.words for served in servers.values()}),
        command=_command(case, chosen, rounds),
        measured=measured,
    )


def _rounds(
    case: Case, measured: list[Measured], rounds: int, work: Path, environment: dict[str, str], server: Served | None
) -> None:
    for number in range(rounds + 1):
        for each in measured:
            if each.skipped is not None:
                continue
            if number == 0 and each.contestant.prepare is not None:
                _say(f"{case.name}, preparing: {each.contestant.label}")
                _run(each, each.contestant.prepare, work, environment)
            offset = server.log.stat().st_size if server else 0
            sample = _measured_once(each, work, environment)
            which = f"round {number} of {rounds}" if number else "warm-up"
            outcome = each.skipped if sample is None else f"{sample.wall_seconds:.2f} s"
            _say(f"{time.strftime('%H:%M:%S')} {case.name}, {which}: {each.contestant.label}: {outcome}")
            if server is not None:
                each.requests = server.requests_since(offset)
            if number and sample is not None:  # the first round fills the page cache and the caches of compiled Python
                each.samples.append(sample)


def _measured_once(each: Measured, work: Path, environment: dict[str, str]) -> Sample | None:
    """Measure a contestant once.

    Return None if it does not do the whole work: it is then left out, and the others continue.
    """
    sample, text = _run(each, each.contestant.command, work, environment)
    if each.skipped is not None:
        return None
    try:
        each.done = each.contestant.check(text, work)
    except ValueError as error:
        each.skipped, each.failed = "it did not do the whole work", True
        _say(f"{each.contestant.label}: {error}")
        return None
    return sample


def _run(each: Measured, command: tuple[str, ...], work: Path, environment: dict[str, str]) -> tuple[Sample, str]:
    output = work / "output.txt"
    shutil.rmtree(work / REPORT, ignore_errors=True)
    sample = run_once(resolved(command), cwd=work, environment=environment, output=output)
    text = output.read_text(errors="replace")
    os.sync()  # so that writes of one contestant are not flushed while the next one is measured
    if sample.exit_status == SKIPPED:
        each.skipped = text.strip()
    elif sample.exit_status != (each.contestant.exit_status if command is each.contestant.command else 0):
        each.skipped, each.failed = f"exit status {sample.exit_status}", True
        _say(text[-2_000:])
    return sample, text


def _generate(shape: Shape, work: Path, environment: dict[str, str]) -> None:
    _say(f"making the registry {shape.name}: {shape.words}")
    command = [sys.executable, "-m", "benchmarks.generate", shape.name, "--name", shape.name]
    command += ["--versions", str(shape.versions), "--model-bytes", str(shape.model_bytes)]
    command += ["--versions-per-model", str(shape.versions_per_model), "--files", str(shape.files)]
    command += ["--storage", shape.storage, "--versions-per-directory", str(shape.versions_per_directory)]
    if subprocess.run(command, cwd=work, env=environment, check=False).returncode != 0:
        raise SystemExit(f"the registry {shape.name} could not be made")


def _place(case: Case, shape: Shape, work: Path, servers: dict[str, Served]) -> Place:
    sizes = {path: (work / shape.name / path).stat().st_size for path in stored_paths(work / shape.name, shape)}
    root = "" if case.store == "proxy" else artifact_root("s3", shape) + "/"
    list_file = f"{shape.name}-{case.store}.txt"
    (work / list_file).write_text("".join(f"{root}{path}\n" for path in sizes))
    server = servers.get(shape.name) or servers.get("s3")
    return Place(
        shape,
        case.store,
        tracking_uri=server.url if server and case.store == "proxy" else database_uri(shape, case.store),
        list_file=list_file,
        artifacts_url=server.url if server else "",
        stored_bytes=sum(sizes.values()),
        mlmodel_bytes=sum(size for path, size in sizes.items() if path.endswith("/MLmodel")),
    )


def _why_not(contestant: Contestant) -> str | None:
    if shutil.which(contestant.argv()[0]) is None:
        return f"{contestant.command[0]} is not installed"
    if contestant.flow and find_spec("prefect") is None:
        return "prefect is not installed"
    option = contestant.needs_option
    if option is None:
        return None
    asked = [*resolved(("registry-audit",)), "audit", "--help"]
    known = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    return None if option in known else f"`registry-audit audit` has no option {option} yet"


def _environment(work: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_", "RCLONE_", "REGISTRY_AUDIT_", "PREFECT_", "AWS_"))
    }
    # Without a configuration rclone prints a notice; the user's own could slow it down or change what it does.
    (work / "rclone.conf").touch()
    return kept | {
        "PYTHONPATH": str(_HERE.parent),
        "REGISTRY_AUDIT_CACHE_DIR": str(work / "cache"),
        "REGISTRY_AUDIT_HOME": str(work / "home"),  # the ledger that every audit here writes
        "RCLONE_CONFIG": str(work / "rclone.conf"),
        "PREFECT_HOME": str(work / "prefect"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "LC_ALL": "C",
    }


def _command(case: Case, chosen: argparse.Namespace, rounds: int) -> str:
    command = f"python -m benchmarks.run --only {case.name} --rounds {rounds}"
    for option in ("scale", "model_bytes", "workers"):
        value = getattr(chosen, option)
        if value not in (None, 1):
            command += f" --{option.replace('_', '-')} {value:g}"
    return command


def _work_directory(kept: Path | None) -> contextlib.AbstractContextManager[str]:
    if kept is None:
        return tempfile.TemporaryDirectory(prefix="registry-audit-bench-")
    kept.mkdir(parents=True, exist_ok=True)
    return contextlib.nullcontext(str(kept.resolve()))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add(
        "--only", action="append", default=[], metavar="CASE", help=f"with * and ?; may be repeated: {', '.join(CASES)}"
    )
    add("--all", action="store_true", help="the slow cases too (`make bench-all`)")
    add("--only-contestants", action="append", default=[], metavar="KEY", help="may be repeated")
    add("--scale", type=float, default=1.0, metavar="X", help="times as many versions, or files of the one (1)")
    add("--model-bytes", type=int, metavar="N", help="another size of each version's model.pkl")
    add("--rounds", type=int, metavar="N", help="measured rounds after the warm-up; each case has its own")
    add("--workers", type=int, metavar="N", help="of the audit; its own default otherwise")
    add("--work-dir", type=Path, metavar="DIR", help="keep the registries there, for the next time")
    add("--results-dir", type=Path, metavar="DIR", help="save the JSON there and leave README.md alone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
