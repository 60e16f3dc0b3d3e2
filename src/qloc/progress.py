"""Where a command stands: a bar on a terminal, plain lines elsewhere, JSON lines in a log."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TextIO

from tqdm import tqdm

from qloc.errors import InputError, message
from qloc.text.printable import printable
from qloc.text.rounding import number

LINE_EVERY: Final = 10.0
"""Seconds between two lines, where there is no terminal."""

Advance = Callable[[int], None]
"""Told how much more is done."""


class Progress:
    """Says how far a command is, on ``stream`` and in a log; a context manager, since it holds the log open.

    Parameters
    ----------
    quiet
        Say nothing on the stream; the log is written all the same.
    log
        File to append JSON lines to, each with ``time`` (UTC) and ``event``.
    stream
        Where to say it; stderr, if None.

    Raises
    ------
    InputError
        The log cannot be written.

    Examples
    --------
    >>> with Progress(stream=sys.stdout) as progress, progress.stage("extract", 2) as advance:
    ...     advance(2)
    extract: 2 of 2 queries, ...
    """

    def __init__(self, *, quiet: bool = False, log: Path | None = None, stream: TextIO | None = None) -> None:
        self._stream = None if quiet else stream or sys.stderr
        self._log, self._log_path = _opened(log) if log else None, log

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.note("failed", error=kind.__name__ if kind else "", message=str(error))
        if self._log is not None:
            self._log.close()

    def say(self, text: str) -> None:
        """Say one line.

        Parameters
        ----------
        text : str
            Without a line feed.
        """
        if self._stream is not None:
            self._stream.write(printable(text) + "\n")
            self._stream.flush()
        self.note("message", text=text)

    def note(self, event: str, **told: Any) -> None:
        """Write one line into the log, if there is one.

        Parameters
        ----------
        event : str
            Its kind.
        **told : Any
            What else the line holds; JSON only.
        """
        if self._log is not None:
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            line = json.dumps({"time": at, "event": event, **told}, ensure_ascii=False) + "\n"
            try:
                self._log.write(line.encode(errors="backslashreplace"))
            except OSError as error:  # the work matters more than its log
                self._end_log(error)

    def _end_log(self, error: OSError) -> None:
        log, self._log = self._log, None
        if log is not None:
            with suppress(OSError):
                log.close()
            action = "The command goes on without it; make room before the next one"
            got, rule = error.strerror or str(error), "a file that takes another line"
            sys.stderr.write(f"Warning: {message('log', got, rule, str(self._log_path), action)}\n")

    @contextmanager
    def stage(self, name: str, total: int, *, done: int = 0, unit: str = "queries") -> Iterator[Advance]:
        """Show how far a part of the work is that can be counted.

        Parameters
        ----------
        name : str
            Of the part.
        total, done : int
            How much there is, and how much of it earlier runs did.
        unit : str, default "queries"
            What is counted.

        Yields
        ------
        Advance
            Call it with how many more are done.
        """
        self.note("start", stage=name, total=total, done=done, unit=unit)
        reached = done
        with self._shown(name, total, done, unit) as advance:

            def and_log(more: int) -> None:
                nonlocal reached
                reached += more
                advance(more)
                self.note("progress", stage=name, total=total, done=reached)

            yield and_log
        self.note("end", stage=name, total=total, done=reached)

    @contextmanager
    def _shown(self, name: str, total: int, done: int, unit: str) -> Iterator[Callable[[int], object]]:
        if self._stream is None:
            yield lambda more: None
        elif self._stream.isatty():
            with tqdm(
                total=total, initial=done, desc=name, unit=f" {unit}", file=self._stream, dynamic_ncols=True
            ) as bar:
                yield bar.update
        else:
            yield _Lines(self._stream, name, total, done, unit)


class _Lines:
    """A line every few seconds, and one at the end."""

    def __init__(self, stream: TextIO, name: str, total: int, done: int, unit: str) -> None:
        self._stream, self._name, self._unit = stream, name, unit
        self._total, self._first, self._done = total, done, done
        self._start = self._said = time.monotonic()

    def __call__(self, more: int) -> None:
        self._done += more
        now = time.monotonic()
        if now - self._said >= LINE_EVERY or self._done >= self._total:
            self._said = now
            self._stream.write(self._line(now - self._start) + "\n")
            self._stream.flush()

    def _line(self, seconds: float) -> str:
        rate = (self._done - self._first) / seconds if seconds > 0 else 0.0
        line = f"{self._name}: {self._done:,} of {self._total:,} {self._unit}, {number(rate)} a second"
        left = self._total - self._done
        return f"{line}, {duration(left / rate)} left" if left > 0 and rate > 0 else line


def duration(seconds: float) -> str:
    """Write a time as people say it.

    Parameters
    ----------
    seconds : float
        Not negative.

    Returns
    -------
    str
        Such as ``1 min 25 s``.

    Examples
    --------
    >>> duration(0.4), duration(75), duration(7384), duration(200_000)
    ('1 s', '1 min 15 s', '2 h 3 min', '2 d 7 h')
    """
    whole = max(1, round(seconds))
    parts = {"d": whole // 86400, "h": whole // 3600 % 24, "min": whole // 60 % 60, "s": whole % 60}
    names = [name for name, count in parts.items() if count]
    first = list(parts).index(names[0])
    return " ".join(f"{parts[name]} {name}" for name in list(parts)[first : first + 2] if parts[name])


def size(n_bytes: float) -> str:
    """Write a number of bytes as people say it.

    Parameters
    ----------
    n_bytes : float
        Not negative.

    Returns
    -------
    str
        Such as ``2.5 GB``.

    Examples
    --------
    >>> size(999), size(1_840_000), size(158e9)
    ('999 B', '1.84 MB', '158 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 999.5:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


def _opened(path: Path) -> FileIO:
    try:
        # Without a buffer, so that each line is written or is not; and without waiting for who reads a pipe.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o666)
        os.set_blocking(descriptor, True)
        return FileIO(descriptor, "a")
    except OSError as error:
        rule = f"a file that can be written ({error.strerror})"
        raise InputError(message("log", str(path), rule, "--log", "Give another path")) from None
