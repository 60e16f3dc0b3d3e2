"""ROME's C: the uncentered second moment of keys over a text sample, and systems solved with it."""

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
    """Return the inputs of one layer's down-projection at every token of a text.

    Special tokens that the tokenizer puts around a text are read by the model, but give no keys.

    Parameters
    ----------
    engine : RowEngine
        Holds the model.
    layer : int
        The layer.
    sample : sequence of Piece
        The text, in pieces that fit into the context.

    Returns
    -------
    torch.Tensor, shape (token, neuron)
        float32 at least.
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
    """The matrix C = Σ k kᵀ / T + λ I over a sample of T keys, λ = ``ridge`` · tr(Σ k kᵀ / T) / n.

    A small sample has fewer tokens than a layer has neurons, so that Σ k kᵀ is singular; hence λ. C itself,
    of n × n neurons, is never formed. By Woodbury's identity a matrix of the sample's size suffices, C⁻¹k =
    (k − Kᵀ (λT I + K Kᵀ)⁻¹ K k) / λ.

    Attributes
    ----------
    keys : torch.Tensor, shape (token, neuron)
        K, one key a row.
    ridge : float
        λ as a share of the mean of the diagonal.
    """

    keys: Tensor
    ridge: float

    def solve(self, key: Tensor) -> Tensor:
        """Return C⁻¹k, computed in float64.

        Parameters
        ----------
        key : torch.Tensor, shape (neuron,)
            k.

        Returns
        -------
        torch.Tensor, shape (neuron,)
            C⁻¹k, of the key's dtype.
        """
        keys, wide = self._keys, key.double()
        inner = torch.cholesky_solve((keys @ wide)[:, None], self._factor)[:, 0]
        return ((wide - keys.T @ inner) / self._weight).to(key.dtype)

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
        """The Cholesky factor of λT I + K Kᵀ."""
        gram = self._keys @ self._keys.T
        gram.diagonal().add_(self._weight * len(gram))
        factor: Tensor = torch.linalg.cholesky(gram)
        return factor
