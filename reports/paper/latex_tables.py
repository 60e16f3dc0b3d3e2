r"""A table of a report as ``table`` environments of booktabs: at most eight columns, as wide as the text.

A column of text is as wide as its words need and breaks its lines; numbers never break. What does not fit
beside each other is set below each other, the names of the rows again at the left. Rows beyond a page are
left to the table's CSV file, and the note says so.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from qloc.reports import result_text
from qloc.reports.document import TableBlock
from qloc.reports.paper.latex_text import broken, escape, pieces, width

MOST_COLUMNS: Final = 8
"""Columns of a table, intervals beside their estimates."""
MOST_NAMES: Final = 3
"""Columns that name the rows, said again where a table goes on below."""
MOST_LINES: Final = 54
"""Lines of a table on a page, headings aside."""
LINE: Final = 455.0
"""Width of the text that tables are laid out for, in points; they scale with the text's."""
_GAP: Final = 8.0
"""Between two columns, in points."""
_WORD: Final = 62.0
"""Words of text that are wider are broken, in points."""


@dataclass(frozen=True, kw_only=True)
class _Column:
    head: str
    cells: tuple[str, ...]
    numeric: bool

    @property
    def least(self) -> float:
        """The width of what cannot be broken, in points."""
        words = [piece for word in self.head.split(" ") for piece in pieces(word, _WORD)]
        if self.numeric:
            words += self.cells
        else:
            words += [
                piece for cell in self.cells for word in cell.split(" ") for piece in pieces(word, _WORD)
            ]
        return max(map(width, words), default=_GAP)

    @property
    def natural(self) -> float:
        """The width at which no cell is broken, in points."""
        return max(self.least, *map(width, self.cells or ("",)), min(width(self.head), 1.5 * _WORD))

    @property
    def mean(self) -> float:
        """The mean width of a cell, in points."""
        return sum(map(width, self.cells)) / len(self.cells)


def latex_table(table: TableBlock, name: str, *, whole: bool = False) -> str:
    r"""Write a table in LaTeX.

    Parameters
    ----------
    table : TableBlock
        At full precision.
    name : str
        Of its files, and of its ``\label``, behind ``tab:``.
    whole : bool, default False
        Whether rows beyond a page follow on the next, instead of being left to the CSV file.

    Returns
    -------
    str
        One ``table`` environment, or several where not all columns fit beside each other.
    """
    if not table.n_rows:
        return f"% {name}: no rows.\n"
    text = result_text.laid_out(table)
    cells = zip(*text.rows, strict=True)
    columns = [
        _Column(head=head, cells=tuple(column), numeric=numeric)
        for head, column, numeric in zip(text.heads, cells, text.numeric, strict=True)
    ]
    columns, same = _told_apart(columns)
    blocks = [(block, _widths(block)) for block in _blocks(columns)]
    pages = _pages(blocks)
    notes = [table.note, same]
    if not whole and len(pages) > 1:
        notes.append(f"The first {len(pages[0])} of {table.n_rows:,} rows; {name}.csv has all.")
        pages = pages[:1]
    note = " ".join(filter(None, notes))
    drawn = [(block, widths, page) for page in pages for block, widths in blocks]
    return "\n".join(
        _environment(block, widths, page, table.title, note, name, n)
        for n, (block, widths, page) in enumerate(drawn)
    )


def _told_apart(columns: list[_Column]) -> tuple[list[_Column], str]:
    """Of too many columns those that differ from row to row; the others in words."""
    if len(columns) <= MOST_COLUMNS or len(columns[0].cells) < 2:
        return columns, ""
    same = [column for column in columns[1:] if len(set(column.cells)) == 1]
    told = "; ".join(f"{column.head}: {column.cells[0]}" for column in same)
    kept = [column for column in columns if column not in same]
    return kept, f"The same in all rows: {told}." if told else ""


def _blocks(columns: Sequence[_Column]) -> Iterator[list[_Column]]:
    """Columns that have room beside each other, those that name the rows with each of them."""
    n = _names(columns)
    names, others = list(columns[:n]), columns[n:]
    block = [*names]
    for column in others:
        wide = sum(one.least + _GAP for one in (*block, column)) > LINE
        if len(block) == MOST_COLUMNS or (wide and len(block) > n):
            yield block
            block = [*names]
        block.append(column)
    yield block


def _names(columns: Sequence[_Column]) -> int:
    """How many columns name the rows: those of text at the left, up to half of a line; one at least."""
    n, taken = 1, columns[0].least
    for column in columns[1:MOST_NAMES]:
        taken += _GAP + column.least
        if column.numeric or taken > LINE / 2:
            break
        n += 1
    return n


def _widths(block: Sequence[_Column]) -> tuple[float, ...]:
    """Each column's width in points: its own where all have room, else in proportion to its text."""
    room = LINE - _GAP * len(block)
    least = [column.least for column in block]
    if sum(least) > room:  # one column beside the names, of long numbers
        return tuple(need * room / sum(least) for need in least)
    text = [column.mean for column in block]
    natural = [column.natural for column in block]

    def sized(factor: float) -> tuple[float, ...]:
        ends = zip(least, natural, text, strict=True)
        return tuple(max(need, min(full, factor * mean)) for need, full, mean in ends)

    low, high = 0.0, 1e6
    if sum(natural) <= room:
        return tuple(natural)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if sum(sized(middle)) > room else (middle, high)
    return sized(low)


def _pages(blocks: Sequence[tuple[Sequence[_Column], Sequence[float]]]) -> list[range]:
    """The rows of each page, one at least."""
    n_rows = len(blocks[0][0][0].cells)
    pages, start, lines = [], 0, 0
    for row in range(n_rows):
        needed = max(_lines(block, widths, row) for block, widths in blocks)
        if row > start and lines + needed > MOST_LINES:
            pages.append(range(start, row))
            start, lines = row, 0
        lines += needed
    return [*pages, range(start, n_rows)]


def _lines(block: Sequence[_Column], widths: Sequence[float], row: int) -> int:
    """How many lines a row takes, at most."""
    sizes = [
        (width(column.cells[row]), size)
        for column, size in zip(block, widths, strict=True)
        if not column.numeric
    ]
    return max((1 if full <= size else math.ceil(1.1 * full / size) for full, size in sizes), default=1)


def _environment(
    block: Sequence[_Column], widths: Sequence[float], page: range, title: str, note: str, name: str, n: int
) -> str:
    title = f"{escape(title)} (continued)" if n else escape(title)
    form = "".join(_form(column, size) for column, size in zip(block, widths, strict=True))
    heads = [broken(column.head, _WORD) for column in block]
    rows = ([_cell(column, column.cells[row]) for column in block] for row in page)
    lines = [
        r"\begin{table}[!htbp]",
        r"\centering\footnotesize",
        rf"\setlength{{\tabcolsep}}{{{_GAP / 2:g}pt}}",
        rf"\caption{{{title}}}",
        *([] if n else [rf"\label{{tab:{name}}}"]),
        rf"\begin{{tabular}}{{@{{}}{form}@{{}}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        *([rf"\par\smallskip\parbox{{\linewidth}}{{\raggedright {escape(note)}}}"] if note and not n else []),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _form(column: _Column, size: float) -> str:
    side = "raggedleft" if column.numeric else "raggedright"
    return rf">{{\{side}\arraybackslash\hspace{{0pt}}}}p{{{size / LINE:.4f}\linewidth}}"


def _cell(column: _Column, cell: str) -> str:
    return rf"\mbox{{{escape(cell)}}}" if column.numeric else broken(cell, _WORD)


def csv_table(table: TableBlock) -> str:
    """Write a table as CSV, at full precision.

    Parameters
    ----------
    table : TableBlock
        At full precision.

    Returns
    -------
    str
        A line of the columns' names, and a line a row; what is absent is empty.

    Examples
    --------
    >>> table = TableBlock(name="t", title="", heads=("κ",), columns=((0.1, 2),), kinds=("number",),
    ...                    keys=("kappa",))
    >>> csv_table(table).split()
    ['kappa', '0.1', '2']
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.keys or table.heads)
    writer.writerows(zip(*table.columns, strict=True))
    return text.getvalue()
