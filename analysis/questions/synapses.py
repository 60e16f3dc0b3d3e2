"""The question "Does attention select the knowledge neurons?" (H6a, H6b)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from qloc.analysis.inference.means import mean
from qloc.analysis.inference.screen import SCREEN_NOTE, corrected, mean_columns, screened
from qloc.analysis.interventions.knowledge_synapses import (
    COLUMN_CONTROLS,
    EQUAL_MASS,
    KNOWLEDGE,
    SYNAPSE_OUTCOMES,
    AttentionOutcomes,
    SynapseOutcome,
    synapse_test,
)
from qloc.analysis.interventions.probe_word_effects import attended_word_effects
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table, TestResult
from qloc.random_streams import Stream
from qloc.references import cited

_WHAT: Final[dict[SynapseOutcome, str]] = {
    "answer": "log-odds of the answer",
    "activation": "relative activation of N_i",
}


def synapses_question(context: AnalysisContext) -> Question:
    """Report effects of every set of synapses, and knowledge synapses against controls of equal mass.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    Question
        With its sentence, tests and tables.
    """
    attended = AttentionOutcomes.of(context.study)
    margins = {"activation": context.plan.activation_margin, "answer": context.plan.effect_margin}
    tests = tuple(
        synapse_test(
            attended,
            outcome,
            "suppress",
            COLUMN_CONTROLS[0],
            context.draws,
            margins[outcome],
            context.study.fingerprint,
        )
        for outcome in SYNAPSE_OUTCOMES
        if attended.has("suppress", KNOWLEDGE, COLUMN_CONTROLS[0])
    )
    return Question(
        id="synapses",
        title="Does attention select the knowledge neurons?",
        answer=_answer(tests),
        tests=tests,
        tables=(
            Table.from_frame(
                _effects(context, attended),
                name="synapse_effects",
                title="What changing attention does to the answer, and to the knowledge neurons",
                labels={
                    "log_odds": "Δ log-odds of the answer",
                    "activation": "relative Δ activation of N_i, less that of matched neurons",
                    "columns": "columns changed, mean",
                    "removed_mass": "attention in them, mean",
                },
                note="Sets differ in how much attention they hold: only the next table compares like with "
                "like. Published: what Chen et al. select by, first tokens among them: descriptive.",
            ),
            *_contrast_tables(context, attended),
            *_words_tables(context),
        ),
        method=(
            "Attention columns (layer, head, token) that take more than α times their share, the first token "
            "aside, are multiplied by 0 or 2 after softmax, renormalized or not. Controls take away as much "
            "attention: random columns, the same columns in other heads, another fact's synapses. Outcomes: "
            "Σ(a′ − a)·sign(a)/Σ|a| over N_i less the same over matched neurons, and the answer's log-odds. "
            "N_i was chosen by attribution: neurons that are active are moved more by anything; the matched "
            "neurons take that away."
        ),
        references=cited("chen2025", where="§3"),
    )


def _effects(context: AnalysisContext, attended: AttentionOutcomes) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    clusters, used = attended.rows.clusters, attended.rows.used
    for operation in attended.operations:
        for arm in attended.arms:
            row: dict[str, Any] = {"operation": operation, "synapse_set": arm}
            answer = attended.rows.mean(attended.change(operation, arm))
            row |= mean_columns("log_odds", answer, clusters, context.plan.confidence)
            moved = attended.rows.mean(attended.activation(operation, arm))
            row |= mean_columns("activation", moved, clusters, context.plan.confidence)
            row["columns"] = mean(attended.per_arm("n_columns", arm)[used])
            row["removed_mass"] = mean(attended.per_arm("removed_mass", arm)[used])
            rows.append({**row, "facts": int(np.sum(~np.isnan(answer)))})
    return pd.DataFrame(rows)


def _contrast_tables(context: AnalysisContext, attended: AttentionOutcomes) -> list[Table]:
    """Return one table for each outcome, their p-values adjusted together."""
    frame = _contrasts(context, attended)
    return [
        Table.from_frame(
            frame[frame["outcome"] == words].drop(columns="outcome"),
            name="synapse_contrasts" if outcome == "answer" else f"synapse_contrasts_{outcome}",
            title=f"Knowledge synapses against equal attention: {words}",
            labels={
                "difference": "knowledge synapses less the control, as lost (gained, under enhance)",
                "difference_all": "the same, all queries",
            },
            note=f"Queries whose removed masses are equal within {100 * EQUAL_MASS:g}%. {SCREEN_NOTE} Answer "
            "and activation are one family.",
        )
        for outcome, words in _WHAT.items()
    ]


def _words_tables(context: AnalysisContext) -> list[Table]:
    """Return the table of words where the store has them after changes of attention."""
    words = attended_word_effects(context.study, context.draws)
    if words is None or not len(words):
        return []
    return [
        Table.from_frame(
            words,
            name="synapse_words",
            title="What suppressing knowledge synapses takes from words",
            labels={
                "own": "Δ log-odds, knowledge synapses suppressed",
                "matched": "random columns of equal mass suppressed",
                "units": "facts or pairs",
            },
            note=f"Queries whose removed masses are equal within {100 * EQUAL_MASS:g}%. Of facts the right "
            "answer and the mean of the relation's other words, of a paradigm and feature both forms and "
            "each other word; p: two-sided, Holm over the table.",
        )
    ]


def _contrasts(context: AnalysisContext, attended: AttentionOutcomes) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    used, everything = attended.rows.used, AttentionOutcomes.of(context.study, known=False)
    for outcome in _WHAT:
        for operation in attended.operations:
            for control in COLUMN_CONTROLS:
                if not attended.has(operation, KNOWLEDGE, control):
                    continue
                x = attended.against(operation, control, outcome)
                row: dict[str, Any] = {
                    "control": control,
                    "operation": operation,
                    "outcome": _WHAT[outcome],
                }
                by_fact = attended.rows.mean(x)
                row |= screened(
                    by_fact, attended.rows.clusters, context.draws, Stream.SYNAPSE_SCREEN, len(rows)
                )
                row["difference_all"] = mean(
                    everything.rows.mean(everything.against(operation, control, outcome))
                )
                row["queries"] = int(np.sum(used & ~np.isnan(x)))
                rows.append({**row, "unequal": int(np.sum(used & ~attended.equal_mass(control)))})
    columns = ["control", "operation", "outcome", "difference", "difference_all", "p", "p_adjusted"]
    return pd.DataFrame(corrected(rows), columns=None if rows else columns)


def _answer(tests: tuple[TestResult, ...]) -> str:
    """Say why nothing can be told, where that is so; verdicts make all other sentences."""
    if any(not np.isnan(test.estimate) for test in tests):
        return ""
    return "No query has knowledge synapses and a control of equal mass."
