"""Programs of these tests as processes of their own, without the seconds that each would import for.

`Popen` and `run` are those of `subprocess`. Where the command is `python -m` and a module that `_imported_for` knows,
or `python -c` and the caller says what it needs, its process is forked from one that has imported everything already.
It is a process like any other: with its own environment, directory, streams, session, signals and status. Any other
command starts as it always does. So does what is to be seen from cold, which asks `subprocess`.

A whole run of pytest has one process that others are forked from, whatever number of workers it has, and a second one
with Prefect. They end with the run.
"""

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from types import ModuleType
from typing import Any, cast

_TESTS = Path(__file__).parents[1]
_ADDRESS = "TESTS_ARE_FORKED_AT"  # where the workers of a run find what was started for all of them
# Of these an interpreter takes notice when it starts, and libraries when they are imported.
_READ_EARLY = ("PYTHON", "LC_", "LANG", "COV_", "LD_", "MLFLOW_LOGGING", "MLFLOW_CONFIGURE", "PREFECT_PROFILE")
_NOT_FOR_IMPORTS = ("MLFLOW_", "AWS_", "DATABRICKS_", "PREFECT_", "REGISTRY_AUDIT_")
_NUMBER = struct.Struct("!i")
_FOR_PYTEST = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


def _modules_of(name: str, *but: str) -> list[str]:
    package = importlib.import_module(name)
    found = (module.name for module in pkgutil.walk_packages(package.__path__, f"{name}."))
    return [module for module in found if not module.endswith("__main__") and not module.startswith(but)]


def _for_programs() -> list[str]:
    but = ("registry_audit.cli.submit", "registry_audit.ledger.migrations.")  # Prefect's, and Alembic's own
    servers = ["mlflow.cli", "mlflow.server.fastapi_app", "uvicorn.main", "moto.server", "moto.s3.urls"]
    return ["uvicorn", *_modules_of("registry_audit", *but), *servers]


def _for_flows() -> list[str]:
    commands = [f"prefect.cli.{name}" for name in ("server", "worker", "work_pool", "deploy")]
    flows = _modules_of("flows", "flows.executors.dask_cluster")
    return [*flows, *_modules_of("tasks"), "prefect.server.api.server", *commands]


PROGRAMS, FLOWS = "programs", "flows"
_IMPORTS: Mapping[str, Callable[[], list[str]]] = {PROGRAMS: _for_programs, FLOWS: _for_flows}


def _imported_for(module: str) -> str | None:
    if module in ("registry_audit", "mlflow", "moto.server"):
        return PROGRAMS
    return FLOWS if module == "prefect" or module.startswith("flows.") else None


# ---- asking for one


class Popen(subprocess.Popen[Any]):
    def __init__(
        self, command: list[str], *, imported: str | None = None, ends_with_stdin: bool = False, **options: Any
    ) -> None:
        """
        Args:
            imported: `PROGRAMS` or `FLOWS`, of code that is given with `-c`.
            ends_with_stdin: its group is killed once nobody holds the other end of its pipe any more; only where
                `is_forked` says so of the command.
        """
        self._imported, self._ends_with_stdin = imported, ends_with_stdin
        self._its_end: socket.socket | None = None
        super().__init__(command, **options)

    def _execute_child(self, args: Any, executable: Any, preexec_fn: Any, *more: Any) -> None:
        (_, pass_fds, cwd, env, _, _, shell, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite) = more[:13]
        environment = dict(os.environ if env is None else env)
        if executable or shell or preexec_fn or pass_fds or not is_forked(args, environment, self._imported):
            super()._execute_child(args, executable, preexec_fn, *more)  # type: ignore[misc]
            return
        asked = {
            "arguments": [str(argument) for argument in args[1:]],
            "environment": {os.fspath(name): os.fspath(value) for name, value in environment.items()},
            "directory": str(cwd or Path.cwd()),
            "session": bool(more[18]),
            "ends_with_stdin": self._ends_with_stdin,
        }
        body = json.dumps(asked).encode()
        streams = [own if given == -1 else given for own, given in enumerate((p2cread, c2pwrite, errwrite))]
        connection = _connected(str(self._imported or _imported_for(args[2])))
        socket.send_fds(connection, [_NUMBER.pack(len(body))], streams)
        connection.sendall(body)
        self.pid = _NUMBER.unpack(_received(connection, _NUMBER.size))[0]
        self._its_end = connection
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._its_end is None:
            return super()._try_wait(wait_flags)  # type: ignore[misc, no-any-return]
        ended = select.poll()  # `select` takes no file above 1023, and long runs of tests have them
        ended.register(self._its_end, select.POLLIN)
        if not ended.poll(0 if wait_flags & os.WNOHANG else None):
            return 0, 0
        with self._its_end, contextlib.suppress(ConnectionError):
            return self.pid, _NUMBER.unpack(_received(self._its_end, _NUMBER.size))[0]
        return self.pid, int(signal.SIGKILL)  # what would say has ended itself

    def _internal_poll(self, *arguments: Any, **named: Any) -> int | None:
        if self._its_end is None:
            return super()._internal_poll(*arguments, **named)  # type: ignore[misc, no-any-return]
        if self.returncode is None and self._waitpid_lock.acquire(False):  # type: ignore[attr-defined]
            try:
                if self.returncode is None:
                    pid, status = self._try_wait(os.WNOHANG)
                    if pid:
                        self._handle_exitstatus(status)  # type: ignore[attr-defined]
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode


def run(
    command: list[str], *, check: bool = False, capture_output: bool = False, timeout: float | None = None, **more: Any
) -> subprocess.CompletedProcess[Any]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} if capture_output else {}
    with Popen(command, **pipes, **more) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(command, process.returncode, stdout, stderr)
    if check:
        done.check_returncode()
    return done


def is_forked(command: Any, environment: Mapping[str, str], imported: str | None = None) -> bool:
    if not (isinstance(command, list) and len(command) > 2 and command[0] == sys.executable):
        return False
    if not (imported if command[1] == "-c" else command[1] == "-m" and _imported_for(command[2])):
        return False
    if environment.get("PREFECT_API_URL") == "":  # its own embedded server
        return False
    return _read_early(environment) == _read_early(os.environ)


def _read_early(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_READ_EARLY) and name != "PYTHONUNBUFFERED"
    }


def shared_directory() -> Path:
    """Of this run and all its workers, gone at its end."""
    if _ADDRESS not in os.environ:
        start()
    return Path(os.environ[_ADDRESS])


@contextlib.contextmanager
def made_once(name: str) -> Iterator[tuple[Path, Path | None]]:
    """The path of a file that all of a run share and, to whoever comes first, a new directory to make it in."""
    shared = shared_directory()
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other workers wait for it
        made = shared / name
        yield made, None if made.exists() else Path(tempfile.mkdtemp(dir=shared))


def start() -> None:
    """For this process and all that it starts. It is done by the first that wants it, unless it was done before."""
    directory = Path(tempfile.mkdtemp(prefix="tests-"))
    code = f"import sys; sys.path[0] = {str(_TESTS)!r}; from support import warm; warm.serve(*sys.argv[1:])()"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_FOR_IMPORTS)}
    own = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    own["PREFECT_HOME"] = str(directory / "prefect")
    listening = [socket.socket(socket.AF_UNIX) for _ in _IMPORTS]
    for kind, one in zip(_IMPORTS, listening, strict=True):  # at once: who comes early waits for an answer
        one.bind(str(directory / kind))
        one.listen(64)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(directory), *(str(one.fileno()) for one in listening)],
            stdin=subprocess.PIPE,  # this process alone holds the other end
            stdout=log,
            stderr=log,
            env=environment | own,
            pass_fds=[one.fileno() for one in listening],
        )
    for one in listening:
        one.close()
    os.environ[_ADDRESS] = str(directory)
    atexit.register(_end, process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin
    process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):  # it never holds anybody up
        process.wait(timeout=10)


def _connected(kind: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(shared_directory() / kind))
    return connection


def _received(connection: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        more = connection.recv(size - len(content))
        if not more:
            raise ConnectionError(f"no process could be forked: see {os.environ[_ADDRESS]}/log")
        content += more
    return content


# ---- the process that is forked


def serve(directory: str, *listening: str) -> Callable[[], None]:
    """Fork for whoever asks, until nobody holds the standard input any more; returns in forked processes alone."""
    waiting = {kind: socket.socket(fileno=int(number)) for kind, number in zip(_IMPORTS, listening, strict=True)}
    for number in _FOR_PYTEST:
        signal.signal(number, signal.SIG_IGN)  # pytest gets it too, and ends this one
    _import(PROGRAMS)
    assert "prefect" not in sys.modules, "a command starts without it"
    imported = PROGRAMS
    while True:
        ready = select.select([0, *waiting.values()], [], [], 1)[0]
        _reap()
        if 0 in ready:
            shutil.rmtree(directory, ignore_errors=True)
            os._exit(0)
        for kind in [kind for kind, one in waiting.items() if one in ready]:
            if kind == imported:
                connection, _ = waiting[kind].accept()
                if os.fork():
                    connection.close()
                else:
                    for one in waiting.values():
                        one.close()
                    return _forked(connection)
            elif os.fork():
                waiting.pop(kind).close()
            else:  # one that has imported more
                for other in set(waiting) - {kind}:
                    waiting.pop(other).close()
                _import(kind)
                imported = kind
                break


def _import(kind: str) -> None:
    for module in _IMPORTS[kind]():
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # pages that no collection touches are shared by all
    assert threading.active_count() == 1, threading.enumerate()
    sys.stdout.flush()


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _forked(connection: socket.socket) -> Callable[[], None]:
    """Start the program that is asked for, and tell of its end. Returns in the program's own process alone."""
    head, streams, _, _ = socket.recv_fds(connection, _NUMBER.size, 3)
    asked = json.loads(_received(connection, _NUMBER.unpack(head)[0]))
    pid = os.fork()
    if pid:
        for stream in streams:
            os.close(stream)
        with contextlib.suppress(OSError):  # nobody waits for it
            connection.sendall(_NUMBER.pack(pid))
        status = os.waitpid(pid, 0)[1]
        with contextlib.suppress(OSError):
            connection.sendall(_NUMBER.pack(status))
        os._exit(0)
    connection.close()
    return _become(asked, streams)


def _become(asked: Mapping[str, Any], streams: Sequence[int]) -> Callable[[], None]:
    if asked["session"]:
        os.setsid()
    for number, handler in _FOR_PYTEST.items():
        signal.signal(number, handler)
    held = os.dup(streams[0])
    for own, given in enumerate(streams):
        os.dup2(given, own)
        os.close(given)
    if asked["ends_with_stdin"]:
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        threading.Thread(target=_end_with, args=(held,), daemon=True).start()
    else:
        os.close(held)
    os.chdir(asked["directory"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    for stream, by_lines in ((sys.stdout, os.isatty(1)), (sys.stderr, True)):
        cast("TextIOWrapper", stream).reconfigure(line_buffering=by_lines and not unbuffered, write_through=unbuffered)
    way, what, *arguments = asked["arguments"]
    sys.argv = [what if way == "-m" else "-c", *arguments]
    sys.path[0] = asked["directory"] if way == "-m" else ""
    if "prefect" in sys.modules:
        sys.modules["prefect.context"].refresh_global_settings_context()
    if what == "mlflow":
        sys.modules["mlflow.server"]._exec_cmd = _uvicorn_here
    if way == "-m":
        sys.modules.pop(what, None)  # it runs as the main module, and nobody but that imported it
        return lambda: runpy.run_module(what, run_name="__main__", alter_sys=True) and None
    sys.modules["__main__"] = main = ModuleType("__main__")
    return lambda: exec(compile(what, "<string>", "exec"), vars(main))


def _end_with(held: int) -> None:
    while os.read(held, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def _uvicorn_here(command: Sequence[str], *, extra_env: Mapping[str, str], **options: Any) -> None:
    """In place of `mlflow server`'s second process."""
    assert [*command[:3]] == [sys.executable, "-m", "uvicorn"], command
    os.environ.update(extra_env)
    sys.argv = ["uvicorn", *command[3:]]
    runpy.run_module("uvicorn", run_name="__main__", alter_sys=True)
