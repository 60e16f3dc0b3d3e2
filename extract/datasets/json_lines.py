"""JSON lines, read strictly: all that is wrong with a file is said at once, with the line it stands on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from qloc.errors import InputError, message

SHOWN = 20
"""Problems that are printed one by one; the others are counted."""

_LONGEST = 120


class Problems:
    """What is wrong with an input, gathered to be raised together.

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
        """Note one problem, in the house form."""
        self.found.append(message(what, _shortened(got), expected, at, action))

    def stop(self) -> None:
        """Raise what was noted, if anything was.

        Raises
        ------
        InputError : the first 20 problems, and how many more there are.
        """
        if self.found:
            more = len(self.found) - SHOWN
            raise InputError([*self.found[:SHOWN], *([f"and {more:,} more problems."] if more > 0 else [])])


def json_lines(path: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON-lines file with their line numbers, from 1; blank lines are passed over.

    Lines end at a line feed only: U+2028 may stand inside a text. What is broken goes to ``problems``.

    Raises
    ------
    InputError : there is no such file, or it cannot be read.
    """
    content = read_bytes(path)
    if not content.strip():
        problems.add("file", "empty", "one JSON object a line", str(path), "Give another file")
    for number, raw in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if raw.strip():
            found = _object(raw, f"{path}, line {number}", problems)
            if found is not None:
                yield number, found


def read_bytes(path: Path) -> bytes:
    """A file's content.

    Raises
    ------
    InputError : there is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes()
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
        found = json.loads(text, parse_constant=_refuse)
        json.dumps(found, ensure_ascii=False).encode()  # an escaped half of a surrogate pair is no text
    except json.JSONDecodeError as error:
        where = f"{at}, column {error.colno}: {error.msg}"
        problems.add("line", text.strip(), "JSON", where, "Mend the line")
        return None
    except ValueError as error:
        problems.add("line", text.strip(), "JSON", f"{at}: {error}", "Mend the line")
        return None
    if not isinstance(found, dict):
        problems.add("line", found, "a JSON object, {…}", at, "Write one fact a line")
        return None
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _shortened(got: object) -> object:
    """``got`` so that a message stays readable."""
    if isinstance(got, str) and len(got) > _LONGEST:
        return got[:_LONGEST] + "…"
    if isinstance(got, list | dict) and len(repr(got)) > _LONGEST:
        return f"a {type(got).__name__} of {len(got)}"
    return got
