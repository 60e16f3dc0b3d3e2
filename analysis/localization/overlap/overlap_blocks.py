"""Dice overlaps of all queries of a relation, block by block, within a bound of memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from qloc.analysis.localization.overlap.query_pairs import QueryPairs
from qloc.arrays import Ints
from qloc.neurons import NeuronSets

WHOLE = 2048
"""Queries up to which a relation is one block; above, each pair of templates is one."""

BLOCK_CELLS = 2**26
"""Cells of a block of float32 at most; rows are cut where it would be more."""

POPULAR = 16
"""A neuron in more than one in so many of a relation's sets goes through the dense product."""


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
