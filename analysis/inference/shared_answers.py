"""Answers that several relations have: what flips and resamples of whole relations do not know of."""

from __future__ import annotations

import numpy as np

from qloc.analysis.inference.cluster_intervals import cluster_variance
from qloc.analysis.inference.codes import codes, n_codes
from qloc.analysis.inference.resampling import distinct
from qloc.arrays import Floats, Ints


def crossed(relation: Ints, answer: Ints) -> bool:
    """Whether some answer is in several of several relations.

    Examples
    --------
    >>> crossed(np.array([0, 0, 1]), np.array([0, 1, 1])), crossed(np.array([0, 0, 1]), np.array([0, 1, 2]))
    (True, False)
    """
    if not len(relation) or n_codes(codes(relation)) < 2:
        return False
    return n_codes(codes(relation, answer)) > n_codes(codes(answer))


def crossed_error(values: Floats, relation: Ints, answer: Ints) -> tuple[float, float]:
    """Two-way cluster-robust standard error of a mean, for few and unequal clusters, and its freedom.

    With shares s_g of the facts, G* = 1/Σ s_g² clusters count, the fewer of both ways: the variance is
    multiplied by G*/(G* − 1), and t has G* − 1 degrees of freedom.

    Parameters
    ----------
    values : float64, (fact,); relation, answer : int64, (fact,), two of each at least.

    References
    ----------
    Carter, Schnepel & Steigerwald 2017, "Asymptotic behavior of a t-test robust to cluster heterogeneity",
    REStat 99, for G*.

    Examples
    --------
    >>> x, a, b = np.arange(4.0), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    >>> error, freedom = crossed_error(x, a, b)
    >>> round(error, 2), freedom
    (1.41, 1.0)
    """
    ways = tuple(distinct([codes(relation), codes(answer)]))
    n = min(1 / float(np.sum((np.bincount(way) / len(way)) ** 2)) for way in ways)
    return float(np.sqrt(cluster_variance(values, ways) * n / (n - 1))), n - 1
