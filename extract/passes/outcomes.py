"""The outcomes of passes: log probability, logit, margin, rank and best token at the target.

:func:`outcomes` reads them token by token from final hidden states, and :class:`OutcomeColumns` gathers
them into columns of whole answers. :func:`unchanged` runs the pass without any change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qloc.arrays import Array, Floats, Ints
from qloc.extract.models.output_head import Head
from qloc.extract.passes.row_engine import Cells, RowEngine
from qloc.extract.prompts.tokenizing import Target, TokenizedQuery, Tokens
from qloc.vocabulary import NO_INDEX

_DTYPES: Final = {"log_probability": "f8", "logit": "f8", "margin": "f8", "rank": "i8", "argmax": "i8"}

_CACHED_BYTES: Final = 2 * 2**20
"""Logits that are looked at together on a CPU: they are passed over several times."""


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Outcomes of one answer token each.

    Attributes
    ----------
    log_probability : float64 ndarray, shape (token,)
        Log P of the answer token, in nats.
    logit : float64 ndarray, shape (token,)
        Logit of the answer token.
    margin : float64 ndarray, shape (token,)
        That logit less the best other token's.
    rank : int64 ndarray, shape (token,)
        Rank of the answer token, from 1; ties go to the answer.
    argmax : int64 ndarray, shape (token,)
        Id of the best token.
    """

    log_probability: NDArray[np.float64]
    logit: NDArray[np.float64]
    margin: NDArray[np.float64]
    rank: Ints
    argmax: Ints


@torch.no_grad()
def outcomes(head: Head, hidden: Tensor, tokens: Sequence[int] | Ints, row: Ints | None = None) -> Outcomes:
    """Read outcomes of answer tokens from final hidden states; logits exist in chunks only.

    Parameters
    ----------
    head : Head
        From final hidden states to logits.
    hidden : Tensor, shape (row, hidden)
        Final hidden states at the target.
    tokens : sequence of int, or int64 ndarray, shape (token,)
        Ids of the answer tokens.
    row : int64 ndarray, shape (token,), optional
        The row that each token is read from, ascending; by default one token a row.

    Returns
    -------
    Outcomes
        One entry for each token.
    """
    tokens = np.asarray(tokens, dtype=np.int64)
    row = np.arange(len(tokens)) if row is None else row
    parts: list[dict[str, Tensor]] = []
    for start, logits in _logits(head, hidden):
        here = slice(*np.searchsorted(row, [start, start + len(logits)]))
        of, token = (torch.as_tensor(v, device=logits.device) for v in (row[here] - start, tokens[here]))
        parts.append(_of_tokens(logits, of, token))
    columns = {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in _DTYPES}
    return Outcomes(**{name: value.astype(_DTYPES[name]) for name, value in columns.items()})


def _of_tokens(logits: Tensor, row: Tensor, token: Tensor) -> dict[str, Tensor]:
    """Return outcomes of tokens read from rows of (row, vocabulary); what a row has once is computed once."""
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
    """Yield logits of some rows and the first of these rows; on a CPU few enough to stay in its caches."""
    start = 0
    for piece in hidden.split(head.rows_a_chunk()):
        logits = head.logits(piece)
        few = _CACHED_BYTES // (logits.shape[1] * logits.element_size())
        for few_rows in logits.split(max(1, few)) if logits.device.type == "cpu" else (logits,):
            yield start, few_rows
            start += len(few_rows)


@torch.no_grad()
def log_probabilities(
    head: Head, hidden: Tensor, tokens: Sequence[int] | Ints, row: Ints | None = None
) -> Floats:
    """Return log P of answer tokens alone, as :func:`outcomes` computes it.

    Parameters
    ----------
    head : Head
        From final hidden states to logits.
    hidden : Tensor, shape (row, hidden)
        Final hidden states at the target.
    tokens : sequence of int, or int64 ndarray, shape (token,)
        Ids of the answer tokens.
    row : int64 ndarray, shape (token,), optional
        The row that each token is read from, ascending; by default one token a row.

    Returns
    -------
    float64 ndarray, shape (token,)
        Log P, in nats.
    """
    wanted = np.asarray(tokens, dtype=np.int64)
    row = np.arange(len(wanted)) if row is None else row
    parts = []
    for start, logits in _logits(head, hidden):
        here = slice(*np.searchsorted(row, [start, start + len(logits)]))
        of, token = (torch.as_tensor(v, device=logits.device) for v in (row[here] - start, wanted[here]))
        parts.append(logits[of, token] - logits.logsumexp(1)[of])
    values: Floats = torch.cat(parts).double().cpu().numpy()
    return values


@torch.no_grad()
def log_odds(head: Head, hidden: Tensor, tokens: Sequence[int] | Ints) -> Floats:
    """Return the log odds log(P / (1 − P)) of the answer tokens, one token a row.

    They are the answer's logit less the logsumexp of all others, so that they stay finite where P rounds
    to 1.

    Parameters
    ----------
    head : Head
        From final hidden states to logits.
    hidden : Tensor, shape (row, hidden)
        Final hidden states at the target.
    tokens : sequence of int, or int64 ndarray, shape (row,)
        Id of each row's answer token.

    Returns
    -------
    float64 ndarray, shape (row,)
        Log odds, in nats.
    """
    wanted = torch.as_tensor(np.asarray(tokens, dtype=np.int64), device=hidden.device)
    parts = []
    for start, logits in _logits(head, hidden):
        token = wanted[start : start + len(logits), None].to(logits.device)
        others = logits.scatter(1, token, -torch.inf).logsumexp(1)
        parts.append(logits.gather(1, token)[:, 0] - others)
    values: Floats = torch.cat(parts).double().cpu().numpy()
    return values


def add_from_nan(column: Floats, place: Ints, value: Floats) -> None:
    """Add values to a flat column whose entries are NaN until something is added.

    Parameters
    ----------
    column : float64 ndarray, flat
        Changed in place.
    place : int64 ndarray, shape (value,)
        Where each value is added; a place may come several times.
    value : float64 ndarray, shape (value,)
        What is added.
    """
    column[place] = np.where(np.isnan(column[place]), 0.0, column[place])
    np.add.at(column, place, value)


@dataclass(frozen=True, kw_only=True)
class OutcomeColumns:
    """Outcomes of whole answers, filled token by token.

    Attributes
    ----------
    shape : tuple of int
        Shape of the columns, which are flat while they are filled.
    log_probability : float64 ndarray, flat
        Sum over an answer's tokens (teacher-forced), in nats; NaN where no token was added.
    logit : float64 ndarray, flat
        Mean over an answer's tokens.
    margin : float64 ndarray, flat
        Mean over an answer's tokens.
    rank : int64 ndarray, flat
        The worst of an answer's tokens; -1 where no token was added.
    argmax : int64 ndarray, flat
        The best token in place of the answer's first.
    """

    shape: tuple[int, ...]
    log_probability: Floats
    logit: Floats
    margin: Floats
    rank: Ints
    argmax: Ints

    @classmethod
    def empty(cls, *shape: int) -> OutcomeColumns:
        """Return columns without a value: NaN and -1.

        Parameters
        ----------
        *shape : int
            Shape of the columns.

        Returns
        -------
        OutcomeColumns
            The columns.
        """
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
        place : int64 ndarray, shape (token,)
            Where in the flat columns each token's answer stands.
        first : bool ndarray, shape (token,)
            Whether the token is the first of its answer.
        share : float64 ndarray, shape (token,)
            One by the number of its answer's tokens.
        found : Outcomes
            Outcomes of the tokens.
        """
        for column, value in (
            (self.log_probability, found.log_probability),
            (self.logit, share * found.logit),
            (self.margin, share * found.margin),
        ):
            add_from_nan(column, place, value)
        np.maximum.at(self.rank, place, found.rank)
        self.argmax[place[first]] = found.argmax[first]

    def add_log_probability(self, place: Ints, found: Floats) -> None:
        """Add log P alone of answer tokens.

        Parameters
        ----------
        place : int64 ndarray, shape (token,)
            Where in the flat columns each token's answer stands.
        found : float64 ndarray, shape (token,)
            Log P of the tokens, in nats.
        """
        add_from_nan(self.log_probability, place, found)

    def stored(self) -> dict[str, Array]:
        """Return the columns under their names and dtypes in the store.

        Returns
        -------
        dict of str to ndarray
            float32 and int32 arrays of ``shape``.
        """
        values = {name: getattr(self, name) for name in ("log_probability", "logit", "margin")}
        columns = {name: value.astype(np.float32) for name, value in values.items()}
        columns |= {name: getattr(self, name).astype(np.int32) for name in ("rank", "argmax")}
        return {name: value.reshape(self.shape) for name, value in columns.items()}


def unchanged(
    engine: RowEngine, asked: Sequence[TokenizedQuery], base: OutcomeColumns | None = None
) -> Array:
    """Run unchanged prompts and return their activations at the target, mean over answer tokens.

    Parameters
    ----------
    engine : RowEngine
        Runs the passes.
    asked : sequence of TokenizedQuery
        The queries.
    base : OutcomeColumns, shape (query,), optional
        Columns that the outcomes of the answers are added to.

    Returns
    -------
    ndarray, shape (query, layer, neuron)
        Activations, float32, or float64 of a float64 model.
    """
    tokens = Tokens.of(asked)

    def keep(rows: Ints, hidden: Tensor) -> None:
        if base is not None:
            answers = outcomes(engine.head, hidden, tokens.answers[rows])
            base.add(tokens.query[rows], tokens.first[rows], tokens.share[rows], answers)

    return summed_activations(engine, tokens.targets, tokens.query, tokens.share, len(asked), keep)


def summed_activations(
    engine: RowEngine,
    targets: Sequence[Target],
    query: Ints,
    share: Floats,
    n_queries: int,
    keep: Callable[[Ints, Tensor], None] | None = None,
) -> Array:
    """Run unchanged passes and add up their activations at the target by query, weighted.

    Parameters
    ----------
    engine : RowEngine
        Runs the passes.
    targets : sequence of Target, shape (pass,)
        What the model reads, and where it is looked at.
    query : int64 ndarray, shape (pass,)
        The query that each pass belongs to.
    share : float64 ndarray, shape (pass,)
        Weight of each pass in its query.
    n_queries : int
        Number of queries.
    keep : callable, optional
        Takes the numbers of the passes of a batch, and their final hidden states.

    Returns
    -------
    ndarray, shape (query, layer, neuron)
        Activations, float32, or float64 of a float64 model.
    """
    sites = engine.sites
    wide = np.float64 if engine.wide is torch.float64 else np.float32
    activations = np.zeros((n_queries, sites.n_layers, sites.n_neurons), dtype=wide)
    for done in engine.passes(targets, np.arange(len(targets)), Cells.none(), read=True):
        if done.activation is None:
            raise AssertionError("activations were asked for")
        read = done.activation.to(engine.wide).cpu().numpy()
        np.add.at(activations, query[done.rows], share[done.rows][:, None, None].astype(wide) * read)
        if keep is not None:
            keep(done.rows, done.hidden)
    return activations
