"""What a model says at the targets of changed passes, gathered into columns of whole answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qloc.arrays import Array, Floats, Ints
from qloc.extract.models.output_head import Head
from qloc.extract.passes.row_engine import Cells, RowEngine
from qloc.extract.prompts.tokenizing import TokenizedQuery, Tokens
from qloc.vocabulary import NO_INDEX

_DTYPES: Final = {"log_probability": "f8", "logit": "f8", "margin": "f8", "rank": "i8", "argmax": "i8"}

_CACHED_BYTES: Final = 2 * 2**20
"""Logits that are looked at together on a CPU: they are passed over several times."""


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
def outcomes(head: Head, hidden: Tensor, tokens: Sequence[int] | Ints, row: Ints | None = None) -> Outcomes:
    """Outcomes of answer tokens, (token,), from final hidden states, (row, hidden); logits in chunks.

    Parameters
    ----------
    row : (token,), ascending, which row each token is read from; None: one token a row.
    """
    tokens = np.asarray(tokens, dtype=np.int64)
    row = np.arange(len(tokens)) if row is None else row
    parts: list[dict[str, Tensor]] = []
    for start, logits in _logits(head, hidden):
        here = slice(*np.searchsorted(row, [start, start + len(logits)]))
        of, token = (torch.as_tensor(v, device=logits.device) for v in (row[here] - start, tokens[here]))
        parts.append(_said(logits, of, token))
    found = {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in _DTYPES}
    return Outcomes(**{name: value.astype(_DTYPES[name]) for name, value in found.items()})


def _said(logits: Tensor, row: Tensor, token: Tensor) -> dict[str, Tensor]:
    """Outcomes of tokens read from some rows of (row, vocabulary); what is of a row is computed once."""
    total, best = logits.logsumexp(1), logits.argmax(1)
    if len(row) != len(logits) or not torch.equal(row, torch.arange(len(row), device=row.device)):
        logits, total, best = logits[row], total[row], best[row]
    own = logits.gather(1, token[:, None])
    rank = (logits > own).sum(1) + 1
    other = logits.scatter_(1, token[:, None], -torch.inf).amax(1)
    own = own[:, 0]
    return {
        "log_probability": own - total,
        "logit": own,
        "margin": own - other,
        "rank": rank,
        "argmax": best,
    }


def _logits(head: Head, hidden: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Logits of some rows at a time, and the first of them: on a CPU few enough to stay in its caches."""
    start = 0
    for piece in hidden.split(head.rows_a_chunk()):
        logits = head.logits(piece)
        few = _CACHED_BYTES // (logits.shape[1] * logits.element_size())
        for some in logits.split(max(1, few)) if logits.device.type == "cpu" else (logits,):
            yield start, some
            start += len(some)


@torch.no_grad()
def log_probabilities(head: Head, hidden: Tensor, tokens: Sequence[int] | Ints) -> Floats:
    """Log P of the answer tokens alone, float64, (row,), nats; as :func:`outcomes`."""
    wanted = torch.as_tensor(np.asarray(tokens, dtype=np.int64), device=hidden.device)
    found = []
    for start, logits in _logits(head, hidden):
        token = wanted[start : start + len(logits)].to(logits.device)
        found.append(logits.gather(1, token[:, None])[:, 0] - logits.logsumexp(1))
    logs: Floats = torch.cat(found).double().cpu().numpy()
    return logs


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


def unchanged(
    engine: RowEngine, asked: Sequence[TokenizedQuery], base: OutcomeColumns | None = None
) -> Array:
    """Activations at the target, mean over answer tokens: (query, layer, neuron), float32 at least.

    Parameters
    ----------
    base : columns (query) that the answers are added to.
    """
    tokens, sites = Tokens.of(asked), engine.sites
    wide = np.float64 if engine.wide is torch.float64 else np.float32
    found = np.zeros((len(asked), sites.n_layers, sites.n_neurons), dtype=wide)
    for done in engine.passes(tokens.targets, np.arange(len(tokens.targets)), Cells.none(), read=True):
        if done.activation is None:
            raise AssertionError("activations were asked for")
        of, share = tokens.query[done.rows], tokens.share[done.rows]
        given = done.activation.to(engine.wide).cpu().numpy()
        np.add.at(found, of, share[:, None, None].astype(wide) * given)
        if base is not None:
            said = outcomes(engine.head, done.hidden, tokens.answers[done.rows])
            base.add(of, tokens.first[done.rows], share, said)
    return found
