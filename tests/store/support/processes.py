"""Start a Python program as a process, and kill it in the middle of its work."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import forked


def killed_when(enough: Callable[[], bool], program: str, *arguments: str | Path) -> None:
    """Run a program text with arguments until ``enough`` is true, then kill it."""
    process = forked.Popen([sys.executable, "-c", program, *map(str, arguments)], env=dict(os.environ))
    for _ in range(3000):
        if enough():
            break
        assert process.poll() is None, "over before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
