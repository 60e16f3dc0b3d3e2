"""Words of sentences: operations, and shares, counts and estimates, rounded by :mod:`qloc.text.rounding`."""

from __future__ import annotations

import math
from typing import Final

from qloc.text import rounding

_NOUNS: Final = {
    "suppress": "suppression",
    "enhance": "enhancement",
    "erase": "erasure",
    "update": "an update",
    "suppress_renormalized": "renormalized suppression",
    "enhance_renormalized": "renormalized enhancement",
    "mean": "replacement by the mean",
    "resample": "replacement by another fact's values",
}


def under(operation: str) -> str:
    """Return an operation as a noun, for sentences such as "lost under suppression of N_i".

    Parameters
    ----------
    operation : str
        As stores name it.

    Returns
    -------
    str
        The noun; the name without underscores, where there is none.

    Examples
    --------
    >>> under("suppress"), under("update"), under("own_way")
    ('suppression', 'an update', 'own way')
    """
    return _NOUNS.get(operation, operation.replace("_", " "))


def gone(operation: str) -> str:
    """Return what an operation does to log-odds, where its effects are told with the sign that is expected.

    Parameters
    ----------
    operation : str
        As stores name it.

    Returns
    -------
    str
        ``gained`` of enhancements, else ``lost``.

    Examples
    --------
    >>> gone("suppress"), gone("enhance_renormalized")
    ('lost', 'gained')
    """
    return "gained" if operation.startswith("enhance") else "lost"


def percent(share: float) -> str:
    """Return a share as a percentage; with one decimal below 10% and above 90%.

    Parameters
    ----------
    share : float
        Within [0, 1]; NaN is an unknown share.

    Returns
    -------
    str
        Shares that would be rounded to 0% or 100% are "less than 0.1%" or "more than 99.9%".

    Examples
    --------
    >>> percent(0.45), percent(0.0048), percent(0.9996), percent(0.0)
    ('45%', '0.5%', 'more than 99.9%', '0%')
    """
    if math.isnan(share):
        return "an unknown share"
    if 0 < share < 0.001:
        return "less than 0.1%"
    if 0.999 < share < 1:
        return "more than 99.9%"
    if 0.1 <= share <= 0.9 or share in (0, 1):
        return rounding.share(share)
    return f"{rounding.fixed(100 * share, 1)}%"


def number(value: float) -> str:
    """Return an estimate with two decimals.

    Parameters
    ----------
    value : float
        The estimate.

    Returns
    -------
    str
        "not defined" for NaN; with an exponent where both decimals would be zero.

    Examples
    --------
    >>> number(-0.333), number(0.0), number(float("nan"))
    ('−0.33', '0.00', 'not defined')
    """
    return "not defined" if math.isnan(value) else rounding.fixed(float(value), 2)
