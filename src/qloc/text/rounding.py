"""How numbers are written, wherever people read them: the one place that rounds.

Three significant digits; counts in full with separators; p to two digits, never below "< 0.001"; a minus is a
minus sign, not a hyphen; what is not available is a dash.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Final

ABSENT: Final = "–"
DIGITS: Final = 3
_MOST_DECIMALS: Final = 6
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

Cell = str | float | int | bool | None
"""What a table holds in one place."""


def available(value: Cell) -> bool:
    """Return whether a value is a finite number.

    Parameters
    ----------
    value : str, float, int, bool or None
        Truth values are not numbers here.

    Returns
    -------
    bool
        False for NaN and infinity too.
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number(value: float | int | None, digits: int = DIGITS) -> str:
    """Return a number to so many significant digits, without an exponent where it can be read without one.

    Parameters
    ----------
    value : float, int or None
        An int is a count: all its digits are written.
    digits : int, default 3
        Significant digits of a float.

    Returns
    -------
    str
        A dash for None, NaN and infinity.

    Examples
    --------
    >>> number(0.41237), number(-12.5), number(123456.7), number(0.0000412), number(float("nan")), number(7)
    ('0.412', '−12.5', '123,457', '4.12 × 10⁻⁵', '–', '7')
    >>> number(999.7), number(1234.0)
    ('1,000', '1,234')
    """
    if value is None or not math.isfinite(value):
        return ABSENT
    if isinstance(value, int):
        return _signed(f"{value:,}")
    if value and abs(value) < 1e-3:
        return _scientific(value, digits)
    whole = abs(round(value)) >= 10**digits
    return _signed(f"{value:,.0f}" if whole else f"{value:.{digits}g}")


def p_value(value: float | None) -> str:
    """Return a p-value as papers print it.

    Parameters
    ----------
    value : float or None
        Within [0, 1].

    Returns
    -------
    str
        Two significant digits, or ``< 0.001``; a dash for None and NaN.

    Examples
    --------
    >>> p_value(0.0312), p_value(0.0004), p_value(None)
    ('0.031', '< 0.001', '–')
    """
    if value is None or not math.isfinite(value):
        return ABSENT
    return f"{value:.2g}" if value >= 1e-3 else "< 0.001"


def share(value: float | None) -> str:
    """Return a share as a percentage.

    Parameters
    ----------
    value : float or None
        1 is all.

    Returns
    -------
    str
        Whole percents from 10% on, one decimal below and close to 100%; what is not quite none or all is
        never written as 0% or 100%; a dash for None and NaN.

    Examples
    --------
    >>> share(0.4123), share(0.004), share(1.0), share(-0.25)
    ('41%', '0.4%', '100%', '−25%')
    >>> share(0.996), share(0.9999), share(0.0001)
    ('99.6%', 'more than 99.9%', 'less than 0.1%')
    """
    if value is None or not math.isfinite(value):
        return ABSENT
    percent = round(100 * value, 9)  # a mean of ones may be 1 but for rounding
    if 0 < percent < 0.05:
        return "less than 0.1%"
    if 99.95 <= percent < 100:
        return "more than 99.9%"
    whole = (abs(percent) >= 10 and not 99.5 <= percent < 100) or percent == round(percent)
    return _signed(f"{percent:.0f}%" if whole else f"{percent:.1f}%")


def index(value: float) -> str:
    """Return an index of agreement, 1 for all, to four decimals; what is not quite 1 is never written as 1.

    Parameters
    ----------
    value : float
        From 0 to 1.

    Returns
    -------
    str
        Four decimals; 0.9999 for all between it and 1.

    Examples
    --------
    >>> index(1.0), index(0.99996), index(0.5)
    ('1.0000', '0.9999', '0.5000')
    """
    return f"{min(value, 0.9999) if value < 1 else value:.4f}"


def decimals_of(low: float | None, high: float | None) -> int | None:
    """Return how many decimals an estimate deserves: two significant digits of half its interval.

    Parameters
    ----------
    low, high : float or None
        Ends of the interval.

    Returns
    -------
    int or None
        None where there is no interval, or one without width, and where more than six decimals were needed.

    Examples
    --------
    >>> decimals_of(0.24, 0.54), decimals_of(7.31, 9.31), decimals_of(-400.0, 900.0), decimals_of(None, 1.0)
    (2, 1, 0, None)
    """
    if not (available(low) and available(high)):
        return None
    half = abs(float(high) - float(low)) / 2  # type: ignore[arg-type]  # available
    if not half or (decimals := max(0, 1 - math.floor(math.log10(half)))) > _MOST_DECIMALS:
        return None
    return decimals


def estimated(value: float | None, low: float | None, high: float | None) -> tuple[str, str, str]:
    """Return an estimate and the ends of its interval, with the digits that the interval leaves meaningful.

    Parameters
    ----------
    value : float or None
        The estimate.
    low, high : float or None
        Ends of its interval.

    Returns
    -------
    tuple of str
        Value, low and high, with equally many decimals; each as :func:`number` writes it where there is no
        interval to go by. Where the interval excludes 0, none of them is written as 0.

    Examples
    --------
    >>> estimated(8.3122, 7.2139, 9.4106), estimated(0.8812, 0.4812, 0.9912), estimated(0.5, None, None)
    (('8.3', '7.2', '9.4'), ('0.88', '0.48', '0.99'), ('0.5', '–', '–'))
    >>> estimated(0.4, 0.003, 0.9), estimated(0.4, -0.003, 0.9)
    (('0.40', '0.003', '0.90'), ('0.40', '0.00', '0.90'))
    """
    decimals = decimals_of(low, high)
    if decimals is None:
        return number(value), number(low), number(high)
    apart = low is not None and high is not None and low * high > 0  # from 0
    told = [
        number(float(part), 1) if apart and part and not round(part, decimals) else _rounded(part, decimals)
        for part in (value, low, high)
    ]
    return told[0], told[1], told[2]


def share_with_interval(value: float, low: float | None, high: float | None) -> str:
    """Return a share with its interval, in percent.

    Parameters
    ----------
    value : float
        1 is all.
    low, high : float or None
        Ends of its interval.

    Returns
    -------
    str
        Without an interval where there is none.

    Examples
    --------
    >>> share_with_interval(0.3928, 0.2412, 0.5444), share_with_interval(0.39, None, None)
    ('39% (24–54)', '39%')
    """
    if not (available(low) and available(high)):
        return share(value)
    decimals = decimals_of(100 * float(low), 100 * float(high)) or 0  # type: ignore[arg-type]  # available
    decimals = max(0, decimals - 1) if decimals else 0
    told, *ends = (_rounded(100 * float(part), decimals) for part in (value, low, high))  # type: ignore[arg-type]
    return f"{told}% ({'–'.join(ends)})"


def fixed(value: Cell, decimals: int) -> str:
    """Return a value with so many decimals; with an exponent where they would all be zero.

    Parameters
    ----------
    value : str, float, int, bool or None
        What is no number is written as it is.
    decimals : int
        Digits behind the decimal point.

    Returns
    -------
    str
        A dash for None, NaN and infinity.

    Examples
    --------
    >>> fixed(-0.3333, 2), fixed(0.0, 1), fixed(0.0004, 2)
    ('−0.33', '0.0', '4.0 × 10⁻⁴')
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return written(value)
    rounded = f"{value:,.{decimals}f}"
    return _scientific(float(value), 2) if value and not float(rounded.replace(",", "")) else _signed(rounded)


def aligned(values: Sequence[Cell]) -> tuple[str, ...]:
    """Return a column whose numbers have equally many decimals, no more than needed, and compare by eye.

    Parameters
    ----------
    values : sequence of str, float, int, bool or None
        From top to bottom.

    Returns
    -------
    tuple of str
        One text a value.

    Examples
    --------
    >>> aligned((0.5, 2.25, None)), aligned((0.1, 0.2)), aligned((-0.45, -0.521))
    (('0.50', '2.25', '–'), ('0.1', '0.2'), ('−0.450', '−0.521'))
    >>> aligned((0.0014, 0.0006))
    ('0.0014', '0.0006')
    """
    sizes = [abs(float(value)) for value in values if available(value)]  # type: ignore[arg-type]  # a number
    top = max(sizes, default=0.0)
    wanted = DIGITS - 1 - math.floor(math.log10(top)) if top else 0
    if wanted > _MOST_DECIMALS:
        decimals = 0  # with exponents
    else:  # three are enough where the largest number keeps two digits
        decimals = max(0, wanted if top < 0.01 else min(DIGITS, wanted))
    while decimals and all(not available(value) or fixed(value, decimals).endswith("0") for value in values):
        decimals -= 1
    return tuple(fixed(value, decimals) for value in values)


def written(value: Cell) -> str:
    """Return the value of a cell as text.

    Parameters
    ----------
    value : str, float, int, bool or None
        Text stays as it is.

    Returns
    -------
    str
        ``yes`` or ``no`` for truth values, a dash for None, :func:`number` for numbers.

    Examples
    --------
    >>> written("P36"), written(True), written(None), written(1234)
    ('P36', 'yes', '–', '1,234')
    """
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else number(value)


def no_less(value: float, digits: int = 4) -> str:
    """Return the least number of so many significant digits that is no less than a value: a bound to go by.

    Parameters
    ----------
    value : float
        A finite number ≥ 0.
    digits : int
        Significant digits.

    Returns
    -------
    str
        The number, which Python reads as one that is ≥ the value.

    Examples
    --------
    >>> no_less(0.05), no_less(0.312412), no_less(0.99999), no_less(0.0)
    ('0.05', '0.3125', '1', '0')
    """
    exact = Decimal(repr(float(value)))  # 0.05, not the binary number next to it
    step = Decimal(1).scaleb(exact.adjusted() - digits + 1)
    return f"{exact.quantize(step, ROUND_CEILING).normalize() + 0:f}"


def counted(n: int, noun: str) -> str:
    """Return how many, with the noun in its number.

    Parameters
    ----------
    n : int
        The count.
    noun : str
        In the singular; its plural ends in -s, or in -ies.

    Returns
    -------
    str
        The count with separators, and the noun.

    Examples
    --------
    >>> counted(1, "query"), counted(2408, "query"), counted(0, "fact")
    ('1 query', '2,408 queries', '0 facts')
    """
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{n:,} {noun if n == 1 else plural}"


def _rounded(value: float | None, decimals: int) -> str:
    """To so many decimals, zero where nothing is left: what an interval hides is no matter."""
    return _signed(f"{round(float(value), decimals) + 0.0:,.{decimals}f}") if available(value) else ABSENT  # type: ignore[arg-type]


def _scientific(value: float, digits: int) -> str:
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{_signed(mantissa)} × 10{str(int(exponent)).translate(_RAISED)}"


def _signed(text: str) -> str:
    return text.replace("-", "−")
