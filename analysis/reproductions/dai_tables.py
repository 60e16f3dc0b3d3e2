"""The tables of Dai et al. 2022 (Knowledge Neurons) in the paper's layout.

A fact's knowledge neurons are its *refined* ones. The baseline attributes to a neuron its activation and is
refined in the same way; it takes a store of tier dense, since a panel is chosen by attribution.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from qloc.analysis.editing.outcomes import EditOutcomes
from qloc.analysis.inference.means import mean
from qloc.analysis.inputs.attributions import ACTIVATION
from qloc.analysis.interventions.neuron_effects import intervention_effects
from qloc.analysis.localization.refined_neurons import refined_neurons
from qloc.analysis.reproductions.published_tables import PublishedTable, Row, Side, among_labels
from qloc.arrays import Floats
from qloc.neurons import NeuronSets

_AT_A_TIME: Final = 256
"""Queries whose activations are read together."""

BASELINE: Final = "activation (baseline)"
_EDITED: Final = ("refined", "own", "matched")
"""Knowledge neurons as published, those of one query, and as many others."""


def _rules(side: Side) -> Iterator[tuple[str, NeuronSets]]:
    """Yield neuron sets by attribution, and by activation where the store has all of it."""
    yield side.plan.method, side.sets[side.plan.method].known()
    if side.study.dense:
        yield BASELINE, side.select(ACTIVATION).known()


def _shared(member: sparse.csr_array, pairs: list[tuple[int, int]]) -> float:
    """Return the mean number of neurons that two facts share."""
    if not pairs:
        return float("nan")
    first, second = np.array(pairs).T
    both = member[first].astype(np.int32).multiply(member[second].astype(np.int32))
    return float(both.sum() / len(pairs))


def _neuron_rows(side: Side) -> Iterator[Row]:
    """Yield the number of refined neurons a fact, and how many two facts of one or two relations share."""
    for method, sets in _rules(side):
        relation, member = sets.facts["relation"].astype(str), refined_neurons(sets).member
        asked = np.unique(sets.queries["fact"])
        pairs = list(combinations(asked.tolist(), 2))
        within = [pair for pair in pairs if relation[pair[0]] == relation[pair[1]]]
        between = [pair for pair in pairs if relation[pair[0]] != relation[pair[1]]]
        yield {
            "model": side.model,
            "method": method,
            "per_fact": float(np.diff(member.indptr)[asked].mean()) if len(asked) else float("nan"),
            "within": _shared(member, within),
            "between": _shared(member, between),
            "facts": len(asked),
        }


def _relation_rows(side: Side) -> Iterator[Row]:
    """Yield the neurons of each relation that the most of its facts have, and how many have them."""
    for method, sets in _rules(side):
        relation, member = sets.facts["relation"].astype(str), refined_neurons(sets).member
        asked = np.unique(sets.queries["fact"])
        for name in np.unique(relation[asked]):
            facts = asked[relation[asked] == name]
            count = np.asarray(member[facts].sum(axis=0)).ravel()
            yield {
                "model": side.model,
                "relation": str(name),
                "method": method,
                "different": int((count > 0).sum()),
                "in_half": int((2 * count >= len(facts)).sum()) if len(facts) else 0,
                "most": float(count.max() / len(facts)),
                "facts": len(facts),
            }


def _change_rows(side: Side) -> Iterator[Row]:
    """Yield ΔProb when refined neurons are suppressed or amplified, by relation and over all."""
    values = intervention_effects(side.study, measure="probability")
    odds = intervention_effects(side.study, measure="log_odds")
    relation = side.study.column("facts", "relation").astype(str)
    classes = {"all": side.is_common}
    sets = side.sets[side.plan.method]
    asked = np.unique(sets.facts["relation"][sets.queries["fact"][sets.of_facts()]]).astype(str)
    classes |= {str(name): side.is_common & (relation == name) for name in asked}
    for operation in among_labels(values, "operation", ("suppress", "enhance")):
        for name, among in classes.items():
            row: Row = {"model": side.model, "operation": operation, "relation": name}
            for arm in ("refined", "matched"):
                there = among_labels(values, "neuron_set", (arm,))
                at = {"operation": operation, "neuron_set": arm}
                row[f"probability_{arm}"] = mean(values.sel(at).values[among]) if there else float("nan")
            there = among_labels(values, "neuron_set", ("refined",))
            own = odds.sel(operation=operation, neuron_set="refined").values[among] if there else np.zeros(0)
            yield {**row, "log_odds": mean(own), "facts": int(np.sum(~np.isnan(own)))}


def _trigger_rows(side: Side) -> Iterator[Row]:
    """Yield the mean activation of facts' neurons in prompts that ask for them and in others; dense only."""
    if not side.study.dense:
        return
    for method, sets in _rules(side):
        member = refined_neurons(sets).member
        facts = np.flatnonzero(np.diff(member.indptr))
        if not len(facts):
            continue
        fact = sets.queries["fact"]
        relation = sets.facts["relation"].astype(str)
        means = _mean_activations(side, member[facts], side.queries[_known(side)])
        own = fact[:, None] == facts
        related = relation[fact][:, None] == relation[facts]
        by = {"own": own, "same_relation": related & ~own, "other_relation": ~related}
        row: Row = {"model": side.model, "method": method}
        row |= {name: mean(_over_queries(means, where)) for name, where in by.items()}
        yield {**row, "facts": len(facts)}


def _known(side: Side) -> NDArray[np.bool_]:
    """Tell which of the common queries the sets of known queries have."""
    sets = side.sets[side.plan.method]
    leaks = sets.facts["leaks"][sets.queries["fact"]]
    return np.asarray(sets.queries["known"] & ~leaks & sets.of_facts())


def _mean_activations(side: Side, member: sparse.csr_array, queries: NDArray[np.int64]) -> Floats:
    """Return the mean activation of each fact's neurons at each query: float64, (query, fact)."""
    neurons = np.unique(member.indices)
    weights = member[:, neurons].astype(np.float64).toarray()
    weights /= weights.sum(axis=1, keepdims=True)
    values, parts = side.study.signals["activation"], list[Floats]()
    for start in range(0, len(queries), _AT_A_TIME):
        rows = values.isel(query=queries[start : start + _AT_A_TIME]).values
        parts.append(rows.reshape(len(rows), -1)[:, neurons].astype(np.float64) @ weights.T)
    return np.concatenate(parts) if parts else np.zeros((0, len(weights)))


def _over_queries(means: Floats, where: NDArray[np.bool_]) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(where, means, 0.0).sum(axis=0) / where.sum(axis=0))


def _edit_rows(side: Side) -> Iterator[Row]:
    """Yield what updates and erasures of refined neurons do: success, change rate, perplexity."""
    edited, common = EditOutcomes.of(side.study), side.facts
    for operation in edited.operations:
        for name in _EDITED:
            if not edited.has(operation, name):
                continue
            rank, before = edited.picked("rank", operation, name), edited.found["base_rank"].values
            changed = np.where((before == 1) & (rank > 0), (rank > 1).astype(np.float64), np.nan)
            success = edited.mean(edited.success(operation, name, "argmax"), "edited")[common]
            yield {
                "model": side.model,
                "operation": operation,
                "set": name,
                "change": mean(edited.mean(changed, "edited")[common]),
                "success": mean(success),
                "unrelated": mean(edited.unchanged(operation, name)[common]),
                "nats": mean(edited.damage(operation, name)[common]),
                "facts": int(np.sum(~np.isnan(success))),
            }


LAYOUTS: Final = (
    PublishedTable(
        name="dai_neurons",
        title="Refined neurons of a fact, and those that two facts share",
        group="signals",
        phase="signals",
        rows=_neuron_rows,
        shown=("per_fact", "within", "between"),
        labels={
            "per_fact": "neurons a fact",
            "within": "shared by two facts of one relation",
            "between": "shared by two facts of two relations",
        },
        note="Means. Refining forces 2 to 5 neurons a fact, and so few to share.",
    ),
    PublishedTable(
        name="dai_relations",
        title="Neurons that the facts of a relation share",
        group="signals",
        phase="signals",
        rows=_relation_rows,
        shown=(),
        labels={
            "different": "different refined neurons",
            "in_half": "in at least half of the facts",
            "most": "largest share of facts that have one neuron",
        },
        note="Relation neurons are those that the most of a relation's facts have.",
    ),
    PublishedTable(
        name="dai_change",
        title="ΔProb when refined neurons are suppressed or amplified",
        group="interventions",
        phase="interventions",
        rows=_change_rows,
        shown=("probability_refined",),
        labels={
            "probability_refined": "ΔProb, refined neurons",
            "probability_matched": "ΔProb, as many neurons matched to N_i",
            "log_odds": "Δ log-odds, refined neurons",
        },
        note="ΔProb = (after − before)/before: noise of mean zero alone raises it. The paper's baseline is "
        "another set, chosen by activation, which interventions do not have; matched neurons stand for it.",
    ),
    PublishedTable(
        name="dai_triggers",
        title="Activation of refined neurons in prompts that ask for the fact, and in others",
        group="signals",
        phase="signals of tier dense",
        rows=_trigger_rows,
        shown=("own", "same_relation", "other_relation"),
        labels={
            "own": "prompts that ask for the fact",
            "same_relation": "prompts of the relation's other facts",
            "other_relation": "prompts of other relations",
        },
        note="Mean activation over neurons, queries and facts, of a store of tier dense. The paper takes "
        "sentences of the web, with both entities, with the subject alone, or with neither.",
    ),
    PublishedTable(
        name="dai_edits",
        title="Updating and erasing refined neurons",
        group="edits",
        phase="edits",
        rows=_edit_rows,
        shown=("change", "success"),
        labels={
            "change": "answer changed",
            "success": "o′ ranks first; erased: o no longer does",
            "unrelated": "unrelated prompts unchanged",
            "nats": "Δ nats a token",
        },
        note="The paper erases the neurons of a whole relation; here each fact is edited alone. Matched: as "
        "many other neurons of the same layers and strength as N_i.",
    ),
)
"""The tables, in the paper's order."""
