"""Errors that nobody foresaw, as they end a command: a machine that refused, or a bug with what to report."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path

from qloc.errors import message
from qloc.version import __version__

_KEPT = "what was recorded is kept"


def unforeseen(error: Exception) -> str:
    """Say what an error means that no part of qloc turned into one of its own.

    Parameters
    ----------
    error : Exception
        Any error but those of :mod:`qloc.errors`.

    Returns
    -------
    str
        A message in the usual form: what the file system refused, that memory is used up, or that this is a
        bug, and what to report.
    """
    if isinstance(error, MemoryError):
        action = f"Use a machine with more memory, or run it on less at a time: {_KEPT}"
        return message("memory", "used up", "enough for this command", _command(), action)
    if isinstance(error, OSError) and error.strerror:
        place = str(error.filename) if error.filename else _command()
        action = f"Make room, mend the file system or its permissions, and run it again: {_KEPT}"
        return message("file system", error.strerror, "one that reads and writes", place, action)
    got = " ".join(f"{type(error).__name__}: {error}".split())
    action = f"Report it to the authors of qloc with {_report(error)}; stores are as they were, {_KEPT}"
    return message("bug of qloc", got[:500], "none", _place(error), action)


def let_go_of_stdout() -> None:
    """Give up what stdout still holds if it cannot be written, or Python would fail again at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _command() -> str:
    return " ".join(["qloc", *sys.argv[1:3]])


def _place(error: Exception) -> str:
    """File and line where the error was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return f"{Path(last[0].filename).name}, line {last[0].lineno}" if last else _command()


def _report(error: Exception) -> str:
    """Write what is to be reported into a file, and return its path; where that fails, the report itself."""
    python = f"Python {sys.version.split()[0]} on {sys.platform}"
    text = f"qloc {__version__}, {python}\n{sys.argv}\n\n{''.join(traceback.format_exception(error))}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="qloc-bug-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(text)
    except OSError:
        return f"this:\n{text}"
    return f"the file {file.name}"
