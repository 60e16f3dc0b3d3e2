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
from qloc.reports.paper.earlier_files import LIST, listed, remove_earlier
from qloc.reports.paper.paper import FIRST_LINE, MAIN, paper
from qloc.reports.renderers import html, json_document, markdown
from qloc.text.files import write_bytes, write_text

Format = Literal["html", "md", "latex", "json"]

RENDERERS: Final[dict[str, Callable[[Document], str]]] = {
    "html": html.render,
    "md": markdown.render,
    "json": json_document.render,
}
"""Format → what turns a document into text."""


ENDINGS: Final[dict[str, str]] = {"html": ".html", "md": ".md", "json": ".json"}
"""Format → ending of a file's name."""

FORMATS: Final = ("html", "md", "latex", "json")
"""All of them: LaTeX is a folder of files (:func:`write_paper`), the others are one file each."""


OTHER_ENDINGS: Final = frozenset(
    {".txt", ".rst", ".pdf", ".ps", ".doc", ".docx", ".odt", ".rtf", ".csv", ".tsv", ".xlsx", ".xml", ".yaml"}
    | {".yml", ".ipynb", ".png", ".svg", ".jpg", ".zip", ".zarr"}
)
"""Endings of what no report is; who gives one of them would get something else."""


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
    >>> format_of(Path("report.htm")), format_of(Path("report.md")), format_of(Path("report"))
    ('html', 'md', None)
    """
    known = {**{ending: name for name, ending in ENDINGS.items()}, ".htm": "html", ".markdown": "md"}
    return known.get(path.suffix.lower())  # type: ignore[return-value]  # all of them are formats


def refuse_ending(path: Path, format: str) -> None:
    """Refuse a file whose ending is that of another format, or of what no report is.

    Parameters
    ----------
    path : Path
        The file of a report.
    format : str
        What is written into it.

    Raises
    ------
    InputError
        It ends as another format does, is a file where a folder is written, or a folder where a file is.
    """
    if format in ENDINGS and path.is_dir():
        action = f"Give {path / f'report{ENDINGS[format]}'}"
        raise InputError(message("out", str(path), "a file, not a folder", "qloc report --out", action))
    if format_of(path) is None and path.suffix.lower() == ".tex":
        rule, action = "a folder, into which main.tex and its files are written", "Leave out the ending"
        raise InputError(message("out", str(path), rule, "qloc report --format latex", action))
    if format in FORMATS and path.suffix.lower() in OTHER_ENDINGS:
        rule = "a folder" if format == "latex" else f"a name with the ending {', '.join(ENDINGS.values())}"
        raise InputError(message("out", str(path), rule, "qloc report --out", "Give another name"))
    if format in FORMATS and format_of(path) not in (None, format):
        name = f"a name with the ending {ENDINGS[format]}" if format in ENDINGS else "a folder"
        rule = f"{name}, or --format {format_of(path)}"
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
        "html", "md" or "json".
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
        rule = " or ".join(FORMATS)
        raise InputError(message("format", format, rule, "qloc report --format", "Name one of these"))
    document = build(results)
    return html.render(document, explorations) if format == "html" else RENDERERS[format](document)


def write(text: str, path: Path) -> Path:
    """Write a report: to a neighbor of ``path`` first, which takes its place once it is complete.

    Parameters
    ----------
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


def write_paper(results: Sequence[StudyResult], folder: Path) -> Path:
    """Write the files of a paper: every table, figure, the methods, references, and a main.tex with them all.

    Parameters
    ----------
    results : sequence of StudyResult
        At least one.
    folder : Path
        Made if missing; files of an earlier call are replaced, and its tables and figures removed that this
        one does not write, unless somebody changed them.

    Returns
    -------
    Path
        Of ``main.tex``, which is written last.

    Raises
    ------
    InputError
        No results, or a folder that holds other files, or a file.
    StorageError
        The disk refused.
    """
    main = folder / MAIN
    ours = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not ours and not (main.is_file() and _begins(main, FIRST_LINE)):
        rule = "a new or empty folder, or one with files that this command wrote"
        action = "Give another --out"
        raise InputError(message("out", str(folder), rule, "qloc report --format latex", action))
    made = paper(build(results))
    files = {name: part if isinstance(part, bytes) else part.encode() for name, part in made.items()}
    last = files.pop(MAIN)
    for name, content in files.items():
        write_bytes(content, folder / name, "report")
    remove_earlier(folder, files)
    write_bytes(listed(files), folder / LIST, "report")
    write_bytes(last, main, "report")
    return main


def _begins(path: Path, line: str) -> bool:
    with path.open("rb") as file:
        return file.read(len(line.encode())) == line.encode()
