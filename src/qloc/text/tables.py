"""Tables and paragraphs as plain text, for a terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from typing import Final

from qloc.text.rounding import Cell, aligned, written

WIDTH: Final = 100
"""Columns that a page of text takes where there is no terminal."""
_NARROWEST: Final = 40


def width() -> int:
    """Return the columns that a page of text takes.

    Returns
    -------
    int
        The terminal's, or what COLUMNS says; :data:`WIDTH` where there is none.
    """
    return max(_NARROWEST, shutil.get_terminal_size((WIDTH, 24)).columns)


def table(heads: Sequence[str], rows: Sequence[Sequence[Cell]], *, indent: int = 2) -> str:
    """Write columns under their headings, numbers to the right.

    Parameters
    ----------
    heads : sequence of str
        One a column.
    rows : sequence of sequence of Cell
        One value a column.
    indent : int, default 2
        Spaces before each line.

    Returns
    -------
    str
        Lines, parted by line feeds.

    Examples
    --------
    >>> print(table(["model", "κ"], [["gpt2", 0.25], ["bert", None]]))
      model      κ
      gpt2   0.25
      bert       –
    """
    columns = [_column([row[n] for row in rows]) for n in range(len(heads))]
    cells = list(zip(*columns, strict=True)) if columns else []
    right = [all(not isinstance(row[n], str) for row in rows) for n in range(len(heads))]
    widths = [max(map(len, (head, *(row[n] for row in cells)))) for n, head in enumerate(heads)]
    lines = [
        "  ".join(
            text.rjust(width) if flag else text.ljust(width)
            for text, width, flag in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in (list(heads), *cells)
    ]
    return "\n".join(" " * indent + line for line in lines)


def _column(values: list[Cell]) -> tuple[str, ...]:
    """Counts and texts as they are; numbers with equally many decimals."""
    if any(isinstance(value, float) for value in values):
        return aligned(values)
    return tuple(written(value) for value in values)


def paragraph(text: str, *, indent: int = 2) -> str:
    """Break a text into lines.

    Parameters
    ----------
    text : str
        One paragraph.
    indent : int, default 2
        Spaces before each line.

    Returns
    -------
    str
        Lines of at most :func:`width` letters.
    """
    room = " " * indent
    return textwrap.fill(text, width(), initial_indent=room, subsequent_indent=room)


def cut(text: str, width: int) -> str:
    """Cut a text to a width.

    Parameters
    ----------
    text : str
        One line.
    width : int
        Most letters.

    Returns
    -------
    str
        The text, with an ellipsis where it was cut.

    Examples
    --------
    >>> cut("The capital of France is", 12)
    'The capital…'
    """
    return text if len(text) <= width else f"{text[: width - 1].rstrip()}…"
