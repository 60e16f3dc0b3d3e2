"""Which queries' sets are compared with which: pairs of paraphrases, and how pairs enter the statistic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from qloc.analysis.inference.label_codes import codes, n_codes, sizes_of
from qloc.analysis.localization.consistency import query_answers
from qloc.arrays import Floats, Ints
from qloc.neurons import NeuronSets

Level = Literal["template", "answer"]
"""What the compared facts share."""

LEVELS: Final[tuple[Level, ...]] = ("template", "answer")


@dataclass(frozen=True, kw_only=True)
class QueryPairs:
    """Every pair of queries of one fact, or of one subject, with different templates.

    Attributes
    ----------
    first : int64 ndarray, shape (pair,)
        Row of the sets; the query whose template has the smaller code.
    second : int64 ndarray, shape (pair,)
        Row of the sets; the other query.
    fact : int64 ndarray, shape (pair,)
        The fact of both; -1 where two facts have the subject.
    template : int64 ndarray, shape (query,)
        Code of relation × template.
    relation : int64 ndarray, shape (query,)
        Code of the relation.
    """

    first: Ints
    second: Ints
    fact: Ints
    template: Ints
    relation: Ints


def pairs_of(sets: NeuronSets, group: Ints | None = None) -> QueryPairs:
    """List all pairs of a fact's queries with different templates.

    Parameters
    ----------
    sets : NeuronSets
        Only its table of queries is read.
    group : int64 ndarray, shape (query,), optional
        What the queries of a pair have in common, such as their subject; by default, the fact.

    Returns
    -------
    QueryPairs
        The pairs, and codes of all queries.
    """
    template = codes(sets.queries["relation"], sets.queries["template"])
    fact = sets.queries["fact"].astype(np.int64)
    group = fact if group is None else group
    order = np.lexsort((template, group))
    first, second = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for apart in range(1, int(np.bincount(group).max(initial=0))):
        i, j = order[:-apart], order[apart:]
        good = (group[i] == group[j]) & (template[i] != template[j])
        first.append(i[good])
        second.append(j[good])
    a, b = np.concatenate(first), np.concatenate(second)
    return QueryPairs(
        first=a,
        second=b,
        fact=np.where(fact[a] == fact[b], fact[a], -1),
        template=template,
        relation=codes(sets.queries["relation"]),
    )


@dataclass(frozen=True, kw_only=True)
class Design:
    """A comparison: between which queries sets are exchanged, and how pairs enter the statistic.

    A *stratum* is relation × template (level ``template``) or relation × template × answer (``answer``). A
    pair's *cell* is the strata of its two queries, of n_1 and n_2 queries; M of their n_1 · n_2 overlaps are
    within subjects. The statistic is T = Σ_p w_p (S_p − B_cell), B_cell the mean of the cell's n_1 n_2 − M
    overlaps between facts. As the cell's total Z is the same under every permutation, T = Σ_p u_p S_p −
    constant with u_p = w_p + W_cell / (n_1 n_2 − M), W_cell = Σ of w_p in the cell; w_p of two facts is 0.

    Attributes
    ----------
    stratum : int64 ndarray, shape (query,)
        Stratum of each query.
    cell : int64 ndarray, shape (pair,)
        Cell of each pair.
    n_between : int64 ndarray, shape (pair,)
        n_1 n_2 − M of the pair's cell; a pair is identified where it is positive.
    weight : float64 ndarray, shape (pair,)
        w_p: facts count alike, and so do the identified pairs of a fact.
    pull : float64 ndarray, shape (pair,)
        u_p.
    """

    stratum: Ints
    cell: Ints
    n_between: Ints
    weight: Floats
    pull: Floats


def design_of(sets: NeuronSets, pairs: QueryPairs, level: Level) -> Design:
    """Return the strata, cells and weights of one comparison.

    Parameters
    ----------
    sets : NeuronSets
        Only its table of queries is read.
    pairs : QueryPairs
        Pairs of its queries (:func:`pairs_of`).
    level : {"template", "answer"}
        What the compared facts share.

    Returns
    -------
    Design
        The comparison.
    """
    stratum = pairs.template
    if level == "answer":
        stratum = codes(pairs.template, query_answers(sets))
    n = sizes_of(stratum)
    cell = (
        codes(stratum[pairs.first], stratum[pairs.second])
        if len(pairs.first)
        else np.zeros(0, dtype=np.int64)
    )
    n_between = n[pairs.first] * n[pairs.second] - sizes_of(cell)
    identified = (n_between > 0) & (pairs.fact >= 0)
    per_fact = np.bincount(pairs.fact[identified], minlength=int(pairs.fact.max(initial=-1)) + 1)
    n_facts = max(1, int(np.sum(per_fact > 0)))
    weight = np.where(identified, 1.0 / np.maximum(per_fact[pairs.fact], 1) / n_facts, 0.0)
    in_cell = np.bincount(cell, weights=weight, minlength=n_codes(cell))
    pull = np.where(n_between > 0, weight + in_cell[cell] / np.maximum(n_between, 1), 0.0)
    return Design(stratum=stratum, cell=cell, n_between=n_between, weight=weight, pull=pull)
