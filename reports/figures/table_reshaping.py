"""Tables as figures need them, where a recipe's words do not reach: columns joined, rows put aside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from qloc.analysis.results import Cell, Table
from qloc.reports.figures.table_words import word
from qloc.reports.published import TAG
from qloc.text.rounding import available, number

ALL: Final = "All relations"
"""How tables call a row over all relations."""


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


_CRITERIA: Final = (
    ("reliability", "Reliability"),
    ("generalization", "Generalization"),
    ("locality", "Locality"),
    ("harmonic", "Harmonic mean"),
    ("nats", "Δ nats"),
)


def edit_matrix(table: Table) -> Table:
    """Return scores of edits as a matrix: a row for each edit, a column for each criterion.

    Parameters
    ----------
    table : Table
        With columns ``operation`` and ``set``, perhaps ``model`` and ``class``, and scores.

    Returns
    -------
    Table
        With columns ``edit``, ``criterion`` and ``value``; edits of no fact are left out.
    """
    if not {"operation", "set", "reliability"} <= set(table.columns):
        return table
    told = [name for name in ("model", "operation", "set", "class") if _varies(table, name) or name == "set"]
    rows = [n for n, cell in enumerate(table.columns["reliability"]) if available(cell)]
    edits = [", ".join(str(word(table.columns[name][n], name)) for name in told) for n in rows]
    there = [(name, label) for name, label in _CRITERIA if name in table.columns]
    cells = [
        (edit, label, table.columns[name][n])
        for edit, n in zip(edits, rows, strict=True)
        for name, label in there
    ]
    names = ("edit", "criterion", "value")
    columns = dict(zip(names, zip(*cells, strict=True), strict=True)) if cells else dict.fromkeys(names, ())
    return replace(table, columns=columns, labels={})


def _varies(table: Table, name: str) -> bool:
    return len(set(table.columns.get(name, ()))) > 1


def over_all_relations(table: Table) -> Table:
    """Keep what is over all relations.

    Parameters
    ----------
    table : Table
        With column ``relation``.

    Returns
    -------
    Table
        Its rows over all relations; all rows where there are none.
    """
    relations = table.columns.get("relation", ())
    return where(table, "relation", ALL) if ALL in relations else table


def specifications(table: Table) -> Table:
    """Join the choices of a multiverse into one column ``specification``.

    Parameters
    ----------
    table : Table
        With columns ``choice`` and ``threshold``.

    Returns
    -------
    Table
        With it.
    """
    return _with(
        table, "specification", lambda choice, t: f"{choice}, t = {number(t)}", ("choice", "threshold")
    )


def ratios(table: Table) -> Table:
    """Return K_I by CS2 of every model and method, a row for each rule, and K_I(k₀) beside them.

    Parameters
    ----------
    table : Table
        ``chen_ratio``.

    Returns
    -------
    Table
        With columns ``sets``, ``rule``, ``counted`` and ``ki``. Where there is one model and method, rules
        stand in ``sets`` and there is no column ``rule``.
    """
    if not {"score", "ki_k0"} <= set(table.columns):
        return table
    by_cs2 = where(table, "score", "CS2")
    named = [name for name in ("model", "method") if _varies(by_cs2, name)]
    sets = [", ".join(map(str, cells)) for cells in zip(*(by_cs2.columns[n] for n in named), strict=True)]
    rules = [_rule(cell) for cell in by_cs2.columns["threshold"]]
    sets = sets or [""] * len(rules)
    rows = [
        (name, rule, TAG, ki) for name, rule, ki in zip(sets, rules, by_cs2.columns["ratio"], strict=True)
    ]
    beside = dict(zip(sets, by_cs2.columns["ki_k0"], strict=True))
    rows += [(name, "K_I(k₀)", "as many queries of every fact", ki) for name, ki in beside.items()]
    columns = dict(zip(("sets", "rule", "counted", "ki"), zip(*rows, strict=True), strict=True))
    if not named:
        columns["sets"] = columns.pop("rule")
    return replace(table, columns=columns, labels={})


def _rule(threshold: Cell) -> str:
    return f"CS2 {'by' if threshold == 'Otsu' else '<'} {threshold}, {TAG}"


def changes(table: Table) -> Table:
    """Name changes by model, operation and class in column ``change``.

    Parameters
    ----------
    table : Table
        ``chen_probability``.

    Returns
    -------
    Table
        With it.
    """
    named = [name for name in ("model",) if _varies(table, name)]
    joined = (*named, "operation", "class")
    return _with(table, "change", lambda *cells: ", ".join(map(str, cells)), joined)


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
