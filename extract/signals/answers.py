"""What a model answers: log-probability, rank and argmax at each answer token, top tokens, candidates."""

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
from qloc.extract.models.memory import in_halves
from qloc.extract.models.output_head import Head
from qloc.extract.prompts.tokenizing import Encoder, Target, TokenizedQuery

N_TOP: Final = 20
"""Tokens kept with their log-probabilities at the first target."""

MOST_CANDIDATES: Final = 64
"""Candidate answers of a relation whose log P is kept: its most frequent."""

_SCORING_ROWS: Final = 64
"""Sequences of one forward pass that only scores."""


@dataclass(frozen=True, kw_only=True)
class TokenScores:
    """What the model says at targets.

    Attributes
    ----------
    log_probability : (target,), of the answer token.
    rank : int32, (target,), 1-based; ties go to the answer.
    argmax : int32, (target,)
    top_token : int32, (target, top); top_log_probability : (target, top)
    log_softmax : (target, vocabulary), on the model's device.
    """

    log_probability: NDArray[Any]
    rank: NDArray[np.int32]
    argmax: NDArray[np.int32]
    top_token: NDArray[np.int32]
    top_log_probability: NDArray[Any]
    log_softmax: Tensor


@torch.no_grad()
def token_scores(head: Head, hidden: Tensor, tokens: Sequence[int]) -> TokenScores:
    """Scores from final hidden states, (target, hidden), of the answer tokens."""
    logs = head.logits(hidden).log_softmax(-1)
    wanted = torch.tensor(tokens, device=logs.device)
    chosen = logs.gather(1, wanted[:, None])
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
    """(log-probability, rank) of each target by plain forward passes, equal lengths together."""
    found: list[tuple[float, int]] = [(np.nan, -1)] * len(targets)
    by_length: dict[int, list[int]] = {}
    for index, target in enumerate(targets):
        by_length.setdefault(len(target.ids), []).append(index)
    for indices in by_length.values():
        for start in range(0, len(indices), _SCORING_ROWS):
            chosen = [(index, targets[index]) for index in indices[start : start + _SCORING_ROWS]]
            for some, scores in in_halves("scoring", chosen, lambda some: _scores(loaded, head, some)):
                each = zip(some, scores.log_probability, scores.rank, strict=True)
                for (index, _), log_probability, rank in each:
                    found[index] = (float(log_probability), int(rank))
    return found


def _scores(loaded: LoadedModel, head: Head, chosen: Sequence[tuple[int, Target]]) -> TokenScores:
    """Scores of targets of equal length, by one pass."""
    batch = [target for _, target in chosen]
    ids = torch.tensor([target.ids for target in batch], device=loaded.device)
    with without_head(loaded.sites.head) as given:
        loaded.model(input_ids=ids)
    places = torch.tensor([target.position for target in batch], device=given[0].device)
    hidden = given[0][torch.arange(len(batch), device=places.device), places]
    return token_scores(head, hidden, [target.token for target in batch])


def answers_scored(
    loaded: LoadedModel, head: Head, asked: Sequence[TokenizedQuery]
) -> list[tuple[float, int]]:
    """(log-probability, worst token rank) of whole answers, teacher-forced."""
    targets = [target for one in asked for target in one.targets]
    each = iter(scored(loaded, head, targets))
    whole = []
    for one in asked:
        parts = [next(each) for _ in one.targets]
        whole.append((float(sum(p for p, _ in parts)), max(rank for _, rank in parts)))
    return whole


def candidate_tokens(encoder: Encoder, asked: TokenizedQuery, answers: Sequence[str]) -> NDArray[np.int64]:
    """The one token that each candidate answer is in this prompt; -1 where it takes several."""
    first = asked.targets[0]
    found = np.full(len(answers), -1, dtype=np.int64)
    for number, other in enumerate(
        encoder.ask_all([(asked.query, answer) for answer in answers], ignore_tail=True)
    ):
        if (
            isinstance(other, TokenizedQuery)
            and len(other.targets) == 1
            and other.targets[0].ids == first.ids
        ):
            found[number] = other.targets[0].token
    return found


def _array(values: Tensor) -> NDArray[Any]:
    return values.cpu().numpy()
