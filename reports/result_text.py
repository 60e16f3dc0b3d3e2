"""Results as text: estimates, intervals, verdicts, and columns of tables whose numbers compare by eye."""

from __future__ import annotations

import math

from qloc.analysis.results import Cell, Interval, TestResult
from qloc.reports.document import AxisKind, ColumnKind, TableBlock
from qloc.rounding import DIGITS, available, fixed, number, p_value, share, written


def on_axis(value: float, axis: AxisKind) -> str:
    """A value as the axis of a figure, or a sentence about it, writes it."""
    if axis == "share":
        return share(value)
    return number(round(value)) if axis == "count" else number(value)


def interval(bounds: Interval | None) -> str:
    """The bounds with their confidence, such as ``95% interval 0.38 to 0.46``; empty for none."""
    if bounds is None:
        return ""
    return f"{100 * bounds.confidence:g}% interval {number(bounds.low)} to {number(bounds.high)}"


def estimate(test: TestResult) -> str:
    """The estimate with its bounds in brackets, as the summary shows it."""
    if not available(test.estimate):
        return "not available"
    text, bounds = number(float(test.estimate)), test.interval
    if bounds is None or not (available(bounds.low) or available(bounds.high)):
        return text
    return f"{text} [{number(bounds.low)}, {number(bounds.high)}]"


def surety(test: TestResult) -> str:
    """How sure the verdict is: the p that decided it, adjusted where it was."""
    if available(test.p_adjusted):
        return _named("adjusted p", test.p_adjusted)
    return _named("p", test.p) if available(test.p) else ""


def outcome(test: TestResult) -> str:
    """Verdict, estimate, surety and role in one line, for renderers without a layout for them."""
    told = ", ".join(filter(None, (estimate(test), surety(test), test.role)))
    return f"{test.verdict.capitalize()}: {told}."


def counts(test: TestResult) -> str:
    """How many at each level, such as ``9 relations, 812 facts``."""
    return ", ".join(f"{number(count)} {level}" for level, count in test.n.items())


def column(cells: tuple[Cell, ...], kind: ColumnKind) -> tuple[str, ...]:
    """A column as text: its numbers have equally many decimals, no more than needed, and compare by eye.

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
    sizes = [abs(float(cell)) for cell in cells if available(cell)]  # type: ignore[arg-type]
    top = max(sizes, default=0.0)
    decimals = min(DIGITS, max(0, DIGITS - 1 - math.floor(math.log10(top)))) if top else 0
    while decimals and all(_ends_in_zero(cell, decimals) for cell in cells):
        decimals -= 1
    return tuple(fixed(cell, decimals) for cell in cells)


def _ends_in_zero(cell: Cell, decimals: int) -> bool:
    return not available(cell) or fixed(cell, decimals).endswith("0")


def rows(table: TableBlock) -> list[tuple[str, ...]]:
    """A table's rows as text."""
    columns = [column(cells, kind) for cells, kind in zip(table.columns, table.kinds, strict=True)]
    return list(zip(*columns, strict=True))


def _named(name: str, value: float | None) -> str:
    text = p_value(value)
    return f"{name} {text}" if text.startswith("<") else f"{name} = {text}"
