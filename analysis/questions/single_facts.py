"""Question 7: what does it look like? Single facts across their paraphrases.

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
from qloc.arrays import Array, Floats, Ints
from qloc.neurons import NeuronSets
from qloc.vocabulary import QUERY

N_NEURONS = 16
"""Neurons shown of each fact."""

TYPICAL = "typical"
COLUMNS = ["row", "column", "value", "member", "query", "template", "layer", "index"]


def heatmap_question(asked: AnalysisContext) -> Question:
    """Attribution at the top neurons of three facts, across the queries that they were not chosen on."""
    chosen_on, shown = halves(asked.used, asked.plan.seed)
    d = _overlap(asked.used.select(chosen_on))
    later = _overlap(asked.used.select(shown))
    facts = choose(d, later, asked.plan.seed)
    # `used` has lost the numbering of the store's queries: it is kept by position.
    stored = np.flatnonzero(_used_mask(asked))[shown]
    of_fact = asked.sets.queries["fact"][stored]
    tables = [_table(asked, role, fact, stored[of_fact == fact]) for role, fact in facts.items()]
    if TYPICAL in facts:
        tables += _activation_table(asked, facts[TYPICAL], stored[of_fact == facts[TYPICAL]])
    return Question(
        id="heatmap",
        title="What does it look like for single facts?",
        answer=_answer(asked, facts, d, later),
        tables=tuple(tables),
        method=(
            "Each fact's known queries are split in two by seed. The facts with the largest and the "
            "smallest overlap D on one half are shown on the other half; the typical fact is drawn by "
            "seed from the middle fifth. Of the typical fact the activations of the same neurons are shown "
            "too: a neuron may be as active without moving the answer."
        ),
    )


def halves(sets: NeuronSets, seed: int) -> tuple[Array, Array]:
    """Each fact's queries, split in two at random: bool, (query,) each; the second half gets the odd one."""
    rng = np.random.default_rng([seed, 50])
    fact = sets.queries["fact"]
    order = np.lexsort((rng.random(len(fact)), fact))
    place = np.empty(len(fact), dtype=np.int64)
    place[order] = np.arange(len(fact)) - np.searchsorted(fact[order], fact[order])
    k = np.bincount(fact, minlength=sets.n_facts)[fact]
    first = place < k // 2
    return first, ~first


def choose(d: Floats, later: Floats, seed: int) -> dict[str, int]:
    """Facts by role, of those with an overlap on both halves; ties go to the first fact."""
    able = np.flatnonzero(~np.isnan(d) & ~np.isnan(later))
    if not len(able):
        return {}
    order = able[np.argsort(d[able], kind="stable")]
    middle = order[int(0.4 * len(order)) : max(int(0.6 * len(order)), int(0.4 * len(order)) + 1)]
    typical = int(np.random.default_rng([seed, 51]).choice(middle))
    most = int(able[np.argmax(d[able])])
    found = {"most consistent": most, "typical": typical, "least consistent": int(order[0])}
    return {role: fact for role, fact in found.items() if len(able) >= 3 or role == "typical"}


def _overlap(sets: NeuronSets) -> Floats:
    fact: Ints = sets.queries["fact"].astype(np.int64)
    return consistency.dice(
        counts_by(sets.member, fact, sets.n_facts), np.bincount(fact, minlength=sets.n_facts)
    )


def _table(asked: AnalysisContext, role: str, fact: int, queries: Array) -> Table:
    """Table ``heatmap_<role>``: one row a query shown, one column a neuron."""
    of = {name: str(asked.sets.facts[name][fact]) for name in ("id", "subject", "relation", "object")}
    return Table.from_frame(
        pd.DataFrame(_cells(asked, queries), columns=COLUMNS),
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


def _used_mask(asked: AnalysisContext) -> Array:
    sets = asked.sets
    leaks = sets.facts["leaks"][sets.queries["fact"]]
    return np.asarray(sets.queries["known"] & ~leaks & (sets.sizes() > 0))


def _activation_table(asked: AnalysisContext, fact: int, queries: Array) -> list[Table]:
    """Table ``activation_typical``: the same cells, ``value`` the activation; none where it was not kept."""
    activation = asked.study.signals["activation"].isel({QUERY: queries}).values
    if not np.isfinite(activation).any():
        return []
    cells = _cells(asked, queries, activation.reshape(len(queries), -1))
    shown = _table(asked, TYPICAL, fact, queries)
    return [
        Table.from_frame(
            pd.DataFrame(cells, columns=COLUMNS),
            name="activation_typical",
            title=f"{shown.title}: activation of the same neurons",
            labels={**shown.labels, "value": "activation"},
            note="Mean over the answer's tokens, at the target position.",
        )
    ]


def _cells(asked: AnalysisContext, queries: Array, shown: Array | None = None) -> list[dict[str, Any]]:
    """One cell a query and neuron: ``shown`` (query, slot), or the attribution relative to its maximum."""
    signals = asked.study.signals_of(asked.plan.method)
    _, values, panel = signals.rows(queries)
    relative = np.where(panel >= 0, values / signals.maximum[queries][:, None], -np.inf)
    top = np.argsort(-relative.mean(axis=0), kind="stable")[:N_NEURONS]
    top = np.sort(top[panel[0, top] >= 0])
    value = relative if shown is None else shown
    template = asked.sets.queries["template"]
    prompts = np.asarray(asked.study.queries["prompt"].isel({QUERY: queries}).values).astype(str)
    rows = []
    for place, query in enumerate(queries):
        members = set(asked.sets.of(int(query)).tolist())
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


def _answer(asked: AnalysisContext, facts: dict[str, int], d: Floats, later: Floats) -> str:
    if not facts:
        return "No fact has four known queries with knowledge neurons: none can be chosen and shown."
    names = asked.sets.facts
    told = [
        f"{role} {names['subject'][fact]} → {names['object'][fact]} (D = {d[fact]:.2f} where chosen, "
        f"{later[fact]:.2f} where shown)"
        for role, fact in facts.items()
    ]
    extremes = f"Shown are the {', the '.join(told)}."
    return f"{extremes} The mean over facts is {mean(later):.2f} where shown: extremes move towards it."
