"""H7 and H8: edits of knowledge neurons against controls, and of CAS against N_i and N_u."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

import numpy as np

from qloc.analysis.editing.outcomes import EditOutcomes, On
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.effect_sizes import rank_biserial
from qloc.analysis.inference.paired import LOG_ODDS_MARGIN, paired_p, paired_test
from qloc.analysis.inference.slope_test import slope_test
from qloc.analysis.inputs.study import Study
from qloc.analysis.results import TestResult
from qloc.arrays import Floats
from qloc.errors import InputError, message
from qloc.streams import Stream

Better = Literal["own_top", "union_top"]
UPDATE: Final = "update"

AT_EQUAL_DAMAGE: Final = {"own": "H8c", "union": "H8d", "cas_no_penalty": "H8e"}
AT_EQUAL_BUDGET: Final[dict[Better, str]] = {"own_top": "H8a", "union_top": "H8b"}
AGAINST_MATCHED: Final = {"erase": "H7a", "update": "H7b"}
_WORDS: Final = {
    "own": "those of N_i",
    "union": "those of N_u",
    "cas_no_penalty": "the same score without its penalty (β2 = 0)",
    "own_top": "as many of N_i",
    "union_top": "as many of N_u",
}


def edits_of(study: Study, known: bool, operation: str, *sets: str) -> EditOutcomes:
    """The outcomes of edits, refused where one of these was not made."""
    edited = EditOutcomes.of(study, known)
    if not edited.has(operation, *sets):
        rule, have = f"sets {' and '.join(sets)} under {operation}", ", ".join(edited.sets)
        raise InputError(message("edits", have, rule, "edits", "Extract these edits"))
    return edited


def edit_against_matched(
    study: Study,
    *,
    operation: Literal["erase", "update"] = "update",
    known: bool = True,
    margin: float = LOG_ODDS_MARGIN,
    n_permutations: int = 999,
    confidence: float = 0.95,
    alpha: float = 0.05,
    seed: int = 0,
) -> TestResult:
    """H7a, H7b: editing a query's knowledge neurons does more than editing as many matched neurons.

    Estimate: mean over facts, of the log-odds that o loses at the edited query under an erasure (H7a), or
    that o′ gains at held-out paraphrases under an update (H7b), of N_i less of the matched neurons.
    One-sided; signs of whole relations are flipped.

    Returns
    -------
    TestResult

    Raises
    ------
    InputError : the store has no phase ``edits``, or not these edits.
    """
    draws = Draws(n_permutations=n_permutations, confidence=confidence, alpha=alpha, seed=seed)
    edited = edits_of(study, known, operation, "own", "matched")
    return matched_test(edited, operation, draws, margin=margin, store=study.fingerprint)


def matched_test(
    edited: EditOutcomes, operation: str, draws: Draws, *, margin: float = LOG_ODDS_MARGIN, store: str = ""
) -> TestResult:
    """The same of outcomes at hand."""
    on: On = "edited" if operation == "erase" else "held_out"
    where = "the edited query" if operation == "erase" else "held-out paraphrases"
    what = "that o loses" if operation == "erase" else "that o′ gains"
    return paired_test(
        edited.moved(operation, "own", on) - edited.moved(operation, "matched", on),
        edited.rows.clusters,
        name=AGAINST_MATCHED[operation],
        question=f"Does {'erasing' if operation == 'erase' else 'updating'} knowledge neurons do more than "
        "the same to as many matched neurons?",
        estimand=f"log-odds {what} at {where} under {operation} of N_i, less under {operation} of matched "
        "neurons",
        draws=draws,
        margin=margin,
        n_queries=int(edited.on[on].sum()),
        store=store,
        stream=Stream.ERASE_AGAINST_MATCHED if operation == "erase" else Stream.UPDATE_AGAINST_MATCHED,
    )


def cas_at_equal_budget(
    study: Study,
    *,
    against: Better = "own_top",
    known: bool = True,
    margin: float = LOG_ODDS_MARGIN,
    n_permutations: int = 999,
    confidence: float = 0.95,
    alpha: float = 0.05,
    seed: int = 0,
) -> TestResult:
    """H8a, H8b: updating the neurons of the highest CAS generalizes further than as many chosen otherwise.

    Estimate: mean over facts of the log-odds that o′ gains at held-out paraphrases, of the b neurons of the
    highest CAS less of b of N_i (H8a) or N_u (H8b). One-sided; signs of whole relations are flipped.

    Returns
    -------
    TestResult

    Raises
    ------
    InputError : the store has no phase ``edits``, or not these edits.

    References
    ----------
    Chen et al. 2025 (arXiv 2405.14117), §4, who compare sets of other sizes, on the
    templates that chose them.
    """
    draws = Draws(n_permutations=n_permutations, confidence=confidence, alpha=alpha, seed=seed)
    edited = edits_of(study, known, UPDATE, "cas_top", against)
    return budget_test(edited, against, draws, margin=margin, store=study.fingerprint)


def budget_test(
    edited: EditOutcomes, against: Better, draws: Draws, *, margin: float = LOG_ODDS_MARGIN, store: str = ""
) -> TestResult:
    """The same of outcomes at hand."""
    first, second = (edited.moved(UPDATE, name, "held_out") for name in ("cas_top", against))
    x = first - second
    alike = int(np.sum(x == 0))
    checks = (f"{alike:,} facts have the same neurons by both.",) if alike else ()
    test = paired_test(
        x,
        edited.rows.clusters,
        name=AT_EQUAL_BUDGET[against],
        question=f"Do updates of the neurons of the highest CAS generalize further than {_WORDS[against]}?",
        estimand="log-odds that o′ gains at held-out paraphrases by an update of the neurons of the highest "
        f"CAS, less by one of {_WORDS[against]}",
        draws=draws,
        margin=margin,
        n_queries=int(edited.on["held_out"].sum()),
        checks=(*_gains(first, second), *checks),
        store=store,
        stream=Stream.CAS_AGAINST_OWN_TOP if against == "own_top" else Stream.CAS_AGAINST_UNION_TOP,
    )
    return _if_it_carries(test, first, edited, draws)


def cas_at_equal_damage(
    study: Study,
    *,
    against: str = "own",
    known: bool = True,
    n_bootstrap: int = 999,
    confidence: float = 0.95,
    alpha: float = 0.05,
    seed: int = 0,
) -> TestResult:
    """H8c–e: updates of CAS generalize further than of N_i, N_u or β2 = 0, where they do as much damage.

    The difference in log-odds that o′ gains at held-out paraphrases is regressed, over facts, on the
    difference in Δ nats a token of held-out text; the intercept is the difference at equal damage. One-sided;
    clustered by relation.

    Returns
    -------
    TestResult : "not identified" with fewer than three relations, without a text, or where one of both
        damages more in every fact.

    Raises
    ------
    InputError : the store has no phase ``edits``, or not these edits.
    """
    draws = Draws(n_bootstrap=n_bootstrap, confidence=confidence, alpha=alpha, seed=seed)
    edited = edits_of(study, known, UPDATE, "cas", against)
    return damage_test(edited, against, draws, store=study.fingerprint)


def damage_test(edited: EditOutcomes, against: str, draws: Draws, *, store: str = "") -> TestResult:
    """The same of outcomes at hand."""
    first, second = (edited.moved(UPDATE, name, "held_out") for name in ("cas", against))
    y = first - second
    more = edited.damage(UPDATE, "cas") - edited.damage(UPDATE, against)
    both = ~np.isnan(y) & ~np.isnan(more)
    outside = both.any() and not more[both].min() <= 0 <= more[both].max()
    checks = [*_gains(first, second)]
    if both.any():
        checks.append(f"Mean difference in Δ nats a token: {more[both].mean():.3g}.")
    if outside:
        checks.append("One of them damages more in every fact: equal damage is not among the data.")
    test = slope_test(
        np.where(outside, np.nan, y),
        {"intercept": np.ones(len(y)), "difference in Δ nats": more},
        edited.rows.clusters,
        name=AT_EQUAL_DAMAGE[against],
        question=f"At equal damage, do updates of CAS neurons generalize further than of {_WORDS[against]}?",
        estimand="intercept, at equal Δ nats a token, of the difference in log-odds that o′ gains at "
        f"held-out paraphrases by updates of CAS neurons and of {_WORDS[against]}",
        draws=draws,
        inside=False,
        direction="above",
        checks=tuple(checks),
        store=store,
    )
    if test.p is None:
        return test
    x = np.column_stack([np.ones(both.sum()), more[both]])
    beta = np.linalg.lstsq(x, y[both], rcond=None)[0]
    clusters = tuple(way[both] for way in edited.rows.clusters)
    left = y[both] - x[:, 1] * beta[1]
    test = replace(test, effect=rank_biserial(left, clusters, confidence=draws.confidence))
    return _if_it_carries(test, first, edited, draws)


def _gains(first: Floats, second: Floats) -> tuple[str, ...]:
    """What each of two edits moves by itself: a difference alone does not say that either carries."""
    both = ~np.isnan(first) & ~np.isnan(second)
    if not both.any():
        return ()
    return (f"Log-odds that o′ gains, mean: {first[both].mean():.3g} and {second[both].mean():.3g}.",)


def _if_it_carries(test: TestResult, first: Floats, edited: EditOutcomes, draws: Draws) -> TestResult:
    """The test with p no less than that of the first edit moving o′ at all, up.

    Two edits that both lower o′ differ, but neither generalizes: the claim is that both hold, and its p the
    larger of both (an intersection–union test; Berger 1982, Technometrics 24).
    """
    facts = ~np.isnan(first)
    if test.p is None or not facts.any():
        return test
    clusters = edited.rows.relation[facts], edited.rows.answer[facts]
    rng = np.random.default_rng([draws.seed, 99])
    rises = paired_p(first[facts], clusters, n_permutations=draws.n_permutations, rng=rng, level=draws.alpha)
    p = max(test.p, rises[0])
    none = test.p_equivalence is not None and test.p_equivalence <= draws.alpha
    return replace(
        test,
        p=p,
        verdict="holds" if p <= draws.alpha else "does not hold" if none else "undecided",
        method=f"{test.method}; p no less than that of CAS moving o′ up at all",
    )
