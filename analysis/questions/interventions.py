"""The question "Whose neurons move an answer?" (H5, H5a, H5b, H5c)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qloc.analysis.editing.suppression_on_words import METHOD as SUPPRESSION
from qloc.analysis.editing.suppression_on_words import Suppression, suppression_on_words
from qloc.analysis.inference.means import mean
from qloc.analysis.inference.screen import SCREEN_NOTE, corrected, mean_columns, screened
from qloc.analysis.inference.share_intervals import Bound
from qloc.analysis.interventions.neuron_effects import (
    ANSWER_MEASURES,
    NEURON_CONTROLS,
    ArmOutcomes,
    Measure,
    control_test,
)
from qloc.analysis.interventions.query_kn_mapping import (
    NEIGHBOR,
    OWN,
    LeftOutConsistency,
    gap_test,
    mapping_slope,
    others_of,
    sets_of_arms,
)
from qloc.analysis.interventions.reprompt_ceiling import ceiling_of, ceiling_test, has_ceiling, overlaps
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table, TestResult
from qloc.neurons import NeuronSets
from qloc.phase_plan import REPROMPT_SETS
from qloc.random_streams import Stream
from qloc.references import cited

CLASSES: Final = ("consistent", "inconsistent", "not told")
"""Classes of a query's fact, by templates other than i and j."""

N_DOSES: Final = 5
"""Groups of queries by the number of neurons changed."""

_COLUMNS: Final = ("operation", "control", "difference", "p", "p_adjusted")


def interventions_question(context: AnalysisContext) -> Question:
    """Report effects of every arm; own sets against controls; own against neighbor sets by class.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    Question
        With its sentence, tests and tables.
    """
    changed = ArmOutcomes.of(context.study)
    everything = ArmOutcomes.of(context.study, known=False)
    paired = changed.has("suppress", OWN, NEIGHBOR)
    sets = sets_of_arms(context.study) if paired else None
    other = others_of(context.study, sets=sets) if paired else None
    tests = _tests(context, changed, other)
    tables = [
        Table.from_frame(
            _effects(context, changed, everything),
            name="intervention_effects",
            title="What changing neurons does to the answer",
            labels=_LABELS,
            note="After less before, mean over facts of the mean over their known queries. The change of "
            "probability, (after − before)/before, is as published and descriptive: noise without any effect "
            "raises it. Numbers of neurons are of queries that have an effect; sets that nothing could be in "
            "(of queries not asked again, or without another query) are not among the empty ones.",
        ),
        Table.from_frame(
            _contrasts(context, changed, everything),
            name="intervention_contrasts",
            title="Own neurons against controls",
            labels={"difference": "N_i less the control: log-odds lost (gained, under enhance)"},
            note=SCREEN_NOTE,
        ),
    ]
    if sets is not None and other is not None:
        tables.append(_mapping_table(context, changed, other))
        if has_ceiling(changed, context.study.reprompts, "suppress"):
            tables.append(_ceiling_table(context, changed, other, sets))
    if changed.has("suppress", "own"):
        tables.append(_dose_table(context, changed))
    suppressed = _suppression(context)
    return Question(
        id="interventions",
        title="Whose neurons move an answer?",
        answer=_answer(tests),
        tests=(*tests, *suppressed.tests),
        tables=(*tables, *suppressed.tables),
        method=(
            "Activations at the target position are multiplied by 0 (suppress) or 2 (enhance), or replaced "
            "by their mean over other facts of the relation, or by another fact's (resample). Effects are in "
            "log-odds, log P − log(1 − P), averaged over a fact's known queries and then over facts. Own "
            "sets are compared, query by query, with as many neurons of the same layers and strength "
            "(matched) and with the set of another fact asked with the same template. That N_i moves the "
            "answer to i more than N_j of another query does is arithmetic (N_i was chosen for it), and so "
            "is that this gap grows as a fact's queries agree less (told by templates other than i and j): "
            "neither gets a verdict. What may: whether the gap is wider than the same gap against i′, the "
            "words of i in another form, where the store has such re-prompts. "
            + (SUPPRESSION if suppressed.tables else "")
        ),
        references=(*cited("chen2025", where="§2"), *cited("dai2022", where="§4")),
    )


def _suppression(context: AnalysisContext) -> Suppression:
    """Return decisions and words, where there are probes or a plan confirms H14, and no groups of pairs."""
    named = not {"H14a", "H14b"}.isdisjoint(context.plan.confirmatory)
    probed = {"bad_log_probability", "word_log_probability"} & {*map(str, context.study.interventions)}
    if context.has_groups or not (named or probed):
        return Suppression()
    return suppression_on_words(context.study, context.draws)


_LABELS: Final = {
    "log_odds": "Δ log-odds of the answer",
    "logit": "Δ logit",
    "margin": "Δ margin to the best other token",
    "probability": "Δ probability / probability, as published",
    "log_odds_all": "Δ log-odds, all queries",
    "neurons": "neurons changed, mean",
    "empty": "queries with an empty set",
}


def _tests(
    context: AnalysisContext, changed: ArmOutcomes, other: LeftOutConsistency | None
) -> tuple[TestResult, ...]:
    store, margin = context.study.fingerprint, context.plan.effect_margin
    tests = [
        control_test(changed, control, "suppress", context.draws, margin=margin, store=store)
        for control in NEURON_CONTROLS
        if changed.has("suppress", "own", control)
    ]
    if other is not None:
        again = context.study.reprompts
        tests.append(
            ceiling_test(changed, again, "suppress", context.draws, margin=margin, store=store)
            if has_ceiling(changed, again, "suppress")
            else gap_test(changed, "suppress", context.draws, store)
        )
        tests.append(mapping_slope(changed, other, "suppress", context.draws, store))
    return tuple(tests)


def _effects(context: AnalysisContext, changed: ArmOutcomes, everything: ArmOutcomes) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    clusters, used = changed.rows.clusters, changed.rows.used
    for operation in changed.operations:
        for arm in changed.arms:
            row: dict[str, Any] = {"operation": operation, "neuron_set": arm}
            by = {m: changed.change(operation, arm, m) for m in (*ANSWER_MEASURES, "probability")}
            for measure in ANSWER_MEASURES:
                row |= mean_columns(
                    measure, changed.rows.mean(by[measure]), clusters, context.plan.confidence
                )
            row["probability"] = mean(changed.rows.mean(by["probability"]))
            row["log_odds_all"] = mean(everything.rows.mean(everything.change(operation, arm)))
            n = changed.per_arm("n_neurons", arm)
            row["neurons"] = mean(n[used & ~np.isnan(by["log_odds"])])
            row["facts"] = int(np.sum(~np.isnan(changed.rows.mean(by["log_odds"]))))
            row["empty"] = int(np.sum(used & _asked(context, changed, arm) & (n == 0)))
            rows.append(row)
    return pd.DataFrame(rows)


_PARTNERS: Final = dict.fromkeys(("neighbor", OWN, NEIGHBOR), "neighbor") | {"other_fact": "other_fact"}
"""Sets that are, or are told from, those of another query → the variable that names it, -1 where none is."""


def _asked(context: AnalysisContext, changed: ArmOutcomes, arm: str) -> NDArray[np.bool_]:
    """Return which queries a set could be had of: (query,); of N_i′ those that were asked again."""
    again = context.study.reprompts
    if arm in REPROMPT_SETS and again.sizes:
        return np.asarray(again["n_neurons"].values >= 0)
    partner = _PARTNERS.get(arm, "")
    if partner in changed.found:
        return np.asarray(changed.found[partner].values >= 0)
    return np.ones(len(changed.rows.used), dtype=bool)


def _contrasts(context: AnalysisContext, changed: ArmOutcomes, everything: ArmOutcomes) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    versions: tuple[tuple[str, ArmOutcomes, Measure], ...] = (
        *(("known", changed, measure) for measure in ANSWER_MEASURES),
        ("all", everything, "log_odds"),
    )
    for queries, which, measure in versions:
        for operation in which.operations:
            for control in NEURON_CONTROLS:
                if not which.has(operation, "own", control):
                    continue
                x = which.rows.mean(which.contrast(operation, "own", control, measure))
                shown = f"{measure.replace('_', '-')}, {queries} queries"
                row: dict[str, Any] = {"operation": operation, "control": control, "outcome": shown}
                rows.append(
                    {
                        **row,
                        **screened(
                            x, which.rows.clusters, context.draws, Stream.INTERVENTION_SCREEN, len(rows)
                        ),
                    }
                )
    return pd.DataFrame(corrected(rows), columns=None if rows else list(_COLUMNS))


def _classes(other: LeftOutConsistency, cut: float) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return which queries are of each class."""
    untold, consistent = np.isnan(other.cs2), other.cs2 >= cut
    members = consistent, ~untold & ~consistent, untold
    return list(zip(CLASSES, members, strict=True))


def _mapping_table(context: AnalysisContext, changed: ArmOutcomes, other: LeftOutConsistency) -> Table:
    cut, again = context.plan.consistency_threshold, has_ceiling(changed, context.study.reprompts, "suppress")
    rows: list[dict[str, Any]] = []
    for operation in changed.operations:
        own, near = (changed.toward(operation, arm) for arm in (OWN, NEIGHBOR))
        for name, members in _classes(other, cut):
            here = members & ~np.isnan(own) & ~np.isnan(near)
            row: dict[str, Any] = {"class": name, "operation": operation}
            for column, values in ((OWN, own), (NEIGHBOR, near), ("gap", own - near)):
                by_fact = changed.rows.mean(np.where(here, values, np.nan))
                row |= mean_columns(column, by_fact, changed.rows.clusters, context.plan.confidence)
            row["facts"] = int(np.sum(~np.isnan(by_fact)))
            rows.append({**row, "queries": int(np.sum(here & changed.rows.used))})
    return Table.from_frame(
        pd.DataFrame(rows),
        name="query_kn_mapping",
        title="A query's own neurons against those of another query of its fact",
        labels={
            "class": "class of the fact, by templates other than i and j",
            OWN: "N_i∖N_j",
            NEIGHBOR: "N_j∖N_i",
            "gap": "N_i∖N_j less N_j∖N_i",
        },
        note=f"Log-odds of the answer to i lost (gained, under enhance). Consistent: CS2 ≥ {cut:g} over the "
        "fact's other known queries. As many neurons of the same layers on both sides. Descriptive: N_i was "
        "chosen for i. " + (_SEE_CEILING if again else _NO_CEILING),
    )


_NO_CEILING: Final = "No ceiling: no query was asked again in another form."
_SEE_CEILING: Final = "The next table has the gap that this alone makes."


def _ceiling_table(
    context: AnalysisContext, changed: ArmOutcomes, other: LeftOutConsistency, sets: NeuronSets
) -> Table:
    again = context.study.reprompts
    shared = dict(zip(("overlap", "overlap_again"), overlaps(sets, changed, again), strict=True))
    rows: list[dict[str, Any]] = []
    for operation in changed.operations:
        ceiling = ceiling_of(changed, again, operation)
        columns = {"gap": ceiling.gap, "ceiling": ceiling.again, "beyond": ceiling.beyond, **shared}
        everyone = "all", np.ones(len(ceiling.gap), dtype=bool)
        for name, members in (everyone, *_classes(other, context.plan.consistency_threshold)):
            here = members & ~np.isnan(ceiling.beyond)
            row: dict[str, Any] = {"class": name, "operation": operation}
            for column, values in columns.items():
                of_facts = changed.rows.mean(np.where(here, values, np.nan))
                bound: Bound = "share" if column in shared else "none"
                row |= mean_columns(column, of_facts, changed.rows.clusters, context.plan.confidence, bound)
            by_fact = changed.rows.mean(np.where(here, ceiling.beyond, np.nan))
            row["facts"] = int(np.sum(~np.isnan(by_fact)))
            rows.append({**row, "queries": int(here.sum())})
    return Table.from_frame(
        pd.DataFrame(rows),
        name="query_kn_ceiling",
        title="Against another query of the fact, and against itself in another form",
        labels={
            "class": "class of the fact, by templates other than i and j",
            "gap": "gap: N_i∖N_j less N_j∖N_i",
            "ceiling": "ceiling: N_i∖N_i′ less N_i′∖N_i",
            "beyond": "gap less ceiling",
            "overlap": "overlap of N_i and N_j (Dice)",
            "overlap_again": "overlap of N_i and N_i′ (Dice)",
        },
        note="Over queries that were asked again, where the answer ranks first for i, j and i′; i′ has the "
        f"words of i, with {again.attrs.get('reprompt', '')!r} before them. Log-odds of the answer to i lost "
        "(gained, under enhance), as many neurons of the same layers on both sides; none left: 0. The "
        "ceiling is what choosing N_i on i, and the noise of attribution, make by themselves. Overlaps are "
        "descriptive.",
    )


def _dose_table(context: AnalysisContext, changed: ArmOutcomes) -> Table:
    """Return table ``dose_response``: effects by fifths of the number of neurons changed, over queries."""
    n = changed.per_arm("n_neurons", "own")
    used = changed.rows.used & (n > 0)
    fifth = np.zeros(len(n), dtype=np.int64)
    order = np.argsort(n[used], kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    fifth[used] = 1 + (2 * rank + 1) * N_DOSES // max(1, 2 * len(order))
    rows: list[dict[str, Any]] = []
    for dose in range(1, N_DOSES + 1):
        here = fifth == dose
        if not here.any():
            continue
        row: dict[str, Any] = {"fifth": dose, "neurons": float(n[here].mean())}
        for arm in ("own", "matched"):
            if changed.has("suppress", arm):
                by_fact = changed.rows.mean(np.where(here, changed.change("suppress", arm), np.nan))
                row |= mean_columns(arm, by_fact, changed.rows.clusters, context.plan.confidence)
        rows.append({**row, "queries": int(here.sum())})
    return Table.from_frame(
        pd.DataFrame(rows, columns=None if rows else ["fifth", "neurons", "own"]),
        name="dose_response",
        title="Suppression by how many neurons it takes in",
        labels={
            "fifth": "fifth of the queries by |N_i|, smallest first",
            "neurons": "mean |N_i|",
            "own": "N_i",
            "matched": "matched",
        },
        note="Δ log-odds of the answer. Descriptive: queries with more neurons differ in other things too.",
    )


def _answer(tests: tuple[TestResult, ...]) -> str:
    """Say why nothing can be told, where that is so; verdicts make all other sentences."""
    if any(test.name in ("H5a", "H5b") and not np.isnan(test.estimate) for test in tests):
        return ""
    return "No query was asked with its own neurons and a control suppressed."
