"""Results in, a report out: equal results give equal bytes, and a file is written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

from qloc.analysis.results import StudyResult
from qloc.errors import InputError, message
from qloc.exploration.exploration import Exploration
from qloc.reports.build import build
from qloc.reports.document import Document
from qloc.reports.renderers import html, json_document, latex, markdown
from qloc.text.files import write_text

Format = Literal["html", "md", "latex", "json"]

RENDERERS: Final[dict[str, Callable[[Document], str]]] = {
    "html": html.render,
    "md": markdown.render,
    "latex": latex.render,
    "json": json_document.render,
}
"""Format → what turns a document into text."""


ENDINGS: Final[dict[str, str]] = {"html": ".html", "md": ".md", "latex": ".tex", "json": ".json"}
"""Format → ending of a file's name."""


def format_of(path: Path) -> Format | None:
    """Return the format that a file's name ends as.

    Parameters
    ----------
    path : Path
        The file of a report.

    Returns
    -------
    Format or None
        None where the ending is no report's.

    Examples
    --------
    >>> format_of(Path("tables.tex")), format_of(Path("report.md")), format_of(Path("report"))
    ('latex', 'md', None)
    """
    known = {**{ending: name for name, ending in ENDINGS.items()}, ".htm": "html", ".markdown": "md"}
    return known.get(path.suffix.lower())  # type: ignore[return-value]  # all of them are formats


def refuse_ending(path: Path, format: str) -> None:
    """Refuse a file whose ending is that of another format.

    Parameters
    ----------
    path : Path
        The file of a report.
    format : str
        What is written into it.

    Raises
    ------
    InputError
        It ends as another format does.
    """
    if format in ENDINGS and format_of(path) not in (None, format):
        rule = f"a name with the ending {ENDINGS[format]}, or --format {format_of(path)}"
        action = "Give the one that is meant"
        raise InputError(message("out", str(path), rule, f"qloc report --format {format}", action))


def render(
    results: Sequence[StudyResult], format: Format = "html", explorations: Sequence[Exploration] = ()
) -> str:
    """A report on one study, or on several side by side.

    Parameters
    ----------
    results : sequence of StudyResult
        At least one.
    format : Format, default "html"
        "html", "md", "latex" or "json".
    explorations : sequence of Exploration, default ()
        Facts to look through; shown in HTML only.

    Returns
    -------
    str
        The whole file. It depends on the results alone: no clock, no path, no random number enters.

    Raises
    ------
    InputError
        No results, or a format that does not exist.
    """
    if format not in RENDERERS:
        rule = " or ".join(RENDERERS)
        raise InputError(message("format", format, rule, "qloc report --format", "Name one of these"))
    document = build(results)
    return html.render(document, explorations) if format == "html" else RENDERERS[format](document)


def write(text: str, path: Path) -> Path:
    """Write a report: to a neighbor of ``path`` first, which takes its place once it is complete.

    Parameters
    ----------
    text : str
        Str.
    text : str
        The whole report.
    path : Path
        Its folder is made if missing; a file of that name is replaced.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    StorageError
        The disk refused; what was there before is still there, nothing half-written is left.
    """
    return write_text(text, path, "report")
