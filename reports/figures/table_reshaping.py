"""Tables as figures need them, where a recipe's words do not reach: columns joined, rows put aside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from qloc.analysis.results import Cell, Table
from qloc.text.rounding import available, number


def by_rule(table: Table) -> Table:
    """Join a K_I table's rule and score into one column.

    Parameters
    ----------
    table : Table
        Of K_I.

    Returns
    -------
    Table
        With column ``rule``, as a reader reads it.
    """

    def panel(score: Cell, rule: Cell, threshold: Cell) -> str:
        name = str(score).upper()
        if rule == "otsu" or isinstance(threshold, str):
            return f"{name} by Otsu"
        return f"{name} < {number(threshold)}"

    def counted(k0: Cell) -> str:
        return f"in {k0:g} queries" if isinstance(k0, int | float) else "as published"

    table = _with(table, "panel", panel, ("score", "rule", "score_threshold"))
    return _with(table, "counted", counted, ("k0",))


FEWEST_FACTS = 3
"""Facts that a level of an attribute must have to be drawn: fewer show themselves, not the level."""


def enough_facts(table: Table) -> Table:
    """Keep the levels that have enough facts to show more than these facts.

    Parameters
    ----------
    table : Table
        With or without column ``facts``.

    Returns
    -------
    Table
        Without levels of fewer than three facts.
    """
    facts = table.columns.get("facts")
    if facts is None:
        return table
    return _kept(table, [n for n, cell in enumerate(facts) if isinstance(cell, int) and cell >= FEWEST_FACTS])


def drawable(table: Table, values: Sequence[str]) -> Table:
    """Keep the rows that have anything to draw.

    Parameters
    ----------
    table : Table
        Of the analysis.
    values : sequence of str
        Columns that are drawn.

    Returns
    -------
    Table
        Without the rows in which none of them is a number.
    """
    columns = [table.columns[name] for name in values]
    rows = [n for n in range(len(columns[0])) if any(available(cells[n]) for cells in columns)]
    return _kept(table, rows)


def where(table: Table, column: str, value: str) -> Table:
    """Keep the rows in which a column reads so.

    Parameters
    ----------
    table : Table
        Of the analysis.
    column : str
        Its name.
    value : str
        As text.

    Returns
    -------
    Table
        Those rows.
    """
    return _kept(table, [n for n, cell in enumerate(table.columns[column]) if str(cell) == value])


def _with(table: Table, name: str, join: Callable[..., str], parts: tuple[str, ...]) -> Table:
    if not all(part in table.columns for part in parts):
        return table
    cells = (table.columns[part] for part in parts)
    joined = tuple(join(*row) for row in zip(*cells, strict=True))
    return replace(table, columns={**table.columns, name: joined})


def _kept(table: Table, rows: list[int]) -> Table:
    return replace(
        table, columns={name: tuple(cells[n] for n in rows) for name, cells in table.columns.items()}
    )
