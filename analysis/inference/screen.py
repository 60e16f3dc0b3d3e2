"""Rows of tables: means and paired differences over facts, with p-values that are corrected together."""

from __future__ import annotations

from typing import Any

import numpy as np

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.effect_sizes import rank_biserial
from qloc.analysis.inference.label_codes import codes, n_codes
from qloc.analysis.inference.means import mean
from qloc.analysis.inference.multiplicity import adjusted
from qloc.analysis.inference.paired import paired_p
from qloc.analysis.inference.share_intervals import Bound, bounded_intervals
from qloc.arrays import Floats, Ints
from qloc.random_streams import Stream

SCREEN_NOTE = (
    "p: signs of whole relations flipped (under six, of answers within relations; where answers "
    "cross relations, no less than of the two-way cluster-robust t), two-sided; adjusted by "
    "Benjamini–Hochberg over the table."
)
"""Note under a table of :func:`screened` rows."""


def mean_columns(
    name: str,
    values: Floats,
    clusters: tuple[Ints, ...],
    confidence: float,
    bound: Bound = "none",
) -> dict[str, float]:
    """Return a mean over facts and its interval as cells of a table.

    Parameters
    ----------
    name : str
        Name of the column that holds the mean.
    values : float64 ndarray, shape (fact,)
        NaN is left out.
    clusters : tuple of int64 ndarray, shape (fact,) each
        Relation and answer of each fact, or one of both.
    confidence : float
        Confidence level of the interval, within (0, 1).
    bound : {"none", "share", "negative"}, default "none"
        Range of the values, and so of the interval.

    Returns
    -------
    dict
        ``name``, ``name_low`` and ``name_high``; NaN where they are not defined.

    Examples
    --------
    >>> columns = mean_columns("kappa", np.array([1.0, 2.0, 3.0]), (np.arange(3), np.arange(3)), 0.95)
    >>> {name: round(value, 2) for name, value in columns.items()}
    {'kappa': 2.0, 'kappa_low': -0.48, 'kappa_high': 4.48}
    """
    low, high = bounded_intervals(values[:, None], clusters, (bound,), confidence=confidence)
    return {name: mean(values), f"{name}_low": float(low[0]), f"{name}_high": float(high[0])}


def screened(
    x: Floats, clusters: tuple[Ints, Ints], draws: Draws, stream: Stream, number: int
) -> dict[str, Any]:
    """Return a paired difference as cells of a table.

    Parameters
    ----------
    x : float64 ndarray, shape (fact,)
        Paired differences; NaN is left out.
    clusters : tuple of int64 ndarray, shape (fact,) each
        Relation and answer of each fact.
    draws : Draws
        ``n_permutations``, ``confidence``, ``alpha`` and ``seed`` are used.
    stream : Stream
        Random stream of the table.
    number : int
        Number of the row within the table: each row has its own draws.

    Returns
    -------
    dict
        ``difference`` with ``difference_low`` and ``difference_high``, ``rank_biserial``, ``p`` (two-sided,
        not adjusted; NaN where it is not defined), ``facts`` and ``relations`` (counts).
    """
    facts = np.flatnonzero(~np.isnan(x))
    row: dict[str, Any] = mean_columns("difference", x, clusters, draws.confidence)
    row |= {"rank_biserial": np.nan, "p": np.nan, "facts": len(facts), "relations": 0}
    if len(facts):
        relation, answer = (codes(way[facts]) for way in clusters)
        row["relations"] = n_codes(relation)
        row["rank_biserial"] = rank_biserial(x[facts], (relation, answer)).value
        row["p"] = paired_p(
            x[facts],
            (relation, answer),
            n_permutations=draws.n_permutations,
            rng=stream.generator(draws.seed, number),
            alternative="two-sided",
            level=draws.alpha,
        )[0]
    return row


def corrected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with ``p_adjusted``, by Benjamini–Hochberg over all of them.

    Parameters
    ----------
    rows : list of dict
        The whole table; each row has ``p``, NaN where it could not be tested.

    Returns
    -------
    list of dict
        New rows, in the same order.

    Examples
    --------
    >>> [row["p_adjusted"] for row in corrected([{"p": 0.01}, {"p": 0.03}])]
    [0.02, 0.03]
    """
    p = adjusted([row["p"] for row in rows], "fdr_bh")
    return [{**row, "p_adjusted": float(value)} for row, value in zip(rows, p, strict=True)]
