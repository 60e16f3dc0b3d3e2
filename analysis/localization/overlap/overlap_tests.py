"""H1a and H1b, whether the queries of a fact share more than their templates, and more than their answer.

The overlaps and their permutations are those of :mod:`qloc.analysis.localization.overlap.excess`; here they
become a result, with an interval for new relations, an effect size, and a word about the facts that are left
out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from qloc.analysis.inference.cluster_error import t_words
from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inference.effect_sizes import rank_biserial
from qloc.analysis.inference.equivalence import mean_tost_p
from qloc.analysis.inference.label_codes import codes
from qloc.analysis.inference.means import mean
from qloc.analysis.inference.relation_effects import interval_of_these, relations_in_words
from qloc.analysis.inference.resampling import permutation_p
from qloc.analysis.inference.skewed_interval import skewed_interval
from qloc.analysis.inputs.neuron_sets import sets_and_store
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import answer_codes, considered, filled, relation_codes
from qloc.analysis.localization.overlap.excess import Excess, excesses
from qloc.analysis.localization.overlap.margins import PREDICTION_ERROR, net_excess, net_p
from qloc.analysis.localization.overlap.query_pairs import LEVELS, Level
from qloc.analysis.results import THESE_RELATIONS, TestResult
from qloc.analysis.verdicts import judged
from qloc.arrays import Ints
from qloc.hypothesis_registry import REGISTRY
from qloc.neurons import NeuronSets
from qloc.text.rounding import counted, number, p_value
from qloc.vocabulary import DEFAULT_THRESHOLD

OVERLAP_MARGIN: Final = 0.01
"""Excess of Dice that counts as none: overlaps are published to two decimals."""

_TEXT: Final[Mapping[Level, tuple[str, str, str]]] = {
    "template": (
        "H1a",
        "excess of within-fact pairwise Dice over that of different facts with the same two templates, net "
        "of what the sizes of sets and the popularity of their neurons predict",
        "relation × template",
    ),
    "answer": (
        "H1b",
        "excess of within-fact pairwise Dice over that of different facts with the same two templates "
        "and answer, net of what the sizes of sets and the popularity of their neurons predict",
        "relation × template × answer",
    ),
}


def beyond_template(
    study: Study | NeuronSets,
    *,
    method: str = "ig",
    threshold: float = DEFAULT_THRESHOLD,
    known: bool = True,
    margin: float = OVERLAP_MARGIN,
    draws: Draws = DRAWS,
) -> TestResult:
    """Test H1a: a fact's queries share more neurons than queries of other facts with the same templates.

    Estimate: mean over facts of within-fact pairwise Dice beyond what the sizes of sets and the popularity of
    neurons predict, for two templates of the relation
    (:func:`qloc.analysis.localization.overlap.margins.net_excess`). p is that of a t-test over facts of this
    excess, one-sided (:func:`qloc.analysis.localization.overlap.margins.net_p`). To hold the hubs of each
    relation may take part of what facts have of their own: the p of the opposite and that of equivalence are
    the larger of these and those with the hubs of the whole study alone. ``checks`` have the p of exchanging
    sets between facts within each relation × template, independently for each template, with the mean Dice
    within facts minus that between different facts: it is exact where facts differ neither in the size of
    their sets nor in their use of hubs.

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
    margin : float
        Smallest excess of interest, in Dice; fix it before looking.
    draws : Draws
        Number of permutations, level of the interval, α and seed.

    Returns
    -------
    TestResult
        ``H1a``; "not identified" where no two facts share two templates.

    References
    ----------
    docs/statistics.md#h1a-and-h1b-do-paraphrases-share-more-than-their-templates-and-more-than-their-answer
    Phipson & Smyth 2010 for p; Cameron, Gelbach & Miller 2011 for the interval.
    """
    sets, store = sets_and_store(study, method, threshold)
    return overlap_tests(sets, ("template",), known=known, margin=margin, draws=draws, store=store)[0]


def beyond_answer(
    study: Study | NeuronSets,
    *,
    method: str = "ig",
    threshold: float = DEFAULT_THRESHOLD,
    known: bool = True,
    margin: float = OVERLAP_MARGIN,
    draws: Draws = DRAWS,
) -> TestResult:
    """Test H1b: a fact's queries share more neurons than those of other facts with its templates and answer.

    As :func:`beyond_template`, with margins and exchange within relation × template × answer. Facts
    without another fact of the same answer in their relation have nothing to be compared with: they are left
    out, and relations of such facts only (one-to-one relations) are not identified.

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
    margin : float
        Smallest excess of interest, in Dice; fix it before looking.
    draws : Draws
        Number of permutations, level of the interval, α and seed.

    Returns
    -------
    TestResult
        ``H1b``; "not identified" where no two facts share two templates and the answer.

    References
    ----------
    docs/statistics.md#h1a-and-h1b-do-paraphrases-share-more-than-their-templates-and-more-than-their-answer
    """
    sets, store = sets_and_store(study, method, threshold)
    return overlap_tests(sets, ("answer",), known=known, margin=margin, draws=draws, store=store)[0]


def overlap_tests(
    sets: NeuronSets,
    levels: tuple[Level, ...] = LEVELS,
    *,
    known: bool = True,
    margin: float = OVERLAP_MARGIN,
    draws: Draws = DRAWS,
    store: str = "",
) -> tuple[TestResult, ...]:
    """Test H1a and H1b in one pass over all overlaps; results are the same as one by one.

    Parameters
    ----------
    sets : NeuronSets
        Sets of all queries.
    levels : tuple of {"template", "answer"}
        ``template`` for H1a, ``answer`` for H1b.
    known : bool
        Known queries only; otherwise all.
    margin : float
        Smallest excess of interest, in Dice; fix it before looking.
    draws : Draws
        Number of permutations, level of the interval, α and seed.
    store : str
        Fingerprint of the store that the sets are from, which results keep.

    Returns
    -------
    tuple of TestResult
        One a level, in the order of ``levels``.
    """
    used = filled(considered(sets, known))
    by_level = excesses(used, levels, n_permutations=draws.n_permutations, seed=draws.seed)
    return tuple(result_of(used, by_level[level], draws, store, margin=margin) for level in levels)


def result_of(
    sets: NeuronSets, excess: Excess, draws: Draws, store: str = "", *, margin: float = OVERLAP_MARGIN
) -> TestResult:
    """Return the result of one comparison: p, interval, effect size, verdict and caveats.

    Parameters
    ----------
    sets : NeuronSets
        Non-empty sets that ``excess`` was computed from.
    excess : Excess
        Overlaps and their permutations (:func:`qloc.analysis.localization.overlap.excess.excesses`).
    draws : Draws
        What the permutations were drawn by.
    store : str
        Fingerprint of the store.
    margin : float
        Smallest excess of interest, in Dice.

    Returns
    -------
    TestResult
        ``H1a`` or ``H1b``, by the level of ``excess``.
    """
    name, estimand, strata = _TEXT[excess.level]
    facts = np.flatnonzero(~np.isnan(excess.excess))
    net = net_excess(sets, excess.level)
    of_study = net_excess(sets, excess.level, hubs_of_relations=False)
    p, opposite, freedom = net_p(sets, net, excess.level)
    opposite = max(opposite, net_p(sets, of_study, excess.level)[1])
    relation = relation_codes(sets)[1]
    clusters = (relation, answer_codes(sets))
    equal = max(mean_tost_p(one, clusters, margin) for one in (net, of_study))
    least = PREDICTION_ERROR[excess.level]
    result = TestResult(
        name=name,
        question=REGISTRY[name].question,
        estimand=estimand,
        unit="fact",
        n={"relations": len(np.unique(relation[facts])), "facts": len(facts), "queries": excess.n_queries},
        estimate=mean(net),
        interval=skewed_interval(net, clusters, confidence=draws.confidence),
        effect=rank_biserial(net, clusters, confidence=draws.confidence),
        method=f"t-test over facts, {t_words(freedom)}, of more than {least:g}, one-sided",
        p=None if np.isnan(p) else p,
        role="exploratory",
        alpha=draws.alpha,
        p_opposite=None if np.isnan(p) else opposite,
        target="" if np.isnan(p) else THESE_RELATIONS,
        margin=margin,
        margin_unit="in Dice",
        p_equivalence=None if np.isnan(equal) else equal,
        checks=(
            *_checks(sets, excess, relation, strata),
            f"With the hubs of the whole study held, but not those of each relation, the excess is "
            f'{number(mean(of_study))}: "the opposite" and "no relevant difference" need both estimates.',
            *relations_in_words(net[facts], relation[facts]),
            *interval_of_these(net[facts], codes(relation, clusters[1])[facts], draws.confidence),
        ),
        seed=draws.seed,
        store=store,
    )
    return judged(result)


def _checks(sets: NeuronSets, excess: Excess, relation: Ints, strata: str) -> tuple[str, ...]:
    """What a reader must know: who was left out, and what the null also excludes."""
    k = np.bincount(sets.queries["fact"], minlength=sets.n_facts)
    compared = ~np.isnan(excess.excess)
    alone = (k >= 2) & ~compared
    lines = []
    if alone.any():
        missing = np.setdiff1d(relation[alone], relation[compared])
        shared = "the same answer" if excess.level == "answer" else "the same templates"
        lines.append(
            f"{int(alone.sum()):,} of {int(np.sum(k >= 2)):,} facts with two queries or more have no other "
            f"fact with {shared} to be compared with: left out."
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
        f"Whatever their sizes and popularity, within-fact overlaps exceed the others by "
        f"{number(excess.estimate)}; p-value of sets permuted within {strata}, which facts of unlike sizes "
        f"and hubs make small, too: {p_value(permutation_p(excess.estimate, excess.permuted))}."
    )
    lines.append(
        "Not told apart from a fact's own neurons: those of kinds of facts, and neurons that facts use "
        "unequally, beyond the ways that are held: one in the whole study, up to four in each relation."
    )
    n_clusters = len(np.unique(relation[compared]))
    if 0 < n_clusters < 10:
        lines.append(f"{counted(n_clusters, 'relation')}: the interval speaks for few clusters.")
    return tuple(lines)
