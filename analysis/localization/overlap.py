"""What the paraphrases of a fact share beyond their templates, and beyond their answer.

For two templates s and t of a relation, S(f, g) is the Dice overlap of fact f's set under s with fact g's
under t. Within facts it is S(f, f); between facts S(f, g), of different subjects, since facts of one subject
have the same prompts. The excess of the first over the second is what a fact's queries share that other
facts, asked with the very same two templates, do not; with g restricted to facts of the same answer, it is
what they share beyond that answer too.

Under the null, sets are exchangeable between the facts of a stratum (relation × template, or × answer), so
permuting them there, independently for each template, gives the distribution of the statistic. Within and
between means move together, which the weights of :class:`Design` account for exactly.

The module reads in three parts: which pairs are compared with which others (:class:`QueryPairs`,
:class:`Design`), their overlaps, block by block (:class:`OverlapBlock`), and the excess with its permutations
(:func:`excesses`). docs/statistics.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from qloc.analysis.inference.label_codes import codes, n_codes, sizes_of
from qloc.analysis.localization.consistency import query_answers, subject_codes
from qloc.arrays import Floats, Ints
from qloc.neurons import NeuronSets
from qloc.random_streams import Stream

Level = Literal["template", "answer"]
"""What the compared facts share."""

LEVELS: Final[tuple[Level, ...]] = ("template", "answer")

_STREAMS: Final[Mapping[Level, Stream]] = {
    "template": Stream.BEYOND_TEMPLATE,
    "answer": Stream.BEYOND_ANSWER,
}

WHOLE = 2048
"""Queries up to which a relation is one block; above, each pair of templates is one."""

BLOCK_CELLS = 2**26
"""Cells of a block of float32 at most; rows are cut where it would be more."""

POPULAR = 16
"""A neuron in more than one in so many of a relation's sets goes through the dense product."""


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


@dataclass(frozen=True, kw_only=True)
class OverlapBlock:
    """Overlaps of some queries with others.

    Attributes
    ----------
    rows : int64 ndarray, shape (row,)
        Queries.
    columns : int64 ndarray, shape (column,)
        Queries.
    pairs : int64 ndarray, shape (wanted pair,)
        Indices of the wanted pairs whose second query is among ``columns``, and whose first query is among
        ``rows`` or the rows of another piece of this block.
    n_rows : int
        Rows of all pieces of the block.
    values : float32 ndarray, shape (row, column)
        Dice overlaps.
    """

    rows: Ints
    columns: Ints
    pairs: Ints
    n_rows: int
    values: NDArray[np.float32]


class Overlaps:
    """The sets of one relation, ready for overlaps between any of them.

    Parameters
    ----------
    member : bool CSR array, shape (query, neuron)
        Non-empty sets of all queries of the study.
    queries : int64 ndarray, shape (query of the relation,)
        The relation's rows of ``member``.
    """

    def __init__(self, member: sparse.csr_array, queries: Ints) -> None:
        self.queries = queries
        own = sparse.csc_array(member[queries].astype(np.float32))
        count = np.diff(own.indptr)
        popular = count * POPULAR > len(queries)
        self._dense = np.ascontiguousarray(own[:, np.flatnonzero(popular)].toarray())
        self._sparse = sparse.csr_array(own[:, np.flatnonzero(~popular & (count > 1))])
        self._size = np.diff(member.indptr)[queries].astype(np.float32)

    def dice(self, rows: Ints, columns: Ints) -> NDArray[np.float32]:
        """Return 2|N_i ∩ N_j| / (|N_i| + |N_j|) for every row i and column j.

        Parameters
        ----------
        rows : int64 ndarray, shape (row,)
            Positions in ``queries``.
        columns : int64 ndarray, shape (column,)
            Positions in ``queries``.

        Returns
        -------
        float32 ndarray, shape (row, column)
            Overlaps in [0, 1] of different queries; a query's with itself is not computed in full, since
            neurons of one set only are left out.
        """
        shared = self._dense[rows] @ self._dense[columns].T
        rest = self._sparse[rows] @ self._sparse[columns].T
        if rest.nnz:
            shared += rest.toarray()
        shared *= 2
        shared /= self._size[rows][:, None] + self._size[columns][None, :]
        return np.asarray(shared, dtype=np.float32)


def blocks_of(
    sets: NeuronSets, pairs: QueryPairs, wanted: NDArray[np.bool_], relation: int
) -> Iterator[OverlapBlock]:
    """Compute the overlaps of one relation that wanted pairs, and what they are compared with, lie in.

    Parameters
    ----------
    sets : NeuronSets
        Non-empty sets.
    pairs : QueryPairs
        Pairs of their queries (:func:`pairs_of`).
    wanted : bool ndarray, shape (pair,)
        Pairs that some comparison uses.
    relation : int
        Code of the relation.

    Yields
    ------
    OverlapBlock
        The whole relation where it is small; otherwise two templates, cut by rows where memory asks for it.
    """
    queries = np.flatnonzero(pairs.relation == relation)
    chosen = (
        np.flatnonzero(wanted & (pairs.relation[pairs.first] == relation))
        if len(wanted)
        else np.zeros(0, int)
    )
    if not len(chosen):
        return
    overlaps = Overlaps(sets.member, queries)
    if len(queries) <= WHOLE:
        yield from _cut(overlaps, np.arange(len(queries)), np.arange(len(queries)), chosen)
        return
    template = pairs.template[queries]
    key = np.stack([pairs.template[pairs.first[chosen]], pairs.template[pairs.second[chosen]]])
    for s, t in np.unique(key, axis=1).T:
        of_both = chosen[(key[0] == s) & (key[1] == t)]
        yield from _cut(overlaps, np.flatnonzero(template == s), np.flatnonzero(template == t), of_both)


def _cut(overlaps: Overlaps, rows: Ints, columns: Ints, pairs: Ints) -> Iterator[OverlapBlock]:
    step = max(1, BLOCK_CELLS // max(1, len(columns)))
    for first in range(0, len(rows), step):
        part = rows[first : first + step]
        yield OverlapBlock(
            rows=overlaps.queries[part],
            columns=overlaps.queries[columns],
            pairs=pairs,
            n_rows=len(rows),
            values=overlaps.dice(part, columns),
        )


@dataclass(frozen=True, kw_only=True)
class Excess:
    """Overlap within facts beyond a level, and its permutations.

    Attributes
    ----------
    level : {"template", "answer"}
        What the compared facts share: H1a or H1b.
    within : float64 ndarray, shape (fact,)
        Mean Dice over a fact's identified pairs of queries; NaN where no pair is identified.
    between : float64 ndarray, shape (fact,)
        Mean Dice of those pairs' counterparts between facts.
    other : float64 ndarray, shape (fact,)
        The same between facts with different answers, at level ``answer``; NaN where a fact has none.
    permuted : float64 ndarray, shape (permutation,)
        Mean over facts of within − between.
    n_queries : int
        Queries in identified pairs.
    """

    level: Level
    within: Floats
    between: Floats
    other: Floats
    permuted: Floats
    n_queries: int

    @property
    def excess(self) -> Floats:
        """Within − between: float64, (fact,)."""
        return self.within - self.between

    @property
    def estimate(self) -> float:
        """Mean of the excess over facts; NaN without an identified one."""
        identified = self.excess[~np.isnan(self.excess)]
        return float(identified.mean()) if len(identified) else float("nan")


@dataclass(frozen=True)
class _Sums:
    """What one level adds up while blocks pass by.

    Attributes
    ----------
    level, design
        The comparison.
    total : float64 ndarray, shape (cell,)
        Z.
    apart : float64 ndarray, shape (pair,)
        Σ S over pairs of facts with different answers, asked with the pair's two templates.
    permuted : float64 ndarray, shape (permutation,)
        Σ_p u_p S(π(i), π(j)).
    """

    level: Level
    design: Design
    total: Floats
    apart: Floats
    permuted: Floats


@dataclass(frozen=True)
class _Exchange:
    """Whose set each query of a relation gets: int32, (permutation, place); and each query's place."""

    order: NDArray[np.int32]
    place: Ints


def excesses(
    sets: NeuronSets, levels: tuple[Level, ...] = LEVELS, *, n_permutations: int = 999, seed: int = 0
) -> Mapping[Level, Excess]:
    """Return the within-fact overlap beyond each level; levels share one pass over all overlaps.

    Parameters
    ----------
    sets : NeuronSets
        Non-empty sets of the queries considered (:func:`qloc.analysis.localization.consistency.filled`).
    levels : tuple of {"template", "answer"}
        Which comparisons to make.
    n_permutations : int
        0 for estimates alone.
    seed : int
        Seed of the permutations.

    Returns
    -------
    dict of Level to Excess
        One entry a level; the same for the same seed, whichever levels are computed together.

    Notes
    -----
    Memory: a block of overlaps (256 MB at most), and permutations × queries of the largest relation × 4 bytes
    a level. Time: permutations × within-fact pairs of queries.
    """
    pairs = pairs_of(sets, subject_codes(sets))
    sums = []
    for level in levels:
        design = design_of(sets, pairs, level)
        total, apart = np.zeros(n_codes(design.cell)), np.zeros(len(pairs.first))
        sums.append(_Sums(level, design, total, apart, np.zeros(n_permutations)))
    answer = codes(sets.queries["answer"])
    observed = np.full(len(pairs.first), np.nan)
    wanted = np.zeros(len(pairs.first), dtype=bool)
    for part in sums:
        wanted |= part.design.pull > 0
    for relation in np.unique(pairs.relation[pairs.first[wanted]]):
        queries = np.flatnonzero(pairs.relation == relation)
        exchanges = []
        for part in sums:
            rng = _STREAMS[part.level].generator(seed, int(relation))
            exchanges.append(_exchange(part.design, queries, pairs, n_permutations, rng))
        for block in blocks_of(sets, pairs, wanted, int(relation)):
            _observe(block, pairs, observed)
            for part, exchange in zip(sums, exchanges, strict=True):
                _add(block, pairs, part, exchange)
                if part.level == "answer":
                    _add_apart(block, pairs, part, answer)
    return {part.level: _collected(sets, pairs, part, observed) for part in sums}


def _exchange(
    design: Design, queries: Ints, pairs: QueryPairs, n: int, rng: np.random.Generator
) -> _Exchange:
    """Permutations of a relation's queries within strata; strata without an identified pair stay."""
    used = design.pull > 0
    bears = np.zeros(len(pairs.template), dtype=bool)
    bears[pairs.first[used]] = bears[pairs.second[used]] = True
    place = np.full(len(pairs.template), -1, dtype=np.int64)
    place[queries] = np.arange(len(queries))
    order = np.tile(queries.astype(np.int32), (n, 1))
    if not n:
        return _Exchange(order, place)
    by_stratum = queries[np.argsort(design.stratum[queries], kind="stable")]
    starts = np.flatnonzero(np.diff(design.stratum[by_stratum], prepend=-1))
    for members in np.split(by_stratum, starts[1:]):
        if len(members) > 1 and bears[members].any():
            order[:, place[members]] = rng.permuted(np.tile(members.astype(np.int32), (n, 1)), axis=1)
    return _Exchange(order, place)


def _observe(block: OverlapBlock, pairs: QueryPairs, observed: Floats) -> None:
    """Enter the overlaps of the block's own pairs into ``observed``, in place."""
    row, column = _local(block, len(pairs.template))
    inside = block.pairs[row[pairs.first[block.pairs]] >= 0]
    observed[inside] = block.values[row[pairs.first[inside]], column[pairs.second[inside]]]


def _local(block: OverlapBlock, n: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Place of each query among the block's rows and columns, -1 where it is not: int32, (query,)."""
    row, column = np.full(n, -1, dtype=np.int32), np.full(n, -1, dtype=np.int32)
    row[block.rows] = np.arange(len(block.rows), dtype=np.int32)
    column[block.columns] = np.arange(len(block.columns), dtype=np.int32)
    return row, column


def _add(block: OverlapBlock, pairs: QueryPairs, part: _Sums, exchange: _Exchange) -> None:
    """Add one block's share to the cell totals and to the permuted sums."""
    design = part.design
    used = block.pairs[design.pull[block.pairs] > 0]
    if not len(used):
        return
    _add_totals(block, pairs, part, used)
    row, column = _local(block, len(pairs.template))
    i = row[exchange.order[:, exchange.place[pairs.first[used]]]]
    j = column[exchange.order[:, exchange.place[pairs.second[used]]]]
    # Where a block is cut, a permuted query may lie in the rows of another piece: it is added there.
    values = block.values.ravel().take(np.maximum(i, 0).astype(np.int64) * block.values.shape[1] + j)
    if len(block.rows) < block.n_rows:
        values = np.where(i >= 0, values, np.float32(0))
    part.permuted[:] += values.astype(np.float64) @ design.pull[used]


def _add_totals(block: OverlapBlock, pairs: QueryPairs, part: _Sums, used: Ints) -> None:
    """Add Σ S over all queries of both strata of each cell, those within facts among them."""
    design = part.design
    cells, which = np.unique(design.cell[used], return_index=True)
    s, t = design.stratum[pairs.first[used[which]]], design.stratum[pairs.second[used[which]]]
    rows, row_place = _indicator(design.stratum[block.rows], s)
    columns, column_place = _indicator(design.stratum[block.columns], t)
    table = np.asarray((rows @ block.values) @ columns.T, dtype=np.float64)
    part.total[cells] += table[row_place, column_place]


def _add_apart(block: OverlapBlock, pairs: QueryPairs, part: _Sums, answer: Ints) -> None:
    """Add Σ S over queries with different answers, for each pair's two templates."""
    used = block.pairs[part.design.weight[block.pairs] > 0]
    if not len(used):
        return
    same: NDArray[np.bool_] = np.equal.outer(answer[block.rows], answer[block.columns])
    rows, row_place = _indicator(pairs.template[block.rows], pairs.template[pairs.first[used]])
    columns, column_place = _indicator(pairs.template[block.columns], pairs.template[pairs.second[used]])
    table = np.asarray((rows @ np.where(same, np.float32(0), block.values)) @ columns.T, dtype=np.float64)
    part.apart[used] += table[row_place, column_place]


def _n_apart(template: Ints, answer: Ints, first: Ints, second: Ints) -> Floats:
    """Number of pairs of queries of two templates that have different answers, for each pair of queries."""
    places = (np.ones(len(template)), (template, answer))
    count = sparse.csr_array(places, shape=(n_codes(template), n_codes(answer)))
    size = np.bincount(template).astype(np.float64)
    s, t = template[first], template[second]
    same: Floats = np.asarray(count[s].multiply(count[t]).sum(axis=1)).ravel()
    return np.asarray(size[s] * size[t] - same)


def _indicator(stratum: Ints, wanted: Ints) -> tuple[sparse.csr_array, Ints]:
    """Ones where a member is of a wanted stratum, (distinct stratum, member); the row of each wanted one."""
    levels, place = np.unique(wanted, return_inverse=True)
    row = np.minimum(np.searchsorted(levels, stratum), len(levels) - 1)
    inside = np.flatnonzero(levels[row] == stratum)
    ones = (np.ones(len(inside)), (row[inside], inside))
    return sparse.csr_array(ones, shape=(len(levels), len(stratum))), place.astype(np.int64)


def _collected(sets: NeuronSets, pairs: QueryPairs, part: _Sums, observed: Floats) -> Excess:
    design = part.design
    pulled = np.flatnonzero(design.pull > 0)
    inside = np.bincount(design.cell[pulled], weights=observed[pulled], minlength=len(part.total))
    used = np.flatnonzero(design.weight > 0)
    value, cell, n_between = observed[used], design.cell[used], design.n_between[used]
    between = (part.total[cell] - inside[cell]) / n_between
    n_apart = _n_apart(pairs.template, codes(sets.queries["answer"]), pairs.first[used], pairs.second[used])
    with np.errstate(invalid="ignore", divide="ignore"):
        other = np.where(part.level == "answer", part.apart[used] / n_apart, np.nan)
    constant = float(np.sum(design.weight[used] * part.total[cell] / n_between))
    n = np.bincount(pairs.fact[used], minlength=sets.n_facts)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = [
            np.bincount(pairs.fact[used], weights=v, minlength=sets.n_facts) / n
            for v in (value, between, other)
        ]
    return Excess(
        level=part.level,
        within=means[0],
        between=means[1],
        other=means[2],
        permuted=part.permuted - constant,
        n_queries=len(np.unique(np.concatenate([pairs.first[used], pairs.second[used]]))),
    )
