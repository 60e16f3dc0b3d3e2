"""The uncentered second moment of keys over a text sample, and what solves a system with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from qloc.extract.models.hooks import hooked, without_head
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.prompts.held_out_text import Piece


@torch.no_grad()
def keys_of(engine: RowEngine, layer: int, sample: Sequence[Piece]) -> Tensor:
    """Inputs of one layer's down-projection at every token of a text: (token, neuron), float32 at least.

    What the tokenizer puts before and behind a text is read, but no key of the sample.
    """
    device = next(iter(engine.model.parameters())).device
    kept: list[Tensor] = []

    def keep(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        kept.append(args[0].reshape(-1, args[0].shape[-1]).to(engine.wide))

    with hooked(forward_pre={engine.sites.downs[layer]: keep}), without_head(engine.sites.head):
        for piece in sample:
            engine.model(input_ids=torch.tensor([piece.ids], device=device))
    inside = [slice(len(piece.before), len(piece.before) + len(piece.inside)) for piece in sample]
    none = torch.zeros(0, engine.sites.n_neurons, dtype=engine.wide, device=device)
    return torch.cat([none, *(keys[place].to(device) for keys, place in zip(kept, inside, strict=True))])


@dataclass(frozen=True, kw_only=True)
class SecondMoment:
    """C = Σ k kᵀ / T + λ I over a sample of T keys, λ = ``ridge`` · tr(Σ k kᵀ / T) / n.

    A sample that can be had everywhere has fewer tokens than a layer has neurons, so that Σ k kᵀ has no
    inverse: hence λ. C, neurons × neurons, is never made: by Woodbury's identity a matrix of the sample's
    size will do, C⁻¹k = (k − Kᵀ (λT I + K Kᵀ)⁻¹ K k) / λ.

    Attributes
    ----------
    keys : K, (token, neuron).
    ridge : λ, as a share of the mean of the diagonal.
    """

    keys: Tensor
    ridge: float

    def solve(self, key: Tensor) -> Tensor:
        """C⁻¹ ``key``, (neuron,), of the key's dtype; computed in float64."""
        keys, given = self._keys, key.double()
        inner = torch.cholesky_solve((keys @ given)[:, None], self._factor)[:, 0]
        return ((given - keys.T @ inner) / self._weight).to(key.dtype)

    @cached_property
    def _keys(self) -> Tensor:
        return self.keys.double()

    @cached_property
    def _weight(self) -> Tensor:
        """λ."""
        weight: Tensor = self.ridge * self._keys.square().mean()
        return weight

    @cached_property
    def _factor(self) -> Tensor:
        """Cholesky factor of λT I + K Kᵀ."""
        gram = self._keys @ self._keys.T
        gram.diagonal().add_(self._weight * len(gram))
        factor: Tensor = torch.linalg.cholesky(gram)
        return factor
