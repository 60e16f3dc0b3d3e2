"""Edits of rank one: a down-projection is made to give one value for one key, and little else for others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qloc.extract.models.architectures import down_weight


@dataclass(frozen=True, kw_only=True)
class RankOne:
    """Ŵ = W + Λ uᵀ in one layer, every row of which changes.

    Attributes
    ----------
    layer : whose down-projection.
    direction : u, (neuron,); uᵀk* = 1 at the key k* that is edited.
    change : Λ, (n_out,), what is added to the output there.
    """

    layer: int
    direction: Tensor
    change: Tensor

    @property
    def n_slots(self) -> int:
        """How many rows of down-projections it changes."""
        return len(self.direction)

    def at(self, layer: int) -> Callable[[Tensor], Tensor] | None:
        """What it adds to a layer's output, of the layer's input (…, neuron); None where it adds nothing."""
        return self._added if layer == self.layer else None

    def _added(self, activation: Tensor) -> Tensor:
        share = activation @ self.direction.to(activation)
        return share[..., None] * self.change.to(activation)


@torch.no_grad()
def rank_one(down: nn.Module, layer: int, *, key: Tensor, against: Tensor, value: Tensor) -> RankOne:
    """The edit that gives ``value`` at ``key``: of all that do, the one that moves other keys least.

    Ŵ = W + Λ (C⁻¹k*)ᵀ with Λ = (v* − (W k* + b)) / ((C⁻¹k*)ᵀk*) minimizes E‖Ŵ k − W k‖², C = E[k kᵀ],
    subject to Ŵ k* + b = v*.

    Parameters
    ----------
    down : the layer's down-projection.
    key : k*, (neuron,).
    against : C⁻¹k*, (neuron,); k* itself where C is the identity.
    value : v*, (n_out,).

    References
    ----------
    Meng et al. 2022 (arXiv 2202.05262), eq. 2.
    """
    before: Tensor = down(key.to(down_weight(down).dtype)[None])[0]
    return RankOne(layer=layer, direction=against / (against @ key), change=value - before.to(value.dtype))
