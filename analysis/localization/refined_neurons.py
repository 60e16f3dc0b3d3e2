"""Refined neurons: those in enough of a fact's sets; how many is enough is set for each relation.

See docs/methods.md#neuron-sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from qloc.arrays import Floats, Ints
from qloc.neurons import NeuronSets

SHARE_STEP: Final = 0.05
"""What p moves by."""

WANTED_MEAN: Final = (2.0, 5.0)
"""Between these the mean number of refined neurons of a relation's facts should come to lie."""

Loop = Literal["settled", "dai", "niu"]
"""How p is chosen: until it settles, for a relation (ours); in six rounds, for a relation; for each fact."""

LOOPS: Final[tuple[Loop, ...]] = get_args(Loop)

ROUNDS: Final = 6
"""Rounds of Dai et al.: the sixth p is the last, whatever comes of it."""

_LEAST_QUERIES: Final = 3


@dataclass(frozen=True, kw_only=True)
class Refined:
    """The refined neurons of every fact.

    Attributes
    ----------
    member : bool CSR array, shape (fact, layer · neuron)
        A row is the refined neurons of a fact.
    share : dict of str to float
        The p reached, by relation; in the loop of Niu et al. by fact, its number as text.
    converged : dict of str to bool
        Whether the number, or its mean over a relation's facts, came to lie between 2 and 5, by the same.
    """

    member: sparse.csr_array
    share: Mapping[str, float]
    converged: Mapping[str, bool]


def refined_neurons(sets: NeuronSets, share: float = 0.7, loop: Loop = "settled") -> Refined:
    """Find the neurons in at least a share p of a fact's non-empty sets.

    p begins at ``share`` and moves by 0.05 until 2 to 5 neurons are left. It *forces* few neurons: read
    budgets of the strongest beside it. At equal budgets no loop differs from another: each cuts the same
    counts, so that of two loops a fact's smaller set is part of its larger one.

    - ``settled``, ours: for each relation, until the mean over its facts with three non-empty sets is within
      2 to 5, or p would turn back or leave (0, 1]; a neuron has to be in 3 sets at least.
    - ``dai``: for each relation, in six rounds at most; the mean is over all facts with a non-empty set.
    - ``niu``: for each fact (bag of prompts) by itself, until its own number is within 2 to 5, or as ours
      ends.

    Parameters
    ----------
    sets : NeuronSets
        Sets of the queries to use; empty ones are left out.
    share : float
        The p to begin with, in (0, 1].
    loop : {"settled", "dai", "niu"}
        How p is chosen.

    Returns
    -------
    Refined
        The neurons, and the p reached; with ``settled``, facts with fewer than 3 non-empty sets have none.

    References
    ----------
    Dai et al. 2022 (arXiv 2104.08696), §3.3; Niu et al. 2024 (arXiv 2405.02421).

    Examples
    --------
    >>> from qloc.simulation.simulate import simulate
    >>> sets = simulate(facts=12, relations=2, templates=4, seed=1).neurons()
    >>> refined = refined_neurons(sets)
    >>> refined.member.shape[0], sorted(refined.share)
    (12, ['R01', 'R02'])
    >>> len(refined_neurons(sets, loop="niu").share)
    12
    """
    filled = sets.sizes() > 0
    fact, n_queries = sets.queries["fact"], sets.n_queries
    of_fact = sparse.csr_array(
        (filled.astype(np.int32), (fact, np.arange(n_queries))), shape=(sets.n_facts, n_queries)
    )
    counts = sparse.csr_array(of_fact @ sets.member.astype(np.int32))
    counts.sum_duplicates()
    k = np.bincount(fact[filled], minlength=sets.n_facts)
    row = np.repeat(np.arange(sets.n_facts), np.diff(counts.indptr))
    least = _LEAST_QUERIES if loop == "settled" else 1
    keep = np.zeros(len(row), dtype=bool)
    reached: dict[str, float] = {}
    converged: dict[str, bool] = {}
    for name, of_bag in _bags(sets, loop):
        facts = of_bag[k[of_bag] >= least]
        inside = _entries(counts.indptr.astype(np.int64), facts)
        count = np.where(counts.data[inside] >= least, counts.data[inside], 0)
        ratio = count / k[row[inside]]
        rounds = ROUNDS if loop == "dai" else None
        reached[name], converged[name] = _settled(ratio, len(facts), share, rounds)
        keep[inside] = _enough(ratio, reached[name])
    shape = (sets.n_facts, sets.n_layers * sets.n_neurons)
    chosen = (np.ones(keep.sum(), dtype=bool), (row[keep], counts.indices[keep]))
    member = sparse.csr_array(chosen, shape=shape)
    member.sort_indices()
    return Refined(member=member, share=reached, converged=converged)


def _bags(sets: NeuronSets, loop: Loop) -> Iterator[tuple[str, Ints]]:
    """Yield the facts that share a p: those of a relation, or each fact by itself."""
    if loop == "niu":
        for number in range(sets.n_facts):
            yield str(number), np.array([number])
        return
    relation = np.asarray(sets.facts["relation"]).astype(str)
    for name in np.unique(relation):
        yield str(name), np.flatnonzero(relation == name)


def _entries(indptr: Ints, rows: Ints) -> Ints:
    """Return the places of the entries of some rows of a CSR array."""
    length = indptr[rows + 1] - indptr[rows]
    before = np.cumsum(length) - length
    return np.asarray(np.repeat(indptr[rows] - before, length) + np.arange(length.sum()), dtype=np.int64)


def _enough(ratio: Floats, p: float) -> NDArray[np.bool_]:
    return np.asarray(ratio >= p - 1e-9)


def _settled(ratio: Floats, n_facts: int, share: float, rounds: int | None) -> tuple[float, bool]:
    """The p where the mean number lies within what is wanted, or where the loop ends without."""
    tried: list[float] = []
    p = round(share, 10)
    while n_facts:
        tried.append(p)
        mean = _enough(ratio, p).sum() / n_facts
        if WANTED_MEAN[0] <= mean <= WANTED_MEAN[1]:
            return p, True
        moved = round(p + (SHARE_STEP if mean > WANTED_MEAN[1] else -SHARE_STEP), 10)
        if not 0 < moved <= 1 or len(tried) == rounds:
            break
        if moved in tried and rounds is None:
            p = moved
            break
        p = moved
    return p, False
