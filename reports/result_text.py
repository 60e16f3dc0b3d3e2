"""Results as text: estimates, intervals, verdicts, and columns of tables whose numbers compare by eye."""

from __future__ import annotations

from dataclasses import dataclass

from qloc.analysis.results import Cell, Interval, TestResult, estimate_words
from qloc.reports.document import AxisKind, ColumnKind, TableBlock
from qloc.text.rounding import (
    aligned,
    available,
    decimals_of,
    estimated,
    fixed,
    number,
    p_value,
    share,
    written,
)


@dataclass(frozen=True, kw_only=True)
class LaidOut:
    """A table as text.

    Attributes
    ----------
    heads : tuple of str
        One a column.
    numeric : tuple of bool
        Which columns stand to the right.
    rows : tuple of tuple of str
        One text a column.
    """

    heads: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]


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
    _, low, high = estimated(None, bounds.low, bounds.high)
    return f"{100 * bounds.confidence:g}% interval {low} to {high}"


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
        Such as ``9 relations, 812 facts``; without an estimate, for want of facts, that none can tell it.
    """
    if 0 in test.n.values() and not available(test.estimate):
        return f"no {test.unit} here can tell it"
    return test.sizes()


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


def laid_out(table: TableBlock) -> LaidOut:
    """Write a table as text, each interval beside its estimate: ``0.88 [0.48, 0.99]``.

    Parameters
    ----------
    table : TableBlock
        Of the document.

    Returns
    -------
    LaidOut
        Headings, whether columns are of numbers, and one tuple of texts a row.
    """
    keys = table.keys or ("",) * len(table.heads)
    place = {key: n for n, key in enumerate(keys) if key}
    ends = {n: pair for n in range(len(keys)) if (pair := _ends(keys, place, n))}
    joined = {end for pair in ends.values() for end in pair}
    heads, numeric, columns = [], [], []
    for n, head in enumerate(table.heads):
        if n in joined:
            continue
        heads.append(head)
        numeric.append(table.kinds[n] != "text")
        low, high = ends.get(n, (None, None))
        if low is None or high is None:
            columns.append(column(table.columns[n], table.kinds[n]))
        else:
            columns.append(with_ends(*(table.columns[place] for place in (n, low, high))))
    return LaidOut(heads=tuple(heads), numeric=tuple(numeric), rows=tuple(zip(*columns, strict=True)))


def _ends(keys: tuple[str, ...], place: dict[str, int], n: int) -> tuple[int, int] | None:
    """Where the ends of a column's interval stand."""
    low, high = place.get(f"{keys[n]}_low"), place.get(f"{keys[n]}_high")
    if low is None or high is None:
        low, high = (n + 1, n + 2) if keys[n + 1 : n + 3] == ("low", "high") else (None, None)
    return None if low is None or high is None or not keys[n] else (low, high)


def with_ends(values: tuple[Cell, ...], lows: tuple[Cell, ...], highs: tuple[Cell, ...]) -> tuple[str, ...]:
    """Write estimates with their intervals, with the digits that most of the intervals leave meaningful.

    Parameters
    ----------
    values, lows, highs : tuple of Cell
        From top to bottom.

    Returns
    -------
    tuple of str
        One text a row.

    Examples
    --------
    >>> with_ends((0.88123, 0.5, None), (0.4812, None, None), (0.9912, None, None))
    ('0.88 [0.48, 0.99]', '0.50', '–')
    """
    wanted = sorted(d for ends in zip(lows, highs, strict=True) if (d := decimals_of(*ends)) is not None)  # type: ignore[arg-type]
    if not wanted:
        return aligned(values)
    decimals = wanted[len(wanted) // 2]
    texts = []
    for value, *ends in zip(values, lows, highs, strict=True):
        told = fixed(float(value), decimals) if available(value) else written(value)  # type: ignore[arg-type]
        if available(value) and all(map(available, ends)):
            told += f" [{', '.join(fixed(float(end), decimals) for end in ends)}]"  # type: ignore[arg-type]
        texts.append(told)
    return tuple(texts)


def _named(name: str, value: float | None) -> str:
    text = p_value(value)
    return f"{name} {text}" if text.startswith("<") else f"{name} = {text}"
