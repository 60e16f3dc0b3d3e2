"""Dice overlaps between many sets of one relation, as dense blocks.

Few neurons are in most sets of a relation, most neurons in few: the first go through a dense product, the
others through a sparse one, so that cost grows with neither the network's size nor the popular neurons'
counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from qloc.analysis.groups import Ints
from qloc.analysis.pairs import QueryPairs
from qloc.neurons import NeuronSets

WHOLE = 2048
"""Queries up to which a relation is one block; above, each pair of templates is one."""

BLOCK_CELLS = 2**26
"""Cells of a block of float32 at most; rows are cut where it would be more."""

POPULAR = 16
"""A neuron in more than one in so many of a relation's sets goes through the dense product."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """Overlaps of some queries with others.

    Attributes
    ----------
    rows, columns : int64, queries.
    pairs : int64, indices of the wanted pairs whose second query is among ``columns``, and whose first query
        is among ``rows`` or the rows of another piece of this block.
    n_rows : rows of all pieces.
    values : float32, (row, column), Dice.
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
    member : bool, CSR (query, neuron), all queries of the study.
    queries : int64, the relation's.
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
        """2|N_i ∩ N_j| / (|N_i| + |N_j|): float32, (row, column); places among ``queries``."""
        shared = self._dense[rows] @ self._dense[columns].T
        rest = self._sparse[rows] @ self._sparse[columns].T
        if rest.nnz:
            shared += rest.toarray()
        shared *= 2
        shared /= self._size[rows][:, None] + self._size[columns][None, :]
        return np.asarray(shared, dtype=np.float32)


def blocks_of(
    sets: NeuronSets, pairs: QueryPairs, wanted: NDArray[np.bool_], relation: int
) -> Iterator[Block]:
    """The overlaps of one relation that the wanted pairs, and what they are compared with, lie in."""
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
        here = chosen[(key[0] == s) & (key[1] == t)]
        yield from _cut(overlaps, np.flatnonzero(template == s), np.flatnonzero(template == t), here)


def _cut(overlaps: Overlaps, rows: Ints, columns: Ints, pairs: Ints) -> Iterator[Block]:
    step = max(1, BLOCK_CELLS // max(1, len(columns)))
    for first in range(0, len(rows), step):
        part = rows[first : first + step]
        yield Block(
            rows=overlaps.queries[part],
            columns=overlaps.queries[columns],
            pairs=pairs,
            n_rows=len(rows),
            values=overlaps.dice(part, columns),
        )
