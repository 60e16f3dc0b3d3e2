"""Edits of rank one: make a down-projection give one value for one key, and change little for other keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qloc.extract.models.architectures import down_weight


@dataclass(frozen=True, kw_only=True)
class RankOne:
    """An edit Ŵ = W + Λ uᵀ of one layer's down-projection, every row of which changes.

    Attributes
    ----------
    layer : int
        The layer.
    direction : torch.Tensor, shape (neuron,)
        u, with uᵀk* = 1 at the key k* that is edited.
    change : torch.Tensor, shape (n_out,)
        Λ, what is added to the output at k*.
    """

    layer: int
    direction: Tensor
    change: Tensor

    @property
    def n_slots(self) -> int:
        """Number of rows of down-projections that change."""
        return len(self.direction)

    def at(self, layer: int) -> Callable[[Tensor], Tensor] | None:
        """Return what the edit adds to the output of a layer's down-projection.

        Parameters
        ----------
        layer : int
            The layer.

        Returns
        -------
        callable or None
            Takes the input of the down-projection, of shape (…, neuron), and returns (…, n_out). None where
            the edit changes another layer.
        """
        return self._added if layer == self.layer else None

    def _added(self, activation: Tensor) -> Tensor:
        share = activation @ self.direction.to(activation)
        return share[..., None] * self.change.to(activation)


@torch.no_grad()
def rank_one(down: nn.Module, layer: int, *, key: Tensor, against: Tensor, value: Tensor) -> RankOne:
    """Make the edit that gives a value at a key and, among all that do, changes other keys' outputs least.

    Ŵ = W + Λ (C⁻¹k*)ᵀ with Λ = (v* − (W k* + b)) / ((C⁻¹k*)ᵀk*) minimizes E‖Ŵ k − W k‖², C = E[k kᵀ],
    subject to Ŵ k* + b = v*.

    Parameters
    ----------
    down : torch.nn.Module
        The layer's down-projection.
    layer : int
        The layer.
    key : torch.Tensor, shape (neuron,)
        k*.
    against : torch.Tensor, shape (neuron,)
        C⁻¹k*; k* itself where C is the identity.
    value : torch.Tensor, shape (n_out,)
        v*.

    Returns
    -------
    RankOne
        The edit.

    References
    ----------
    Meng et al. 2022 (arXiv 2202.05262), eq. 2.
    """
    before: Tensor = down(key.to(down_weight(down).dtype)[None])[0]
    return RankOne(layer=layer, direction=against / (against @ key), change=value - before.to(value.dtype))
