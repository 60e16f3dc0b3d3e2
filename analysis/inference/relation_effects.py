"""What each relation contributes to a mean: relations' own means, the mean without any one, and skewness.

Flips of signs take effects of relations for symmetric: hence a t-test that is adjusted for their skewness.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy import stats

from qloc.analysis.inference.cluster_error import centred, effective_number, mean_error
from qloc.analysis.inference.cluster_intervals import cluster_interval
from qloc.analysis.inference.label_codes import codes, n_codes
from qloc.arrays import Floats, Ints
from qloc.text.rounding import number

SEEN_SKEWNESS: Final = 1.0
"""Skewness of clusters' effects, towards the other side than their mean, that a result tells."""

_FACTOR: Final = 2.0
_HIDDEN: Final = 0.5
_SEEN_IN_FULL: Final = 7.0
_LOWEST: Final = 0.75
"""How skewness that few clusters cannot show is allowed for (:func:`skewness_adjusted_p`)."""


def skewness_of(x: Floats, cluster: Ints) -> float:
    """Return the skewness of clusters' sums about the mean, with Fisher and Pearson's correction.

    Parameters
    ----------
    x : float64 ndarray, shape (fact,)
        Effects without NaN.
    cluster : int64 ndarray, shape (fact,)
        Cluster of each fact.

    Returns
    -------
    float
        √(G(G − 1))/(G − 2) · √G Σ e³/(Σ e²)^(3/2), e the sum of x − x̄ over a cluster; 0 with fewer than three
        clusters, or without spread.

    Examples
    --------
    >>> x = np.array([0.0, 0.0, 0.0, 4.0])
    >>> round(skewness_of(x, np.arange(4)), 6), round(float(stats.skew(x, bias=False)), 6)
    (2.0, 2.0)
    """
    sums = np.bincount(codes(cluster), centred(x))
    n, square = len(sums), float(np.sum(sums**2))
    if n < 3 or not square > 0:
        return 0.0
    plain = np.sqrt(n) * float(np.sum(sums**3)) / square**1.5
    return float(plain * np.sqrt(n * (n - 1)) / (n - 2))


def share_of_clusters(x: Floats, cluster: Ints, cell: Ints) -> float:
    """Return the share of the variance of a mean that is of clusters, not of what varies within them.

    Parameters
    ----------
    x : float64 ndarray, shape (fact,)
        Effects without NaN.
    cluster : int64 ndarray, shape (fact,)
        Cluster of each fact.
    cell : int64 ndarray, shape (fact,)
        What varies within clusters, such as answers; parted by cluster here.

    Returns
    -------
    float
        1 − W/V, within [0, 1], with V = Σ_g E_g²/(1 − s_g), E_g the sum of x − x̄ over a cluster and s_g its
        share of the facts, and W likewise of cells about their clusters' means; a cluster of one cell counts
        nothing towards W. 0 without spread.

    Examples
    --------
    >>> x = np.array([1.0, 1.0, 3.0, 3.0])
    >>> share_of_clusters(x, np.array([0, 0, 1, 1]), np.arange(4))  # alike within clusters
    1.0
    >>> share_of_clusters(x, np.array([0, 1, 0, 1]), np.arange(4))  # clusters are alike
    0.0
    """
    cluster, cell = codes(cluster), codes(cluster, cell)
    n, size = np.bincount(cluster), np.bincount(cell)
    own = n[cluster[np.unique(cell, return_index=True)[1]]]
    sums = np.bincount(cluster, centred(x))
    parts = np.bincount(cell, x - (np.bincount(cluster, x) / n)[cluster])
    between = float(np.sum(sums**2 / np.maximum(1 - n / len(x), 1e-9)))
    inside = float(np.sum(np.where(size < own, parts**2 / np.maximum(1 - size / own, 1e-9), 0.0)))
    return max(0.0, 1 - inside / between) if between > 0 else 0.0


def within_clusters(cluster: Ints, answer: Ints | None = None) -> Ints:
    """Return what varies within clusters: answers within them or, where each has one answer, facts.

    Parameters
    ----------
    cluster : int64 ndarray, shape (fact,)
        Cluster of each fact.
    answer : int64 ndarray, shape (fact,), optional
        Answer of each fact.

    Returns
    -------
    int64 ndarray, shape (fact,)
        Cell of each fact.

    Examples
    --------
    >>> within_clusters(np.array([0, 0, 1]), np.array([5, 6, 6])).tolist()
    [0, 1, 2]
    >>> within_clusters(np.array([0, 0, 1]), np.array([5, 5, 6])).tolist()
    [0, 1, 2]
    """
    if answer is not None and n_codes(cell := codes(cluster, answer)) > n_codes(codes(cluster)):
        return cell
    return np.arange(len(cluster))


def skewness_within(x: Floats, cluster: Ints, cell: Ints) -> float:
    """Return the part of a mean's skewness that is of what varies within clusters.

    Few clusters show their own skewness badly; their many facts show that of facts better.

    Parameters
    ----------
    x : float64 ndarray, shape (fact,)
        Effects without NaN.
    cluster : int64 ndarray, shape (fact,)
        Cluster of each fact.
    cell : int64 ndarray, shape (fact,)
        What varies within clusters; parted by cluster here.

    Returns
    -------
    float
        T / max(Σ_g E_g², S)^(3/2), with E_g the sum of x − x̄ over a cluster, e_c that of x less its cluster's
        mean over a cell, S = Σ_c e_c²/(1 − 1/m) and T = Σ_c e_c³/((1 − 1/m)(1 − 2/m)), m the number of cells
        of the cluster, as if these were equally large; cells of clusters of fewer than three are left out.
        0 without spread.

    Examples
    --------
    >>> x = np.array([0.0, 0.0, 3.0, 0.0, 0.0, 6.0])
    >>> round(skewness_within(x, np.array([0, 0, 0, 1, 1, 1]), np.arange(6)), 2)  # 54 · 4.5 / (30 · 1.5)^1.5
    0.8
    """
    code, both = codes(cluster), codes(cluster, cell)
    own = (np.bincount(code, x) / np.bincount(code))[code]
    parts = np.bincount(both, x - own)
    of = code[np.unique(both, return_index=True)[1]]
    m = np.bincount(of)[of]
    parts, m = parts[m > 2], m[m > 2]
    square = max(float(np.sum(np.bincount(code, centred(x)) ** 2)), float(np.sum(parts**2 / (1 - 1 / m))))
    third = float(np.sum(parts**3 / ((1 - 1 / m) * (1 - 2 / m))))
    return third / square**1.5 if square > 0 else 0.0


def skewness_adjusted_p(x: Floats, cluster: Ints, cell: Ints, *, hidden: bool = True) -> float:
    """Return the one-sided p of a mean above 0 by a t that is transformed for skewness.

    With t the cluster-robust t, t + a t²/3 + a² t³/27 + a/6 is referred to t(ν) (Hall 1992), where a = γ/√G
    for skewness γ below 0 of G effective clusters, else 0 (skewness to the other side makes a test of signs
    too careful), and a is the part that is of facts (:func:`skewness_within`), if that is below: the larger
    p. Few clusters show less skewness than there is: p is no less than where a is 2w (γ + c)/√G, with c = 0.5
    ln(G/7), at most 0 and at least −0.75. w is twice the variance's share of clusters
    (:func:`share_of_clusters`), at most 1: where clusters do not differ, their means are averages of many
    facts, which are hardly skewed.

    Parameters
    ----------
    x : float64 ndarray, shape (fact,)
        Effects without NaN.
    cluster : int64 ndarray, shape (fact,)
        Cluster of each fact.
    cell : int64 ndarray, shape (fact,)
        What varies within clusters.
    hidden : bool, default True
        Whether to allow for skewness that few clusters do not show.

    Returns
    -------
    float
        NaN with fewer than two clusters or without spread.

    References
    ----------
    Hall 1992, "On the removal of skewness by transformation", JRSS B 54. docs/statistics.md#what-is-flipped
    for how 2, c and 0.75 were chosen.

    Examples
    --------
    >>> x, each = np.array([1.0, 1.2, 0.8, 1.1, 0.9, 1.3, 1.0, 1.1]), np.arange(8)
    >>> plain = stats.ttest_1samp(x, 0, alternative="greater").pvalue
    >>> bool(np.isclose(skewness_adjusted_p(x, each, each), plain))
    True
    >>> low = np.where(x == 1.3, -0.5, x)  # one cluster far below
    >>> bool(skewness_adjusted_p(low, each, each) > stats.ttest_1samp(low, 0, alternative="greater").pvalue)
    True
    """
    cluster = codes(cluster)
    if n_codes(cluster) < 2:
        return float("nan")
    error, freedom = mean_error(x, (cluster,))
    if not error > 0:
        return float("nan")
    n, skewness = effective_number(cluster), skewness_of(x, cluster)
    every = [min(0.0, skewness) / np.sqrt(n), max(min(0.0, skewness_within(x, cluster, cell)), -_LOWEST)]
    if hidden:
        weight = min(1.0, 2 * share_of_clusters(x, cluster, cell))
        more = _FACTOR * weight * (skewness + _HIDDEN * np.log(n / _SEEN_IN_FULL))
        every.append(max(min(0.0, more) / np.sqrt(n), -_LOWEST))
    t = float(x.mean()) / error
    return max(float(stats.t.sf(unskewed(t, a), freedom)) for a in every)


def unskewed(t: float, a: float) -> float:
    """Return Hall's transformation of t, t + a t²/3 + a² t³/27 + a/6.

    Parameters
    ----------
    t : float
        A studentized estimate.
    a : float
        Skewness of the estimate.

    Returns
    -------
    float
        To be referred to t.

    References
    ----------
    Hall 1992, JRSS B 54.

    Examples
    --------
    >>> unskewed(3.0, 0.0), unskewed(3.0, -0.6)
    (3.0, 1.46)
    """
    return t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6


def without_each(x: Floats, relation: Ints) -> Floats:
    """Return the mean over facts without each relation in turn.

    Parameters
    ----------
    x : float64 ndarray, shape (fact,)
        Values without NaN.
    relation : int64 ndarray, shape (fact,)
        Relation of each fact.

    Returns
    -------
    float64 ndarray, shape (relation,)
        In the order of the relations' numbers; NaN where there is one relation only.

    Examples
    --------
    >>> without_each(np.array([1.0, 3.0, 8.0]), np.array([0, 0, 1])).tolist()
    [8.0, 2.0]
    """
    code = codes(relation)
    sums, n = np.bincount(code, x), np.bincount(code)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((x.sum() - sums) / (len(x) - n))


def relations_in_words(x: Floats, relation: Ints) -> tuple[str, ...]:
    """Say what relations' own means are, and what the mean is without any one relation.

    Parameters
    ----------
    x : float64 ndarray, shape (fact,)
        Values without NaN.
    relation : int64 ndarray, shape (fact,)
        Relation of each fact.

    Returns
    -------
    tuple of str
        One sentence; none with fewer than two relations.

    Examples
    --------
    >>> relations_in_words(np.array([1.0, 3.0, 8.0, -2.0]), np.array([0, 0, 1, 2]))[0]
    'Means of the 3 relations: −2 to 8, 2 of them above 0; without any one relation 0.667 to 4.'
    """
    if not len(x) or n_codes(code := codes(relation)) < 2:
        return ()
    means, others = np.bincount(code, x) / np.bincount(code), without_each(x, code)
    own, rest = (f"{number(float(v.min()))} to {number(float(v.max()))}" for v in (means, others))
    return (
        f"Means of the {len(means)} relations: {own}, {int(np.sum(means > 0))} of them above 0; without any "
        f"one relation {rest}.",
    )


def interval_of_these(x: Floats, cell: Ints, confidence: float) -> tuple[str, ...]:
    """Give the interval for the relations at hand, beside one for new relations: clustered by answer alone.

    Parameters
    ----------
    x : float64 ndarray, shape (fact,)
        Values without NaN.
    cell : int64 ndarray, shape (fact,)
        Answer within relation of each fact.
    confidence : float
        Confidence level, within (0, 1).

    Returns
    -------
    tuple of str
        One sentence; none with fewer than two answers.

    Examples
    --------
    >>> interval_of_these(np.array([1.0, 2.0, 3.0]), np.arange(3), 0.95)
    ('For these relations alone: −0.484 to 4.48 (one-way cluster-robust over 3 clusters, t(2)).',)
    """
    these = cluster_interval(x, (cell,), confidence=confidence) if len(x) else None
    if these is None:
        return ()
    return (f"For these relations alone: {number(these.low)} to {number(these.high)} ({these.method}).",)


def slopes_without_each(y: Floats, x: Floats, relation: Ints) -> Floats:
    """Return the first coefficient of least squares without each relation in turn.

    Parameters
    ----------
    y : float64 ndarray, shape (fact,)
        The outcome.
    x : float64 ndarray, shape (fact, column)
        The whole design; what is to be within relations is so already.
    relation : int64 ndarray, shape (fact,)
        Relation of each fact.

    Returns
    -------
    float64 ndarray, shape (relation,)
        In the order of the relations' numbers; NaN where the rest does not identify it.

    Examples
    --------
    >>> x = np.array([[1.0], [1.0], [2.0]])
    >>> slopes_without_each(np.array([1.0, 3.0, 4.0]), x, np.array([0, 1, 1])).tolist()
    [2.2, 1.0]
    """
    code = codes(relation)
    square, product = x.T @ x, x.T @ y
    slopes = np.full(n_codes(code), np.nan)
    for number_of in range(len(slopes)):
        here = code == number_of
        rest = square - x[here].T @ x[here]
        if np.linalg.matrix_rank(rest) == len(rest):
            slopes[number_of] = np.linalg.solve(rest, product - x[here].T @ y[here])[0]
    return slopes


def slopes_in_words(y: Floats, x: Floats, relation: Ints) -> tuple[str, ...]:
    """Say what a slope is without any one relation.

    Parameters
    ----------
    y, x, relation : ndarray
        As for :func:`slopes_without_each`.

    Returns
    -------
    tuple of str
        One sentence; none where no rest identifies a slope.
    """
    slopes = slopes_without_each(y, x, relation)
    known = slopes[~np.isnan(slopes)]
    if not len(known):
        return ()
    ends = f"{number(float(known.min()))} to {number(float(known.max()))}"
    return (f"Without any one of the {len(slopes)} relations: {ends}.",)
