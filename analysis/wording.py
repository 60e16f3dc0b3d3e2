"""Numbers in words: shares, counts and estimates, as sentences of an analysis have them."""

from __future__ import annotations

import numpy as np


def percent(share: float) -> str:
    """A share in words; one decimal where whole percents would hide it.

    Examples
    --------
    >>> percent(0.45), percent(0.0048), percent(0.9996), percent(0.0)
    ('45%', '0.5%', 'more than 99.9%', '0%')
    """
    if np.isnan(share):
        return "an unknown share"
    if 0 < share < 0.001:
        return "less than 0.1%"
    if 0.999 < share < 1:
        return "more than 99.9%"
    return f"{100 * share:.0f}%" if 0.1 <= share <= 0.9 or share in (0, 1) else f"{100 * share:.1f}%"


def counted(n: int, noun: str) -> str:
    """A number of things in words.

    Examples
    --------
    >>> counted(1, "fact"), counted(1200, "query")
    ('1 fact', '1,200 queries')
    """
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{n:,} {noun if n == 1 else plural}"


def number(value: float) -> str:
    """A number in words."""
    return "not defined" if np.isnan(value) else f"{value:.2f}"
