"""H2 across attribution methods: facts that are inconsistent under all of them, and under any.

Three methods that each call half of the facts inconsistent, and have nothing to do with each other, agree on
an eighth, and one of them on seven eighths: what "all" and "any" say is only how far they are from that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qloc.analysis.inference.cluster_intervals import cluster_interval
from qloc.analysis.inference.effect_sizes import odds_ratio
from qloc.analysis.inference.label_codes import codes
from qloc.arrays import Floats, Ints


def across_methods(
    scores: Mapping[str, Floats],
    cut: float,
    k: Ints,
    clusters: tuple[Ints, Ints],
    *,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Tabulate shares of facts below the cut under all methods and under any, beside those of independence.

    Expected, within each relation and number of queries with its own shares p_m: Π p_m under all, 1 − Π (1 −
    p_m) under any, as the mean over all choices of a fact of its own for each method: a fact counted with
    itself would shrink the excess where there are few. Strata of fewer facts than methods are left out.
    (Scores move with k by construction, by any method: facts that differ in k would agree.)

    Parameters
    ----------
    scores : dict of str to float64 ndarray, shape (fact,)
        Scores by method; facts without a score by every method are left out.
    cut : float
        A fact is inconsistent under a method where its score is below.
    k : int64 ndarray, shape (fact,)
        Number of queries considered.
    clusters : pair of int64 ndarray, shape (fact,)
        Relation and answer of each fact.
    confidence : float
        Level of the intervals.

    Returns
    -------
    pandas.DataFrame
        Two rows: ``called`` (under all methods, under any method), ``ki, expected, excess, low, high,
        facts``; the interval is of the excess, for new relations.
    """
    below, defined = _below(scores, cut)
    stratum = codes(clusters[0], k, defined) if len(defined) else k
    defined &= np.bincount(stratum[defined], minlength=len(defined) + 1)[stratum] >= len(below)
    below, stratum = below[:, defined], codes(stratum[defined]) if defined.any() else stratum[defined]
    kept = tuple(code[defined] for code in clusters)
    rows: list[dict[str, Any]] = []
    for name, x in (("under all methods", below), ("under any method", 1 - below)):
        together = x.prod(axis=0)
        own, shares = _within(x, stratum)
        expected = of_different_facts(x, stratum)
        # The excess linearized in every share: what a fact adds to it.
        others = np.stack([np.delete(shares, m, axis=0).prod(axis=0) for m in range(len(x))])
        part = together - expected - np.sum(others * own, axis=0)
        sign = 1.0 if name == "under all methods" else -1.0
        interval = cluster_interval(sign * part, kept, confidence=confidence)
        ki, chance = (float(v.mean()) if len(v) else np.nan for v in (together, expected))
        if sign < 0:
            ki, chance = 1 - ki, 1 - chance
        row: dict[str, Any] = {"called": name, "ki": ki, "expected": chance, "excess": ki - chance}
        row |= {"low": interval.low if interval else np.nan, "high": interval.high if interval else np.nan}
        rows.append({**row, "facts": int(defined.sum())})
    return pd.DataFrame(rows)


def method_pairs(
    scores: Mapping[str, Floats], cut: float, clusters: tuple[Ints, Ints], *, confidence: float = 0.95
) -> pd.DataFrame:
    """Tabulate the odds ratio of a fact being below the cut by one method where it is by another.

    Parameters
    ----------
    scores : dict of str to float64 ndarray, shape (fact,)
        Scores by method; of each pair of methods, facts without both scores are left out.
    cut : float
        A fact is inconsistent under a method where its score is below.
    clusters : pair of int64 ndarray, shape (fact,)
        Relation and answer of each fact.
    confidence : float
        Level of the intervals.

    Returns
    -------
    pandas.DataFrame
        One row a pair of methods: ``methods, odds_ratio, low, high, facts``.
    """
    rows = []
    for a, b in combinations(scores, 2):
        below, defined = _below({a: scores[a], b: scores[b]}, cut)
        below = below[:, defined]
        kept = tuple(code[defined] for code in clusters)
        effect = odds_ratio(below[0] > 0, below[1] > 0, kept, confidence=confidence)
        ends = effect.interval
        rows.append(
            {
                "methods": f"{a} and {b}",
                "odds_ratio": effect.value,
                "low": ends.low if ends else np.nan,
                "high": ends.high if ends else np.nan,
                "facts": int(defined.sum()),
            }
        )
    return pd.DataFrame(rows, columns=["methods", "odds_ratio", "low", "high", "facts"])


def _below(scores: Mapping[str, Floats], cut: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Whether each fact is below the cut, float64, (method, fact); and which facts have all scores."""
    values = np.stack([*scores.values()])
    defined: NDArray[np.bool_] = np.asarray(~np.isnan(values).any(axis=0))
    return (values < cut).astype(np.float64), defined


def of_different_facts(x: Floats, stratum: Ints) -> Floats:
    """Return the mean of Π_m x[m, i_m] over all choices of different facts i_m of each stratum.

    With S_B = Σ_i Π_{m in B} x[m, i], it is Σ_π Π_{B in π} (−1)^{|B| − 1} (|B| − 1)! S_B over all partitions
    π of the M methods, divided by n (n − 1) ⋯ (n − M + 1).

    Parameters
    ----------
    x : float64 ndarray, shape (method, fact)
        Values, such as 0 and 1.
    stratum : int64 ndarray, shape (fact,)
        Code of each fact's stratum, from 0; each has as many facts as there are methods, or more.

    Returns
    -------
    float64 ndarray, shape (fact,)
        Its stratum's mean.

    Examples
    --------
    >>> of_different_facts(np.array([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]]), np.zeros(3, dtype=int))
    array([0.16666667, 0.16666667, 0.16666667])
    """
    n = np.bincount(stratum).astype(np.float64)
    total = np.zeros(len(n))
    for parts in _partitions(tuple(range(len(x)))):
        term = np.ones(len(n))
        for part in parts:
            sums = np.bincount(stratum, weights=x[list(part)].prod(axis=0), minlength=len(n))
            term *= (-1) ** (len(part) - 1) * factorial(len(part) - 1) * sums
        total += term
    choices = np.prod([n - taken for taken in range(len(x))], axis=0)
    return np.asarray((total / np.maximum(choices, 1))[stratum])


def _partitions(members: tuple[int, ...]) -> Iterator[list[tuple[int, ...]]]:
    """All ways to part some members into groups."""
    if not members:
        yield []
        return
    first, rest = members[0], members[1:]
    for size in range(len(rest) + 1):
        for together in combinations(rest, size):
            left = tuple(member for member in rest if member not in together)
            yield from ([(first, *together), *parts] for parts in _partitions(left))


def _within(x: Floats, stratum: Ints) -> tuple[Floats, Floats]:
    """Each value less its stratum's mean, and that mean: float64, (method, fact)."""
    n = np.maximum(np.bincount(stratum), 1)
    mean = np.stack([(np.bincount(stratum, weights=row) / n)[stratum] for row in x])
    return x - mean, mean
