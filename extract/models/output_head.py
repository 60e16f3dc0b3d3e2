"""From final hidden states to the answer's probability, with an exact gradient.

Logits over the vocabulary are half of a small model's remaining work and most of its memory, so they exist
for one chunk of rows at a time, where only the answer's probability is wanted one of rows and words, and are
never kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from qloc.extract.models.architectures import AFTER_HEAD, down_weight, logits_of

_WORDS: Final = {"cpu": 2048, "cuda": 16_384}
"""Words of the vocabulary at a time. On a processor few enough that products stay in its cache, where they
are up to half as fast again as over the whole vocabulary (benchmarks/matmul_share.py)."""


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

    def rows_a_piece(self) -> int:
        """Rows whose probability and gradient fit into ``chunk_bytes``, the vocabulary in pieces."""
        if not self.plain:
            return self.rows_a_chunk()
        weight = down_weight(self.module)
        return max(1, self.chunk_bytes // (4 * 8 * (_words(weight) + weight.shape[1])))

    @property
    def plain(self) -> bool:
        """Whether logits are the output embedding's output as it is, without scale or cap."""
        config = self.model.config.get_text_config()
        return not any(getattr(config, name, None) for name in AFTER_HEAD)

    def probability_and_gradient(self, hidden: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        """P(token), (row,), and ∂P(token)/∂hidden, (row, hidden), both float32 at least.

        For logits z = W h + b the gradient is P · (1 − P) · (W_token − Σ_v q_v W_v), where q is the softmax
        over all *other* words: nothing cancels where P is almost 1. One pass over the vocabulary, a piece of
        it at a time, sums q and its product with W, where autograd would pass over it six times.
        """
        if not self.plain:
            with torch.enable_grad():
                leaf = hidden.detach().requires_grad_(True)
                logs = self.logits(leaf).log_softmax(1).gather(1, token[:, None])[:, 0]
                (gradient,) = torch.autograd.grad(logs.sum(), leaf)
            probability = logs.detach().exp()
            return probability, probability[:, None] * gradient
        weight, bias = down_weight(self.module), getattr(self.module, "bias", None)
        said, total, mean = _others(hidden.to(weight.dtype), token, weight, bias)
        over = said - total  # log-odds of the answer
        slope = (over.sigmoid() * (-over).sigmoid())[:, None]
        return over.sigmoid(), slope * (weight[token].to(mean) - mean)

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


def _words(weight: Tensor) -> int:
    """How many words of the vocabulary go together."""
    return min(len(weight), _WORDS.get(weight.device.type, len(weight)))


def _others(
    hidden: Tensor, token: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The token's logit, the log of the other words' Σ exp z, and the mean of their W under their softmax."""
    dtype = torch.promote_types(weight.dtype, torch.float32)
    said, total = (torch.zeros(len(hidden), dtype=dtype, device=hidden.device) for _ in range(2))
    top = torch.full_like(total, torch.finfo(dtype).min)
    mean = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
    words = _words(weight)
    for first in range(0, len(weight), words):
        here = slice(first, first + words)
        piece = nn.functional.linear(hidden, weight[here], None if bias is None else bias[here]).to(dtype)
        (rows,) = torch.where((token >= first) & (token < first + words))
        said[rows] = piece[rows, token[rows] - first]
        piece[rows, token[rows] - first] = -torch.inf
        higher = torch.maximum(top, piece.amax(1))
        shrink, top = (top - higher).exp_(), higher
        piece.sub_(top[:, None]).exp_()
        total.mul_(shrink).add_(piece.sum(1))
        mean.mul_(shrink[:, None]).add_(_product(piece, weight[here]))
    return said, top + total.log(), mean.div_(total[:, None])


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
        rows, probabilities, gradients = head.rows_a_piece(), [], []
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
