"""Whose the variation of a relation's neuron sets is, the template's, the answer's or the fact's, by REML.

Overlaps of pairs (:mod:`qloc.analysis.localization.overlap.excess`) split what paraphrases *share*; here the
whole variance is split, including what only one query has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import linalg, sparse

from qloc.analysis.inference.cluster_intervals import cluster_interval
from qloc.analysis.inference.label_codes import codes
from qloc.analysis.localization.consistency import query_answers, subject_codes
from qloc.analysis.results import Interval
from qloc.arrays import Array, Floats, Ints
from qloc.neurons import NeuronSets
from qloc.random_streams import Stream

SOURCES: Final = ("template", "answer", "template × answer", "fact", "query")
"""Whose a component is.

A query's own is what no other of its template, answer or fact has. What a template has with one answer only
is of both: facts of one answer share it and queries of one fact do not, so that without it the answer's
component would be too large, and the fact's too small.
"""

MOST_QUERIES: Final = 200
"""Queries of a relation that enter: a step takes time that grows with their cube."""

LEAST_RELATIONS: Final = 5
"""Relations that an interval needs."""

_FACTS_OF_AN_ANSWER: Final = 4
_WORST_CONDITION: Final = 1e8
_STEPS: Final = 100
_SETTLED: Final = 1e-8


@dataclass(frozen=True, kw_only=True)
class VarianceComponents:
    """Variance components of one or several relations.

    Attributes
    ----------
    shares : float64 ndarray, shape (source,)
        Each source's share of the variance, by :data:`SOURCES`; unconstrained, so that one may be below 0.
    intervals : tuple of Interval or None, for each source
        For new relations; None with fewer than five.
    n_facts : int
        Facts that entered.
    n_relations : int
        Relations.
    """

    shares: Floats
    intervals: tuple[Interval | None, ...]
    n_facts: int
    n_relations: int


@dataclass(frozen=True)
class Queries:
    """Some queries of one relation.

    Attributes
    ----------
    gram : float64 ndarray, shape (query, query)
        Inner products of what the queries have.
    groups : tuple of int64 ndarray, shape (query,) each
        Template, answer, both together, and fact, by number.
    n_effective : float
        Neurons that vary, (Σ v)²/Σ v² with the variances v of each over queries: of so many with equal
        variances the components would be as uncertain. Estimates do not depend on it.
    """

    gram: Floats
    groups: tuple[Ints, ...]
    n_effective: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Likelihood:
    """REML's likelihood of some relations, for one neuron each, about its maximum.

    Attributes
    ----------
    variances : float64 ndarray, shape (source,)
        Where the scores add up to zero.
    score : float64 ndarray, shape (relation, source)
        Slope of each relation's log-likelihood there.
    information : float64 ndarray, shape (relation, source, source)
        Its expected information.
    """

    variances: Floats
    score: Floats
    information: Floats


def queries_by_relation(sets: NeuronSets, seed: int = 0) -> dict[str, Queries]:
    """Choose the queries that enter, of each relation in which answer and fact can be told apart.

    Whole facts, in random order: of each subject one; by answer, first two of each that several share, then
    up to four, then those that have their answer alone; until 200 queries are reached.

    Parameters
    ----------
    sets : NeuronSets
        Non-empty sets.
    seed : int
        Seed of the draws.

    Returns
    -------
    dict of str to Queries
        By relation; where these facts have not two templates, two answers, and an answer that two share, the
        relation is left out. The Gram matrix is that of memberships divided by the root of their number,
        |N_i ∩ N_j|/√(|N_i||N_j|), so that sets weigh alike whatever their size.
    """
    relation = sets.queries["relation"]
    columns = (sets.queries["template"], query_answers(sets), sets.queries["fact"], subject_codes(sets))
    unit = sparse.diags_array(1 / np.sqrt(sets.sizes())) @ sets.member.astype(np.float64)
    found = {}
    for number, name in enumerate(np.unique(relation)):
        here = np.flatnonzero(relation == name)
        template, answer, fact, subject = (codes(column[here]) for column in columns)
        rng = Stream.VARIANCE_COMPONENTS.generator(seed, number)
        kept = np.flatnonzero(np.isin(fact, _chosen(answer, fact, subject, rng)))
        t, a, f = (codes(code[kept]) for code in (template, answer, fact))
        n_answers, n_facts = (len(np.unique(code)) for code in (a, f))
        if len(np.unique(t)) > 1 and 1 < n_answers < n_facts:
            rows = sparse.csr_array(unit[here[kept]])
            gram = (rows @ rows.T).toarray()
            found[str(name)] = Queries(gram, (t, a, codes(t, a), f), _n_effective(rows))
    return found


def _n_effective(rows: sparse.csr_array) -> float:
    """Return (Σ v)²/Σ v² of the variances v of columns over rows; 1 where nothing varies."""
    variances = rows.multiply(rows).mean(axis=0) - np.asarray(rows.mean(axis=0)) ** 2
    squares = float(np.sum(variances**2))
    return float(variances.sum() ** 2 / squares) if squares else 1.0


def _chosen(answer: Ints, fact: Ints, subject: Ints, rng: np.random.Generator) -> Ints:
    """Return the facts that enter, of the queries of one relation."""
    facts, query = np.unique(fact, return_index=True)
    order = rng.permutation(len(facts))
    _, first = np.unique(subject[query[order]], return_index=True)
    by_answer: dict[int, list[int]] = {}  # in random order, as its facts are
    for place in order[np.sort(first)]:
        by_answer.setdefault(int(answer[query[place]]), []).append(int(facts[place]))
    shared = [of for of in by_answer.values() if len(of) > 1]
    ordered = [
        one for start in range(0, _FACTS_OF_AN_ANSWER, 2) for of in shared for one in of[start : start + 2]
    ]
    ordered += [of[0] for of in by_answer.values() if len(of) == 1]
    return np.array(ordered)[np.cumsum(np.bincount(fact)[ordered]) <= MOST_QUERIES]


def components(relations: Sequence[Queries], *, confidence: float = 0.95) -> VarianceComponents | None:
    """Return the components that some relations have in common.

    With x_i what query i of relation r has of each neuron, and t, a, f its template, answer and fact::

        x_i = μ_r + T_t + A_a + B_ta + F_f + E_i

    T, A, B, F and E are independent, with variances σ²_k that are summed over neurons, and μ_r is a fixed
    effect of each relation. The variances solve REML's equations, tr(P V_k) = tr(P V_k P XXᵀ) summed over
    relations, by Fisher's scoring, with V_k = ∂V/∂σ²_k and P = V⁻¹ − V⁻¹1(1ᵀV⁻¹1)⁻¹1ᵀV⁻¹. These hold on
    average whatever the distribution, and whether or not all neurons have the same variances. The
    likelihood's own errors would not, so intervals of shares are those of a jackknife that leaves out one
    relation at a time (one step of scoring each): share ± t · error, which reaches below 0 where a source has
    next to nothing.

    Parameters
    ----------
    relations : sequence of Queries
        The queries of each relation.
    confidence : float, default 0.95
        Level of the intervals, within (0, 1).

    Returns
    -------
    VarianceComponents or None
        None where the equations do not settle: sources cannot be told apart.

    References
    ----------
    Patterson & Thompson 1971, "Recovery of inter-block information when block sizes are unequal", Biometrika
    58; Searle, Casella & McCulloch 1992, Variance Components, ch. 6.
    """
    if (fitted := likelihood(relations)) is None:
        return None
    variances, scores, curvatures = fitted.variances, fitted.score, fitted.information
    shares = variances / variances.sum()
    n = len(relations)
    intervals: tuple[Interval | None, ...] = (None,) * len(SOURCES)
    others = curvatures.sum(axis=0) - curvatures  # singular where one relation alone tells a source
    if n >= LEAST_RELATIONS and np.linalg.cond(others).max() < _WORST_CONDITION:
        left_out = variances - np.linalg.solve(others, scores[:, :, None])[:, :, 0]
        parts = n * shares - (n - 1) * left_out / left_out.sum(axis=1, keepdims=True)
        parts += shares - parts.mean(axis=0)
        clusters = (np.arange(n),)
        intervals = tuple(cluster_interval(part, clusters, confidence=confidence) for part in parts.T)
    n_facts = sum(len(np.unique(queries.groups[-1])) for queries in relations)
    return VarianceComponents(shares=shares, intervals=intervals, n_facts=n_facts, n_relations=n)


def likelihood(relations: Sequence[Queries]) -> Likelihood | None:
    """Return the likelihood of some relations about its maximum, by Fisher's scoring.

    Parameters
    ----------
    relations : sequence of Queries
        The queries of each relation.

    Returns
    -------
    Likelihood or None
        None where the equations do not settle: sources cannot be told apart.
    """
    total = sum(float(np.trace(queries.gram)) for queries in relations)
    n_queries = sum(len(queries.gram) for queries in relations)
    variances = total / n_queries * np.array([1.0, 1.0, 1.0, 1.0, 3.0]) / 7
    step = np.zeros(len(SOURCES))
    at: tuple[Array, Array] | None = None
    for _ in range(_STEPS):
        tried = _likelihood_at(relations, variances + step)
        if tried is None:  # no covariance: half the way
            step = step / 2
            continue
        at, variances = tried, variances + step
        try:
            step = np.linalg.solve(at[1].sum(axis=0), at[0].sum(axis=0))
        except np.linalg.LinAlgError:
            return None
        if np.abs(step).max() < _SETTLED * variances.sum():
            return Likelihood(variances=variances, score=at[0], information=at[1])
    return None


def _likelihood_at(relations: Sequence[Queries], variances: Floats) -> tuple[Floats, Floats] | None:
    """Return each relation's score and expected information; None where V is no covariance."""
    scores, curvatures = [], []
    for queries in relations:
        n = len(queries.gram)
        covariance = variances[-1] * np.eye(n)
        for variance, group in zip(variances, queries.groups, strict=False):
            covariance += variance * (group[:, None] == group)
        try:
            inverse = linalg.cho_solve(linalg.cho_factor(covariance, check_finite=False), np.eye(n))
        except linalg.LinAlgError:
            return None
        ones = inverse.sum(axis=1)
        projection = inverse - np.outer(ones, ones) / ones.sum()
        members = np.hstack([*(np.eye(group.max() + 1)[group] for group in queries.groups), np.eye(n)])
        first = np.cumsum([0, *(group.max() + 1 for group in queries.groups)])
        projected = projection @ members
        traces = np.einsum("ij,ij->j", members, projected)
        squares = np.einsum("ij,ij->j", projected, queries.gram @ projected)
        scores.append(np.add.reduceat(squares - traces, first) / 2)
        shared = (members.T @ projected) ** 2
        curvatures.append(np.add.reduceat(np.add.reduceat(shared, first, axis=0), first, axis=1) / 2)
    return np.array(scores), np.array(curvatures)
