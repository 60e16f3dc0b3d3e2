"""Attribution methods: from path gradients to one score a neuron (methods.md §3).

Each method reads the activations and gradients of one answer token and gives scores; a query's attribution
is the mean over its answer tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from qloc.extract.growing import PathGradients
from qloc.extract.quadrature import Quadrature


@dataclass(frozen=True, kw_only=True)
class ScaledPath:
    """The straight path α · w̄ from zero to a layer's activation, all neurons of the layer together.

    The node α = 1 is the unpatched pass, which costs nothing more; α = 0 is added where the rule lacks it,
    with no weight, because the completeness gap needs P there.

    Attributes
    ----------
    nodes : float64, (node,), without α = 1; the last or only 0 among them gives P(0).
    weights : float64, (node,).
    at_one : weight of the node α = 1.
    """

    nodes: tuple[float, ...]
    weights: tuple[float, ...]
    at_one: float

    @classmethod
    def of(cls, rule: Quadrature) -> ScaledPath:
        """The path's nodes for a quadrature rule."""
        inner = [(float(a), float(w)) for a, w in zip(rule.nodes, rule.weights, strict=True) if a != 1.0]
        if not any(alpha == 0.0 for alpha, _ in inner):
            inner.insert(0, (0.0, 0.0))
        at_one = float(rule.weights[rule.nodes == 1.0].sum())
        return cls(nodes=tuple(a for a, _ in inner), weights=tuple(w for _, w in inner), at_one=at_one)

    def points(self, _: int, activation: Tensor) -> Tensor:
        """(node, query, neuron), float32 at least, of an activation, (query, neuron)."""
        wide = torch.promote_types(activation.dtype, torch.float32)
        return torch.tensor(self.nodes, dtype=wide, device=activation.device)[:, None, None] * activation

    def weight_matrix(self) -> Tensor:
        """(rule, node): one rule."""
        return torch.tensor([self.weights], dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of answer tokens by one method.

    Attributes
    ----------
    attribution : (target, layer, neuron)
    gap : (target, layer), completeness gap; NaN where not defined.
    """

    attribution: Tensor
    gap: Tensor


def integrated_gradients(found: PathGradients, path: ScaledPath) -> Scores:
    """w̄ ⊙ ∫₀¹ ∇P(α w̄) dα, one layer at a time, baseline zero.

    The completeness gap is |ΣA − ΔP| / max(Σ|A|, |ΔP|) with ΔP = P(w̄) − P(0); 0/0 is 0.

    References
    ----------
    Dai et al. 2022 (arXiv 2104.08696), eq. 3–4; Sundararajan et al. 2017 (arXiv 1703.01365), eq. 1.
    """
    mean = found.mean_gradient[0] + path.at_one * found.gradient
    attribution = found.activation * mean
    at_zero = found.node_probability[path.nodes.index(0.0)]
    change = found.probability[:, None] - at_zero
    total, size = attribution.sum(-1), attribution.abs().sum(-1)
    largest = torch.maximum(size, change.abs())
    gap = torch.where(largest > 0, (total - change).abs() / largest, torch.zeros_like(total))
    return Scores(attribution=attribution, gap=gap)


def gradient_times_activation(found: PathGradients, path: ScaledPath) -> Scores:
    """w̄ ⊙ ∇P(w̄): the cheap comparison; no completeness gap."""
    attribution = found.activation * found.gradient
    return Scores(attribution=attribution, gap=torch.full(attribution.shape[:2], torch.nan))


METHODS: Final[Mapping[str, Callable[[PathGradients, ScaledPath], Scores]]] = {
    "ig": integrated_gradients,
    "grad_x_act": gradient_times_activation,
}
"""Every attribution method; a new one is one more function here."""
