"""Read JSON lines strictly, and report everything that is wrong with a file at once, with line numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qloc.errors import InputError, message
from qloc.text.ordinary_files import read_ordinary
from qloc.text.parsing import json_of

SHOWN = 20
"""Number of problems that are printed one by one; the others are counted."""

_LONGEST = 120


class Problems:
    """Collect what is wrong with an input, to raise it together.

    Attributes
    ----------
    found : list of str
        The messages, in the order in which they were added.

    Examples
    --------
    >>> problems = Problems()
    >>> problems.add("object", "", "text", "facts.jsonl, line 2", "Give the answer")
    >>> problems.stop()
    Traceback (most recent call last):
    qloc.errors.InputError: object is ''; expected text. At facts.jsonl, line 2. Give the answer.
    """

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, what: str, got: object, expected: str, at: str, action: str) -> None:
        """Note one problem, as :func:`qloc.errors.message` words it.

        Parameters
        ----------
        what : str
            What is wrong.
        got : object
            The value that was read; long values are shortened.
        expected : str
            The rule that the value breaks.
        at : str
            File and line.
        action : str
            What the user can do.
        """
        self.found.append(message(what, _shortened(got), expected, at, action))

    def stop(self) -> None:
        """Raise the problems, if there are any.

        Raises
        ------
        InputError
            With the first 20 problems, and the number of the others.
        """
        if self.found:
            more = len(self.found) - SHOWN
            raise InputError([*self.found[:SHOWN], *([f"and {more:,} more problems."] if more > 0 else [])])


def json_lines(path: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """Iterate over the objects of a JSON-lines file; blank lines are skipped.

    Only a line feed ends a line, because U+2028 may stand inside a text. Broken lines are added to
    ``problems``.

    Parameters
    ----------
    path : Path
        The file.
    problems : Problems
        Receives every problem of the file.

    Yields
    ------
    number : int
        Line number, from 1.
    entry : dict
        The object of the line.

    Raises
    ------
    InputError
        If the file does not exist or cannot be read.
    """
    content = read_bytes(path)
    if not content.strip():
        problems.add("file", "empty", "one JSON object a line", str(path), "Give another file")
    for number, raw in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if raw.strip():
            entry = _object(raw, f"{path}, line {number}", problems)
            if entry is not None:
                yield number, entry


def read_bytes(path: Path) -> bytes:
    """Return a file's content.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    bytes
        The whole content.

    Raises
    ------
    InputError
        If the file does not exist or cannot be read.
    """
    try:
        return read_ordinary(path)
    except FileNotFoundError:
        raise InputError(
            message("file", str(path), "an existing file", str(path.absolute().parent), "Check the path")
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(message("file", str(path), "a readable file", reason, "Check the path")) from None


def _object(raw: bytes, at: str, problems: Problems) -> dict[str, Any] | None:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"{at}, byte {error.start + 1}"
        problems.add("encoding", raw[error.start : error.end], "UTF-8", where, "Save the file as UTF-8")
        return None
    try:
        entry = json_of(text)
    except json.JSONDecodeError as error:
        where = f"{at}, column {error.colno}: {error.msg}"
        problems.add("line", text.strip(), "JSON", where, "Mend the line")
        return None
    except ValueError as error:
        problems.add("line", text.strip(), "JSON", f"{at}: {error}", "Mend the line")
        return None
    if not isinstance(entry, dict):
        problems.add("line", entry, "a JSON object, {…}", at, "Write one fact a line")
        return None
    return entry


def _shortened(got: object) -> object:
    """Return ``got``, shortened so that a message stays readable."""
    if isinstance(got, str) and len(got) > _LONGEST:
        return got[:_LONGEST] + "…"
    if isinstance(got, list | dict) and len(repr(got)) > _LONGEST:
        return f"a {type(got).__name__} of {len(got)}"
    return got
