"""Consistency over all k₀-subsets of a fact's queries, exactly: K_I(k₀) and the rarefaction curve.

For every subset S of a fact's k sets at once: how many neurons are in none, in one, in all of S. A neuron's
*pattern* is the set of queries that it is in, a k-bit number; the three counts for all 2^k subsets are
Kronecker transforms of the histogram of patterns, one pass a bit (as in a fast zeta transform), k · 2^k
additions a fact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from qloc.arrays import Floats, Ints

LARGEST_TRANSFORM = 20
"""Queries a fact up to which all 2^k subsets are transformed; ParaRel's largest k."""

MOST_SUBSETS = 250_000
"""Subsets of one size that are enumerated for facts with more queries than that."""

MOST_BITS = 62
"""Bits of an int64 that a pattern may have."""

_PIECE = 2**21
"""Cells of one transform that are in memory at a time."""


@dataclass(frozen=True, kw_only=True)
class SubsetScores:
    """Means over a fact's k₀-subsets, one row a fact, one column a k₀.

    Attributes
    ----------
    below_cs1 : float64 ndarray, shape (fact, size)
        Share of subsets with CS1 < threshold; NaN where k < k₀.
    below_cs2 : float64 ndarray, shape (fact, size)
        Share of subsets with CS2 < threshold; NaN where k < k₀.
    mean_cs1 : float64 ndarray, shape (fact, size)
        Mean CS1 over the subsets.
    mean_cs2 : float64 ndarray, shape (fact, size)
        Mean CS2 over the subsets.
    """

    below_cs1: Floats
    below_cs2: Floats
    mean_cs1: Floats
    mean_cs2: Floats


def subset_scores(
    member: sparse.csr_array, fact: Ints, n_facts: int, sizes: Sequence[int], threshold: float
) -> SubsetScores:
    """Score every k₀-subset of every fact's non-empty sets, by exact enumeration.

    Parameters
    ----------
    member : bool CSR array, shape (query, neuron)
        A row is the set of a query; empty ones are left out.
    fact : int64 ndarray, shape (query,)
        Fact of each query.
    n_facts : int
        Number of facts, those without a query among them.
    sizes : sequence of int
        The k₀, each at least 2.
    threshold : float
        A subset is inconsistent where its score is below.

    Returns
    -------
    SubsetScores
        NaN where a fact has fewer than k₀ non-empty sets, or more subsets than can be enumerated.

    Examples
    --------
    >>> sets = sparse.csr_array(np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1]], dtype=bool))
    >>> scores = subset_scores(sets, np.array([0, 0, 0]), 1, [2, 3], 0.3)
    >>> scores.below_cs2.round(3).tolist(), scores.mean_cs2.round(3).tolist()
    ([[0.667, 0.0]], [[0.167, 0.333]])
    """
    means = np.full((4, n_facts, len(sizes)), np.nan)
    for k, facts, pattern in patterns(member, fact):
        wanted = [place for place, size in enumerate(sizes) if size <= k]
        if not wanted:
            continue
        for place, scores in _scores_of(k, pattern, [sizes[p] for p in wanted], threshold):
            means[:, facts, wanted[place]] = scores
    return SubsetScores(below_cs1=means[0], below_cs2=means[1], mean_cs1=means[2], mean_cs2=means[3])


@dataclass(frozen=True)
class Patterns:
    """Patterns of the neurons of several facts with k ≤ 62 sets each, end to end.

    Attributes
    ----------
    values : int64 ndarray, shape (neuron,)
        A pattern for each neuron of each fact's union.
    start : int64 ndarray, shape (fact + 1,)
        Where each fact's patterns begin, and where the last one's end.
    """

    values: NDArray[np.int64]
    start: Ints

    def __len__(self) -> int:
        return len(self.start) - 1

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        return iter(np.split(self.values, self.start[1:-1]))

    def histogram(self, k: int, first: int, last: int) -> Ints:
        """Count how many neurons of each of some facts have each pattern.

        Parameters
        ----------
        k : int
            Number of each fact's sets.
        first : int
            The first of the facts.
        last : int
            The fact after the last one.

        Returns
        -------
        int64 ndarray, shape (2^k, fact)
            Counts by pattern.
        """
        start = self.start[first : last + 1]
        owner = np.repeat(np.arange(last - first), np.diff(start))
        cell = self.values[start[0] : start[-1]] * (last - first) + owner
        return np.bincount(cell, minlength=(last - first) << k).reshape(1 << k, last - first)


def patterns(
    member: sparse.csr_array, fact: Ints
) -> Iterator[tuple[int, Ints, Patterns | list[NDArray[np.int64]]]]:
    """Group facts by their number k of non-empty sets, with their neurons' patterns.

    Parameters
    ----------
    member : bool CSR array, shape (query, neuron)
        A row is the set of a query; empty ones are left out.
    fact : int64 ndarray, shape (query,)
        Fact of each query.

    Yields
    ------
    k : int
        Number of non-empty sets.
    facts : int64 ndarray, shape (fact,)
        Facts with so many.
    pattern : Patterns or list of int64 ndarray, shape (neuron, k)
        For each neuron of a fact's union, a number whose bit i is set where the neuron is in the fact's i-th
        set; where k > 62, a matrix of 0 and 1 for each fact in its place.
    """
    filled = np.flatnonzero(np.diff(member.indptr) > 0)
    order = filled[np.argsort(fact[filled], kind="stable")]
    ids, start, place, k_of = np.unique(
        fact[order], return_index=True, return_inverse=True, return_counts=True
    )
    bit = np.arange(len(order)) - start[place]
    for k in np.unique(k_of):
        chosen = np.flatnonzero(k_of == k)
        inside = k_of[place] == k
        of_bits = _of_bits if k <= MOST_BITS else _wide
        yield int(k), ids[chosen], of_bits(member[order[inside]], int(k), bit[inside])


def _of_bits(member: sparse.csr_array, k: int, bit: Ints) -> Patterns:
    """Patterns of facts with k sets each, whose rows follow each other: a product with powers of two."""
    n = len(bit)
    powers = sparse.csr_array((1 << bit, np.arange(n), np.arange(0, n + 1, k)), shape=(n // k, n))
    product = powers @ member.astype(np.int64)
    return Patterns(product.data, product.indptr.astype(np.int64))


def _wide(member: sparse.csr_array, k: int, bit: Ints) -> list[NDArray[np.int64]]:
    """Patterns as matrices of 0 and 1, a column a set, where they have too many bits for a number."""
    rows = (member[first : first + k] for first in range(0, len(bit), k))
    return [of[:, np.unique(of.indices)].toarray().T.astype(np.int64) for of in rows]


def _scores_of(
    k: int, pattern: Patterns | list[NDArray[np.int64]], sizes: list[int], threshold: float
) -> Iterator[tuple[int, Floats]]:
    """For each k₀: its place in ``sizes``, and the four means, float64 (4, fact)."""
    few = max(comb(k, size) for size in sizes) << 6 < 1 << k
    if isinstance(pattern, Patterns) and k <= LARGEST_TRANSFORM and not few:
        step, n = max(1, _PIECE >> k), len(pattern)
        parts = [
            _transformed(k, pattern.histogram(k, i, min(i + step, n)), sizes, threshold)
            for i in range(0, n, step)
        ]
        joined = np.concatenate(parts, axis=2)
        yield from ((place, joined[place]) for place in range(len(sizes)))
        return
    for place, size in enumerate(sizes):
        if comb(k, size) <= MOST_SUBSETS:
            yield place, np.stack([_enumerated(k, p, size, threshold) for p in pattern], axis=1)


def _transformed(k: int, histogram: Ints, sizes: list[int], threshold: float) -> Floats:
    """Float64, (size, 4, fact): the four means over subsets of each size."""
    none, one, every = _transforms(
        histogram.astype(np.int16 if histogram.sum(axis=0).max() < 2**15 else np.int32), k
    )
    n_bits = _popcounts(k)
    order = np.argsort(n_bits, kind="stable")
    edges = np.searchsorted(n_bits[order], [size + step for size in sizes for step in (0, 1)]).reshape(-1, 2)
    total = histogram.sum(axis=0)
    means = np.empty((len(sizes), 4, len(total)))
    for place, (first, last) in enumerate(edges):
        subsets = order[first:last]
        union = total - none[subsets]
        means[place] = _means(every[subsets] / union, (union - one[subsets]) / union, threshold)
    return means


def _popcounts(k: int) -> NDArray[np.uint8]:
    """Size of each subset, in the order that :func:`_transforms` leaves them in."""
    half = k // 2
    low, high = (np.bitwise_count(np.arange(1 << n, dtype=np.uint32)) for n in (k - half, half))
    return (low[:, None] + high[None, :]).ravel()


def _transforms(histogram: NDArray[Any], k: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Neurons in none, in exactly one, and in all sets of every subset S: int, (2^k, fact) each.

    The high half of the bits is transformed first; then the halves change places (see :func:`_popcounts`), so
    that inner loops stay long.
    """
    n, half = histogram.shape[1], k // 2
    none, one, every = histogram.copy(), np.zeros_like(histogram), histogram.copy()
    _halve(none, one, every, bits=half)
    none, one, every = (
        np.ascontiguousarray(array.reshape(1 << half, 1 << (k - half), n).swapaxes(0, 1)).reshape(-1, n)
        for array in (none, one, every)
    )
    _halve(none, one, every, bits=k - half)
    return none, one, every


def _halve(none: NDArray[Any], one: NDArray[Any], every: NDArray[Any], bits: int) -> None:
    """Transform the leading bits in place.

    With u the part of the patterns without a bit and v the part with it: where S lacks the bit, both count
    alike (u + v); where S has it, v is no longer "none", and what of v was "none" becomes "one".
    """
    for bit in range(bits):
        o, i, a = (array.reshape(1 << bit, 2, -1) for array in (none, one, every))
        with_bit = i[:, 1].copy()
        np.add(i[:, 0], o[:, 1], out=i[:, 1])
        i[:, 0] += with_bit
        without_bit = o[:, 0].copy()
        o[:, 0] += o[:, 1]
        o[:, 1] = without_bit
        a[:, 0] += a[:, 1]


def _enumerated(k: int, pattern: NDArray[np.int64], size: int, threshold: float) -> Floats:
    """The four means of one fact with many queries, subset by subset: float64, (4,)."""
    wide = pattern if pattern.ndim == 2 else (pattern[:, None] >> np.arange(k)) & 1
    subsets = np.array(list(combinations(range(k), size)))
    step = max(1, _PIECE // max(1, wide.shape[0] * size))
    hits = [wide[:, subsets[i : i + step]].sum(axis=2) for i in range(0, len(subsets), step)]
    union = np.concatenate([(hit > 0).sum(axis=0) for hit in hits])
    several = np.concatenate([(hit > 1).sum(axis=0) for hit in hits])
    every = np.concatenate([(hit == size).sum(axis=0) for hit in hits])
    return _means((every / union)[:, None], (several / union)[:, None], threshold)[:, 0]


def _means(first: Floats, second: Floats, threshold: float) -> Floats:
    """Share below the threshold and mean, of CS1 and CS2 (subset, fact): float64, (4, fact)."""
    below = [(score < threshold).mean(axis=0) for score in (first, second)]
    return np.stack([*below, first.mean(axis=0), second.mean(axis=0)])
