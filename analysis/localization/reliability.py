"""H3, whether consistency is a stable property of a fact: split-half reliability of κ_f.

A fact's queries are split in two at random, κ_f is computed on each half, and the halves are correlated over
facts of one relation, answer and number of queries k. Groups made by splitting facts *on* their score would
differ in it whatever the data; halves of queries agree only if there is something about the fact to agree
on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qloc.analysis.inference.cluster_intervals import cluster_interval
from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inference.equivalence import mean_tost_p
from qloc.analysis.inference.label_codes import codes
from qloc.analysis.inference.least_p import least_permutation_p
from qloc.analysis.inference.means import mean_by
from qloc.analysis.inference.resampling import permutation_tails
from qloc.analysis.inputs.neuron_sets import sets_and_store
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import (
    answer_codes,
    chance_overlap,
    considered,
    filled,
    relation_codes,
)
from qloc.analysis.localization.overlap.margins import net_pairs
from qloc.analysis.localization.overlap.pairwise_dice import dice_of_rows
from qloc.analysis.localization.overlap.query_pairs import QueryPairs, pairs_of
from qloc.analysis.results import THESE_RELATIONS, EffectSize, Interval, TestResult
from qloc.analysis.verdicts import judged
from qloc.arrays import Floats, Ints
from qloc.hypothesis_registry import REGISTRY
from qloc.neurons import NeuronSets
from qloc.random_streams import Stream
from qloc.vocabulary import DEFAULT_THRESHOLD

N_SPLITS: Final = 20
"""Random splits of each fact's queries."""

RELIABILITY_MARGIN: Final = 0.1
"""Reliability that counts as none: a tenth of the variance of κ between facts is then the facts' own."""

LEAST_QUERIES: Final = 4
"""Queries that a fact needs: two a half."""

SPEARMAN_BROWN: Final = (
    "Spearman–Brown assumes halves as long as each other; a whole has more than twice a half's pairs of "
    "queries, so the reliability of a whole is, if anything, larger."
)


@dataclass(frozen=True, kw_only=True)
class Halves:
    """Scores of both halves of every fact's queries, for each of several splits.

    Attributes
    ----------
    facts : int64 ndarray, shape (kept,)
        Facts with enough queries and another such fact of their stratum.
    stratum : int64 ndarray, shape (kept,)
        Code of relation × answer × k.
    first : float64 ndarray, shape (split, kept)
        κ of the first halves less its mean over the stratum.
    second : float64 ndarray, shape (split, kept)
        κ of the second halves less its mean over the stratum.
    n_alone : int
        Facts with enough queries, but none to compare them with.
    """

    facts: Ints
    stratum: Ints
    first: Floats
    second: Floats
    n_alone: int


def halves_of(sets: NeuronSets, *, n_splits: int = N_SPLITS, seed: int = 0, net: bool = False) -> Halves:
    """Score each half of each fact's queries, split at random ``n_splits`` times.

    A half's κ is the mean over its pairs of queries of (S − m)/(1 − D_0), S the Dice overlap of the pair and
    m its mean over the relation's facts for the same two templates: facts asked with templates that are
    alike do not pass for consistent ones.

    Parameters
    ----------
    sets : NeuronSets
        Non-empty sets of the queries considered.
    n_splits : int
        Number of splits.
    seed : int
        Seed of the splits.
    net : bool
        In place of S, what the pair shares beyond the sizes of the sets and the popularity of their neurons
        (:func:`qloc.analysis.localization.overlap.margins.net_pairs`), hubs of the whole study held.

    Returns
    -------
    Halves
        Scores of both halves, for every split.
    """
    pairs, score = _scores(sets, net=net)
    relation = relation_codes(sets)[1]
    fact = sets.queries["fact"].astype(np.int64)
    k = np.bincount(fact, minlength=sets.n_facts)
    enough = (k >= LEAST_QUERIES) & (np.bincount(pairs.fact[np.isnan(score)], minlength=sets.n_facts) == 0)
    stratum = codes(relation, answer_codes(sets), np.where(enough, k, 0))
    counted = np.bincount(stratum[enough], minlength=sets.n_facts)[stratum] if enough.any() else k * 0
    kept = np.flatnonzero(enough & (counted > 1))
    of_stratum = codes(stratum[kept]) if len(kept) else np.zeros(0, dtype=np.int64)
    rng = Stream.RELIABILITY_SPLITS.generator(seed)
    scores = np.zeros((2, n_splits, len(kept)))
    for split in range(n_splits):
        side = _side(fact, k, rng)
        for half, value in enumerate((False, True)):
            inside = (side[pairs.first] == value) & (side[pairs.second] == value)
            mean = mean_by(score[inside], pairs.fact[inside], sets.n_facts)[kept]
            scores[half, split] = mean - mean_by(mean, of_stratum, len(kept))[of_stratum]
    return Halves(
        facts=kept,
        stratum=of_stratum,
        first=scores[0],
        second=scores[1],
        n_alone=int(enough.sum()) - len(kept),
    )


def kappa_error(sets: NeuronSets) -> Floats:
    """Return of each fact an unbiased estimate of the error variance of its κ.

    κ is the mean U of a score h over the fact's pairs of queries (that of :func:`halves_of`). Pairs that have
    no query in common are independent given the fact, so that the mean of their products estimates the square
    of what U estimates, and U² less it the variance of U::

        U² − (S² − Σ_i R_i² + Q)/(n² − Σ_i d_i² + n),   S = Σ h, Q = Σ h², over the fact's n pairs,

    R_i and d_i being sum and number of the pairs of query i.

    Parameters
    ----------
    sets : NeuronSets
        Non-empty sets of the queries considered.

    Returns
    -------
    float64 ndarray, shape (fact,)
        Of use as a mean over facts: single values may be below 0. NaN for facts with fewer than four queries.

    References
    ----------
    Hoeffding 1948, "A class of statistics with asymptotically normal distribution", Annals of Mathematical
    Statistics 19, for the variance of such means; Fuller 1987, Measurement Error Models, §1.1, for its use.
    """
    pairs, score = _scores(sets, net=False)
    fact, n_facts = sets.queries["fact"].astype(np.int64), sets.n_facts
    ends = np.concatenate([pairs.first, pairs.second])
    sums, degrees = (np.bincount(ends, of, sets.n_queries) for of in (np.tile(score, 2), None))
    total, squares, n = (np.bincount(pairs.fact, of, n_facts) for of in (score, score**2, None))
    shared, n_shared = (np.bincount(fact, of**2.0, n_facts) for of in (sums, degrees))
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = n**2 - n_shared + n
        error = (total / n) ** 2 - (total**2 - shared + squares) / np.where(apart > 0, apart, np.nan)
    return np.asarray(error)


def _scores(sets: NeuronSets, *, net: bool) -> tuple[QueryPairs, Floats]:
    """Return the pairs of a fact's queries, and the part of κ that each is."""
    if net:
        pairs, overlap = net_pairs(sets, "template", hubs_of_relations=False)
    else:
        pairs = pairs_of(sets)
        overlap = dice_of_rows(sets.member, sets.member, pairs.first, pairs.second)
    cell = codes(pairs.template[pairs.first], pairs.template[pairs.second]) if len(overlap) else pairs.fact
    names, relation = relation_codes(sets)
    chance = chance_overlap(sets, names)[0]
    room = 1 - chance[relation[pairs.fact]] if len(overlap) else np.ones(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        score = (overlap - mean_by(overlap, cell, len(overlap))[cell]) / np.where(room > 0, room, np.nan)
    return pairs, score


def _side(fact: Ints, k: Ints, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which half each query is in: halves of a fact differ by one query at most."""
    order = np.argsort(fact + rng.random(len(fact)), kind="stable")
    starts = np.concatenate([[0], np.cumsum(k)])[:-1]
    place = np.empty(len(fact), dtype=np.int64)
    place[order] = np.arange(len(fact)) - starts[fact[order]]
    return np.asarray(place < k[fact] // 2)


def spearman_brown(r: float) -> float:
    """Return the reliability of a whole from the correlation r of its halves, 2r/(1 + |r|).

    Parameters
    ----------
    r : float
        Within [−1, 1].

    Returns
    -------
    float
        Within [−1, 1]. For r < 0, where 2r/(1 + r) has no lower bound, minus the reliability of −r.

    Examples
    --------
    >>> spearman_brown(0.5), spearman_brown(-0.5), spearman_brown(1.0)
    (0.6666666666666666, -0.6666666666666666, 1.0)
    """
    return 2 * r / (1 + abs(r))


def reliability(halves: Halves) -> tuple[float, Floats]:
    """Return the correlation of halves over all splits, and values of facts whose mean it is.

    With c_f the mean over splits of the product of a fact's halves, v_f that of half the sum of their
    squares, r = Σ c_f / Σ v_f.

    Parameters
    ----------
    halves : Halves
        Scores of both halves (:func:`halves_of`).

    Returns
    -------
    value : float
        r, within [−1, 1]; NaN without facts or spread.
    parts : float64 ndarray, shape (kept,)
        r + (c_f − r v_f) / mean(v), the ratio linearized: what intervals are made from.

    References
    ----------
    Spearman 1910; Brown 1910, British Journal of Psychology 3.
    """
    together = (halves.first * halves.second).mean(axis=0)
    own = ((halves.first**2 + halves.second**2) / 2).mean(axis=0)
    room = float(np.sum(own))
    if not room > 0:
        return float("nan"), np.full(len(together), np.nan)
    value = float(np.clip(together.sum() / room, -1.0, 1.0))
    return value, value + (together - value * own) * len(own) / room


def correlation_interval(
    value: float, parts: Floats, clusters: tuple[Ints, ...], confidence: float
) -> Interval | None:
    """Return the interval of the correlation of halves, by Fisher's z: tanh(artanh r ± t s/(1 − r²)).

    Parameters
    ----------
    value : float
        The correlation r.
    parts : float64 ndarray, shape (kept,)
        The ratio linearized (:func:`reliability`).
    clusters : tuple of int64 ndarray, shape (kept,) each
        One or two ways of clustering, the coarser first.
    confidence : float
        Level of the interval, within (0, 1).

    Returns
    -------
    Interval or None
        Within (−1, 1); None with one cluster, or where r is −1 or 1.
    """
    plain = cluster_interval(parts, clusters, confidence=confidence)
    if plain is None or not abs(value) < 1:
        return None
    reach = (plain.high - plain.low) / 2 / (1 - value**2)
    low, high = np.tanh(np.arctanh(value) + reach * np.array([-1.0, 1.0])).tolist()
    return replace(plain, low=low, high=high, method=f"{plain.method}, Fisher's z of the halves' r")


def reliability_interval(ends: Interval | None) -> Interval | None:
    """Return the interval of the reliability: the ends of that of r, each as Spearman and Brown lengthen it.

    Parameters
    ----------
    ends : Interval or None
        Of the correlation of halves (:func:`correlation_interval`).

    Returns
    -------
    Interval or None
        Within (−1, 1).
    """
    if ends is None:
        return None
    return replace(ends, low=spearman_brown(ends.low), high=spearman_brown(ends.high))


def split_p(halves: Halves, *, n_permutations: int, seed: int = 0) -> tuple[float, float]:
    """Return one p and one p of the opposite, the means over splits of each split's own permutation p's.

    A split's statistic is Σ_f (first half · second half); its second halves are permuted within strata.

    Parameters
    ----------
    halves : Halves
        Scores of both halves (:func:`halves_of`).
    n_permutations : int
        Permutations, the same for every split.
    seed : int
        Seed of the permutations.

    Returns
    -------
    p : float
        One-sided p of halves that agree; NaN without facts.
    opposite : float
        Two-sided p of halves that disagree.
    """
    n = len(halves.facts)
    if not n:
        return float("nan"), float("nan")
    rng = Stream.RELIABILITY_PERMUTATIONS.generator(seed)
    observed = np.sum(halves.first * halves.second, axis=1)
    order = np.argsort(halves.stratum, kind="stable")
    sorted_by = halves.stratum[order]
    first, second = (np.ascontiguousarray(half[:, order]) for half in (halves.first, halves.second))
    permuted = np.empty((n_permutations, len(observed)))
    for row in permuted:
        row[:] = np.einsum("sf,sf->s", first, second[:, np.argsort(sorted_by + rng.random(n))])
    tails = [permutation_tails(float(o), permuted[:, s]) for s, o in enumerate(observed)]
    p, opposite = np.mean(tails, axis=0).tolist()
    return p, opposite


def stable_consistency(
    study: Study | NeuronSets,
    *,
    method: str = "ig",
    threshold: float = DEFAULT_THRESHOLD,
    known: bool = True,
    n_splits: int = N_SPLITS,
    margin: float = RELIABILITY_MARGIN,
    draws: Draws = DRAWS,
) -> TestResult:
    """Test H3: how consistent a fact's neurons are is a stable property of the fact.

    Estimate: split-half reliability of κ_f, Spearman–Brown, within relation × answer × k, averaged over
    splits: 0 where facts differ by chance alone, 1 where a fact's κ is the same on any of its queries. Null:
    within a stratum, halves of different facts are exchangeable. One-sided; p is the mean over splits, never
    the least, and no less than that of κ net of what set sizes and popularity predict.

    Parameters
    ----------
    study : Study or NeuronSets
        Where it is NeuronSets, ``method`` and ``threshold`` are those of the sets.
    method : str
        Attribution method of the store.
    threshold : float
        Attribution threshold of the sets, as a share of a query's largest attribution.
    known : bool
        Known queries only; otherwise all.
    n_splits : int
        Random splits of each fact's queries.
    margin : float
        Smallest reliability of interest; fix it before looking.
    draws : Draws
        Number of permutations, level of the interval, α and seed.

    Returns
    -------
    TestResult
        ``H3``; "not identified" without two facts of a stratum with four queries each.

    References
    ----------
    docs/statistics.md#h3-is-consistency-a-property-of-a-fact-stable_consistency
    """
    sets, store = sets_and_store(study, method, threshold)
    used = filled(considered(sets, known))
    return reliability_test(used, n_splits=n_splits, margin=margin, draws=draws, store=store)


def reliability_test(
    sets: NeuronSets,
    *,
    n_splits: int = N_SPLITS,
    margin: float = RELIABILITY_MARGIN,
    draws: Draws = DRAWS,
    store: str = "",
) -> TestResult:
    """Test H3 on neuron sets; see :func:`stable_consistency`.

    Parameters
    ----------
    sets : NeuronSets
        Non-empty sets of the queries considered.
    n_splits : int
        Random splits of each fact's queries.
    margin : float
        Smallest reliability of interest; fix it before looking.
    draws : Draws
        Number of permutations, level of the interval, α and seed.
    store : str
        Fingerprint of the store that the sets are from.

    Returns
    -------
    TestResult
        ``H3``.
    """
    halves = halves_of(sets, n_splits=n_splits, seed=draws.seed)
    return reliability_of(sets, halves, draws, store, margin=margin)


def reliability_of(
    sets: NeuronSets, halves: Halves, draws: Draws, store: str = "", *, margin: float = RELIABILITY_MARGIN
) -> TestResult:
    """Test H3 on halves that are already scored.

    Parameters
    ----------
    sets : NeuronSets
        What the halves were made from.
    halves : Halves
        Scores of both halves (:func:`halves_of`).
    draws : Draws
        Number of permutations, level of the interval, α and seed.
    store : str
        Fingerprint of the store that the sets are from.
    margin : float
        Smallest reliability of interest.

    Returns
    -------
    TestResult
        ``H3``.
    """
    r, parts = reliability(halves)
    value = spearman_brown(r)
    p, opposite = _larger_p(sets, halves, draws)
    relation, answer = relation_codes(sets)[1][halves.facts], answer_codes(sets)[halves.facts]
    of_halves = correlation_interval(r, parts, (relation, answer), draws.confidence)
    p = float("nan") if np.isnan(value) else p
    checks = [SPEARMAN_BROWN]
    if halves.n_alone:
        checks.append(
            f"{halves.n_alone:,} facts with four queries or more have no other of their relation, answer and "
            "number of queries: left out."
        )
    n_clusters = len(np.unique(relation))
    if 0 < n_clusters < 10:
        checks.append(f"{n_clusters} relations: the interval speaks for few clusters.")
    equal = mean_tost_p(parts, (relation, answer), margin / (2 - margin))  # r where ρ is the margin
    result = TestResult(
        name="H3",
        question=REGISTRY["H3"].question,
        estimand="split-half reliability of κ (Spearman–Brown) within relation × answer × number of queries",
        unit="fact",
        n={"relations": n_clusters, "strata": len(np.unique(halves.stratum)), "facts": len(halves.facts)},
        estimate=value,
        interval=reliability_interval(of_halves),
        effect=None if np.isnan(r) else EffectSize(name="correlation of halves", value=r, interval=of_halves),
        method=(
            f"halves permuted within relation × answer × k, one-sided, {draws.n_permutations} permutations; "
            f"p is the mean over {len(halves.first)} splits, of κ or of κ net of set sizes and popularity: "
            "the larger p"
        ),
        p=None if np.isnan(p) else p,
        role="exploratory",
        alpha=draws.alpha,
        p_opposite=None if np.isnan(p) else opposite,
        target="" if np.isnan(p) else THESE_RELATIONS,
        margin=margin,
        p_equivalence=None if np.isnan(equal) else equal,
        least_p=None if np.isnan(p) else least_permutation_p(draws.n_permutations),
        least_by=f"{draws.n_permutations} permutations",
        checks=tuple(checks),
        seed=draws.seed,
        store=store,
    )
    return judged(result)


def _larger_p(sets: NeuronSets, halves: Halves, draws: Draws) -> tuple[float, float]:
    """Return the larger p's of κ and of κ net of what sizes and popularity predict.

    Facts whose sets are all large, or of generic hub neurons, are consistent for that on any queries.
    """
    net = halves_of(sets, n_splits=len(halves.first), seed=draws.seed, net=True)
    own, of_net = (
        split_p(part, n_permutations=draws.n_permutations, seed=draws.seed) for part in (halves, net)
    )
    return float(np.fmax(own[0], of_net[0])), float(np.fmax(own[1], of_net[1]))
