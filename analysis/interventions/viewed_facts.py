"""Which facts, and which of their neurons, are looked at one by one after synapses are suppressed."""

from __future__ import annotations

import numpy as np

from qloc.analysis.inputs.attributions import MethodAttributions
from qloc.analysis.localization.shown_facts import N_NEURONS, ShownFacts, in_turn
from qloc.arrays import Ints
from qloc.neurons import NeuronSets
from qloc.vocabulary import NO_INDEX


def viewed_facts(sets: NeuronSets, n: int, seed: int) -> dict[int, Ints]:
    """Choose the facts: those that figures show, then others by relation in turn.

    Minimal pairs and facts that have their answer in their subject are left out.

    Parameters
    ----------
    sets : NeuronSets
        Of all queries.
    n : int
        How many facts at most.
    seed : int
        Of the draw.

    Returns
    -------
    dict of int to int64 ndarray
        Row of a fact → rows of the queries that figures show it on; ascending. Others have none.
    """
    figures = ShownFacts.of(sets, seed)
    shown = [*figures.by_role.values()][:n]
    kind = sets.queries.get("kind", np.full(sets.n_queries, "fact"))
    of_facts = np.asarray(kind == "fact") & (sets.sizes() > 0)
    able = np.unique(sets.queries["fact"][of_facts])
    able = np.setdiff1d(able[~sets.facts["leaks"][able]], shown)
    further = in_turn(sets.facts["relation"], able, n - len(shown), seed)
    queries = {fact: figures.of_fact(sets, fact) for fact in shown}
    none = np.zeros(0, dtype=np.int64)
    return {fact: queries.get(fact, none) for fact in sorted([*shown, *further.tolist()])}


def viewed_neurons(signals: MethodAttributions, queries: Ints, shown: Ints, n: int) -> Ints:
    """Choose a fact's neurons: of the largest mean attribution, each query's maximum being 1.

    Parameters
    ----------
    signals : MethodAttributions
        Of one method.
    queries : int64 ndarray
        Rows of the queries of one fact.
    shown : int64 ndarray
        Those of them that figures show: the neurons of these figures come first. There may be none.
    n : int
        How many neurons at most.

    Returns
    -------
    int64 ndarray, shape (view,)
        Numbers layer · n_neurons + index, ascending; -1 behind the last, where the panel has fewer.
    """
    _, values, panel = signals.rows(queries)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.asarray(values, dtype=np.float64) / signals.maximum[queries][:, None]
    relative = np.where(panel >= 0, np.nan_to_num(relative, posinf=0, neginf=0), -np.inf)
    order = np.argsort(-relative.mean(axis=0), kind="stable")
    here = np.isin(queries, shown)
    if here.any():
        first = np.argsort(-relative[here].mean(axis=0), kind="stable")[:N_NEURONS]
        order = np.concatenate([first, order[~np.isin(order, first)]])
    chosen = np.full(n, NO_INDEX, dtype=np.int64)
    found = np.sort(panel[0, order[panel[0, order] >= 0][:n]])
    chosen[: len(found)] = found
    return chosen
