"""Consistency-aware scores (CAS): neurons that are strong in every paraphrase, not in one.

Definition and defaults: docs/methods.md#neuron-sets.
"""

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
    neuron : int64 ndarray, shape (neuron,)
        Neuron numbers, ascending.
    score : float64 ndarray, shape (neuron,)
        β1 μ − β2 σ.
    """

    neuron: NDArray[np.int64]
    score: Floats

    def members(self, t: float) -> NDArray[np.int64]:
        """Return the neurons with a score > t · max.

        Parameters
        ----------
        t : float
            Share of the largest score.

        Returns
        -------
        int64 ndarray
            Ascending; empty where the largest score is not positive.
        """
        largest = self.score.max(initial=0.0)
        return self.neuron[self.score > t * largest] if largest > 0 else self.neuron[:0]

    def strongest(self, b: int) -> NDArray[np.int64]:
        """Return the neurons of the ``b`` largest positive scores.

        Parameters
        ----------
        b : int
            Budget.

        Returns
        -------
        int64 ndarray
            Ascending; of equal scores the smaller neuron number is taken.
        """
        order = np.lexsort((self.neuron, -self.score))[:b]
        return np.sort(self.neuron[order[self.score[order] > 0]])

    def certified(self, t: float, beta1: float, floor: float) -> bool:
        """Return whether no neuron outside the panel could be a member: t · max CAS > 0 and ≥ β1 · floor.

        Outside, every query's attribution is below floor · max, so the mean of the ratios is below the floor.

        Parameters
        ----------
        t : float
            As for :meth:`members`.
        beta1 : float
            Weight of the mean that the scores were made with.
        floor : float
            The effective floor of the fact's panel; 0 in the dense tier.

        Returns
        -------
        bool
            False also where the largest score is not positive.
        """
        bar = t * float(self.score.max(initial=0.0))
        return bar > 0 and bar >= beta1 * floor


def cas(values: Array, panel: Array, maximum: Array, beta1: float = 0.7, beta2: float = 0.3) -> Cas:
    """Return β1 μ − β2 σ over a fact's queries, of attributions divided by each query's largest.

    Parameters
    ----------
    values : float ndarray, shape (query, slot)
        Attributions of one fact's queries on its panel; NaN counts as 0.
    panel : int ndarray, shape (slot,)
        Neuron numbers; -1 where a slot is empty.
    maximum : float ndarray, shape (query,)
        Largest attribution over the whole network; queries where it is not positive are left out.
    beta1 : float, default 0.7
        Weight of the mean μ.
    beta2 : float, default 0.3
        Weight of the standard deviation σ (ddof 0); 0 leaves the mean alone.

    Returns
    -------
    Cas
        Scores of the panel's neurons; of none where no query is left.

    References
    ----------
    Chen et al. 2025 (arXiv 2405.14117), §4; 0.7 and 0.3 are our defaults, unverified.

    Examples
    --------
    >>> scores = cas(np.array([[1.0, 1.0], [1.0, 0.0]]), np.array([4, 7]), np.array([1.0, 1.0]))
    >>> scores.neuron.tolist(), scores.score.round(2).tolist(), scores.members(0.3).tolist()
    ([4, 7], [0.7, 0.2], [4])
    """
    kept = np.asarray(maximum) > 0
    slots = np.flatnonzero(panel >= 0)
    slots = slots[np.argsort(panel[slots], kind="stable")]
    neuron = panel[slots].astype(np.int64)
    if not kept.any():
        return Cas(neuron=neuron[:0], score=np.zeros(0))
    ratio = np.asarray(values, dtype=np.float64)[np.ix_(kept, slots)]
    ratio = np.nan_to_num(ratio) / np.asarray(maximum, dtype=np.float64)[kept][:, None]
    score = beta1 * ratio.mean(axis=0) - beta2 * ratio.std(axis=0)
    return Cas(neuron=neuron, score=score)
