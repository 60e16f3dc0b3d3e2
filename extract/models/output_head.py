"""Compute the answer's probability from final hidden states, with an exact gradient.

Logits over the vocabulary are half of the remaining work of a small model and most of its memory. They exist
for one chunk of rows at a time and are never kept; where only the answer's probability is needed, the
vocabulary is cut into pieces, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from qloc.extract.models.architectures import AFTER_HEAD, down_weight, logits_of

_WORDS: Final = {"cpu": 2048, "cuda": 16_384}
"""Words of the vocabulary in one piece. On a CPU, products of this size stay in its cache, which makes them
up to 1.5 times as fast as over the whole vocabulary (benchmarks/matmul_share.py)."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """A model's output embedding, and the memory that logits may take.

    Attributes
    ----------
    model : transformers.PreTrainedModel
        The model; its configuration holds the scale and the cap of logits, if any.
    module : torch.nn.Module
        The output embedding.
    chunk_bytes : int
        Largest number of bytes of logits that exist at once.
    """

    model: Any
    module: nn.Module
    chunk_bytes: int

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of final hidden states.

        Parameters
        ----------
        hidden : Tensor, shape (row, hidden)
            Final hidden states, in any precision.

        Returns
        -------
        Tensor, shape (row, vocabulary)
            The logits, at least float32.
        """
        return logits_of(self.model, self.module, hidden.to(down_weight(self.module).dtype))

    def rows_a_chunk(self) -> int:
        """Return the number of rows whose logits, softmax and gradient fit into ``chunk_bytes``.

        Returns
        -------
        int
            At least 1.
        """
        vocabulary = int(self.model.config.get_text_config().vocab_size)
        return max(1, self.chunk_bytes // (4 * 8 * vocabulary))

    def rows_a_piece(self) -> int:
        """Return the number of rows whose probability and gradient fit, with the vocabulary cut into pieces.

        Returns
        -------
        int
            At least 1; the same as :meth:`rows_a_chunk` for heads that are not ``plain``.
        """
        if not self.plain:
            return self.rows_a_chunk()
        weight = down_weight(self.module)
        return max(1, self.chunk_bytes // (4 * 8 * (_words(weight) + weight.shape[1])))

    @property
    def plain(self) -> bool:
        """Whether logits are the output of the output embedding, without scale or cap."""
        config = self.model.config.get_text_config()
        return not any(getattr(config, name, None) for name in AFTER_HEAD)

    def probability_and_gradient(self, hidden: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probability of a token and its gradient.

        For logits z = W h + b, the gradient is P · (1 − P) · (W_token − Σ_v q_v W_v), where q is the softmax
        over all *other* words: nothing cancels if P is almost 1. One pass over the vocabulary, one piece at a
        time, sums q and its product with W; autograd would need six passes.

        Parameters
        ----------
        hidden : Tensor, shape (row, hidden)
            Final hidden states.
        token : int64 Tensor, shape (row,)
            Id of each row's token.

        Returns
        -------
        probability : Tensor, shape (row,)
            P(token), at least float32.
        gradient : Tensor, shape (row, hidden)
            ∂P(token)/∂hidden, at least float32.
        """
        if not self.plain:
            with torch.enable_grad():
                leaf = hidden.detach().requires_grad_(True)
                logs = self.logits(leaf).log_softmax(1).gather(1, token[:, None])[:, 0]
                (gradient,) = torch.autograd.grad(logs.sum(), leaf)
            probability = logs.detach().exp()
            return probability, probability[:, None] * gradient
        weight, bias = down_weight(self.module), getattr(self.module, "bias", None)
        answer, rest, mean = _others(hidden.to(weight.dtype), token, weight, bias)
        over = answer - rest  # log-odds of the answer
        slope = (over.sigmoid() * (-over).sigmoid())[:, None]
        return over.sigmoid(), slope * (weight[token].to(mean) - mean)

    def probability(self, hidden: Tensor, token: Tensor, against: Tensor | None = None) -> Tensor:
        """Return P(token) of each row, minus P(against), differentiable in ``hidden``.

        Parameters
        ----------
        hidden : Tensor, shape (row, hidden)
            Final hidden states.
        token : int64 Tensor, shape (row,)
            Id of each row's token.
        against : int64 Tensor, shape (row,), or None
            Id of a token whose probability is subtracted; -1 in rows where nothing is subtracted.

        Returns
        -------
        Tensor, shape (row,)
            Probabilities or their differences, at least float32.
        """
        probability: Tensor = _AnswerProbability.apply(hidden, token, self)  # type: ignore[no-untyped-call]
        if against is None:
            return probability
        subtracted = self.probability(hidden, against.clamp_min(0))
        return torch.where(against < 0, probability, probability - subtracted)


def _words(weight: Tensor) -> int:
    """Return how many words of the vocabulary form one piece."""
    return min(len(weight), _WORDS.get(weight.device.type, len(weight)))


def _others(
    hidden: Tensor, token: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the token's logit; log Σ exp z of the other words; the mean of their W under their softmax."""
    dtype = torch.promote_types(weight.dtype, torch.float32)
    logit, total = (torch.zeros(len(hidden), dtype=dtype, device=hidden.device) for _ in range(2))
    top = torch.full_like(total, torch.finfo(dtype).min)
    mean = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
    words = _words(weight)
    for first in range(0, len(weight), words):
        words_here = slice(first, first + words)
        piece = nn.functional.linear(
            hidden, weight[words_here], None if bias is None else bias[words_here]
        ).to(dtype)
        (rows,) = torch.where((token >= first) & (token < first + words))
        logit[rows] = piece[rows, token[rows] - first]
        piece[rows, token[rows] - first] = -torch.inf
        higher = torch.maximum(top, piece.amax(1))
        shrink, top = (top - higher).exp_(), higher
        piece.sub_(top[:, None]).exp_()
        total.mul_(shrink).add_(piece.sum(1))
        mean.mul_(shrink[:, None]).add_(_product(piece, weight[words_here]))
    return logit, top + total.log(), mean.div_(total[:, None])


def _product(wide: Tensor, weight: Tensor) -> Tensor:
    """Return ``wide @ weight`` for a weight of narrower type.

    Rows are scaled to size one first, because small values would underflow in the narrow type.
    """
    if wide.dtype == weight.dtype:
        return wide @ weight
    size = wide.abs().amax(1, keepdim=True).clamp_min(torch.finfo(wide.dtype).tiny)
    return size * ((wide / size).to(weight.dtype) @ weight).to(wide.dtype)


class _AnswerProbability(torch.autograd.Function):
    """P(y) and ∂P(y)/∂hidden, both computed in the forward pass, chunk by chunk."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, token: Tensor, head: Head) -> Tensor:
        """Keep the gradient, (row, hidden), instead of the logits, (row, vocabulary)."""
        rows, probabilities, gradients = head.rows_a_piece(), [], []
        for piece, wanted in zip(hidden.split(rows), token.split(rows), strict=True):
            probability, gradient = head.probability_and_gradient(piece, wanted)
            probabilities.append(probability)
            gradients.append(gradient)
        ctx.save_for_backward(torch.cat(gradients))
        return torch.cat(probabilities)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        """Scale the kept gradient by the upstream gradient of each row."""
        (gradient,) = ctx.saved_tensors
        return gradient * upstream[0][:, None].to(gradient.dtype), None, None
