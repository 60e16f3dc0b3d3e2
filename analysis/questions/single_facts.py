"""The question "What does it look like for single facts?", across their paraphrases.

The most and the least consistent fact are extremes of many: chosen on one half of their queries and shown on
the other, beside a typical fact drawn by seed, so that the picture is not the noise it was chosen for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from qloc.analysis.inference.means import mean
from qloc.analysis.inputs.synapse_views import MEASURES, N_HEADS, SynapseViews, token_labels
from qloc.analysis.localization.shown_facts import N_NEURONS, TYPICAL, ShownFacts
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table
from qloc.analysis.wording import number
from qloc.arrays import Array, Floats
from qloc.vocabulary import QUERY

_SUPPRESSED = (
    "Where the extraction kept it, both are shown again with the query's knowledge synapses suppressed, "
    "attribution as gradient × activation: paths are not run again. Beside it, what the target attends to."
)

HEATMAP_COLUMNS = ["row", "column", "value", "member", "query", "template", "layer", "index"]
"""Columns of the tables, one row for each query and neuron."""


def heatmap_question(context: AnalysisContext) -> Question:
    """Show the attribution at the top neurons of three facts, across queries that they were not chosen on.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    Question
        With its sentence, tests and tables.
    """
    shown = ShownFacts.of(context.sets, context.plan.seed)
    facts = shown.by_role
    queries = {role: shown.of_fact(context.sets, fact) for role, fact in facts.items()}
    tables = [_table(context, role, fact, queries[role]) for role, fact in facts.items()]
    views = SynapseViews(context.study)
    viewed = [role for role in facts if views.has(queries[role])]
    if TYPICAL in facts and TYPICAL not in viewed:
        tables += _activation_table(context, facts[TYPICAL], queries[TYPICAL])
    for role in viewed:
        tables.append(
            _suppressed_table(context, views, _title(context, role, facts[role]), role, queries[role])
        )
        tables += _attention_table(context, views, _title(context, role, facts[role]), role, queries[role])
    return Question(
        id="heatmap",
        title="What does it look like for single facts?",
        answer=_answer(context, facts, shown.chosen_on, shown.shown_on),
        tables=tuple(tables),
        method=(
            "Each fact's known queries are split in two by seed. The facts with the largest and the "
            "smallest overlap D on one half are shown on the other half; the typical fact is drawn by "
            "seed from the middle fifth. Of the typical fact the activations of the same neurons are shown "
            "too: a neuron may be as active without moving the answer."
            + (f" {_SUPPRESSED}" if viewed else "")
        ),
    )


def _title(context: AnalysisContext, role: str, fact: int) -> str:
    of = {name: str(context.sets.facts[name][fact]) for name in ("id", "subject", "relation", "object")}
    return f"{role.capitalize()} fact: {of['subject']} → {of['object']} ({of['relation']}, {of['id']})"


def _table(context: AnalysisContext, role: str, fact: int, queries: Array) -> Table:
    """Return table ``heatmap_<role>``: one row a query shown, one column a neuron."""
    return Table.from_frame(
        pd.DataFrame(_cells(context, queries), columns=HEATMAP_COLUMNS),
        name=f"heatmap_{role.replace(' ', '_')}",
        title=_title(context, role, fact),
        labels={
            "row": "query",
            "column": "neuron",
            "value": "attribution / query's maximum",
            "member": "in N_i",
        },
        note=f"The {N_NEURONS} strongest neurons of the queries shown; chosen on the fact's other queries.",
    )


def _activation_table(context: AnalysisContext, fact: int, queries: Array) -> list[Table]:
    """Return table ``activation_typical``: the same cells with activations; none where they were not kept."""
    activation = context.study.signals["activation"].isel({QUERY: queries}).values
    if not np.isfinite(activation).any():
        return []
    cells = _cells(context, queries, activation.reshape(len(queries), -1))
    shown = _table(context, TYPICAL, fact, queries)
    return [
        Table.from_frame(
            pd.DataFrame(cells, columns=HEATMAP_COLUMNS),
            name="activation_typical",
            title=f"{shown.title}: activation of the same neurons",
            labels={**shown.labels, "value": "activation"},
            note="Mean over the answer's tokens, at the target position.",
        )
    ]


def _suppressed_table(
    context: AnalysisContext, views: SynapseViews, title: str, role: str, queries: Array
) -> Table:
    """Return table ``suppressed_<role>``: two rows a query, before and after; one column a neuron."""
    cells = pd.DataFrame(_cells(context, queries), columns=HEATMAP_COLUMNS)
    neurons = np.unique(cells["layer"] * context.sets.n_neurons + cells["index"])
    values = views.values(queries, neurons)
    by_query = [part for _, part in cells.groupby("query", sort=True)]
    rows = []
    for place, part in enumerate(by_query):
        for after, words in enumerate(("", "Suppressed: ")):
            both = {name: values[name][after][place] for name in MEASURES}
            row = words + part["row"]
            rows.append(part.drop(columns="value").assign(row=row, suppressed=bool(after), **both))
    return Table.from_frame(
        pd.concat(rows, ignore_index=True),
        name=f"suppressed_{role.replace(' ', '_')}",
        title=f"{title}: its neurons before and after its synapses are suppressed",
        labels={
            "row": "query",
            "column": "neuron",
            "attribution": "gradient × activation / query's largest before",
            "member": "in N_i",
            "suppressed": "synapses suppressed",
        },
        note="Two rows a query: as it is, and with its own knowledge synapses suppressed. What works against "
        "the answer (gradient × activation below 0) is drawn as 0, what is above the largest before as 1.",
    )


def _attention_table(
    context: AnalysisContext, views: SynapseViews, title: str, role: str, queries: Array
) -> list[Table]:
    """Return table ``attention_<role>`` of its first query that attends to synapses; none without any."""
    for query in queries.tolist():
        found = views.attended(query)
        if found is not None:
            break
    else:
        return []
    labels = token_labels(found.tokens)
    cells = [
        {
            "head": f"L{layer}.H{head}",
            "token": label,
            "attention": float(found.attention[row, place]),
            "synapse": bool(found.synapse[row, place]),
            "query": query,
        }
        for row, (layer, head) in enumerate(found.heads)
        for place, label in enumerate(labels)
    ]
    prompt = str(context.study.queries["prompt"].isel({QUERY: query}).values)
    return [
        Table.from_frame(
            pd.DataFrame(cells),
            name=f"attention_{role.replace(' ', '_')}",
            title=f"{title}: what the target attends to",
            labels={"attention": "attention from the target", "synapse": "knowledge synapse"},
            note=f"“{prompt}” The heads that give most to its synapses, {N_HEADS} at most.",
        )
    ]


def _cells(context: AnalysisContext, queries: Array, shown: Array | None = None) -> list[dict[str, Any]]:
    """Return one cell for each query and neuron: of ``shown`` (query, slot), or of relative attributions."""
    signals = context.study.signals_of(context.plan.method)
    _, values, panel = signals.rows(queries)
    relative = np.where(panel >= 0, values / signals.maximum[queries][:, None], -np.inf)
    top = np.argsort(-relative.mean(axis=0), kind="stable")[:N_NEURONS]
    top = np.sort(top[panel[0, top] >= 0])
    value = relative if shown is None else shown
    template = context.sets.queries["template"]
    prompts = np.asarray(context.study.queries["prompt"].isel({QUERY: queries}).values).astype(str)
    rows = []
    for place, query in enumerate(queries):
        members = set(context.sets.of(int(query)).tolist())
        for slot in top:
            layer, index = divmod(int(panel[place, slot]), signals.n_neurons)
            rows.append(
                {
                    "row": str(prompts[place]),
                    "column": f"L{layer}.N{index}",
                    "value": float(value[place, slot]),
                    "member": int(panel[place, slot]) in members,
                    "query": int(query),
                    "template": str(template[query]),
                    "layer": layer,
                    "index": index,
                }
            )
    return rows


def _answer(context: AnalysisContext, facts: Mapping[str, int], d: Floats, later: Floats) -> str:
    if not facts:
        return "No fact has four known queries with knowledge neurons: none can be chosen and shown."
    names = context.sets.facts
    described = [
        f"{role} {names['subject'][fact]} → {names['object'][fact]} (D = {number(d[fact])} where chosen, "
        f"{number(later[fact])} where shown)"
        for role, fact in facts.items()
    ]
    both = ~np.isnan(d) & ~np.isnan(later)
    average = mean(later[both])
    text = f"Shown: {'; '.join(described)}. The mean over facts is {number(average)} where shown"
    extremes = np.array([fact for role, fact in facts.items() if role != TYPICAL], dtype=np.int64)
    nearer = np.abs(later[extremes] - average) < np.abs(d[extremes] - average)
    return f"{text}: extremes move towards it." if len(extremes) and nearer.all() else f"{text}."
