"""Consistency-aware scores: neurons that are strong in every paraphrase, not in one (methods.md §7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qloc.arrays import Array, Floats


@dataclass(frozen=True, kw_only=True)
class Cas:
    """Consistency-aware scores of one fact's candidates.

    Attributes
    ----------
    neuron : int64, (neuron,), ascending.
    score : float64, (neuron,), β1 μ − β2 σ.
    n_left_out : queries whose largest attribution is not positive.
    """

    neuron: NDArray[np.int64]
    score: Floats
    n_left_out: int

    def members(self, t: float) -> NDArray[np.int64]:
        """Neurons with a score > t · max; none where the largest is not positive."""
        largest = self.score.max(initial=0.0)
        return self.neuron[self.score > t * largest] if largest > 0 else self.neuron[:0]

    def strongest(self, b: int) -> NDArray[np.int64]:
        """The ``b`` largest positive scores; ties go to the smaller neuron number."""
        order = np.lexsort((self.neuron, -self.score))[:b]
        return np.sort(self.neuron[order[self.score[order] > 0]])

    def certified(self, t: float, beta1: float, floor: float) -> bool:
        """Whether no neuron outside the panel could be a member: t · max CAS > 0 and ≥ β1 · floor.

        Outside, every query's attribution is below floor · max, so the mean of the ratios is below the floor.

        Parameters
        ----------
        floor : the effective floor of the fact's panel; 0 in the dense tier.
        """
        bar = t * float(self.score.max(initial=0.0))
        return bar > 0 and bar >= beta1 * floor


def cas(values: Array, panel: Array, maximum: Array, beta1: float = 0.7, beta2: float = 0.3) -> Cas:
    """β1 μ − β2 σ over a fact's queries of attribution divided by each query's largest.

    Parameters
    ----------
    values : float, (query, slot), attribution of one fact's queries on its panel.
    panel : int, (slot,), neuron numbers; -1 where a slot is empty.
    maximum : float, (query,), over the whole network; queries where it is not positive are left out.
    beta1, beta2 : weights of the mean and of the standard deviation (ddof 0); β2 = 0 is the mean alone.

    References
    ----------
    Chen et al. 2025 (arXiv 2405.14117), §4; 0.7 and 0.3 are our defaults, unverified.

    Examples
    --------
    >>> found = cas(np.array([[1.0, 1.0], [1.0, 0.0]]), np.array([4, 7]), np.array([1.0, 1.0]))
    >>> found.neuron.tolist(), found.score.round(2).tolist(), found.members(0.3).tolist()
    ([4, 7], [0.7, 0.2], [4])
    """
    kept = np.asarray(maximum) > 0
    slots = np.flatnonzero(panel >= 0)
    slots = slots[np.argsort(panel[slots], kind="stable")]
    neuron = panel[slots].astype(np.int64)
    if not kept.any():
        return Cas(neuron=neuron[:0], score=np.zeros(0), n_left_out=len(kept))
    ratio = np.asarray(values, dtype=np.float64)[np.ix_(kept, slots)]
    ratio = np.nan_to_num(ratio) / np.asarray(maximum, dtype=np.float64)[kept][:, None]
    score = beta1 * ratio.mean(axis=0) - beta2 * ratio.std(axis=0)
    return Cas(neuron=neuron, score=score, n_left_out=int((~kept).sum()))
