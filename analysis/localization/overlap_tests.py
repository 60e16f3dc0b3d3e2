"""H1a and H1b: what the queries of a fact share beyond their templates, and beyond their answer."""

from __future__ import annotations

from typing import Final

import numpy as np

from qloc.analysis.inference.cluster_intervals import cluster_interval
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.effect_sizes import rank_biserial
from qloc.analysis.inference.resampling import permutation_p
from qloc.analysis.inputs.neuron_sets import sets_and_store
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import answer_codes, considered, filled, relation_codes
from qloc.analysis.localization.overlap import Excess, Level, excesses
from qloc.analysis.results import EffectSize, Interval, TestResult
from qloc.hypothesis_registry import REGISTRY
from qloc.neurons import NeuronSets
from qloc.vocabulary import DEFAULT_THRESHOLD


def beyond_template(
    study: Study | NeuronSets,
    *,
    method: str = "ig",
    threshold: float = DEFAULT_THRESHOLD,
    known: bool = True,
    n_permutations: int = 999,
    confidence: float = 0.95,
    alpha: float = 0.05,
    seed: int = 0,
) -> TestResult:
    """H1a: a fact's queries share more neurons than queries of other facts with the same templates.

    Estimate: mean over facts of within-fact pairwise Dice minus that between different facts, for the same
    two templates of the relation. Null: within each relation × template, sets are exchangeable between facts.
    The test permutes them there, independently for each template; one-sided.

    Parameters
    ----------
    study : Study, or NeuronSets (``method`` and ``threshold`` are then theirs).
    known : over known queries only.

    Returns
    -------
    TestResult : ``H1a``; "not identified" where no two facts share two templates.

    References
    ----------
    docs/statistics.md §1. Phipson & Smyth 2010 for p; Cameron, Gelbach & Miller 2011 for the interval.
    """
    draws = Draws(n_permutations=n_permutations, confidence=confidence, alpha=alpha, seed=seed)
    sets, store = sets_and_store(study, method, threshold)
    return overlap_tests(sets, ("template",), known=known, draws=draws, store=store)[0]


def beyond_answer(
    study: Study | NeuronSets,
    *,
    method: str = "ig",
    threshold: float = DEFAULT_THRESHOLD,
    known: bool = True,
    n_permutations: int = 999,
    confidence: float = 0.95,
    alpha: float = 0.05,
    seed: int = 0,
) -> TestResult:
    """H1b: a fact's queries share more neurons than those of other facts with its templates and answer.

    As :func:`beyond_template`, with exchange and comparison within relation × template × answer. Facts
    without another fact of the same answer in their relation have nothing to be compared with: they are left
    out, and relations of such facts only (one-to-one relations) are not identified.

    Parameters and Returns are those of :func:`beyond_template`; the result is ``H1b``.
    """
    draws = Draws(n_permutations=n_permutations, confidence=confidence, alpha=alpha, seed=seed)
    sets, store = sets_and_store(study, method, threshold)
    return overlap_tests(sets, ("answer",), known=known, draws=draws, store=store)[0]


def overlap_tests(
    sets: NeuronSets,
    levels: tuple[Level, ...] = ("template", "answer"),
    *,
    known: bool = True,
    draws: Draws | None = None,
    store: str = "",
) -> tuple[TestResult, ...]:
    """H1a and H1b from one pass over all overlaps; the same as one by one."""
    given = draws or Draws()
    used = filled(considered(sets, known))
    found = excesses(used, levels, n_permutations=given.n_permutations, seed=given.seed)
    return tuple(result_of(used, found[level], given, store) for level in levels)


_TEXT: Final[dict[Level, tuple[str, str, str]]] = {
    "template": (
        "H1a",
        "excess of within-fact pairwise Dice over that of different facts with the same two templates",
        "relation × template",
    ),
    "answer": (
        "H1b",
        "excess of within-fact pairwise Dice over that of different facts with the same two templates "
        "and answer",
        "relation × template × answer",
    ),
}


def result_of(sets: NeuronSets, excess: Excess, draws: Draws, store: str = "") -> TestResult:
    """The TestResult of one comparison."""
    name, estimand, strata = _TEXT[excess.level]
    facts = np.flatnonzero(~np.isnan(excess.excess))
    interval, effect = _around(sets, excess, draws)
    p = permutation_p(excess.estimate, excess.permuted)
    relations = relation_codes(sets)[1]
    return TestResult(
        name=name,
        question=REGISTRY[name].question,
        estimand=estimand,
        unit="fact",
        n={"relations": len(np.unique(relations[facts])), "facts": len(facts), "queries": excess.n_queries},
        estimate=excess.estimate,
        interval=interval,
        effect=effect,
        method=f"sets permuted within {strata}, one-sided, {len(excess.permuted)} permutations",
        p=None if np.isnan(p) else p,
        role="exploratory",
        verdict="not identified" if np.isnan(p) else "holds" if p <= draws.alpha else "undecided",
        alpha=draws.alpha,
        checks=_checks(sets, excess, relations),
        seed=draws.seed,
        store=store,
    )


def _around(sets: NeuronSets, excess: Excess, draws: Draws) -> tuple[Interval | None, EffectSize]:
    clusters = (relation_codes(sets)[1], answer_codes(sets))
    interval = cluster_interval(excess.excess, clusters, confidence=draws.confidence)
    return interval, rank_biserial(excess.excess, clusters, confidence=draws.confidence)


def _checks(sets: NeuronSets, excess: Excess, relations: np.ndarray) -> tuple[str, ...]:
    """What a reader must know: who was left out, and what the null also excludes."""
    k = np.bincount(sets.queries["fact"], minlength=sets.n_facts)
    compared = ~np.isnan(excess.excess)
    alone = (k >= 2) & ~compared
    lines = []
    if alone.any():
        missing = np.setdiff1d(relations[alone], relations[compared])
        what = "the same answer" if excess.level == "answer" else "the same templates"
        lines.append(
            f"{int(alone.sum()):,} of {int(np.sum(k >= 2)):,} facts with two queries or more have no other "
            f"fact with {what} to be compared with: left out."
        )
        if len(missing):
            names = ", ".join(relation_codes(sets)[0][missing][:12])
            word = "one-to-one: not identified" if excess.level == "answer" else "not identified"
            lines.append(
                f"Relations without any such fact ({word}): {names}{', …' if len(missing) > 12 else ''}."
            )
    if (k == 1).any():
        lines.append(
            f"{int(np.sum(k == 1)):,} facts or minimal pairs have one non-empty set only: undefined."
        )
    lines.append(
        "Sets are exchanged whole: facts that differ in how large, not in which, their sets are also "
        "violate the null."
    )
    n_clusters = len(np.unique(relations[compared]))
    if 0 < n_clusters < 10:
        lines.append(f"{n_clusters} relations: the interval speaks for few clusters.")
    return tuple(lines)
