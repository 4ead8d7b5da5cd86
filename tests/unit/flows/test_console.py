"""A process whose reader goes away, as a run's process has it when its worker is killed."""

import subprocess
import sys

import pytest

_PROGRAM = """
import os, stat, sys, time
sys.path.insert(0, ".")
from flows.console import outlive_reader
{outlives}
print("ready", flush=True)
sys.stdin.read()  # until the test has closed its end of both pipes
until = time.monotonic() + {patience}
while stat.S_ISFIFO(os.fstat(1).st_mode) | stat.S_ISFIFO(os.fstat(2).st_mode) and time.monotonic() < until:
    os.sched_yield()
for _ in range(50):
    print("x" * 1000, flush=True)
    print("x" * 1000, file=sys.stderr, flush=True)
sys.exit(7)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe does not tell there that its other end is closed")
@pytest.mark.parametrize("outlives", [True, False])
def test_it_goes_on_without_its_reader(outlives: bool) -> None:
    program = _PROGRAM.format(outlives="outlive_reader()" if outlives else "", patience=30 if outlives else 0)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin and process.stdout and process.stderr
    assert process.stdout.readline() == b"ready\n"
    process.stdout.close()
    process.stderr.close()
    process.stdin.close()
    assert (process.wait(timeout=60) == 7) == outlives
