"""Permutation p-values, cluster bootstraps and sign flips; every draw from a given generator.

Facts are nested in relations and share answers, also across relations. Means have closed-form two-way
intervals (:mod:`qloc.analysis.inference.cluster_intervals`). Statistics without a closed form, such as a
share below a threshold that is itself estimated, resample relations and answers independently and weight each
fact by the product of both multiplicities (the pigeonhole bootstrap of Owen 2007), which is valid for two-way
clustering, and conservative.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from qloc.analysis.inference.cluster_error import effective_number
from qloc.analysis.inference.label_codes import codes, distinct, n_codes
from qloc.analysis.results import Interval
from qloc.arrays import Floats, Ints

_PIECE = 2**23
"""Weights that are in memory at a time."""

Alternative = Literal["two-sided", "greater"]

Statistic = Callable[[Floats], Floats]
"""Weights (resample, n) in, statistics (resample, …) out."""


def permutation_p(observed: float, permuted: NDArray[Any]) -> float:
    """Return the one-sided p of a large statistic, (b + 1)/(n + 1).

    b is how many of the n permuted statistics are at least as large as the observed one.

    Parameters
    ----------
    observed : float
        The statistic of the data.
    permuted : float ndarray, shape (n,)
        The statistic of each random permutation.

    Returns
    -------
    float
        Within [1/(n + 1), 1]; NaN where ``observed`` is NaN or nothing was permuted.

    References
    ----------
    Phipson & Smyth 2010, "Permutation p-values should never be zero", eq. 2.

    Examples
    --------
    >>> permutation_p(3.0, np.array([1.0, 2.0, 3.0]))
    0.5
    """
    n = len(permuted)
    if n == 0 or np.isnan(observed):
        return float("nan")
    # Sums in another order differ in the last bits: equal values must count as equal.
    slack = 1e-9 * max(1.0, abs(observed))
    return float((np.sum(permuted >= observed - slack) + 1) / (n + 1))


def permutation_tails(observed: float, permuted: NDArray[Any]) -> tuple[float, float]:
    """Return the one-sided p of a large statistic, and the two-sided p of a small one.

    Parameters
    ----------
    observed : float
        The statistic of the data.
    permuted : float ndarray, shape (n,)
        The statistic of each random permutation.

    Returns
    -------
    p : float
        As :func:`permutation_p`.
    opposite : float
        Twice that of the statistic's negative, at most 1.

    Examples
    --------
    >>> permutation_tails(0.0, np.array([1.0, 2.0, 3.0]))
    (1.0, 0.5)
    """
    return permutation_p(observed, permuted), min(1.0, 2 * permutation_p(-observed, -permuted))


def cluster_weights(code: Ints, n_resamples: int, rng: np.random.Generator) -> Floats:
    """Return how often each member is drawn when whole clusters are resampled with replacement.

    Parameters
    ----------
    code : int64 ndarray, shape (n,)
        Each member's cluster, from 0.
    n_resamples : int
        Number of resamples.
    rng : numpy.random.Generator
        Source of the draws.

    Returns
    -------
    float64 ndarray, shape (resample, n)
        Multiplicities, equal within a cluster; of G clusters G are drawn in every resample.
    """
    n = n_codes(code)
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=n_resamples)
    return drawn[:, code].astype(np.float64)


def resampled(
    statistic: Statistic, clusters: tuple[Ints, ...], n_resamples: int, rng: np.random.Generator
) -> Floats:
    """Return a statistic under resampling of whole clusters, along each way of clustering independently.

    Parameters
    ----------
    statistic : callable
        From weights, shape (resample, n), to statistics, shape (resample, …).
    clusters : tuple of int64 ndarray, shape (n,) each
        Each member's cluster, from 0, for each way.
    n_resamples : int
        Number of resamples.
    rng : numpy.random.Generator
        Source of the draws.

    Returns
    -------
    float64 ndarray, shape (resample, …)
        The statistic of each resample.
    """
    n = len(clusters[0])
    step = max(1, _PIECE // max(1, n))
    parts = []
    for first in range(0, n_resamples, step):
        size = min(step, n_resamples - first)
        weights = cluster_weights(clusters[0], size, rng)
        for code in clusters[1:]:
            weights *= cluster_weights(code, size, rng)
        parts.append(statistic(weights))
    return np.concatenate(parts)


def bootstrap_interval(
    statistic: Statistic,
    clusters: tuple[Ints, ...],
    *,
    n_resamples: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> Interval | None:
    """Return the percentile interval of a statistic, resampling whole clusters in one or two ways.

    Parameters
    ----------
    statistic : callable
        From weights, shape (resample, n), to statistics, shape (resample,).
    clusters : tuple of int64 ndarray, shape (n,) each
        Ways of clustering; a way with one cluster is not resampled.
    n_resamples : int
        Number of resamples; with 0 there is no interval.
    rng : numpy.random.Generator
        Source of the draws.
    confidence : float, default 0.95
        Confidence level, within (0, 1).

    Returns
    -------
    Interval or None
        None where no way has two clusters, or no resample is defined.
    """
    ways = distinct([codes(code) for code in clusters]) if clusters else []
    if not ways or not n_resamples:
        return None
    draws = resampled(statistic, tuple(ways), n_resamples, rng)
    low, high = percentiles(draws, confidence, min(effective_number(code) for code in ways))
    if np.isnan(low):
        return None
    sizes = " and ".join(str(n_codes(code)) for code in ways)
    kind = "two-way" if len(ways) > 1 else "one-way"
    method = f"{kind} cluster bootstrap over {sizes} clusters, percentile, {n_resamples} resamples"
    return Interval(low=float(low), high=float(high), confidence=confidence, method=method)


def percentiles(draws: Floats, confidence: float, n_clusters: float) -> tuple[Floats, Floats]:
    """Return percentile limits of bootstrap draws, widened for few clusters.

    Quantiles are those of t(G − 1) times √(G/(G − 1)), mapped to percentiles, for G clusters.

    Parameters
    ----------
    draws : float64 ndarray, shape (resample, …)
        Statistics of the resamples; NaN is left out.
    confidence : float
        Confidence level, within (0, 1).
    n_clusters : float
        Effective number of clusters G, above 1.

    Returns
    -------
    low, high : float64 ndarray, shape (…)
        Lower and upper limit; NaN where every draw is NaN.

    References
    ----------
    Hesterberg 2015, "What Teachers Should Know About the Bootstrap", The American Statistician 69, §4.
    """
    tail = (1 - confidence) / 2
    t = stats.t.ppf(tail, n_clusters - 1) * np.sqrt(n_clusters / (n_clusters - 1))
    tail = float(stats.norm.cdf(t))
    if np.isnan(draws).all():
        nothing = np.full(draws.shape[1:], np.nan)
        return nothing, nothing
    low, high = np.nanquantile(draws, [tail, 1 - tail], axis=0)
    return low, high


def sign_flip_p(
    effects: Floats,
    cluster: Ints,
    *,
    n_permutations: int,
    rng: np.random.Generator,
    alternative: Alternative = "two-sided",
) -> float:
    """Return p of a mean paired effect, by flipping the signs of whole clusters.

    With few clusters (2^G ≤ ``n_permutations``) every flip is enumerated, and p is exact.

    Parameters
    ----------
    effects : float64 ndarray, shape (n,)
        Paired differences; NaN is left out.
    cluster : int64 ndarray, shape (n,)
        The cluster of each difference.
    n_permutations : int
        Number of random flips, where they are not enumerated.
    rng : numpy.random.Generator
        Source of the flips.
    alternative : {"two-sided", "greater"}, default "two-sided"
        Against a mean that is not 0, or one that is above 0.

    Returns
    -------
    float
        NaN where every difference is NaN.

    References
    ----------
    Winkler et al. 2015, "Multi-level block permutation", NeuroImage 123, for flips of whole blocks.

    Examples
    --------
    >>> x, each, rng = np.array([1.0, 2, 3]), np.arange(3), np.random.default_rng(0)
    >>> sign_flip_p(x, each, n_permutations=99, rng=rng)
    0.25
    >>> sign_flip_p(x, each, n_permutations=99, rng=rng, alternative="greater")
    0.125
    """
    keep = ~np.isnan(effects)
    if not keep.any():
        return float("nan")
    code = codes(cluster[keep])
    sums = np.bincount(code, weights=effects[keep])
    signs = flips(len(sums), n_permutations, rng)
    observed, totals = float(sums.sum()), np.asarray(signs @ sums, dtype=np.float64)
    if alternative == "two-sided":
        observed, totals = abs(observed), np.abs(totals)
    return flip_p(observed, totals, len(sums), rounding=1e-12 * float(np.abs(sums).sum()))


def flips(n: int, n_permutations: int, rng: np.random.Generator) -> Ints:
    """Return signs of clusters: all 2ⁿ ways where these are no more than flips, else random ones.

    Parameters
    ----------
    n : int
        Number of clusters.
    n_permutations : int
        Number of random flips.
    rng : numpy.random.Generator
        Source of random flips.

    Returns
    -------
    int64 ndarray, shape (flip, n)
        1 or −1.
    """
    if _every(n, n_permutations):
        return np.asarray(1 - 2 * ((np.arange(1 << n)[:, None] >> np.arange(n)) & 1))
    return np.asarray(rng.integers(2, size=(n_permutations, n)) * 2 - 1)


def flip_p(observed: float, flipped: Floats, n: int, *, rounding: float = 0.0) -> float:
    """Return p of a statistic, large values against the null, from its values under :func:`flips`.

    Parameters
    ----------
    observed : float
        Its value.
    flipped : float64 ndarray, shape (flip,)
        Its value under each flip.
    n : int
        Number of clusters that were flipped.
    rounding : float, default 0.0
        Least difference that is not rounding.

    Returns
    -------
    float
        The share of flips with a value as large where every flip was made; else (b + 1)/(flips + 1).
    """
    if _every(n, len(flipped)):
        return float(np.mean(flipped >= observed - rounding))
    return permutation_p(observed, flipped)


def _every(n: int, n_permutations: int) -> bool:
    return n < 60 and 1 << n <= n_permutations
