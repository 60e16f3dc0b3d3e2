"""Paired tests: two changes to the same queries, compared fact by fact.

Effects are averaged over a fact's queries, mostly in log-odds; p flips the signs of whole clusters of facts.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from qloc.analysis.inference.cluster_error import mean_error, t_words
from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inference.effect_sizes import rank_biserial
from qloc.analysis.inference.equivalence import mean_tost_p
from qloc.analysis.inference.label_codes import codes, crossed, n_codes
from qloc.analysis.inference.least_p import flip_clusters, least_flip_p, too_few
from qloc.analysis.inference.relation_effects import (
    SEEN_SKEWNESS,
    interval_of_these,
    relations_in_words,
    skewness_adjusted_p,
    skewness_of,
    within_clusters,
)
from qloc.analysis.inference.resampling import Alternative, sign_flip_p
from qloc.analysis.inference.skewed_interval import skewed_interval
from qloc.analysis.results import NEW_RELATIONS, THESE_RELATIONS, TestResult
from qloc.analysis.verdicts import judged
from qloc.arrays import Floats, Ints
from qloc.random_streams import Stream
from qloc.text.rounding import number, p_value

LOG_ODDS_MARGIN: Final = 0.1
"""Difference in log-odds, in nats, up to which two changes count as equal."""

THESE_ALONE: Final = (
    "With so few relations, p holds for these relations only; the interval is for new relations."
)
"""Caveat of a test with fewer relations than flips of whole relations need."""

_SKEWED: Final = (
    "p allows for effects of {} that are skewed against their mean, of which few show less than there is "
    "(skewness seen: {}). If they are symmetric, p is {}, of flips of signs alone."
)

_CLOSEST: Final = -(2.0**-24)
"""The largest log-probability that float32 distinguishes from 0: log-odds are at most 16.6."""


def log_odds(log_p: NDArray[np.floating]) -> Floats:
    """Return the log-odds of probabilities, log P − log(1 − P).

    P is stored in float32. Probabilities nearer to 1 than 2⁻²⁴ count as 1 − 2⁻²⁴, so that log-odds are
    finite.

    Parameters
    ----------
    log_p : floating ndarray
        Natural logarithms of probabilities, in nats; of any shape.

    Returns
    -------
    float64 ndarray
        Log-odds in nats, of the shape of ``log_p``; NaN where it is NaN.

    Examples
    --------
    >>> log_odds(np.log(np.array([0.5, 0.9]))).round(3).tolist()
    [0.0, 2.197]
    """
    value = np.minimum(np.asarray(log_p, dtype=np.float64), _CLOSEST)
    return np.asarray(value - np.log(-np.expm1(value)))


def paired_p(
    x: Floats,
    clusters: tuple[Ints, Ints],
    *,
    n_permutations: int,
    rng: np.random.Generator,
    alternative: Alternative = "greater",
    level: float = 0.05,
) -> tuple[float, str]:
    """Return p of a mean paired effect, by flips of the clusters that :func:`flip_clusters` chooses.

    Flips take effects of clusters for symmetric: p is no less than that of a t that is adjusted for skewness
    (:func:`qloc.analysis.inference.relation_effects.skewness_adjusted_p`).

    Flips of relations ignore that several relations may share an answer. Where they do, p is no less than
    that of flips of whole answers (if these are enough) and than that of the two-way cluster-robust t.

    Parameters
    ----------
    x : float64 ndarray, shape (fact,)
        Effects without NaN.
    clusters : tuple of int64 ndarray, shape (fact,) each
        Relation and answer of each fact.
    n_permutations : int
        Number of random flips, where they are not enumerated.
    rng : numpy.random.Generator
        Source of the flips.
    alternative : {"greater", "two-sided"}, default "greater"
        Against a mean above 0, or one that is not 0.
    level : float, default 0.05
        Level that p must be able to reach: α divided by the number of tests that are corrected together.

    Returns
    -------
    p : float
        NaN with fewer than two clusters.
    words : str
        How p was made, for the ``method`` of a result.

    References
    ----------
    docs/statistics.md#what-is-flipped
    """
    relation, answer = clusters
    flipped, words = flip_clusters(relation, answer, level)
    words += f", {n_permutations} flips (all where fewer)"
    if n_codes(codes(flipped)) < 2:
        return float("nan"), words
    p = sign_flip_p(x, flipped, n_permutations=n_permutations, rng=rng, alternative=alternative)
    p, words = (
        max(p, _skewed_p(x, flipped, within_clusters(flipped, codes(relation, answer)), alternative)),
        f"{words}, and Hall's t for skewness: the larger p",
    )
    if not crossed(relation, answer):
        return p, words
    if not too_few(n_answers := n_codes(codes(answer)), level):
        whole = sign_flip_p(x, codes(answer), n_permutations=n_permutations, rng=rng, alternative=alternative)
        p, words = max(p, whole), f"{words}; and of whole answers ({n_answers}), the larger p"
    error, freedom = mean_error(x, (relation, answer))
    mean = float(x.mean())
    t = mean / error if error > 0 else float(np.copysign(np.inf, mean)) if mean else 0.0
    crossing = stats.t.sf(t, freedom) if alternative == "greater" else 2 * stats.t.sf(abs(t), freedom)
    words += f"; answers cross relations: p no less than of the two-way cluster-robust {t_words(freedom)}"
    return max(p, float(crossing)), words


def _skewed_p(x: Floats, cluster: Ints, cell: Ints, alternative: Alternative) -> float:
    """Return p by :func:`skewness_adjusted_p`, 0 where it is not defined: then flips alone tell."""
    sides = [skewness_adjusted_p(x, cluster, cell)]
    if alternative == "two-sided":
        sides.append(skewness_adjusted_p(-x, cluster, cell))
    p = len(sides) * min(sides)
    return 0.0 if np.isnan(p) else min(1.0, p)


def _skewness_told(
    p: float, x: Floats, clusters: tuple[Ints, Ints], draws: Draws, stream: Stream
) -> tuple[str, ...]:
    """Say so where p is above α and that of flips is not, or where skewness is plain to see."""
    flipped = flip_clusters(*clusters, draws.alpha)[0]
    alone = sign_flip_p(
        x,
        flipped,
        n_permutations=draws.n_permutations,
        rng=stream.generator(draws.seed),
        alternative="greater",
    )
    skewness = skewness_of(x, flipped) * np.sign(x.mean())
    if not (alone <= draws.alpha < p or skewness < -SEEN_SKEWNESS):
        return ()
    what = "relations" if flipped is clusters[0] else "answers"
    return (_SKEWED.format(what, number(skewness), p_value(alone)),)


def opposite_p(
    x: Floats,
    clusters: tuple[Ints, Ints],
    *,
    n_permutations: int,
    rng: np.random.Generator,
    level: float = 0.05,
) -> float:
    """Return the two-sided p of a mean effect below 0: twice that of :func:`paired_p` on −x.

    Parameters
    ----------
    x : float64 ndarray, shape (fact,)
        Effects without NaN.
    clusters : tuple of int64 ndarray, shape (fact,) each
        Relation and answer of each fact.
    n_permutations : int
        Number of random flips, where they are not enumerated.
    rng : numpy.random.Generator
        Source of the flips.
    level : float, default 0.05
        As for :func:`paired_p`.

    Returns
    -------
    float
        At most 1; NaN with fewer than two clusters.
    """
    return min(1.0, 2 * paired_p(-x, clusters, n_permutations=n_permutations, rng=rng, level=level)[0])


def least_paired_p(
    clusters: tuple[Ints, Ints],
    *,
    n_permutations: int,
    alternative: Alternative = "greater",
    level: float = 0.05,
) -> tuple[float, str]:
    """Return the least p that :func:`paired_p` can give for facts of these relations and answers.

    Parameters
    ----------
    clusters : tuple of int64 ndarray, shape (fact,) each
        Relation and answer of each fact.
    n_permutations : int
        Number of random flips, where they are not enumerated.
    alternative : {"greater", "two-sided"}, default "greater"
        Of the test.
    level : float, default 0.05
        As for :func:`paired_p`.

    Returns
    -------
    p : float
        2^−G for G flipped clusters, twice that if two-sided; 1/(n + 1) where flips are drawn.
    by : str
        What bounds it, in words.

    Examples
    --------
    >>> least_paired_p((np.arange(6), np.arange(6)), n_permutations=999)
    (0.015625, '6 relations')
    """
    relation, answer = clusters
    flipped = codes(flip_clusters(relation, answer, level)[0])
    n = n_codes(flipped)
    if 2.0**n > n_permutations:
        by = f"{number(n_permutations)} flips"
    else:
        by = f"{n} answers within relations" if too_few(n_codes(codes(relation)), level) else f"{n} relations"
    return least_flip_p(n, n_permutations, alternative), by


def paired_test(
    effects: Floats,
    clusters: tuple[Ints, Ints],
    *,
    name: str,
    question: str,
    estimand: str,
    draws: Draws = DRAWS,
    margin: float = LOG_ODDS_MARGIN,
    margin_unit: str = "log-odds",
    n_queries: int = 0,
    checks: tuple[str, ...] = (),
    store: str = "",
    stream: Stream = Stream.PAIRED,
) -> TestResult:
    """Test whether a mean paired effect is above 0, by flipping signs of whole clusters, one-sided.

    Where p does not show that, two one-sided t-tests may show that the mean is within ±``margin``.

    Parameters
    ----------
    effects : float64 ndarray, shape (fact,)
        Effects, oriented so that the hypothesis says > 0; NaN where a fact has none.
    clusters : tuple of int64 ndarray, shape (fact,) each
        Relation and answer of each fact. :func:`flip_clusters` chooses what is flipped; the interval is
        robust to both, and allows for skewness.
    name : str
        Short name of the test, such as ``H5a``.
    question : str
        What is asked, in one line.
    estimand : str
        What the mean estimates, in words.
    draws : Draws, optional
        ``n_permutations``, ``confidence``, ``alpha`` and ``seed`` are used.
    margin : float, default 0.1
        Smallest effect of interest: largest mean that counts as no effect, in the unit of ``effects``.
    margin_unit : str, default "log-odds"
        Unit of ``margin``, in words.
    n_queries : int, default 0
        Number of queries behind the effects; 0 leaves it out of the result.
    checks : tuple of str, optional
        Caveats to be stored with the result, one sentence each.
    store : str, optional
        Fingerprint of the store.
    stream : Stream, default Stream.PAIRED
        Random stream of the flips; every hypothesis has its own.

    Returns
    -------
    TestResult
        Exploratory, not adjusted; ``not identified`` with fewer than two clusters.

    References
    ----------
    docs/statistics.md#what-is-flipped. Winkler et al. 2015, "Multi-level block permutation", NeuroImage 123,
    for flips of whole blocks; Kerby 2014 for the effect size.
    """
    facts = np.flatnonzero(~np.isnan(effects))
    relation, answer = (codes(way[facts]) if len(facts) else way[:0] for way in clusters)
    n = {"relations": n_codes(relation), "facts": len(facts)} | ({"queries": n_queries} if n_queries else {})
    x = effects[facts]
    p, words = paired_p(
        x,
        (relation, answer),
        n_permutations=draws.n_permutations,
        rng=stream.generator(draws.seed),
        level=draws.alpha,
    )
    opposite = least = None
    by = ""
    if not np.isnan(p):
        opposite = opposite_p(
            x,
            (relation, answer),
            n_permutations=draws.n_permutations,
            rng=stream.generator(draws.seed),
            level=draws.alpha,
        )
        least, by = least_paired_p((relation, answer), n_permutations=draws.n_permutations, level=draws.alpha)
    equivalence = mean_tost_p(x, (relation, answer), margin, draws.alpha)
    if len(effects) > len(facts):
        checks = (
            f"{number(len(effects) - len(facts))} facts have no such pair of values (minimal "
            "pairs, facts that leak and facts without known queries among them): left out.",
            *checks,
        )
    checks = (*checks, *relations_in_words(x, relation)) if len(x) else checks
    if not np.isnan(p):
        checks = (*checks, *_skewness_told(p, x, (relation, answer), draws, stream))
    few = bool(len(x)) and too_few(n["relations"], draws.alpha)
    if few:
        checks = (*checks, THESE_ALONE, *interval_of_these(x, codes(relation, answer), draws.confidence))
    result = TestResult(
        name=name,
        question=question,
        estimand=estimand,
        unit="fact",
        n=n,
        estimate=float(x.mean()) if len(x) else float("nan"),
        interval=skewed_interval(x, (relation, answer), confidence=draws.confidence) if len(x) else None,
        effect=rank_biserial(x, (relation, answer), confidence=draws.confidence) if len(x) else None,
        method=f"{words}, one-sided",
        p=None if np.isnan(p) else p,
        role="exploratory",
        alpha=draws.alpha,
        p_opposite=opposite,
        target=THESE_RELATIONS if few else NEW_RELATIONS,
        margin=margin,
        margin_unit=margin_unit,
        p_equivalence=None if np.isnan(equivalence) else equivalence,
        least_p=least,
        least_by=by,
        checks=(*checks, f"Smallest effect of interest: ±{margin:g} {margin_unit}."),
        seed=draws.seed,
        store=store,
    )
    return judged(result)
