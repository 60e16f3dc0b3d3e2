"""Pairs of queries of one fact, what they are compared with, and how much each counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from qloc.analysis.groups import Floats, Ints, codes, n_codes, sizes_of
from qloc.neurons import NeuronSets

Level = Literal["template", "answer"]


@dataclass(frozen=True, kw_only=True)
class QueryPairs:
    """Every pair of queries of one fact with different templates.

    Attributes
    ----------
    first, second : int64, (pair,), rows of the sets; the template of ``first`` has the smaller code.
    fact : int64, (pair,)
    template : int64, (query,), code of relation × template.
    relation : int64, (query,)
    """

    first: Ints
    second: Ints
    fact: Ints
    template: Ints
    relation: Ints


@dataclass(frozen=True, kw_only=True)
class Design:
    """A comparison: between which queries sets are exchanged, and how pairs enter the statistic.

    A *stratum* is relation × template (level ``template``) or relation × template × answer (``answer``). A
    pair's *cell* is the strata of its two queries, of n_1 and n_2 queries; M of their n_1 · n_2 overlaps are
    within facts. The statistic is T = Σ_p w_p (S_p − B_cell), B_cell the mean of the cell's n_1 n_2 − M
    overlaps between facts. As the cell's total Z is the same under every permutation, T = Σ_p u_p S_p −
    constant with u_p = w_p + W_cell / (n_1 n_2 − M), W_cell = Σ of w_p in the cell.

    Attributes
    ----------
    stratum : int64, (query,)
    cell : int64, (pair,)
    n_between : int64, (pair,), n_1 n_2 − M; a pair is identified where it is > 0.
    weight : float64, (pair,), w_p: facts count alike, and so do the identified pairs of a fact.
    pull : float64, (pair,), u_p.
    """

    stratum: Ints
    cell: Ints
    n_between: Ints
    weight: Floats
    pull: Floats


def pairs_of(sets: NeuronSets) -> QueryPairs:
    """All pairs of a fact's queries with different templates."""
    template = codes(sets.queries["relation"], sets.queries["template"])
    fact = sets.queries["fact"].astype(np.int64)
    order = np.lexsort((template, fact))
    first, second = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for apart in range(1, int(np.bincount(fact).max(initial=0))):
        i, j = order[:-apart], order[apart:]
        good = (fact[i] == fact[j]) & (template[i] != template[j])
        first.append(i[good])
        second.append(j[good])
    a, b = np.concatenate(first), np.concatenate(second)
    return QueryPairs(
        first=a, second=b, fact=fact[a], template=template, relation=codes(sets.queries["relation"])
    )


def design_of(sets: NeuronSets, pairs: QueryPairs, level: Level) -> Design:
    """Strata, cells and weights of one comparison."""
    stratum = pairs.template
    if level == "answer":
        stratum = codes(pairs.template, sets.queries["answer"])
    n = sizes_of(stratum)
    cell = (
        codes(stratum[pairs.first], stratum[pairs.second])
        if len(pairs.first)
        else np.zeros(0, dtype=np.int64)
    )
    n_between = n[pairs.first] * n[pairs.second] - sizes_of(cell)
    identified = n_between > 0
    per_fact = np.bincount(pairs.fact[identified], minlength=int(pairs.fact.max(initial=-1)) + 1)
    n_facts = max(1, int(np.sum(per_fact > 0)))
    weight = np.where(identified, 1.0 / np.maximum(per_fact[pairs.fact], 1) / n_facts, 0.0)
    in_cell = np.bincount(cell, weights=weight, minlength=n_codes(cell))
    pull = np.where(identified, weight + in_cell[cell] / np.maximum(n_between, 1), 0.0)
    return Design(stratum=stratum, cell=cell, n_between=n_between, weight=weight, pull=pull)
