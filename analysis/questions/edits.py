"""The question "Can knowledge be edited through its neurons?" (H7, H8, H10d)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from qloc.analysis.editing.edit_tests import (
    EQUAL_BUDGETS,
    EQUAL_DAMAGES,
    MATCHED_EDITS,
    UPDATE,
    budget_test,
    damage_test,
    matched_test,
)
from qloc.analysis.editing.generalization import UsedConsistency, generalization_test
from qloc.analysis.editing.outcomes import CRITERIA, QUERIES_OF_SCORE, EditOutcomes, harmonic
from qloc.analysis.editing.pair_edits import METHOD as OF_PAIRS
from qloc.analysis.editing.pair_edits import edited_pairs
from qloc.analysis.editing.rome_layers import ROME, layers_compared
from qloc.analysis.inference.means import mean
from qloc.analysis.inference.screen import SCREEN_NOTE, corrected, mean_columns, screened
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table, TestResult
from qloc.analysis.wording import number, percent
from qloc.arrays import Floats
from qloc.phase_plan import ROME_TRACED
from qloc.random_streams import Stream
from qloc.references import cited
from qloc.text.rounding import counted
from qloc.vocabulary import PAIR

CONTRASTS: Final = (
    ("own", "matched"),
    ("own", "other_fact"),
    ("union", "own"),
    ("refined", "own"),
    ("cas", "own"),
    ("cas", "union"),
    ("cas", "refined"),
    ("cas", "cas_no_penalty"),
    ("cas", "matched"),
    ("cas_top", "own_top"),
    ("cas_top", "union_top"),
    ("rome", "own"),
    ("rome", "cas"),
    ("rome", "rome_identity"),
    ("rome", "rome_as_coded"),
    ("rome_traced", "rome"),
    ("rome", "in_context"),
)
"""Pairs of edited sets that are compared.

Sets of equal budget are as large, and so are own and matched; ROME edits every row of a layer.
"""


def edits_question(context: AnalysisContext) -> Question:
    """Report scores of every edit, by class of the fact, and paired differences between edits.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    Question
        With its sentence, tests and tables.
    """
    edited = EditOutcomes.of(context.study)
    consistency = UsedConsistency(context.study)
    tests = _tests(context, edited, consistency)
    of_pairs = edited_pairs(context.study, context.draws)
    scores = [
        Table.from_frame(
            _scores(context, edited, criterion),
            name="edit_scores" if criterion == "argmax" else f"edit_scores_{criterion}",
            title=f"How well edits do, by {'what ranks first' if criterion == 'argmax' else criterion}",
            labels=_LABELS,
            note=_SUCCESS[criterion] + (_OF_PAIRS_ALONE if edited.rows.kind == PAIR else "") + _OTHERS,
        )
        for criterion in CRITERIA
    ]
    return Question(
        id="edits",
        title="Can knowledge be edited through its neurons?",
        answer=_answer(edited),
        tests=tests,
        tables=(
            *scores,
            Table.from_frame(
                _by_class(context, edited, consistency.cs2),
                name="edit_by_class",
                title="Edits of consistent and of inconsistent facts",
                labels={name: words for name, words in _LABELS.items() if name != "empty"},
                note=f"Consistent: CS2 ≥ {context.plan.consistency_threshold:g} over the used known queries. "
                "By what ranks first. Descriptive: the classes differ in more than consistency.",
            ),
            Table.from_frame(
                _contrasts(context, edited),
                name="edit_contrasts",
                title="Edits against each other on held-out paraphrases",
                labels={
                    "difference": "difference in log-odds moved at held-out paraphrases",
                    "difference_all": "the same, all queries",
                    "damage": "difference in Δ nats a token",
                },
                note="Log-odds that o loses (erase), or that o′ gains (update). " + SCREEN_NOTE,
            ),
            *of_pairs,
        ),
        method=(
            "Rows of down-projections are set to 0 (erase), or moved from E(o) towards E(o′), another object "
            "of the relation (update; update_signed turns the sign where the activation is negative). The "
            "sets come from some templates of a fact; generalization is told on the others. Reliability: the "
            "edited query. Locality: share of unrelated known prompts whose most likely token stays, and KL. "
            "Damage: nats a token of held-out text. An erasure is scored only where o was answered. In "
            "context (the new fact stands before the prompt) is the positive control; matched neurons and "
            "another fact's are the negative ones. ROME stands beside them by the same criteria: it is told "
            "the subject's place, is optimized for o′, and changes every row of one layer, so that its slots "
            "are no budget to compare with. Verdicts are on log-odds; at equal damage: intercept of "
            "the regression of the difference on that in Δ nats, whose error both halves of the text tell."
            + (OF_PAIRS if of_pairs else "")
        ),
        references=(
            *cited("chen2025", where="§4"),
            *cited("dai2022", where="§5"),
            *cited("meng2022", where="§3.1, for ROME, P(o′) > P(o) and the harmonic mean"),
        ),
    )


_LEAST_UNCHANGED: Final = 0.5
"""Share of unrelated prompts that stay as they are, below which an update is said to wreck the model."""

_LABELS: Final = {
    "set": "edited set",
    "generalization": "generalization, held-out paraphrases",
    "generalization_used": "generalization, used paraphrases",
    "probe_kl": "KL at unrelated prompts, nats",
    "nats": "Δ nats a token",
    "nats_before": "nats a token before",
    "relative_perplexity": "Δ perplexity / perplexity before, of the mean Δ nats",
    "arithmetic": "arithmetic mean, as published",
    "harmonic": "harmonic mean",
    "empty": "facts with an empty set",
}
_SUCCESS: Final = {
    "argmax": "Update: o′ ranks first. Erase: o no longer does. ",
    "probability": "Update: P(o′) > P(o). Erase: share of P(o) that is gone. ",
}
_OF_PAIRS_ALONE: Final = "Of minimal pairs, first is the likelier of both forms. "
_OTHERS: Final = (
    "Means over facts. The arithmetic mean of reliability, generalization and locality, as published, gives "
    "a wrecked model two thirds; the harmonic mean beside it does not."
)


def _tests(
    context: AnalysisContext, edited: EditOutcomes, consistency: UsedConsistency
) -> tuple[TestResult, ...]:
    store, draws, margin = context.study.fingerprint, context.draws, context.plan.effect_margin
    tests = [
        matched_test(edited, operation, draws, margin=margin, store=store)
        for operation in MATCHED_EDITS
        if edited.has(operation, "own", "matched")
    ]
    tests += [
        budget_test(edited, against, draws, margin=margin, store=store)
        for against in EQUAL_BUDGETS
        if edited.has(UPDATE, "cas_top", against)
    ]
    tests += [
        damage_test(edited, against, draws, margin=margin, store=store)
        for against in EQUAL_DAMAGES
        if edited.has(UPDATE, "cas", against)
    ]
    if edited.has(UPDATE, ROME_TRACED, ROME):
        tests.append(layers_compared(edited, draws, margin=margin, store=store))
    if edited.has(UPDATE, "own"):
        slope_margin = context.plan.slope_margin
        tests.append(generalization_test(edited, consistency.kappa, draws, margin=slope_margin, store=store))
    return tuple(tests)


def _scores(context: AnalysisContext, edited: EditOutcomes, criterion: str) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    nothing = edited.rows.relation >= 0
    for operation in edited.operations:
        for name in edited.sets:
            if not edited.has(operation, name):
                continue
            row = {
                "operation": operation,
                "set": name,
                **_row(context, edited, operation, name, criterion, nothing),
            }
            rows.append({**row, "empty": edited.empty(name)})
    return pd.DataFrame(rows, columns=None if rows else ["set", "operation"])


def _row(
    context: AnalysisContext,
    edited: EditOutcomes,
    operation: str,
    name: str,
    criterion: str,
    among: np.ndarray,
) -> dict[str, Any]:
    """Scores of one edit over some of the facts."""
    success = edited.success(operation, name, criterion)
    by: dict[str, Floats] = {score: edited.mean(success, on) for score, on in QUERIES_OF_SCORE.items()}
    by["locality"] = edited.unchanged(operation, name)
    row: dict[str, Any] = {}
    for score, values in by.items():
        row |= mean_columns(
            score, np.where(among, values, np.nan), edited.rows.clusters, context.plan.confidence, "share"
        )
    three = [row[score] for score in ("reliability", "generalization", "locality")]
    row["arithmetic"] = float(np.mean(three))
    row["harmonic"] = harmonic(three)
    row["probe_kl"] = mean(edited.probe_kl(operation, name)[among])
    damage = np.where(among, edited.damage(operation, name), np.nan)
    row |= mean_columns("nats", damage, edited.rows.clusters, context.plan.confidence)
    before = mean(edited.found["base_text_nats"].values[among & ~np.isnan(damage)])
    row["nats_before"], row["relative_perplexity"] = before, float(np.expm1(row["nats"]))
    return {**row, "facts": int(np.sum(~np.isnan(by["reliability"]) & among))}


def _by_class(context: AnalysisContext, edited: EditOutcomes, cs2: Floats) -> pd.DataFrame:
    consistent = cs2 >= context.plan.consistency_threshold
    classes = {"consistent": consistent, "inconsistent": ~consistent & ~np.isnan(cs2)}
    rows = [
        {
            "set": f"{name}, {label}",
            "operation": operation,
            **_row(context, edited, operation, name, "argmax", among),
        }
        for operation in edited.operations
        for name in ("own", "union")
        if edited.has(operation, name)
        for label, among in classes.items()
    ]
    return pd.DataFrame(rows, columns=None if rows else ["set", "operation"])


def _contrasts(context: AnalysisContext, edited: EditOutcomes) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    everything = EditOutcomes.of(context.study, known=False)
    for operation in edited.operations:
        for first, second in CONTRASTS:
            if not edited.has(operation, first, second):
                continue
            moved = [edited.moved(operation, name, "held_out") for name in (first, second)]
            damage = [edited.damage(operation, name) for name in (first, second)]
            row: dict[str, Any] = {"contrast": f"{first} less {second}", "operation": operation}
            x = moved[0] - moved[1]
            row |= screened(x, edited.rows.clusters, context.draws, Stream.EDIT_SCREEN, len(rows))
            all_of_them = [everything.moved(operation, name, "held_out") for name in (first, second)]
            row["difference_all"] = mean(all_of_them[0] - all_of_them[1])
            rows.append({**row, "damage": mean(damage[0] - damage[1])})
    columns = ["contrast", "operation", "difference", "difference_all", "damage", "p", "p_adjusted"]
    return pd.DataFrame(corrected(rows), columns=None if rows else columns)


def _strength(edited: EditOutcomes) -> str:
    """Say how strong the updates are, and what makes them weaker."""
    attrs = edited.found.attrs
    told = ""
    if {"lambda1", "lambda2"} <= set(attrs):
        told = f"λ1 is {number(attrs['lambda1'])}, λ2 {number(attrs['lambda2'])}; "
    return f"{told}smaller ones make an update that a model survives (docs/methods.md#strength-of-updates)."


def _answer(edited: EditOutcomes) -> str:
    n = int(edited.probes_left.sum())
    if not n:
        return "No known query was edited."
    if not edited.has(UPDATE, "own"):
        return f"{counted(n, 'fact')} were edited."
    success = edited.success(UPDATE, "own", "argmax")
    shares = [mean(edited.mean(success, on)) for on in ("edited", "held_out")]
    stays = mean(edited.unchanged(UPDATE, "own"))
    told = (
        f"Of {counted(n, 'fact')}, an update of N_i leaves {percent(stays)} of unrelated prompts as they "
        f"were, and makes o′ the answer to {percent(shares[0])} of edited queries and "
        f"{percent(shares[1])} of held-out paraphrases."
    )
    if stays < _LEAST_UNCHANGED:
        told += (
            " So strong an update wrecks the model: most prompts are answered otherwise, whatever was "
            f"edited, so that sets are hardly compared. {_strength(edited)}"
        )
    return told
