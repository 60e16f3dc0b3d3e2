"""Processes of Python that start in milliseconds: forked from one that has imported what they would import.

:func:`run` and :class:`Popen` are those of :mod:`subprocess` for a command that starts with ``sys.executable``. The
process is one of its own: it has its descriptors, folder, environment, exit status and signals, ``__main__``, and the
end that an interpreter has. It is not new: modules are imported already. What a test says of imports needs a new one.

There are two servers, each started when it is first needed: without torch, in which torch cannot be imported either,
and with it.
"""

from __future__ import annotations

import array
import atexit
import gc
import importlib
import inspect
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from types import CodeType
from typing import Any

LENGTH = 8
"""Bytes in front of a request that say how long it is."""
ABSENT = frozenset({"torch", "transformers", "tokenizers", "safetensors", "accelerate", "gguf", "datasets"})
PLAIN: tuple[str, ...] = (
    *("zarr", "zarr.storage", "xarray", "pandas", "h5py", "scipy.stats", "scipy.optimize", "statsmodels.api"),
    *("dask.array", "distributed", "matplotlib.figure", "matplotlib.backends.backend_svg", "jinja2", "patsy"),
    *("pydantic", "yaml", "typer"),
)
"""None of qloc, so that a program may also say that it needs none."""
WITH_TORCH: tuple[str, ...] = (
    *("torch", "transformers", "transformers.modeling_utils", "transformers.models.gpt2.modeling_gpt2"),
    *("transformers.models.auto.modeling_auto", "transformers.convert_slow_tokenizer", "safetensors.torch"),
    *("transformers.tokenization_utils_tokenizers", "zarr", "xarray", "dask.array", "distributed"),
    *("qloc.cli.extract", "qloc.workflows.extract", "qloc.extract.signals.extraction"),
    *("qloc.store.writing.writer", "qloc.store.reading.open_store", "qloc.analysis.inputs.study"),
)
_PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")


# The side of the tests


_START = """
import sys
sys.path.insert(0, sys.argv[2])
from forked import served
del sys.path[0]
code = served()
del sys, served
exec(code)
"""
_ENVIRONMENT = dict(os.environ)
"""As it is when tests are collected: what packages read while they are imported must not hang on a test."""


class _Server:
    """A process that forks others, and the socket on which it is asked to."""

    def __init__(self, name: str) -> None:
        self.socket, theirs = socket.socketpair()
        command = [sys.executable, "-c", _START, name, str(Path(__file__).parent), str(theirs.fileno())]
        with theirs:
            self.process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=_ENVIRONMENT
            )

    def fork(self, request: dict[str, Any], descriptors: list[int]) -> None:
        content = json.dumps(request).encode()
        passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        self.socket.sendmsg([len(content).to_bytes(LENGTH, "big")], passed)
        self.socket.sendall(content)


_servers: dict[str, _Server] = {}


def stop() -> None:
    """End the servers; they end themselves when we are gone."""
    for server in _servers.values():
        server.socket.close()
        server.process.wait()
    _servers.clear()


class Popen(subprocess.Popen[Any]):
    """A process that is forked from a server; ``torch`` says from which."""

    def __init__(self, args: list[Any], *, torch: bool = False, **options: Any) -> None:
        self._name = "torch" if torch else "plain"
        super().__init__([str(argument) for argument in args], **options)

    def _execute_child(self, *given: Any) -> None:
        asked = inspect.signature(subprocess.Popen._execute_child).bind(self, *given).arguments  # type: ignore[attr-defined]
        assert asked["args"][0] == sys.executable, "only Python is forked"
        assert asked["preexec_fn"] is None, "a function cannot be passed on"
        if self._name not in _servers:
            _servers[self._name] = _Server(self._name)
        pipes = {name: asked[name] for name in _PIPES}
        streams = [pipes[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        streams = [stream if stream != -1 else number for number, stream in enumerate(streams)]
        request = {
            "arguments": asked["args"][1:],
            "folder": os.fspath(asked["cwd"] or os.getcwd()),
            "environment": dict(os.environ if asked["env"] is None else asked["env"]),
            "session": asked["start_new_session"],
        }
        self._status, theirs = socket.socketpair()
        with theirs:
            _servers[self._name].fork(request, [*streams, theirs.fileno()])
        self._close_pipe_fds(*pipes.values())  # type: ignore[attr-defined]
        self.pid = self._number()
        self._child_created = True

    def _number(self) -> int:
        """Receive a whole number: first the child's id, then its exit status."""
        content = self._status.recv(LENGTH, socket.MSG_WAITALL)
        assert len(content) == LENGTH, "the server of forked processes ended"
        return int.from_bytes(content, "big", signed=True)

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None:
            self._status.setblocking(False)
            try:
                self._status.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                return None
            finally:
                self._status.setblocking(True)
            self._ended()
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self.returncode is None:
            self._status.settimeout(timeout)
            try:
                self._status.recv(1, socket.MSG_PEEK)
            except TimeoutError:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0) from None
            self._status.settimeout(None)
            self._ended()
        return self.returncode

    def _ended(self) -> None:
        self.returncode = self._number()
        self._status.close()


def run(
    args: list[Any], *, input: Any = None, timeout: float | None = None, check: bool = False, **options: Any
) -> subprocess.CompletedProcess[Any]:
    """Run a command as :func:`subprocess.run` does, in a forked process."""
    if options.pop("capture_output", False):
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if input is not None:
        options["stdin"] = subprocess.PIPE
    with Popen(args, **options) as process:
        try:
            out, error = process.communicate(input, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(process.args, process.returncode, out, error)
    if check:
        done.check_returncode()
    return done


atexit.register(stop)


# The side of the servers


class _Absent:
    """Refuses to find packages that are to be absent."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def served() -> CodeType:
    """Import, and fork at each request; return only in a process that was asked for, with the program to execute."""
    _, name, _, number = sys.argv
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests
    if name == "plain":
        sys.meta_path.insert(0, _Absent)
    gc.disable()
    for module in PLAIN if name == "plain" else WITH_TORCH:
        with suppress(ModuleNotFoundError):  # not every environment has all
            importlib.import_module(module)
    assert threading.active_count() == 1, "a thread would not be there in what is forked"
    gc.enable()
    gc.collect()
    gc.freeze()
    request = _asked(socket.socket(fileno=int(number)))
    _become(request)
    return _program(request["arguments"])


def _asked(requests: socket.socket) -> dict[str, Any]:
    """Fork a process for each request; return only in such a process, with its request."""
    while True:
        head, descriptors, _, _ = socket.recv_fds(requests, LENGTH, 4)
        if not head:
            os._exit(0)
        length, content = int.from_bytes(head, "big"), b""
        while len(content) < length:
            content += requests.recv(length - len(content))
        if os.fork() == 0:
            requests.close()
            _keep(descriptors)
            return {**json.loads(content), "streams": descriptors}
        for descriptor in descriptors:
            os.close(descriptor)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # keepers that have ended
                pass


def _keep(descriptors: list[int]) -> None:
    """Fork once more, and tell the child's id and its end; return only in the child."""
    child = os.fork()
    if child == 0:
        os.close(descriptors.pop())
        return
    *streams, told = descriptors
    for stream in streams:
        os.close(stream)
    os.write(told, child.to_bytes(LENGTH, "big"))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with suppress(BrokenPipeError):
        os.write(told, status.to_bytes(LENGTH, "big", signed=True))
    os._exit(0)


def _become(request: dict[str, Any]) -> None:
    """Take over what a new process would be given."""
    if request["session"]:
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(request["streams"]):
        os.dup2(stream, number)
    for stream in request["streams"]:
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])


def _program(arguments: list[str]) -> CodeType:
    """Set what an interpreter sets for its arguments; return what it then executes in ``__main__``."""
    while arguments[0] == "-W":
        _, rule, *arguments = arguments
        assert rule == "error", "other rules have to be read first"
        warnings.simplefilter("error")
    if arguments[0] == "-c":
        _, text, *rest = arguments
        sys.argv, file = ["-c", *rest], "<string>"
    elif arguments[0] == "-m":
        _, module, *rest = arguments
        sys.argv, file = ["-m", *rest], "<string>"
        text = f"import runpy; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    else:
        assert not arguments[0].startswith("-"), "an option of the interpreter that is not known here"
        sys.argv, file = arguments, arguments[0]
        text = Path(file).read_text()
        sys.modules["__main__"].__file__ = file
    sys.path.insert(0, str(Path(file).resolve().parent) if file != "<string>" else "")
    return compile(text, file, "exec")
