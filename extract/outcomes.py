"""What a model says at the targets of changed passes, gathered into columns of whole answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qloc.block import Array
from qloc.extract.head import Head
from qloc.vocabulary import NO_INDEX

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_DTYPES: Final = {"log_probability": "f8", "logit": "f8", "margin": "f8", "rank": "i8", "argmax": "i8"}


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
    parts: dict[str, list[Tensor]] = {name: [] for name in _DTYPES}
    size = head.rows_a_chunk()
    for piece, token in zip(hidden.split(size), wanted.split(size), strict=True):
        logits = head.logits(piece)
        own = logits.gather(1, token[:, None])
        other = logits.scatter(1, token[:, None], -torch.inf).amax(1)
        parts["log_probability"].append(own[:, 0] - logits.logsumexp(1))
        parts["logit"].append(own[:, 0])
        parts["margin"].append(own[:, 0] - other)
        parts["rank"].append((logits > own).sum(1) + 1)
        parts["argmax"].append(logits.argmax(1))
    found = {name: torch.cat(part).cpu().numpy() for name, part in parts.items()}
    return Outcomes(**{name: value.astype(_DTYPES[name]) for name, value in found.items()})


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
        made: dict[str, Any] = {
            name: np.full(size, np.nan if dtype == "f8" else NO_INDEX, dtype=dtype)
            for name, dtype in _DTYPES.items()
        }
        return cls(shape=shape, **made)

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
