"""What the paraphrases of a fact share beyond their templates, and beyond their answer.

For two templates s and t of a relation, S(f, g) is the Dice overlap of fact f's set under s with fact g's
under t. Within facts it is S(f, f); between facts S(f, g), of different subjects, since facts of one subject
have the same prompts. The excess of the first over the second is what a fact's queries share that other
facts, asked with the very same two templates, do not; with g restricted to facts of the same answer, it is
what they share beyond that answer too.

Under the null, sets are exchangeable between the facts of a stratum (relation × template, or × answer), so
permuting them there, independently for each template, gives the distribution of the statistic. Within and
between means move together, which the weights of :class:`Design` account for exactly.

Which pairs are compared with which others is said by :mod:`~qloc.analysis.localization.overlap.query_pairs`,
their overlaps come from :mod:`~qloc.analysis.localization.overlap.overlap_blocks`; here is the excess with
its permutations (:func:`excesses`). docs/statistics.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from qloc.analysis.inference.label_codes import codes, n_codes
from qloc.analysis.localization.consistency import query_answers, subject_codes
from qloc.analysis.localization.overlap.overlap_blocks import OverlapBlock, blocks_of
from qloc.analysis.localization.overlap.query_pairs import (
    LEVELS,
    Design,
    Level,
    QueryPairs,
    design_of,
    pairs_of,
)
from qloc.arrays import Floats, Ints
from qloc.neurons import NeuronSets
from qloc.random_streams import Stream

_STREAMS: Final[Mapping[Level, Stream]] = {
    "template": Stream.BEYOND_TEMPLATE,
    "answer": Stream.BEYOND_ANSWER,
}


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
        The same between facts of different subjects with different answers, at level ``answer``; NaN where a
        fact has none.
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
        Σ S over pairs of facts of different subjects with different answers, asked with the pair's two
        templates.
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
    subject = subject_codes(sets)
    pairs = pairs_of(sets, subject)
    sums = []
    for level in levels:
        design = design_of(sets, pairs, level)
        total, apart = np.zeros(n_codes(design.cell)), np.zeros(len(pairs.first))
        sums.append(_Sums(level, design, total, apart, np.zeros(n_permutations)))
    answer = codes(query_answers(sets))
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
                    _add_apart(block, pairs, part, (answer, subject))
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


def _add_apart(block: OverlapBlock, pairs: QueryPairs, part: _Sums, labels: tuple[Ints, Ints]) -> None:
    """Add Σ S over queries with different answers and subjects, for each pair's two templates."""
    used = block.pairs[part.design.weight[block.pairs] > 0]
    if not len(used):
        return
    answer, subject = labels
    same: NDArray[np.bool_] = np.equal.outer(answer[block.rows], answer[block.columns])
    same |= np.equal.outer(subject[block.rows], subject[block.columns])
    rows, row_place = _indicator(pairs.template[block.rows], pairs.template[pairs.first[used]])
    columns, column_place = _indicator(pairs.template[block.columns], pairs.template[pairs.second[used]])
    table = np.asarray((rows @ np.where(same, np.float32(0), block.values)) @ columns.T, dtype=np.float64)
    part.apart[used] += table[row_place, column_place]


def _n_apart(template: Ints, labels: tuple[Ints, Ints], first: Ints, second: Ints) -> Floats:
    """Number of pairs of queries of two templates that differ in both labels, for each pair of queries."""
    (s, t), both = np.unique(np.stack([template[first], template[second]]), axis=1, return_inverse=True)
    size = np.bincount(template).astype(np.float64)
    apart = size[s] * size[t]
    for sign, label in ((-1, labels[0]), (-1, labels[1]), (1, codes(*labels))):
        places = (np.ones(len(template)), (template, label))
        count = sparse.csr_array(places, shape=(len(size), n_codes(label)))
        apart += sign * np.asarray(count[s].multiply(count[t]).sum(axis=1)).ravel()
    return np.asarray(apart[both.ravel()])


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
    other = np.full(len(used), np.nan)
    if part.level == "answer":
        labels = codes(query_answers(sets)), subject_codes(sets)
        n_apart = _n_apart(pairs.template, labels, pairs.first[used], pairs.second[used])
        with np.errstate(invalid="ignore", divide="ignore"):
            other = part.apart[used] / n_apart
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
