"""The benchmark's own arithmetic: from samples to ratios, targets and the plan."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cases import CASES
from benchmarks.contestants import Contestant, Done
from benchmarks.measure import Sample
from benchmarks.page import section, targets_table
from benchmarks.plan import main as plan
from benchmarks.results import Measured, load, row_of, save, to_result
from benchmarks.servers import Requests, Served
from benchmarks.shapes import SHAPES
from benchmarks.targets import Verdict, net_seconds, ratio, verdicts

_MACHINE: dict[str, object] = {
    "cores": 2,
    "processor": "one",
    "memory_bytes": 2**30,
    "system": "Linux",
    "load_at_start": 0.1,
    "versions": {},
}


def _measured(key: str, seconds: list[float], start: str | None = None, **facts: int) -> Measured:
    contestant = Contestant(key, key, ("true",), lambda output, cwd: Done(""), start)
    samples = [Sample(wall, wall, 100 * 2**20, 2**20, 5, 2, 4_096, 0) for wall in seconds]
    return Measured(contestant, samples=samples, done=Done("done", facts), requests=Requests(12, 100))


def _result(case: str, *measured: Measured, scale: float = 1.0) -> dict[str, Any]:
    rounds = len(measured[0].samples)
    return to_result(
        CASES[case],
        rounds=rounds,
        scale=scale,
        stored_bytes=10**9,
        mlmodel_bytes=1_000,
        machine=_MACHINE,
        servers=[],
        command="again",
        measured=measured,
    )


def _verdict(result: dict[str, Any], text: str) -> Verdict:
    (found,) = [one for one in verdicts({result["case"]: result}) if one.case == result["case"] and text in one.text]
    return found


def test_ratios_are_taken_within_each_round() -> None:
    audits = _measured("audit", [3.0, 30.0, 4.0], "audit-start"), _measured("audit-start", [1.0, 10.0, 1.0])
    result = _result("large-local", *audits, _measured("floor-sha256", [2.0, 10.0, 2.0]))
    assert ratio(result, "audit", "floor-sha256") == pytest.approx(1.5)  # of 1, 2 and 1.5
    assert _verdict(result, "sha256").measured == "1.50x"
    assert _verdict(result, "sha256").met is False


def test_a_version_less_what_the_client_costs() -> None:
    result = _result(
        "small-local",
        _measured("audit", [3.0], "audit-start"),
        _measured("audit-start", [1.0]),
        _measured("registry-client", [2.5], "registry-client-start"),
        _measured("registry-client-start", [1.0]),
        _measured("predecessor", [11.0], "predecessor-start"),
        _measured("predecessor-start", [2.0]),
    )
    assert net_seconds(result, "audit") == pytest.approx(0.5)
    assert _verdict(result, "a version, less what the registry client costs").measured == "0.50 ms"
    assert _verdict(result, "a version, less what the registry client costs").met is True
    whole, net = [one for one in verdicts({"small-local": result}) if "the predecessor" in one.text]
    assert (whole.measured, whole.met) == ("4.50x", False)
    assert (net.measured, net.met) == ("18.00x", True)


def test_a_start_up_that_took_longer_than_the_whole_meets_nothing() -> None:
    audits = _measured("audit", [3.0], "audit-start"), _measured("audit-start", [4.0])
    result = _result("large-local", *audits, _measured("floor-sha256", [2.0]))
    assert _verdict(result, "sha256").met is None
    assert _verdict(result, "sha256").measured == "lost in the noise"


def test_throughput_of_a_bare_client_is_a_lower_bound() -> None:
    audits = _measured("audit", [11.0], "audit-start"), _measured("audit-start", [1.0])
    slow, fast = (_result("large-proxy", *audits, _measured("bare-client", [wall])) for wall in (8.0, 9.0))
    assert [_verdict(result, "throughput").met for result in (slow, fast)] == [False, True]


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {one.met for one in verdicts({})} == {None}
    assert "**not met**" not in targets_table({})


def test_a_contestant_that_failed_counts_for_nothing() -> None:
    failed = replace(_measured("audit", [1.0]), skipped="exit status 1", failed=True)
    result = _result("small-local", _measured("audit-start", [1.0]), failed)
    assert row_of(result, "audit") is None
    assert "Not measured: audit: exit status 1." in section(result)


def test_other_sizes_are_said_beside_their_numbers() -> None:
    result = _result("start-up", _measured("help", [0.1]), scale=0.5)
    assert _verdict(result, "--help").measured == "0.10 s at 0.5 of the size"


def test_the_plan_is_a_line_through_the_measurements(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def audits(seconds: float) -> tuple[Measured, ...]:
        return _measured("audit", [seconds + 1], "audit-start"), _measured("audit-start", [1.0])

    for result in (
        _result("small-proxy", *audits(36.0)),  # 36 ms a version, 0.012 requests to the registry
        _result("large-proxy", *audits(3.6)),  # 3.6 s a GB
    ):
        save(result, tmp_path)
    assert set(load(tmp_path)) == {"small-proxy", "large-proxy"}
    options = ["--versions", "100000", "--bytes", "1e12", "--latency-ms", "0", "--gbit", "100"]
    assert plan([*options, "--results-dir", str(tmp_path)]) == 0
    proxy = capsys.readouterr().out.partition("**Through one")[2].partition("**File system**")[0]
    # 100,000 x 36 ms and 1,000 GB x 3.6 s are an hour each; 2 listings and 10 files a version are 1.2 million requests.
    assert "| everything, every byte | 1.2 M | 1.0 TB | 2.0 | 1 |" in proxy
    assert "| `--liveness` | 0.2 M | 0 B | not measured | not measured |" in proxy


def test_the_plan_goes_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "scale.md"
    page.write_text(
        "before\n<!-- Made by `python -m benchmarks.plan`; do not edit. -->\nold\n"
        "<!-- End of what is made. -->\nafter\n"
    )
    for _ in range(2):
        plan(["--results-dir", str(tmp_path), "--update", str(page)])
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("-->\nafter\n")
    assert "old" not in text and text.count("Unit costs") == 1


def test_requests_are_counted_from_the_server_s_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text('INFO: 127.0.0.1:1 - "GET /health HTTP/1.1" 200 OK\n')
    offset = log.stat().st_size
    with log.open("a") as out:
        out.write('INFO: 127.0.0.1:1 - "POST /api/2.0/mlflow/runs/search HTTP/1.1" 200 OK\n')
        out.write('INFO: 127.0.0.1:1 - "GET /api/2.0/mlflow-artifacts/artifacts/a/MLmodel HTTP/1.1" 200 OK\n' * 3)
    assert Served("", "", log).requests_since(offset) == Requests(registry=1, artifacts=3)


@pytest.mark.parametrize(
    ("name", "files"), [("small", 10_000), ("files", 40_000), ("shared", 5_000), ("one-directory", 5)]
)
def test_shared_storage_is_stored_once(name: str, files: int) -> None:
    assert SHAPES[name].stored_files == files
