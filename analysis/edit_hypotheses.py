"""H7, H8 and the second half of H10: what edits of knowledge neurons, of CAS and of controls can be told by."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Final, Literal

import numpy as np

from qloc.analysis.consistency import consistency
from qloc.analysis.draws import Draws
from qloc.analysis.edited import Edited, On
from qloc.analysis.effects import rank_biserial
from qloc.analysis.groups import Floats
from qloc.analysis.paired import MARGIN, log_odds, paired_test
from qloc.analysis.regressed import slope_test
from qloc.analysis.results import TestResult
from qloc.analysis.study import Study
from qloc.errors import InputError, message

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


class UsedConsistency:
    """Consistency of each fact over the queries whose templates chose the edited sets.

    Parameters
    ----------
    known : over known queries only.
    """

    def __init__(self, study: Study, known: bool = True) -> None:
        self._study, self._known = study, known

    @cached_property
    def _scores(self) -> tuple[Floats, Floats]:
        study, found = self._study, self._study.edits
        sets = study.neurons(
            method=str(found.attrs.get("method", study.methods[0])),
            threshold=float(found.attrs.get("threshold", 0.2)),
        )
        held = found["held_out"].values
        fact = sets.queries["fact"].astype(np.int64)
        place = np.arange(len(fact)) - study.column("facts", "first_query").astype(np.int64)[fact]
        scores = consistency(sets.select(held[fact, place] == 0), known=self._known)
        return scores["kappa"].values.astype(np.float64), scores["CS2"].values.astype(np.float64)

    @property
    def kappa(self) -> Floats:
        """κ over used templates: float64, (fact,)."""
        return self._scores[0]

    @property
    def cs2(self) -> Floats:
        """CS2 over used templates: float64, (fact,)."""
        return self._scores[1]


def edits_of(study: Study, known: bool, operation: str, *sets: str) -> Edited:
    """The outcomes of edits, refused where one of these was not made."""
    edited = Edited.of(study, known)
    if not edited.has(operation, *sets):
        rule, have = f"sets {' and '.join(sets)} under {operation}", ", ".join(edited.sets)
        raise InputError(message("edits", have, rule, "edits", "Extract these edits"))
    return edited


def edit_against_matched(
    study: Study,
    *,
    operation: Literal["erase", "update"] = "update",
    known: bool = True,
    margin: float = MARGIN,
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
    edited: Edited, operation: str, draws: Draws, *, margin: float = MARGIN, store: str = ""
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
        stream=90 + list(AGAINST_MATCHED).index(operation),
    )


def cas_at_equal_budget(
    study: Study,
    *,
    against: Better = "own_top",
    known: bool = True,
    margin: float = MARGIN,
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
    Chen et al. 2025 (arXiv 2405.14117), §4, who compare sets of other sizes, on the templates that chose them.
    """
    draws = Draws(n_permutations=n_permutations, confidence=confidence, alpha=alpha, seed=seed)
    edited = edits_of(study, known, UPDATE, "cas_top", against)
    return budget_test(edited, against, draws, margin=margin, store=study.fingerprint)


def budget_test(
    edited: Edited, against: Better, draws: Draws, *, margin: float = MARGIN, store: str = ""
) -> TestResult:
    """The same of outcomes at hand."""
    x = edited.moved(UPDATE, "cas_top", "held_out") - edited.moved(UPDATE, against, "held_out")
    alike = int(np.sum(x == 0))
    return paired_test(
        x,
        edited.rows.clusters,
        name=AT_EQUAL_BUDGET[against],
        question=f"Do updates of the neurons of the highest CAS generalize further than {_WORDS[against]}?",
        estimand="log-odds that o′ gains at held-out paraphrases by an update of the neurons of the highest "
        f"CAS, less by one of {_WORDS[against]}",
        draws=draws,
        margin=margin,
        n_queries=int(edited.on["held_out"].sum()),
        checks=(f"{alike:,} facts have the same neurons by both.",) if alike else (),
        store=store,
        stream=92 + list(AT_EQUAL_BUDGET).index(against),
    )


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
    TestResult : "not identified" with fewer than three relations, or without a text.

    Raises
    ------
    InputError : the store has no phase ``edits``, or not these edits.
    """
    draws = Draws(n_bootstrap=n_bootstrap, confidence=confidence, alpha=alpha, seed=seed)
    edited = edits_of(study, known, UPDATE, "cas", against)
    return damage_test(edited, against, draws, store=study.fingerprint)


def damage_test(edited: Edited, against: str, draws: Draws, *, store: str = "") -> TestResult:
    """The same of outcomes at hand."""
    y = edited.moved(UPDATE, "cas", "held_out") - edited.moved(UPDATE, against, "held_out")
    more = edited.damage(UPDATE, "cas") - edited.damage(UPDATE, against)
    both = ~np.isnan(y) & ~np.isnan(more)
    outside = both.any() and not more[both].min() <= 0 <= more[both].max()
    checks = [f"Mean difference in Δ nats a token: {more[both].mean():.3g}."] if both.any() else []
    if outside:
        checks.append("All differences in damage have one sign: the intercept is an extrapolation.")
    test = slope_test(
        y,
        {"intercept": np.ones(len(y)), "difference in Δ nats": more},
        edited.rows.relation,
        name=AT_EQUAL_DAMAGE[against],
        question=f"At equal damage, do updates of CAS neurons generalize further than of {_WORDS[against]}?",
        estimand="intercept, at equal Δ nats a token, of the difference in log-odds that o′ gains at held-out "
        f"paraphrases by updates of CAS neurons and of {_WORDS[against]}",
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
    return replace(test, effect=rank_biserial(left, clusters, confidence=draws.confidence))


def predicts_generalization(
    study: Study,
    *,
    known: bool = True,
    n_bootstrap: int = 999,
    confidence: float = 0.95,
    alpha: float = 0.05,
    seed: int = 0,
) -> TestResult:
    """H10d: updates of facts with a higher κ carry further to paraphrases.

    Estimate: slope, over facts within relations, of the log-odds that o′ gains at held-out paraphrases under
    an update of N_i, on κ over the templates that were used; log number of neurons edited, and log-odds of o
    and o′ there before, as covariates. One-sided; clustered by relation.

    Returns
    -------
    TestResult : "not identified" with fewer than three relations.

    Raises
    ------
    InputError : the store has no phase ``edits``, or not these edits.
    """
    draws = Draws(n_bootstrap=n_bootstrap, confidence=confidence, alpha=alpha, seed=seed)
    edited = edits_of(study, known, UPDATE, "own")
    kappa = UsedConsistency(study, known).kappa
    return generalization_test(edited, kappa, draws, store=study.fingerprint)


def generalization_test(edited: Edited, kappa: Floats, draws: Draws, *, store: str = "") -> TestResult:
    """The same of outcomes at hand."""
    n = edited.found["n_slots"].values[edited.sets.index("own")]
    before = {
        name: edited.mean(log_odds(edited.found[f"base_{variable}"].values), "held_out")
        for name, variable in (("log-odds of o", "log_probability"), ("log-odds of o′", "new_log_probability"))
    }
    return slope_test(
        edited.moved(UPDATE, "own", "held_out"),
        {"κ": kappa, "log neurons edited": np.log1p(np.maximum(n, 0)), **before},
        edited.rows.relation,
        name="H10d",
        question="Do updates of facts with a higher κ carry further to paraphrases?",
        estimand="slope on κ over used templates, within relations, of the log-odds that o′ gains at held-out "
        "paraphrases under an update of N_i",
        draws=draws,
        direction="above",
        store=store,
    )
