"""The question "What does it look like for single facts?", across their paraphrases.

The most and the least consistent fact are extremes of many: chosen on one half of their queries and shown on
the other, beside a typical fact drawn by seed, so that the picture is not the noise it was chosen for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from qloc.analysis.inference.means import mean
from qloc.analysis.localization import consistency
from qloc.analysis.localization.neuron_counts import counts_by
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table
from qloc.analysis.wording import number
from qloc.arrays import Array, Floats, Ints
from qloc.neurons import NeuronSets
from qloc.random_streams import Stream
from qloc.vocabulary import QUERY

N_NEURONS = 16
"""Neurons shown of each fact."""

TYPICAL = "typical"
"""Role of the fact that is drawn from the middle fifth."""

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
    chosen_on, shown = halves(context.used, context.plan.seed)
    d = _overlap(context.used.select(chosen_on))
    later = _overlap(context.used.select(shown))
    facts = choose(d, later, context.plan.seed)
    # `used` has lost the numbering of the store's queries: it is kept by position.
    stored = np.flatnonzero(_used_mask(context))[shown]
    of_fact = context.sets.queries["fact"][stored]
    tables = [_table(context, role, fact, stored[of_fact == fact]) for role, fact in facts.items()]
    if TYPICAL in facts:
        tables += _activation_table(context, facts[TYPICAL], stored[of_fact == facts[TYPICAL]])
    return Question(
        id="heatmap",
        title="What does it look like for single facts?",
        answer=_answer(context, facts, d, later),
        tables=tuple(tables),
        method=(
            "Each fact's known queries are split in two by seed. The facts with the largest and the "
            "smallest overlap D on one half are shown on the other half; the typical fact is drawn by "
            "seed from the middle fifth. Of the typical fact the activations of the same neurons are shown "
            "too: a neuron may be as active without moving the answer."
        ),
    )


def halves(sets: NeuronSets, seed: int) -> tuple[Array, Array]:
    """Split each fact's queries in two at random.

    Parameters
    ----------
    sets : NeuronSets
        Of the queries that are split.
    seed : int
        Of the draw.

    Returns
    -------
    first, second : bool ndarray, shape (query,)
        Disjoint; the second half gets the odd query.
    """
    rng = Stream.SHOWN_FACTS.generator(seed)
    fact = sets.queries["fact"]
    order = np.lexsort((rng.random(len(fact)), fact))
    place = np.empty(len(fact), dtype=np.int64)
    place[order] = np.arange(len(fact)) - np.searchsorted(fact[order], fact[order])
    k = np.bincount(fact, minlength=sets.n_facts)[fact]
    first = place < k // 2
    return first, ~first


def choose(d: Floats, later: Floats, seed: int) -> dict[str, int]:
    """Choose facts by role, of those with an overlap on both halves.

    Parameters
    ----------
    d : float64 ndarray, shape (fact,)
        Overlap D on the half that facts are chosen on.
    later : float64 ndarray, shape (fact,)
        Overlap D on the half that is shown.
    seed : int
        Of the draw of the typical fact.

    Returns
    -------
    dict of str to int
        Role → fact; ties go to the first fact; with fewer than three facts the typical one alone.
    """
    able = np.flatnonzero(~np.isnan(d) & ~np.isnan(later))
    if not len(able):
        return {}
    order = able[np.argsort(d[able], kind="stable")]
    middle = order[int(0.4 * len(order)) : max(int(0.6 * len(order)), int(0.4 * len(order)) + 1)]
    typical = int(Stream.TYPICAL_FACT.generator(seed).choice(middle))
    most = int(able[np.argmax(d[able])])
    by_role = {"most consistent": most, "typical": typical, "least consistent": int(order[0])}
    return {role: fact for role, fact in by_role.items() if len(able) >= 3 or role == "typical"}


def _overlap(sets: NeuronSets) -> Floats:
    fact: Ints = sets.queries["fact"].astype(np.int64)
    return consistency.dice(
        counts_by(sets.member, fact, sets.n_facts), np.bincount(fact, minlength=sets.n_facts)
    )


def _table(context: AnalysisContext, role: str, fact: int, queries: Array) -> Table:
    """Return table ``heatmap_<role>``: one row a query shown, one column a neuron."""
    of = {name: str(context.sets.facts[name][fact]) for name in ("id", "subject", "relation", "object")}
    return Table.from_frame(
        pd.DataFrame(_cells(context, queries), columns=HEATMAP_COLUMNS),
        name=f"heatmap_{role.replace(' ', '_')}",
        title=f"{role.capitalize()} fact: {of['subject']} → {of['object']} ({of['relation']}, {of['id']})",
        labels={
            "row": "query",
            "column": "neuron",
            "value": "attribution / query's maximum",
            "member": "in N_i",
        },
        note=f"The {N_NEURONS} strongest neurons of the queries shown; chosen on the fact's other queries.",
    )


def _used_mask(context: AnalysisContext) -> Array:
    sets = context.sets
    leaks = sets.facts["leaks"][sets.queries["fact"]]
    return np.asarray(sets.queries["known"] & ~leaks & sets.of_facts() & (sets.sizes() > 0))


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


def _answer(context: AnalysisContext, facts: dict[str, int], d: Floats, later: Floats) -> str:
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
