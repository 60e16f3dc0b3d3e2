"""How numbers are written: the one place where reports round.

Three significant digits; counts in full with separators; p to two digits, never below "< 0.001"; what is not
available is a dash.
"""

from __future__ import annotations

import math

from qloc.analysis.results import Cell, Interval, TestResult
from qloc.reports.document import AxisKind, ColumnKind, TableBlock

ABSENT = "–"
DIGITS = 3
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def available(value: Cell) -> bool:
    """Whether a cell holds a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number(value: float | int | None, digits: int = DIGITS) -> str:
    """A number to so many significant digits, without an exponent where it can be read without one.

    Examples
    --------
    >>> number(0.41237), number(-12.5), number(123456.7), number(0.0000412), number(float("nan")), number(7)
    ('0.412', '−12.5', '123,457', '4.12 × 10⁻⁵', '–', '7')
    """
    if value is None or not math.isfinite(value):
        return ABSENT
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    if value and abs(value) < 1e-3:
        return _scientific(value, digits)
    text = f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
    return _signed(text)


def p_value(value: float | None) -> str:
    """A p as papers print it.

    Examples
    --------
    >>> p_value(0.0312), p_value(0.0004), p_value(None)
    ('0.031', '< 0.001', '–')
    """
    if value is None or not math.isfinite(value):
        return ABSENT
    return f"{value:.2g}" if value >= 1e-3 else "< 0.001"


def share(value: float | None) -> str:
    """A share as a percentage.

    Examples
    --------
    >>> share(0.4123), share(0.004), share(1.0)
    ('41%', '0.4%', '100%')
    """
    if value is None or not math.isfinite(value):
        return ABSENT
    percent = 100 * value
    return f"{percent:.0f}%" if abs(percent) >= 10 or percent == round(percent) else f"{percent:.1f}%"


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
        return tuple(p_value(cell) if available(cell) else _text(cell) for cell in cells)  # type: ignore[arg-type]
    if kind != "number":
        return tuple(_text(cell) for cell in cells)
    sizes = [abs(float(cell)) for cell in cells if available(cell)]  # type: ignore[arg-type]
    top = max(sizes, default=0.0)
    decimals = min(DIGITS, max(0, DIGITS - 1 - math.floor(math.log10(top)))) if top else 0
    while decimals and all(_ends_in_zero(cell, decimals) for cell in cells):
        decimals -= 1
    return tuple(fixed(cell, decimals) for cell in cells)


def _ends_in_zero(cell: Cell, decimals: int) -> bool:
    return not available(cell) or fixed(cell, decimals).endswith("0")


def fixed(cell: Cell, decimals: int) -> str:
    """A cell with so many decimals; with an exponent where they would all be zero.

    Examples
    --------
    >>> fixed(-0.3333, 2), fixed(0.0, 1), fixed(0.0004, 2)
    ('−0.33', '0.0', '4.0 × 10⁻⁴')
    """
    if isinstance(cell, bool) or not isinstance(cell, int | float) or not math.isfinite(cell):
        return _text(cell)
    text = f"{cell:,.{decimals}f}"
    return _scientific(float(cell), 2) if cell and not float(text.replace(",", "")) else _signed(text)


def rows(table: TableBlock) -> list[tuple[str, ...]]:
    """A table's rows as text."""
    columns = [column(cells, kind) for cells, kind in zip(table.columns, table.kinds, strict=True)]
    return list(zip(*columns, strict=True))


def _text(cell: Cell) -> str:
    if cell is None:
        return ABSENT
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return cell if isinstance(cell, str) else number(cell)


def _named(name: str, value: float | None) -> str:
    text = p_value(value)
    return f"{name} {text}" if text.startswith("<") else f"{name} = {text}"


def _scientific(value: float, digits: int) -> str:
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{_signed(mantissa)} × 10{str(int(exponent)).translate(_RAISED)}"


def _signed(text: str) -> str:
    return text.replace("-", "−")
