"""The signals of one unit: attributions, activations and gradients of its queries, filled pass by pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qloc.extract.attribution import Scores
from qloc.extract.continuations import Attributed
from qloc.extract.paths import PathIntegral


@dataclass(frozen=True, kw_only=True)
class Signals:
    """Sums over each query's passes, and the largest of their completeness gaps.

    Attributes
    ----------
    attribution : (attribution_method, query, layer, neuron)
    activation, gradient : (query, layer, neuron)
    gap : (attribution_method, query, layer)
    """

    attribution: NDArray[Any]
    activation: NDArray[Any]
    gradient: NDArray[Any]
    gap: NDArray[Any]

    @classmethod
    def empty(cls, n_methods: int, shape: tuple[int, int, int], dtype: type[np.floating[Any]]) -> Signals:
        """Nothing added yet; ``shape`` is that of (query, layer, neuron)."""
        return cls(
            attribution=np.zeros((n_methods, *shape), dtype),
            activation=np.zeros(shape, dtype),
            gradient=np.zeros(shape, dtype),
            gap=np.full((n_methods, *shape[:2]), np.nan, dtype),
        )

    def add(self, passes: Sequence[Attributed], found: PathIntegral) -> None:
        """Add the activations and gradients of a batch of passes."""
        queries = [one.query for one in passes]
        share, weight = (np.array([getattr(p, name) for p in passes]) for name in ("share", "weight"))
        np.add.at(self.activation, queries, share[:, None, None] * found.activation.cpu().numpy())
        np.add.at(self.gradient, queries, weight[:, None, None] * found.gradient.cpu().numpy())

    def add_scores(self, number: int, passes: Sequence[Attributed], scores: Scores) -> None:
        """Add the scores of a batch of passes by method ``number``."""
        queries = [one.query for one in passes]
        weight = np.array([one.weight for one in passes])[:, None, None]
        np.add.at(self.attribution[number], queries, weight * scores.attribution.cpu().numpy())
        np.fmax.at(self.gap[number], queries, scores.gap.cpu().numpy())
