"""Refined neurons: those in enough of a fact's sets; how many is enough is set for each relation.

Source: methods.md §4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import sparse

from qloc.neurons import NeuronSets

STEP: Final = 0.05
WANTED: Final = (2.0, 5.0)
"""Between these the mean number of refined neurons of a relation's facts should come to lie."""

_LEAST_QUERIES: Final = 3


@dataclass(frozen=True, kw_only=True)
class Refined:
    """The refined neurons of every fact.

    Attributes
    ----------
    member : bool, CSR (fact, layer · neuron)
    share : the p reached, by relation.
    converged : whether the mean number came to lie between 2 and 5, by relation.
    """

    member: sparse.csr_array
    share: Mapping[str, float]
    converged: Mapping[str, bool]


def refined(sets: NeuronSets, share: float = 0.7) -> Refined:
    """Neurons in at least a share p of a fact's non-empty sets, and in at least 3 of them.

    p begins at ``share`` and moves by 0.05, for each relation, until its facts have 2 to 5 refined neurons in
    the mean, or until it would turn back or leave (0, 1]. It *forces* few neurons: read budgets of the
    strongest beside it.

    References
    ----------
    Dai et al. 2022 (arXiv 2104.08696), §3.3.

    Examples
    --------
    >>> from qloc.simulation.simulate import simulate
    >>> found = refined(simulate(facts=12, relations=2, templates=4, seed=1).neurons())
    >>> found.member.shape[0], sorted(found.share)
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


def _enough(ratio: np.ndarray, count: np.ndarray, p: float) -> np.ndarray:
    return np.asarray((ratio >= p - 1e-9) & (count >= _LEAST_QUERIES))


def _settled(ratio: np.ndarray, count: np.ndarray, n_facts: int, share: float) -> tuple[float, bool]:
    """The p where the mean number lies within what is wanted, or where moving on would turn back."""
    seen: set[float] = set()
    p = round(share, 10)
    while n_facts and p not in seen:
        seen.add(p)
        mean = _enough(ratio, count, p).sum() / n_facts
        if WANTED[0] <= mean <= WANTED[1]:
            return p, True
        moved = round(p + (STEP if mean > WANTED[1] else -STEP), 10)
        if not 0 < moved <= 1:
            break
        p = moved
    return p, False
