"""Paired effects: two changes to the same queries, compared fact by fact.

Effects are in log-odds, averaged over a fact's queries; signs of whole clusters are flipped for p.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from qloc.analysis.inference.cluster_intervals import cluster_interval
from qloc.analysis.inference.codes import codes, n_codes
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.effect_sizes import rank_biserial
from qloc.analysis.inference.equivalence import mean_tost_p
from qloc.analysis.inference.resampling import Alternative, sign_flip_p
from qloc.analysis.inference.shared_answers import crossed, crossed_error
from qloc.analysis.results import TestResult, Verdict
from qloc.arrays import Floats, Ints
from qloc.streams import Stream

MARGIN: Final = 0.1
"""Difference in log-odds, nats, that counts as none."""

THESE_ALONE: Final = "With so few relations p speaks for these alone, the interval for new ones."

_CLOSEST: Final = -(2.0**-24)
"""The log-probability next to 0 that float32 tells from it: log-odds end at 16.6."""


def log_odds(log_p: NDArray[np.floating]) -> Floats:
    """Log-odds of probabilities, log P − log(1 − P), of log P in nats: float64, of the same shape.

    P is stored in float32: what is nearer to 1 than 2⁻²⁴ is taken for that, so that log-odds stay finite.

    Examples
    --------
    >>> log_odds(np.log(np.array([0.5, 0.9]))).round(3).tolist()
    [0.0, 2.197]
    """
    value = np.minimum(np.asarray(log_p, dtype=np.float64), _CLOSEST)
    return np.asarray(value - np.log(-np.expm1(value)))


def too_few(n_relations: int, level: float = 0.05) -> bool:
    """Whether no flip of so many whole relations can reach a two-sided p ≤ ``level``: 2^(1 − G) > level.

    Examples
    --------
    >>> too_few(5), too_few(6), too_few(7, 0.05 / 4), too_few(8, 0.05 / 4)
    (True, False, True, False)
    """
    return bool(2.0 ** (1 - n_relations) > level)


def flip_clusters(relation: Ints, answer: Ints, level: float = 0.05) -> tuple[Ints, str]:
    """What signs are flipped by, and that in words: relations; where they are too few, answers within them.

    Too few for any flip of whole relations to reach ``level`` (:func:`too_few`): under six for one test at
    5%. Flips of answers within relations speak for these relations only.
    """
    n = len(np.unique(relation))
    if not too_few(n, level):
        return relation, f"signs of whole relations flipped ({n})"
    cell = codes(relation, answer)
    return (
        cell,
        f"signs of whole answers within relations flipped ({n_codes(cell)}), for these relations only",
    )


def paired_p(
    x: Floats,
    clusters: tuple[Ints, Ints],
    *,
    n_permutations: int,
    rng: np.random.Generator,
    alternative: Alternative = "greater",
    level: float = 0.05,
) -> tuple[float, str]:
    """P of a mean paired effect, and how it was made.

    Signs of :func:`flip_clusters` are flipped. Flips of relations do not know of answers that several
    relations have: with such answers p is no less than that of flips of whole answers, where these are not
    too few, and than that of the two-way cluster-robust t.

    Parameters
    ----------
    x : float64, (fact,), without NaN.
    clusters : relation and answer of each fact.
    level : p that must be in reach: α over the number of tests that are corrected together.
    """
    relation, answer = clusters
    flipped, words = flip_clusters(relation, answer, level)
    words += f", {n_permutations} flips (all where fewer)"
    if n_codes(codes(flipped)) < 2:
        return float("nan"), words
    p = sign_flip_p(x, flipped, n_permutations=n_permutations, rng=rng, alternative=alternative)
    if not crossed(relation, answer):
        return p, words
    if not too_few(n_answers := n_codes(codes(answer)), level):
        whole = sign_flip_p(x, codes(answer), n_permutations=n_permutations, rng=rng, alternative=alternative)
        p, words = max(p, whole), f"{words}; and of whole answers ({n_answers}), the larger p"
    error, freedom = crossed_error(x, relation, answer)
    mean = float(x.mean())
    t = mean / error if error > 0 else float(np.copysign(np.inf, mean)) if mean else 0.0
    crossing = stats.t.sf(t, freedom) if alternative == "greater" else 2 * stats.t.sf(abs(t), freedom)
    words += f"; answers cross relations: p no less than of the two-way cluster-robust t({freedom:.1f})"
    return max(p, float(crossing)), words


def paired_test(
    effects: Floats,
    clusters: tuple[Ints, Ints],
    *,
    name: str,
    question: str,
    estimand: str,
    draws: Draws,
    margin: float = MARGIN,
    n_queries: int = 0,
    checks: tuple[str, ...] = (),
    store: str = "",
    stream: Stream = Stream.PAIRED,
) -> TestResult:
    """Whether a mean paired effect is above 0: signs of whole clusters flipped, one-sided.

    Where it is not shown to be, two one-sided t-tests may show that it is within ±``margin``.

    Parameters
    ----------
    effects : float64, (fact,), oriented so that the hypothesis says > 0; NaN where a fact has none.
    clusters : relation and answer of each fact: :func:`flip_clusters` says which are flipped; the interval is
        robust to both.
    n_queries : behind the effects.
    stream : the test's own random stream.

    References
    ----------
    docs/statistics.md. Winkler et al. 2015, "Multi-level block permutation", NeuroImage 123, for flips of
    whole blocks; Kerby 2014 for the effect size.
    """
    facts = np.flatnonzero(~np.isnan(effects))
    relation, answer = (codes(way[facts]) if len(facts) else way[:0] for way in clusters)
    n = {"relations": n_codes(relation), "facts": len(facts)} | ({"queries": n_queries} if n_queries else {})
    x = effects[facts]
    rng = stream.generator(draws.seed)
    p, words = paired_p(
        x, (relation, answer), n_permutations=draws.n_permutations, rng=rng, level=draws.alpha
    )
    none = mean_tost_p(x, (relation, answer), margin)
    if len(effects) > len(facts):
        checks = (
            f"{len(effects) - len(facts):,} facts have no such pair of values (minimal "
            "pairs, facts that leak and facts without known queries among them): left out.",
            *checks,
        )
    if len(x) and too_few(n["relations"], draws.alpha):
        checks = (*checks, THESE_ALONE)
    verdict: Verdict = (
        "holds" if p <= draws.alpha else "does not hold" if none <= draws.alpha else "undecided"
    )
    return TestResult(
        name=name,
        question=question,
        estimand=estimand,
        unit="fact",
        n=n,
        estimate=float(x.mean()) if len(x) else float("nan"),
        interval=cluster_interval(x, (relation, answer), confidence=draws.confidence) if len(x) else None,
        effect=rank_biserial(x, (relation, answer), confidence=draws.confidence) if len(x) else None,
        method=f"{words}, one-sided",
        p=None if np.isnan(p) else p,
        role="exploratory",
        verdict="not identified" if np.isnan(p) else verdict,
        alpha=draws.alpha,
        margin=margin,
        p_equivalence=None if np.isnan(none) else none,
        checks=(*checks, f"Equivalence: no difference is one within ±{margin:g}."),
        seed=draws.seed,
        store=store,
    )
