"""Results in, a report out: equal results give equal bytes, and a file is written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

from qloc.analysis.results import StudyResult
from qloc.errors import InputError, StorageError, message
from qloc.reports import html, latex, machine, markdown
from qloc.reports.build import build
from qloc.reports.document import Document

Format = Literal["html", "md", "latex", "json"]

RENDERERS: Final[dict[str, Callable[[Document], str]]] = {
    "html": html.render,
    "md": markdown.render,
    "latex": latex.render,
    "json": machine.render,
}
"""Format → what turns a document into text."""


def render(results: Sequence[StudyResult], format: Format = "html") -> str:
    """A report on one study, or on several side by side.

    Parameters
    ----------
    results : sequence of StudyResult
        At least one.
    format : "html", "md", "latex" or "json"

    Returns
    -------
    str
        The whole file. It depends on the results alone: no clock, no path, no random number enters.

    Raises
    ------
    InputError : no results, or a format that does not exist.
    """
    if format not in RENDERERS:
        rule = " or ".join(RENDERERS)
        raise InputError(message("format", format, rule, "qloc report --format", "Name one of these"))
    return RENDERERS[format](build(results))


def write(text: str, path: Path) -> Path:
    """Write a report: to a neighbor of ``path`` first, which takes its place once it is complete.

    Parameters
    ----------
    text : str
    path : Path
        Its folder is made if missing; a file of that name is replaced.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    StorageError : the disk refused; what was there before is still there, nothing half-written is left.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        rule = "a file that can be written"
        raise StorageError(
            message(
                "report", str(path), rule, error.strerror or str(error), "Choose another --out or make room"
            )
        ) from error
    finally:
        _forget(part)
    return path


def _forget(part: Path) -> None:
    """Remove what is left of a file that was not finished (also after Ctrl-C)."""
    try:
        part.unlink(missing_ok=True)
    except OSError:
        return  # the disk that refused the file may refuse this too; the first error is the one to tell
