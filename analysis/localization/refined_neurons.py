"""Refined neurons: those in enough of a fact's sets; how many is enough is set for each relation.

See docs/methods.md#neuron-sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from qloc.arrays import Floats
from qloc.neurons import NeuronSets

SHARE_STEP: Final = 0.05
"""What p moves by."""

WANTED_MEAN: Final = (2.0, 5.0)
"""Between these the mean number of refined neurons of a relation's facts should come to lie."""

_LEAST_QUERIES: Final = 3


@dataclass(frozen=True, kw_only=True)
class Refined:
    """The refined neurons of every fact.

    Attributes
    ----------
    member : bool CSR array, shape (fact, layer · neuron)
        A row is the refined neurons of a fact.
    share : dict of str to float
        The p reached, by relation.
    converged : dict of str to bool
        Whether the mean number came to lie between 2 and 5, by relation.
    """

    member: sparse.csr_array
    share: Mapping[str, float]
    converged: Mapping[str, bool]


def refined_neurons(sets: NeuronSets, share: float = 0.7) -> Refined:
    """Find the neurons in at least a share p of a fact's non-empty sets, and in at least 3 of them.

    p begins at ``share`` and moves by 0.05, for each relation, until its facts have 2 to 5 refined neurons in
    the mean, or until it would turn back or leave (0, 1]. It *forces* few neurons: read budgets of the
    strongest beside it.

    Parameters
    ----------
    sets : NeuronSets
        Sets of the queries to use; empty ones are left out.
    share : float
        The p to begin with, in (0, 1].

    Returns
    -------
    Refined
        The neurons, and the p reached; facts with fewer than 3 non-empty sets have none.

    References
    ----------
    Dai et al. 2022 (arXiv 2104.08696), §3.3.

    Examples
    --------
    >>> from qloc.simulation.simulate import simulate
    >>> refined = refined_neurons(simulate(facts=12, relations=2, templates=4, seed=1).neurons())
    >>> refined.member.shape[0], sorted(refined.share)
    (12, ['R01', 'R02'])
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
    relation = np.asarray(sets.facts["relation"]).astype(str)
    keep = np.zeros(len(row), dtype=bool)
    reached: dict[str, float] = {}
    converged: dict[str, bool] = {}
    for name in np.unique(relation):
        facts = (relation == name) & (k >= _LEAST_QUERIES)
        inside = facts[row]
        ratio, count = counts.data[inside] / k[row[inside]], counts.data[inside]
        reached[str(name)], converged[str(name)] = _settled(ratio, count, int(facts.sum()), share)
        keep[inside] = _enough(ratio, count, reached[str(name)])
    shape = (sets.n_facts, sets.n_layers * sets.n_neurons)
    chosen = (np.ones(keep.sum(), dtype=bool), (row[keep], counts.indices[keep]))
    member = sparse.csr_array(chosen, shape=shape)
    member.sort_indices()
    return Refined(member=member, share=reached, converged=converged)


def _enough(ratio: Floats, count: NDArray[np.int32], p: float) -> NDArray[np.bool_]:
    return np.asarray((ratio >= p - 1e-9) & (count >= _LEAST_QUERIES))


def _settled(ratio: Floats, count: NDArray[np.int32], n_facts: int, share: float) -> tuple[float, bool]:
    """The p where the mean number lies within what is wanted, or where moving on would turn back."""
    tried: set[float] = set()
    p = round(share, 10)
    while n_facts and p not in tried:
        tried.add(p)
        mean = _enough(ratio, count, p).sum() / n_facts
        if WANTED_MEAN[0] <= mean <= WANTED_MEAN[1]:
            return p, True
        moved = round(p + (SHARE_STEP if mean > WANTED_MEAN[1] else -SHARE_STEP), 10)
        if not 0 < moved <= 1:
            break
        p = moved
    return p, False
