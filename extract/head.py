"""From final hidden states to the answer's probability, with an exact gradient.

Logits over the vocabulary are half of a small model's remaining work and most of its memory, so they exist
for one chunk of rows at a time and are never kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qloc.extract.architectures import AFTER_HEAD, down_weight, logits_of


@dataclass(frozen=True, kw_only=True)
class Head:
    """A model's output embedding, with the memory that logits may take.

    Attributes
    ----------
    chunk_bytes : most bytes of logits alive at once.
    """

    model: Any
    module: nn.Module
    chunk_bytes: int

    def logits(self, hidden: Tensor) -> Tensor:
        """(row, vocabulary) of ``hidden``, (row, hidden), as wide as it may be."""
        return logits_of(self.model, self.module, hidden.to(down_weight(self.module).dtype))

    def rows_a_chunk(self) -> int:
        """Rows whose logits, their softmax and its gradient fit into ``chunk_bytes``."""
        vocabulary = int(self.model.config.get_text_config().vocab_size)
        return max(1, self.chunk_bytes // (4 * 8 * vocabulary))

    @property
    def plain(self) -> bool:
        """Whether logits are the output embedding's output as it is, without scale or cap."""
        config = self.model.config.get_text_config()
        return not any(getattr(config, name, None) for name in AFTER_HEAD)

    def probability_and_gradient(self, hidden: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        """P(token), (row,), and ∂P(token)/∂hidden, (row, hidden), both float32 at least.

        For logits z = W h + b the gradient is P · (W_token − Σ_v softmax(z)_v W_v): one softmax in place
        and one more product, where autograd would pass over the vocabulary six times. The weights of the
        sum are taken together first: where P is almost 1, W_token and the mean are almost equal.
        """
        if not self.plain:
            with torch.enable_grad():
                leaf = hidden.detach().requires_grad_(True)
                logs = self.logits(leaf).log_softmax(1).gather(1, token[:, None])[:, 0]
                (gradient,) = torch.autograd.grad(logs.sum(), leaf)
            probability = logs.detach().exp()
            return probability, probability[:, None] * gradient
        shares = self.logits(hidden).softmax(1)
        probability = shares.gather(1, token[:, None])[:, 0]
        change = shares.neg_().scatter_add_(1, token[:, None], torch.ones_like(probability)[:, None])
        return probability, probability[:, None] * _product(change, down_weight(self.module))

    def probability(self, hidden: Tensor, token: Tensor, against: Tensor | None = None) -> Tensor:
        """P(token) of each row, less P(against), differentiable in ``hidden``.

        Parameters
        ----------
        hidden : (row, hidden)
        token : int64, (row,)
        against : int64, (row,); -1 where nothing is subtracted.

        Returns
        -------
        (row,), float32 at least.
        """
        found: Tensor = _AnswerProbability.apply(hidden, token, self)  # type: ignore[no-untyped-call]
        if against is None:
            return found
        less = self.probability(hidden, against.clamp_min(0))
        return torch.where(against < 0, found, found - less)


def _product(wide: Tensor, weight: Tensor) -> Tensor:
    """``wide @ weight``, rows brought to size one where the weight is narrower: small ones would be zero."""
    if wide.dtype == weight.dtype:
        return wide @ weight
    size = wide.abs().amax(1, keepdim=True).clamp_min(torch.finfo(wide.dtype).tiny)
    return size * ((wide / size).to(weight.dtype) @ weight).to(wide.dtype)


class _AnswerProbability(torch.autograd.Function):
    """P(y) and ∂P(y)/∂hidden, both computed in the forward pass, chunk by chunk."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, token: Tensor, head: Head) -> Tensor:
        """Keep the gradient instead of logits: (row, hidden) instead of (row, vocabulary)."""
        rows, probabilities, gradients = head.rows_a_chunk(), [], []
        for piece, wanted in zip(hidden.split(rows), token.split(rows), strict=True):
            probability, gradient = head.probability_and_gradient(piece, wanted)
            probabilities.append(probability)
            gradients.append(gradient)
        ctx.save_for_backward(torch.cat(gradients))
        return torch.cat(probabilities)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        """Scale the kept gradient by each row's own upstream."""
        (gradient,) = ctx.saved_tensors
        return gradient * upstream[0][:, None].to(gradient.dtype), None, None
