"""Linear regression over facts whose errors are clustered, and the design matrices that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy import stats

from qloc.analysis.inference.cluster_error import effective_number, slope_error, t_words
from qloc.analysis.inference.cluster_intervals import hull
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.label_codes import codes, crossed, distinct, n_codes
from qloc.analysis.inference.relation_effects import unskewed
from qloc.analysis.inference.skewed_interval import farther
from qloc.analysis.inference.wild_bootstrap import WildTest, wild_test
from qloc.analysis.results import EffectSize, Interval
from qloc.arrays import Floats, Ints
from qloc.random_streams import Stream
from qloc.text.rounding import number

_ENOUGH = 6.0
"""Effective clusters of each of two ways that cross, under which errors are rough."""


@dataclass(frozen=True, kw_only=True)
class Slope:
    """One regression coefficient with cluster-robust inference.

    Attributes
    ----------
    estimate : float
        The coefficient, in units of y for one unit of x.
    error : float
        Cluster-robust standard error (:func:`qloc.analysis.inference.cluster_error.slope_error`); NaN where
        one cluster decides the coefficient alone.
    freedom : float
        Degrees of freedom of the error.
    interval : Interval or None
        Interval of the coefficient; None where the error is NaN, or the bootstrap rejects no value on one
        side, however far.
    effect : EffectSize or None
        Standardized slope, β · s_x / s_y; None for a column without spread, such as an intercept.
    p : float
        Two-sided p of the coefficient being 0: the larger of that of t and that of the wild cluster
        bootstrap; NaN where the error is.
    method : str
        How interval and p were made, in words.
    wild : tuple of WildTest
        The bootstrap over relations, and over answers that relations share, for p of other values of the
        coefficient; empty where t alone was used.
    """

    estimate: float
    error: float
    freedom: float
    interval: Interval | None
    effect: EffectSize | None
    p: float
    method: str
    wild: tuple[WildTest, ...] = ()


def clustered_slopes(
    y: Floats,
    x: Floats,
    clusters: tuple[Ints, ...],
    places: list[int],
    draws: Draws,
    groups: Ints | None = None,
) -> list[Slope]:
    """Fit ordinary least squares and return some of its coefficients with cluster-robust inference.

    β = (X'X)⁻¹X'y, with the errors of :func:`qloc.analysis.inference.cluster_error.slope_error`. p is the
    larger of that of t and that of the wild cluster bootstrap over the first way of clustering, whatever the
    number of clusters, and over the second where it crosses the first: few answers that relations share may
    carry a slope between them. Nor is p less than that of Hall's t for the skewness that clusters show. An
    interval has the farther ends of all.

    Parameters
    ----------
    y : float64 ndarray, shape (n,)
        The outcome.
    x : float64 ndarray, shape (n, column)
        The design matrix, of full rank, with a column of ones where there is an intercept.
    clusters : tuple of int64 ndarray, shape (n,) each
        One or two ways of clustering, the coarser first; it has at least two clusters.
    places : list of int
        Columns of ``x`` whose coefficients are returned.
    draws : Draws
        ``n_bootstrap``, ``confidence`` and ``seed`` are used.
    groups : int64 ndarray, shape (n,), optional
        Groups that have an effect of their own each among the columns: a standardized slope is by the
        standard deviations within them.

    Returns
    -------
    list of Slope
        In the order of ``places``.

    References
    ----------
    Cameron & Miller 2015, "A practitioner's guide to cluster-robust inference", JHR 50, §II and §VI.
    """
    as_given, scale = x, np.linalg.norm(x, axis=0)
    x = x / scale  # columns of unlike sizes would be lost in rounding
    beta = np.linalg.lstsq(x, y, rcond=None)[0]
    slopes = []
    for place in places:
        rest = np.delete(x, place, axis=1)
        carrier = x[:, place] - rest @ np.linalg.lstsq(rest, x[:, place], rcond=None)[0]
        residual = y - x @ beta
        error, freedom = slope_error(residual, carrier, clusters)
        slope = _by_t(float(beta[place]), error, freedom, clusters, draws)
        slope = _allowing_for(_skewness(residual, carrier, clusters[0]), slope, draws)
        for place_of_way, way in enumerate(_crossing(clusters)):
            rng = Stream.SLOPES.generator(draws.seed, place, *([place_of_way] if place_of_way else []))
            wild = wild_test(y, x, way, place, n_resamples=draws.n_bootstrap, rng=rng)
            slope = slope if wild is None or np.isnan(slope.error) else _no_narrower(slope, wild, draws)
        slope = _in_units(slope, float(scale[place]))
        both = np.column_stack([y, as_given[:, place]])
        own = both if groups is None else within(both, groups)
        slopes.append(replace(slope, effect=_standardized(own[:, 0], own[:, 1], slope)))
    return slopes


def _skewness(residual: Floats, carrier: Floats, cluster: Ints) -> float:
    """Return the skewness of a coefficient: γ/√G of clusters' sums of carrier · residual."""
    code = codes(cluster)
    sums, share = np.bincount(code, carrier * residual), np.bincount(code, carrier**2)
    n, square = len(sums), float(np.sum(sums**2))
    if n < 3 or not square > 0:
        return 0.0
    skewness = np.sqrt(n) * float(np.sum(sums**3)) / square**1.5 * np.sqrt(n * (n - 1)) / (n - 2)
    return float(skewness * np.sqrt(np.sum(share**2)) / np.sum(share))


def _allowing_for(a: float, slope: Slope, draws: Draws) -> Slope:
    """Return a coefficient with p no less than of Hall's t for a skewness ``a``, and such ends."""
    if slope.interval is None:
        return slope
    t = slope.estimate / slope.error
    sides = (float(stats.t.sf(unskewed(side * t, min(0.0, side * a)), slope.freedom)) for side in (1, -1))
    reach = float(stats.t.ppf((1 + draws.confidence) / 2, slope.freedom))
    interval = replace(
        slope.interval,
        low=slope.estimate - farther(reach, min(0.0, a)) * slope.error,
        high=slope.estimate + farther(reach, min(0.0, -a)) * slope.error,
    )
    return replace(slope, p=max(slope.p, min(1.0, 2 * min(sides))), interval=interval)


def _crossing(clusters: tuple[Ints, ...]) -> list[Ints]:
    """Return the ways over which the bootstrap goes: the first, and the second where it crosses the first."""
    ways = list(clusters[:1])
    if len(clusters) > 1 and crossed(*clusters[:2]):
        ways.append(clusters[1])
    return ways


def few_answers_in_words(ways: Mapping[str, Ints]) -> tuple[str, ...]:
    """Warn where errors are clustered in ways that cross, and one has few clusters: p is then rough.

    Parameters
    ----------
    ways : mapping of str to int64 ndarray, shape (n,)
        Clusters by the name of their column, such as ``relation`` and ``object``.

    Returns
    -------
    tuple of str
        One sentence where two ways cross and one has an effective number of clusters under six.

    Examples
    --------
    >>> few_answers_in_words({"relation": np.repeat(np.arange(6), 4), "object": np.tile(np.arange(4), 6)})
    ('Facts are effectively of 4 values of object, which cross relation: p and interval are rough.',)
    """
    number_of = {name: effective_number(codes(way)) for name, way in ways.items() if len(way)}
    if len(number_of) < 2 or not any(crossed(*pair) for pair in combinations(ways.values(), 2)):
        return ()
    name = min(number_of, key=number_of.__getitem__)
    if round(number_of[name], 6) >= _ENOUGH:
        return ()
    few, others = number(round(number_of[name], 1)), " and ".join(other for other in ways if other != name)
    return (
        f"Facts are effectively of {few} values of {name}, which cross {others}: p and interval are rough.",
    )


def no_narrower(first: Slope, second: Slope) -> Slope:
    """Return a coefficient with the larger p and the farther ends of two, of different ways of clustering.

    Parameters
    ----------
    first, second : Slope
        The same coefficient.

    Returns
    -------
    Slope
        NaN and None where either has them; the larger error with its degrees of freedom.
    """
    wider = second if not first.error >= second.error else first
    one, other = (slope.effect.interval if slope.effect else None for slope in (first, second))
    return replace(
        wider,
        interval=hull(first.interval, second.interval),
        effect=wider.effect and replace(wider.effect, interval=hull(one, other)),
        p=float(np.maximum(first.p, second.p)),
        method=f"{first.method}; {second.method}",
        wild=(*first.wild, *second.wild),
    )


def _in_units(slope: Slope, scale: float) -> Slope:
    """Return a coefficient of a column that was divided by ``scale``, for the column as it was."""
    ends = slope.interval
    ends = ends and replace(ends, low=ends.low / scale, high=ends.high / scale)
    wild = tuple(test.in_units(scale) for test in slope.wild)
    return replace(
        slope, estimate=slope.estimate / scale, error=slope.error / scale, interval=ends, wild=wild
    )


def _by_t(estimate: float, error: float, freedom: float, clusters: tuple[Ints, ...], draws: Draws) -> Slope:
    """Return a coefficient with p and interval of t, without an effect size."""
    none = float("nan")
    ways = distinct([codes(way) for way in clusters])
    if len(ways) > 1 and n_codes(codes(*ways)) == n_codes(ways[1]):
        ways = ways[:1]  # answers within relations add nothing
    name = f"least squares, cluster-robust over {' and '.join(str(n_codes(way)) for way in ways)} clusters"
    if not error > 0:
        method = f"{name}: one cluster decides alone"
        return Slope(
            estimate=estimate, error=none, freedom=none, interval=None, effect=None, p=none, method=method
        )
    half = float(stats.t.ppf((1 + draws.confidence) / 2, freedom)) * error
    p, method = 2 * float(stats.t.sf(abs(estimate) / error, freedom)), f"{name}, {t_words(freedom)}"
    low, high = estimate - half, estimate + half
    interval = Interval(low=low, high=high, confidence=draws.confidence, method=method, freedom=freedom)
    return Slope(
        estimate=estimate, error=error, freedom=freedom, interval=interval, effect=None, p=p, method=method
    )


def _no_narrower(slope: Slope, wild: WildTest, draws: Draws) -> Slope:
    """Return a coefficient with the larger p of its own and the bootstrap's, and the farther ends."""
    p, ends = wild.p(), wild.interval(draws.confidence)
    if np.isnan(p):
        return slope
    name = f"wild cluster bootstrap, {draws.n_bootstrap} resamples: the wider of both"
    method = f"{slope.method}, and {name}" if not slope.wild else f"{slope.method}; over answers, too"
    interval = slope.interval
    if interval is not None and np.isnan(ends).any():
        interval, method = None, f"{method}; no finite interval"
    elif interval is not None:
        low, high = min(interval.low, ends[0]), max(interval.high, ends[1])
        interval = replace(interval, low=low, high=high, method=method)
    return replace(slope, p=max(slope.p, p), interval=interval, method=method, wild=(*slope.wild, wild))


def _standardized(y: Floats, x: Floats, slope: Slope) -> EffectSize | None:
    spread = x.std(ddof=1)
    if not spread > 0 or not y.std(ddof=1) > 0:
        return None
    scale, ends = float(spread / y.std(ddof=1)), slope.interval
    interval = ends and replace(ends, low=scale * ends.low, high=scale * ends.high)
    return EffectSize(name="standardized slope", value=scale * slope.estimate, interval=interval)


def within(values: Floats, group: Ints) -> Floats:
    """Return columns less their mean in each group: the residuals of a regression on group dummies.

    Parameters
    ----------
    values : float64 ndarray, shape (n, column)
        The columns.
    group : int64 ndarray, shape (n,)
        Each row's group, from 0, none of them empty.

    Returns
    -------
    float64 ndarray, shape (n, column)
        Columns whose mean is 0 in each group.

    References
    ----------
    Frisch & Waugh 1933, "Partial time regressions as compared with individual trends", Econometrica 1.

    Examples
    --------
    >>> within(np.array([[1.0], [3.0], [5.0]]), np.array([0, 0, 1]))[:, 0].tolist()
    [-1.0, 1.0, 0.0]
    """
    n = np.bincount(group)
    means = np.stack([np.bincount(group, weights=column) for column in values.T], axis=1) / n[:, None]
    return np.asarray(values - means[group])


def independent(x: Floats) -> list[int]:
    """Return the columns that are not (nearly) a linear combination of those before them.

    Parameters
    ----------
    x : float64 ndarray, shape (n, column)
        A design matrix.

    Returns
    -------
    list of int
        Numbers of the columns kept, in order: a design matrix of full rank.

    Examples
    --------
    >>> independent(np.array([[1.0, 2.0, 0.0], [1.0, 2.0, 1.0]]))
    [0, 2]
    """
    chosen: list[int] = []
    for place in range(x.shape[1]):
        trial = x[:, [*chosen, place]]
        size = np.linalg.norm(trial, axis=0)
        if size[-1] > 0 and np.linalg.matrix_rank(trial / size, tol=1e-8) == len(chosen) + 1:
            chosen.append(place)
    return chosen
