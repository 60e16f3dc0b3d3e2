"""H7 and H8: edits of knowledge neurons against controls, and of CAS neurons against those of N_i and N_u."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from qloc.analysis.editing.cas_certainty import CAS_SETS
from qloc.analysis.editing.errors_in_regressor import NetOfRegressor, net_of_regressor
from qloc.analysis.editing.outcomes import EditOutcomes, On
from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inference.paired import LOG_ODDS_MARGIN, least_paired_p, paired_p, paired_test
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.neuron_effects import CHOSEN_BY_ATTRIBUTION, strength_ratio, values_of
from qloc.analysis.results import TestResult
from qloc.analysis.verdicts import judged
from qloc.analysis.wording import under
from qloc.arrays import Floats
from qloc.errors import InputError, message
from qloc.hypothesis_registry import hypothesis_of
from qloc.random_streams import Stream
from qloc.text.rounding import number, p_value

MatchedEdit = Literal["erase", "update"]
MATCHED_EDITS: Final[tuple[MatchedEdit, ...]] = ("erase", "update")
"""Edits of N_i that are compared with those of matched neurons: H7a, H7b."""

EqualBudget = Literal["own_top", "union_top"]
EQUAL_BUDGETS: Final[tuple[EqualBudget, ...]] = ("own_top", "union_top")
"""Sets that CAS is compared with at an equal number of neurons: H8a, H8b."""

EQUAL_DAMAGES: Final = ("own", "union", "cas_no_penalty")
"""Sets that CAS is compared with at equal damage: H8c, H8d, H8e."""

UPDATE: Final = "update"

_STREAMS: Final[Mapping[str, Stream]] = {
    "erase": Stream.ERASE_AGAINST_MATCHED,
    "update": Stream.UPDATE_AGAINST_MATCHED,
    "own_top": Stream.CAS_AGAINST_OWN_TOP,
    "union_top": Stream.CAS_AGAINST_UNION_TOP,
    "own": Stream.CAS_AGAINST_OWN,
    "union": Stream.CAS_AGAINST_UNION,
    "cas_no_penalty": Stream.CAS_AGAINST_NO_PENALTY,
}
_NO_HALVES: Final = (
    "The store does not keep damage by halves of the text, which tell how much of it is error: extract phase "
    "edits anew."
)
_NO_AGREEMENT: Final = (
    "Both halves of the text do not agree on where one set damages more: damage is measured too roughly for "
    "this question; take more text (text_tokens) or more facts."
)
_BENDS: Final = 0.05
_BENT: Final = (
    "The difference bends with that in Δ nats a token (p-value: {}): a straight line does not "
    "say where it is at equal damage."
)
_WORDS: Final = {
    "own": "those of N_i",
    "union": "those of N_u",
    "cas_no_penalty": "the same score without its penalty (β2 = 0)",
    "own_top": "as many of N_i",
    "union_top": "as many of N_u",
}


def edits_of(study: Study, known: bool, operation: str, *sets: str) -> EditOutcomes:
    """Return the outcomes of edits of some sets.

    Parameters
    ----------
    study : Study
        With phase ``edits``.
    known : bool
        Whether to count known queries only.
    operation : str
        Label of the edit, such as ``update``.
    *sets : str
        Labels of the sets that must have been edited so.

    Returns
    -------
    EditOutcomes
        Of all edits of the store.

    Raises
    ------
    InputError
        The store has no phase ``edits``, or not these edits.
    """
    edited = EditOutcomes.of(study, known)
    if not edited.has(operation, *sets):
        rule, have = f"sets {' and '.join(sets)} under {operation}", ", ".join(edited.sets)
        raise InputError(message("edits", have, rule, "edits", "Extract these edits"))
    return edited


def edit_against_matched(
    study: Study,
    *,
    operation: MatchedEdit = "update",
    known: bool = True,
    margin: float = LOG_ODDS_MARGIN,
    draws: Draws = DRAWS,
) -> TestResult:
    """Test whether editing knowledge neurons does more than editing as many matched neurons (H7a, H7b).

    Estimate: mean over facts, of the log-odds that o loses at the edited query under an erasure (H7a), or
    that o′ gains at held-out paraphrases under an update (H7b), of N_i less of the matched neurons.
    One-sided; signs of whole relations are flipped.

    Parameters
    ----------
    study : Study
        With phase ``edits``.
    operation : {"update", "erase"}
        ``erase`` is H7a, ``update`` H7b.
    known : bool, default True
        Whether to count known queries only.
    margin : float, default 0.1
        Difference in log-odds that counts as none; fix it before looking.
    draws : Draws
        Number of flips, confidence, α and seed.

    Returns
    -------
    TestResult
        "Not identified" where no fact has both edits.

    Raises
    ------
    InputError
        The store has no phase ``edits``, or not these edits.
    """
    edited = edits_of(study, known, operation, "own", "matched")
    return matched_test(edited, operation, draws, margin=margin, store=study.fingerprint)


def matched_test(
    edited: EditOutcomes,
    operation: MatchedEdit,
    draws: Draws,
    *,
    margin: float = LOG_ODDS_MARGIN,
    store: str = "",
) -> TestResult:
    """Run H7a or H7b on outcomes that are already loaded.

    Parameters
    ----------
    edited : EditOutcomes
        With edits of the sets ``own`` and ``matched``.
    operation : {"erase", "update"}
        ``erase`` is H7a, ``update`` H7b.
    draws : Draws
        Number of flips, confidence, α and seed.
    margin : float, default 0.1
        Difference in log-odds that counts as none.
    store : str, default ""
        Fingerprint of the store, for the result.

    Returns
    -------
    TestResult
        As of :func:`edit_against_matched`.
    """
    hypothesis = hypothesis_of("edit_against_matched", operation=operation)
    on: On = "edited" if operation == "erase" else "held_out"
    where = "the edited query" if operation == "erase" else "held-out paraphrases"
    what = "that o loses" if operation == "erase" else "that o′ gains"
    moved = edited.moved(operation, "own", on) - edited.moved(operation, "matched", on)
    return paired_test(
        moved,
        edited.rows.clusters,
        name=hypothesis.name,
        question=hypothesis.question,
        estimand=f"log-odds {what} at {where} under {under(operation)} of N_i, less under {under(operation)} "
        "of matched neurons",
        draws=draws,
        margin=margin,
        n_queries=edited.n_compared(operation, ("own", "matched"), on),
        checks=(*_strengths(edited, ~np.isnan(moved)), *([CHOSEN_BY_ATTRIBUTION] * (operation == "erase"))),
        store=store,
        stream=_STREAMS[operation],
    )


def _strengths(edited: EditOutcomes, counted_facts: NDArray[np.bool_]) -> tuple[str, ...]:
    """Say how many times as strong N_i are as their matched neurons; older stores do not tell."""
    if "strength" not in edited.found:
        return ()
    strength = values_of(edited.found, "strength").astype(np.float64)[:, counted_facts]
    own, control = (strength[edited.sets.index(name)] for name in ("own", "matched"))
    return tuple(strength_ratio(own, control, "fact"))


def cas_at_equal_budget(
    study: Study,
    *,
    against: EqualBudget = "own_top",
    known: bool = True,
    margin: float = LOG_ODDS_MARGIN,
    draws: Draws = DRAWS,
) -> TestResult:
    """Test whether updates of the highest CAS generalize further than of as many other neurons (H8a, H8b).

    Estimate: mean over facts of the log-odds that o′ gains at held-out paraphrases, of the b neurons of the
    highest CAS less of b of N_i (H8a) or N_u (H8b). One-sided; signs of whole relations are flipped.

    Parameters
    ----------
    study : Study
        With phase ``edits``.
    against : {"own_top", "union_top"}
        The b strongest of N_i (H8a), or of the union N_u of the used queries' sets (H8b).
    known : bool, default True
        Whether to count known queries only.
    margin : float, default 0.1
        Difference in log-odds that counts as none; fix it before looking.
    draws : Draws
        Number of flips, confidence, α and seed.

    Returns
    -------
    TestResult
        p is no less than that of CAS moving o′ up at all; "not identified" where no fact has both edits.

    Raises
    ------
    InputError
        The store has no phase ``edits``, or not these edits.

    References
    ----------
    Chen et al. 2025 (arXiv 2405.14117), §4, who compare sets of other sizes, on the
    templates that chose them.
    """
    edited = edits_of(study, known, UPDATE, "cas_top", against)
    return budget_test(edited, against, draws, margin=margin, store=study.fingerprint)


def budget_test(
    edited: EditOutcomes,
    against: EqualBudget,
    draws: Draws,
    *,
    margin: float = LOG_ODDS_MARGIN,
    store: str = "",
) -> TestResult:
    """Run H8a or H8b on outcomes that are already loaded.

    Parameters
    ----------
    edited : EditOutcomes
        With updates of ``cas_top`` and of the other set.
    against : {"own_top", "union_top"}
        As for :func:`cas_at_equal_budget`.
    draws : Draws
        Number of flips, confidence, α and seed.
    margin : float, default 0.1
        Difference in log-odds that counts as none.
    store : str, default ""
        Fingerprint of the store, for the result.

    Returns
    -------
    TestResult
        As of :func:`cas_at_equal_budget`.
    """
    hypothesis = hypothesis_of("cas_at_equal_budget", against=against)
    first, second = (edited.moved(UPDATE, name, "held_out") for name in ("cas_top", against))
    x = first - second
    alike = int(np.sum(x == 0))
    checks = (f"{alike:,} facts have the same neurons by both.",) if alike else ()
    test = paired_test(
        x,
        edited.rows.clusters,
        name=hypothesis.name,
        question=hypothesis.question,
        estimand="log-odds that o′ gains at held-out paraphrases by an update of the neurons of the highest "
        f"CAS, less by one of {_WORDS[against]}",
        draws=draws,
        margin=margin,
        n_queries=edited.n_compared(UPDATE, ("cas_top", against), "held_out"),
        checks=(*_gains(first, second), *checks, *_uncertified(edited, ~np.isnan(x), "cas_top")),
        store=store,
        stream=_STREAMS[against],
    )
    return _if_it_carries(test, first, edited, draws)


def cas_at_equal_damage(
    study: Study,
    *,
    against: str = "own",
    known: bool = True,
    margin: float = LOG_ODDS_MARGIN,
    draws: Draws = DRAWS,
) -> TestResult:
    """Test whether updates of CAS generalize further than of other sets at equal damage (H8c, H8d, H8e).

    The difference in log-odds that o′ gains at held-out paraphrases is regressed, over facts, on the
    difference in Δ nats a token of held-out text; the intercept is the difference at equal damage. Damage is
    measured on each half of the text, which tells how much of its spread is error: a slope that leaves error
    out would be too small, and a set that damages more would seem better. One-sided; signs of whole relations
    are flipped.

    Parameters
    ----------
    study : Study
        With phase ``edits``.
    against : {"own", "union", "cas_no_penalty"}
        N_i (H8c), N_u (H8d), or the same score with β2 = 0 (H8e).
    known : bool, default True
        Whether to count known queries only.
    margin : float, default 0.1
        Difference in log-odds that counts as none; fix it before looking.
    draws : Draws
        Number of flips, confidence, α and seed.

    Returns
    -------
    TestResult
        "Not identified" where the store does not keep damage by halves of a text, where both halves do not
        agree on damage, where one set damages more in every fact, or where the difference bends with that
        in damage; p is no less than that of CAS moving o′ up at all.

    Raises
    ------
    InputError
        The store has no phase ``edits``, or not these edits.
    """
    edited = edits_of(study, known, UPDATE, "cas", against)
    return damage_test(edited, against, draws, margin=margin, store=study.fingerprint)


def damage_test(
    edited: EditOutcomes,
    against: str,
    draws: Draws,
    *,
    margin: float = LOG_ODDS_MARGIN,
    store: str = "",
) -> TestResult:
    """Run H8c, H8d or H8e on outcomes that are already loaded.

    Parameters
    ----------
    edited : EditOutcomes
        With updates of ``cas`` and of the other set.
    against : {"own", "union", "cas_no_penalty"}
        As for :func:`cas_at_equal_damage`.
    draws : Draws
        Number of flips, confidence, α and seed.
    margin : float, default 0.1
        Difference in log-odds that counts as none.
    store : str, default ""
        Fingerprint of the store, for the result.

    Returns
    -------
    TestResult
        As of :func:`cas_at_equal_damage`.
    """
    hypothesis = hypothesis_of("cas_at_equal_damage", against=against)
    first, second = (edited.moved(UPDATE, name, "held_out") for name in ("cas", against))
    at_equal, checks = _at_equal_damage(first - second, edited, against)
    test = paired_test(
        at_equal,
        edited.rows.clusters,
        name=hypothesis.name,
        question=hypothesis.question,
        estimand="intercept, at equal Δ nats a token, of the difference in log-odds that o′ gains at "
        f"held-out paraphrases by updates of CAS neurons and of {_WORDS[against]}",
        draws=draws,
        margin=margin,
        checks=(
            *_gains(first, second),
            *checks,
            *_uncertified(edited, ~np.isnan(first - second), *{"cas", against} & set(CAS_SETS)),
        ),
        store=store,
        stream=_STREAMS[against],
    )
    return _if_it_carries(test, first, edited, draws)


def _at_equal_damage(y: Floats, edited: EditOutcomes, against: str) -> tuple[Floats, list[str]]:
    """Return each fact's difference at equal damage, NaN where it cannot be told, and what is to be said."""
    halves = [edited.damage_by_halves(UPDATE, name) for name in ("cas", against)]
    first, second = (cas - other for cas, other in zip(*halves, strict=True))
    there, nothing = ~np.isnan(y + first + second), np.full(len(y), np.nan)
    if not there.any():
        return nothing, [] if "text_nats_first" in edited.found else [_NO_HALVES]
    more = (first + second)[there] / 2
    checks = [f"Mean difference in Δ nats a token: {number(float(more.mean()))}."]
    if not more.min() <= 0 <= more.max():
        why = "One of them damages more in every fact: equal damage is not among the data."
        return nothing, [*checks, why]
    clusters = edited.rows.relation[there], edited.rows.answer[there]
    net: NetOfRegressor = net_of_regressor(y[there], first[there], second[there], clusters)
    checks.append(f"Correlation of the difference on both halves of the text: {number(net.reliability)}.")
    if not net.is_known:
        return nothing, [*checks, _NO_AGREEMENT]
    if net.p_straight <= _BENDS:
        return nothing, [*checks, _BENT.format(p_value(net.p_straight))]
    nothing[there] = net.values
    return nothing, checks


def _uncertified(edited: EditOutcomes, counted: NDArray[np.bool_], *sets: str) -> tuple[str, ...]:
    """Say how many facts have a CAS set that may lack neurons, which the store does not keep."""
    flags = [edited.uncertified[name] for name in sets if name in edited.uncertified]
    n = int(np.sum(np.any(flags, axis=0) & counted)) if flags else 0
    if not n:
        return ()
    have = "1 fact has a CAS set that is" if n == 1 else f"{n:,} facts have CAS sets that are"
    return (f"{have} not certain to be of the whole network: neurons below the panel's floor may belong.",)


def _gains(first: Floats, second: Floats) -> tuple[str, ...]:
    """Say what each of two edits moves by itself: a difference alone does not say that either carries."""
    both = ~np.isnan(first) & ~np.isnan(second)
    if not both.any():
        return ()
    return (
        f"Log-odds that o′ gains, mean: {number(float(first[both].mean()))} and "
        f"{number(float(second[both].mean()))}.",
    )


def _if_it_carries(test: TestResult, first: Floats, edited: EditOutcomes, draws: Draws) -> TestResult:
    """Return the test with p no less than that of the first edit moving o′ up at all.

    Two edits that both lower o′ differ, but neither generalizes: the claim is that both hold, and its p the
    larger of both (an intersection–union test; Berger 1982, Technometrics 24).
    """
    facts = ~np.isnan(first)
    if test.p is None or not facts.any():
        return test
    clusters = edited.rows.relation[facts], edited.rows.answer[facts]
    rng = Stream.CAS_AT_EQUAL_DAMAGE.generator(draws.seed)
    rises = paired_p(first[facts], clusters, n_permutations=draws.n_permutations, rng=rng, level=draws.alpha)
    p = max(test.p, rises[0])
    method = f"{test.method}; p no less than that of CAS moving o′ up at all"
    least, by = least_paired_p(clusters, n_permutations=draws.n_permutations, level=draws.alpha)
    if least > (test.least_p or 0.0):
        test = replace(test, least_p=least, least_by=by)
    return judged(replace(test, p=p, method=method))
