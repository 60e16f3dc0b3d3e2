"""tests/support/forked.py: a forked process is given, says and ends as a new one, and finds no torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import forked
import pytest

TELLS = """
import json, os, sys, threading, warnings
print(json.dumps([sys.argv, __name__, sys.path[0], os.getcwd(), os.environ["FORKED"], os.getpid() == os.getsid(0)]))
print(sys.stdin.read(), "to stderr", file=sys.stderr, end="")
"""
ENDS = ("sys.exit()", "sys.exit(3)", "sys.exit('said')", "1 / 0", "os.kill(os.getpid(), 9)", "os._exit(4)")


@pytest.mark.parametrize("as_file", [False, True], ids=["-c", "file"])
def test_it_is_given_what_a_new_one_is_given(tmp_path: Path, as_file: bool) -> None:
    (tmp_path / "tells.py").write_text(TELLS)
    program = [str(tmp_path / "tells.py")] if as_file else ["-c", TELLS]
    given: dict[str, Any] = {
        "cwd": tmp_path,
        "env": {**os.environ, "FORKED": "told"},
        "input": "said\n",
        "start_new_session": True,
    }
    command = [sys.executable, *program, "a", "-b"]
    ours, new = (
        run(command, capture_output=True, text=True, **given) for run in (forked.run, subprocess.run)
    )
    assert (ours.returncode, ours.stdout, ours.stderr) == (new.returncode, new.stdout, new.stderr)
    assert ours.stdout.endswith('"told", true]\n')


@pytest.mark.parametrize("end", ENDS)
def test_it_ends_as_a_new_one(end: str) -> None:
    command = [sys.executable, "-c", f"import os, sys; print('begun', flush=True); {end}"]
    ours, new = (run(command, capture_output=True, text=True) for run in (forked.run, subprocess.run))
    assert (ours.returncode, ours.stdout) == (new.returncode, new.stdout)
    assert ours.stderr.splitlines()[-1:] == new.stderr.splitlines()[-1:]


def test_it_is_signalled_and_waited_for() -> None:
    waits = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with forked.Popen(waits, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            assert running.stdout.readline() == "begun\n"
            assert running.poll() is None
            with pytest.raises(subprocess.TimeoutExpired):
                running.wait(timeout=0.01)
            running.send_signal(number)
        assert running.returncode == -number


def test_warnings_are_errors_where_that_is_asked() -> None:
    command = ["-c", "import warnings; warnings.warn('told')"]
    assert forked.run([sys.executable, *command], capture_output=True).returncode == 0
    assert forked.run([sys.executable, "-W", "error", *command], capture_output=True).returncode == 1


def test_without_torch_neither_it_nor_qloc_are_there_and_with_it_they_are() -> None:
    code = "import sys; print(*{'torch', 'qloc.cli', 'zarr'} & set(sys.modules)); import torch"
    plain = forked.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (plain.returncode, plain.stdout) == (1, "zarr\n")
    assert plain.stderr.endswith("ModuleNotFoundError: No module named 'torch'\n")
    pytest.importorskip("torch", reason="qloc[extract] is not installed")
    loaded = forked.run([sys.executable, "-c", code], torch=True, capture_output=True, text=True)
    assert (loaded.returncode, {*loaded.stdout.split()}) == (0, {"torch", "qloc.cli", "zarr"})
