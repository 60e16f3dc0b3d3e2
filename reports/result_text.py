"""Results as text: estimates, intervals, verdicts, and columns of tables whose numbers compare by eye."""

from __future__ import annotations

from qloc.analysis.results import Cell, Interval, TestResult, estimate_words
from qloc.reports.document import AxisKind, ColumnKind, TableBlock
from qloc.text.rounding import aligned, available, number, p_value, share, written


def on_axis(value: float, axis: AxisKind) -> str:
    """Write a value as the axis of a figure, or a sentence about it, has it.

    Parameters
    ----------
    value : float
        A number.
    axis : AxisKind
        What the axis holds.

    Returns
    -------
    str
        A percentage for a share.
    """
    if axis == "share":
        return share(value)
    return number(round(value)) if axis == "count" else number(value)


def interval(bounds: Interval | None) -> str:
    """Write the bounds of an interval with their confidence.

    Parameters
    ----------
    bounds : Interval or None
        Of an estimate.

    Returns
    -------
    str
        Such as ``95% interval 0.38 to 0.46``; empty for None.
    """
    if bounds is None:
        return ""
    return f"{100 * bounds.confidence:g}% interval {number(bounds.low)} to {number(bounds.high)}"


def estimate(test: TestResult) -> str:
    """Write an estimate with its bounds in brackets, as the summary shows it.

    Parameters
    ----------
    test : TestResult
        At full precision.

    Returns
    -------
    str
        Such as ``0.42 [0.38, 0.46]``, or ``not available``.
    """
    return estimate_words(test) or "not available"


def surety(test: TestResult) -> str:
    """Say how sure the verdict is.

    Parameters
    ----------
    test : TestResult
        At full precision.

    Returns
    -------
    str
        The p that decided, adjusted where it was; empty where there is none.
    """
    if available(test.p_adjusted):
        return _named("adjusted p", test.p_adjusted)
    return _named("p", test.p) if available(test.p) else ""


def outcome(test: TestResult) -> str:
    """Write verdict, estimate, surety and role in one line, for renderers without a layout for them.

    Parameters
    ----------
    test : TestResult
        At full precision.

    Returns
    -------
    str
        A sentence.
    """
    told = ", ".join(filter(None, (estimate(test), surety(test), test.role)))
    return f"{test.outcome()}; {told}."


def counts(test: TestResult) -> str:
    """Say how many there are at each level.

    Parameters
    ----------
    test : TestResult
        At full precision.

    Returns
    -------
    str
        Such as ``9 relations, 812 facts``.
    """
    return ", ".join(f"{number(count)} {level}" for level, count in test.n.items())


def column(cells: tuple[Cell, ...], kind: ColumnKind) -> tuple[str, ...]:
    """Write a column whose numbers have equally many decimals, no more than needed, and compare by eye.

    Parameters
    ----------
    cells : tuple of Cell
        From top to bottom.
    kind : ColumnKind
        How the column is written.

    Returns
    -------
    tuple of str
        One text a cell.

    Examples
    --------
    >>> column((0.5, 2.25, None), "number")
    ('0.50', '2.25', '–')
    >>> column((0.1, 0.2), "number")
    ('0.1', '0.2')
    """
    if kind == "p":
        return tuple(p_value(cell) if available(cell) else written(cell) for cell in cells)  # type: ignore[arg-type]
    if kind != "number":
        return tuple(written(cell) for cell in cells)
    return aligned(cells)


def rows(table: TableBlock) -> list[tuple[str, ...]]:
    """Write a table's rows as text.

    Parameters
    ----------
    table : TableBlock
        Of the document.

    Returns
    -------
    list of tuple of str
        One tuple a row, one text a column.
    """
    columns = [column(cells, kind) for cells, kind in zip(table.columns, table.kinds, strict=True)]
    return list(zip(*columns, strict=True))


def _named(name: str, value: float | None) -> str:
    text = p_value(value)
    return f"{name} {text}" if text.startswith("<") else f"{name} = {text}"
