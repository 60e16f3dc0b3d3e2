"""Score answers: log P, rank and argmax at each answer token, the likeliest tokens, candidate answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qloc.extract.models.hooks import without_head
from qloc.extract.models.loading import LoadedModel
from qloc.extract.models.out_of_memory import in_halves
from qloc.extract.models.output_head import Head
from qloc.extract.prompts.tokenizing import Encoder, Target, TokenizedQuery
from qloc.facts import Fact

N_TOP: Final = 20
"""Likeliest tokens that are kept, with their log-probabilities, at the first target."""

MOST_CANDIDATES: Final = 64
"""Most candidate answers of a relation whose log P is kept: the most frequent ones."""

_SCORING_ROWS: Final = 64
"""Sequences in one forward pass without gradients."""


@dataclass(frozen=True, kw_only=True)
class TokenScores:
    """Next-token scores at the targets of a batch.

    Attributes
    ----------
    log_probability : float ndarray, shape (target,)
        log P of the answer token, of the model's dtype.
    rank : int32 ndarray, shape (target,)
        Rank of the answer token, from 1; ties go to the answer.
    argmax : int32 ndarray, shape (target,)
        The likeliest token.
    top_token : int32 ndarray, shape (target, top)
        The likeliest tokens, the likeliest first.
    top_log_probability : float ndarray, shape (target, top)
        Their log-probabilities.
    log_softmax : torch.Tensor, shape (target, vocabulary)
        log P of every token, on the model's device.
    """

    log_probability: NDArray[Any]
    rank: NDArray[np.int32]
    argmax: NDArray[np.int32]
    top_token: NDArray[np.int32]
    top_log_probability: NDArray[Any]
    log_softmax: Tensor


@torch.no_grad()
def token_scores(head: Head, hidden: Tensor, tokens: Sequence[int]) -> TokenScores:
    """Score answer tokens, from the final hidden states at their targets.

    Parameters
    ----------
    head : Head
        The model's output head.
    hidden : torch.Tensor, shape (target, hidden)
        Final hidden states.
    tokens : sequence of int
        The answer token of each target.

    Returns
    -------
    TokenScores
        In the order of the targets.
    """
    logs = head.logits(hidden).log_softmax(-1)
    answers = torch.tensor(tokens, device=logs.device)
    chosen = logs.gather(1, answers[:, None])
    top = logs.topk(min(N_TOP, logs.shape[1]), dim=1)
    return TokenScores(
        log_probability=_array(chosen[:, 0]),
        rank=_array((logs > chosen).sum(1) + 1).astype(np.int32),
        argmax=_array(logs.argmax(1)).astype(np.int32),
        top_token=_array(top.indices).astype(np.int32),
        top_log_probability=_array(top.values),
        log_softmax=logs,
    )


@torch.no_grad()
def scored(loaded: LoadedModel, head: Head, targets: Sequence[Target]) -> list[tuple[float, int]]:
    """Score targets by plain forward passes; sequences of equal length share a pass.

    Parameters
    ----------
    loaded : LoadedModel
        The model.
    head : Head
        Its output head.
    targets : sequence of Target
        Token sequences, each with a position and the token that is expected there.

    Returns
    -------
    list of tuple of (float, int)
        log P in nats, and rank from 1, of each target's token.
    """
    results: list[tuple[float, int]] = [(np.nan, -1)] * len(targets)
    by_length: dict[int, list[int]] = {}
    for index, target in enumerate(targets):
        by_length.setdefault(len(target.ids), []).append(index)
    for indices in by_length.values():
        for start in range(0, len(indices), _SCORING_ROWS):
            chosen = [(index, targets[index]) for index in indices[start : start + _SCORING_ROWS]]
            for part, scores in in_halves("scoring", chosen, lambda part: _scores(loaded, head, part)):
                each = zip(part, scores.log_probability, scores.rank, strict=True)
                for (index, _), log_probability, rank in each:
                    results[index] = (float(log_probability), int(rank))
    return results


def _scores(loaded: LoadedModel, head: Head, chosen: Sequence[tuple[int, Target]]) -> TokenScores:
    """Score targets of equal length in one pass."""
    batch = [target for _, target in chosen]
    ids = torch.tensor([target.ids for target in batch], device=loaded.device)
    with without_head(loaded.sites.head) as states:
        loaded.model(input_ids=ids)
    places = torch.tensor([target.position for target in batch], device=states[0].device)
    hidden = states[0][torch.arange(len(batch), device=places.device), places]
    return token_scores(head, hidden, [target.token for target in batch])


def answers_scored(
    loaded: LoadedModel, head: Head, queries: Sequence[TokenizedQuery]
) -> list[tuple[float, int]]:
    """Score whole answers, teacher-forced: log P = Σ log P(token | prompt and earlier answer tokens).

    Parameters
    ----------
    loaded : LoadedModel
        The model.
    head : Head
        Its output head.
    queries : sequence of TokenizedQuery
        Prompts with their answers.

    Returns
    -------
    list of tuple of (float, int)
        log P in nats, and the worst rank of a token of the answer, for each query.
    """
    targets = [target for query in queries for target in query.targets]
    each = iter(scored(loaded, head, targets))
    whole = []
    for query in queries:
        parts = [next(each) for _ in query.targets]
        whole.append((float(sum(p for p, _ in parts)), max(rank for _, rank in parts)))
    return whole


def other_right_answers(
    encoder: Encoder,
    queries: Sequence[tuple[Fact, TokenizedQuery]],
    known: Sequence[bool] | NDArray[np.bool_],
) -> list[tuple[int, TokenizedQuery]]:
    """Ask the queries that are not known with each of their other right objects.

    A right object may have another number of tokens, and a masked model then reads another number of masks:
    the first token of the attributed answer tells nothing of it.

    Parameters
    ----------
    encoder : Encoder
        Tokenizes prompts with answers.
    queries : sequence of tuple of (Fact, TokenizedQuery)
        Queries and their facts.
    known : sequence of bool, or bool ndarray, shape (query,)
        Queries whose own object ranks first.

    Returns
    -------
    list of tuple of (int, TokenizedQuery)
        Place of a query, and the query with another right object.
    """
    asked = [
        (place, encoder.ask(query.query, answer, ignore_tail=True))
        for place, (fact, query) in enumerate(queries)
        if not known[place]
        for answer in fact.objects
        if answer != fact.object
    ]
    return [(place, other) for place, other in asked if isinstance(other, TokenizedQuery)]


def candidate_tokens(encoder: Encoder, query: TokenizedQuery, answers: Sequence[str]) -> NDArray[np.int64]:
    """Return the token of each candidate answer that is a single token in this prompt.

    Parameters
    ----------
    encoder : Encoder
        Tokenizes prompts with answers.
    query : TokenizedQuery
        The prompt.
    answers : sequence of str
        The candidates.

    Returns
    -------
    int64 ndarray, shape (answer,)
        Token ids; -1 where a candidate takes several tokens, or changes those of the prompt.
    """
    first = query.targets[0]
    tokens = np.full(len(answers), -1, dtype=np.int64)
    for number, other in enumerate(
        encoder.ask_all([(query.query, answer) for answer in answers], ignore_tail=True)
    ):
        if (
            isinstance(other, TokenizedQuery)
            and len(other.targets) == 1
            and other.targets[0].ids == first.ids
        ):
            tokens[number] = other.targets[0].token
    return tokens


def _array(values: Tensor) -> NDArray[Any]:
    return values.cpu().numpy()
