"""What a model says at the targets of changed passes, gathered into columns of whole answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qloc.block import Array
from qloc.extract.head import Head
from qloc.vocabulary import NO_INDEX

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What the model says at each row's target; every array (row,).

    Attributes
    ----------
    log_probability : of the answer token, nats.
    logit : of the answer token.
    margin : that logit less the best other token's.
    rank : 1-based; ties go to the answer.
    argmax : the best token.
    """

    log_probability: NDArray[np.float64]
    logit: NDArray[np.float64]
    margin: NDArray[np.float64]
    rank: Ints
    argmax: Ints


@torch.no_grad()
def outcomes(head: Head, hidden: Tensor, tokens: Sequence[int] | Ints) -> Outcomes:
    """Outcomes from final hidden states, (row, hidden), of the answer tokens, (row,); logits in chunks."""
    wanted = torch.as_tensor(np.asarray(tokens, dtype=np.int64), device=hidden.device)
    parts: list[list[Tensor]] = [[] for _ in range(5)]
    size = head.rows_a_chunk()
    for piece, token in zip(hidden.split(size), wanted.split(size), strict=True):
        logits = head.logits(piece)
        own = logits.gather(1, token[:, None])
        argmax, rank = logits.argmax(1), (logits > own).sum(1) + 1
        total = logits.logsumexp(1)
        other = logits.scatter(1, token[:, None], -torch.inf).amax(1)
        found = (own[:, 0] - total, own[:, 0], own[:, 0] - other, rank, argmax)
        for part, value in zip(parts, found, strict=True):
            part.append(value)
    log_probability, logit, margin, rank, argmax = (torch.cat(part).cpu().numpy() for part in parts)
    return Outcomes(
        log_probability=log_probability.astype(np.float64),
        logit=logit.astype(np.float64),
        margin=margin.astype(np.float64),
        rank=rank.astype(np.int64),
        argmax=argmax.astype(np.int64),
    )


@dataclass(frozen=True, kw_only=True)
class OutcomeColumns:
    """Outcomes of whole answers, filled token by token.

    log P is the sum over an answer's tokens (teacher-forced), logit and margin their mean, rank the worst,
    argmax that of the first.

    Attributes
    ----------
    shape : of the columns.
    """

    shape: tuple[int, ...]
    log_probability: Floats
    logit: Floats
    margin: Floats
    rank: Ints
    argmax: Ints

    @classmethod
    def empty(cls, *shape: int) -> OutcomeColumns:
        """Columns without a value: NaN and -1."""
        size = int(np.prod(shape))
        missing = {name: np.full(size, np.nan) for name in ("log_probability", "logit", "margin")}
        none = {name: np.full(size, NO_INDEX, dtype=np.int64) for name in ("rank", "argmax")}
        return cls(shape=shape, **missing, **none)

    def add(self, place: Ints, first: NDArray[np.bool_], share: Floats, found: Outcomes) -> None:
        """Add answer tokens.

        Parameters
        ----------
        place : (token,), where in the flattened columns each token's answer stands.
        first : (token,), whether it is its answer's first.
        share : (token,), one by the number of its answer's tokens.
        """
        for column, value in (
            (self.log_probability, found.log_probability),
            (self.logit, share * found.logit),
            (self.margin, share * found.margin),
        ):
            column[place] = np.where(np.isnan(column[place]), 0.0, column[place])
            np.add.at(column, place, value)
        np.maximum.at(self.rank, place, found.rank)
        self.argmax[place[first]] = found.argmax[first]

    def stored(self) -> dict[str, Array]:
        """The columns under their names and dtypes in the store."""
        values = {name: getattr(self, name) for name in ("log_probability", "logit", "margin")}
        found = {name: value.astype(np.float32) for name, value in values.items()}
        found |= {name: getattr(self, name).astype(np.int32) for name in ("rank", "argmax")}
        return {name: value.reshape(self.shape) for name, value in found.items()}
