"""Tables and paragraphs as plain text, for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

from qloc.rounding import Cell, written

WIDTH: Final = 100
"""Columns that a page of text takes at most."""


def table(heads: Sequence[str], rows: Sequence[Sequence[Cell]], *, indent: int = 2) -> str:
    """Columns under their headings, numbers to the right.

    Examples
    --------
    >>> print(table(["model", "κ"], [["gpt2", 0.25], ["bert", None]]))
      model      κ
      gpt2   0.25
      bert       –
    """
    cells = [[written(cell) for cell in row] for row in rows]
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


def paragraph(text: str, *, indent: int = 2) -> str:
    """A text broken into lines."""
    room = " " * indent
    return textwrap.fill(text, WIDTH, initial_indent=room, subsequent_indent=room)


def cut(text: str, width: int) -> str:
    """A text no longer than ``width``.

    Examples
    --------
    >>> cut("The capital of France is", 12)
    'The capital…'
    """
    return text if len(text) <= width else f"{text[: width - 1].rstrip()}…"
