"""Corrupted prompts: the subject's embeddings with Gaussian noise, or another subject in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from qloc.arrays import Array, Ints
from qloc.extract.prompts.token_roles import TokenRoles, token_roles
from qloc.extract.prompts.tokenizing import Encoder, Target, TokenizedQuery
from qloc.facts import Fact
from qloc.random_streams import Stream
from qloc.text.mentions import renamed

_TRIED: Final = 16
"""Other subjects that the tokenizer is given at once."""


@torch.no_grad()
def embedding_deviation(model: Any, ids: Sequence[int]) -> float:
    """Return σ: the standard deviation of all entries of the embeddings of some tokens.

    Parameters
    ----------
    model : transformers model
        The loaded model.
    ids : sequence of int
        Ids of the tokens; each counts as often as it occurs.

    Returns
    -------
    float
        σ, of the output of the input embedding.
    """
    device = next(iter(model.parameters())).device
    vectors = model.get_input_embeddings()(torch.tensor([list(ids)], device=device))
    return float(vectors.double().std(correction=0))


def subject_ids(encoder: Encoder, asked: Sequence[tuple[TokenizedQuery, str]]) -> list[int]:
    """Return the token ids of the subjects of queries.

    Parameters
    ----------
    encoder : Encoder
        The model's tokenizer.
    asked : sequence of (TokenizedQuery, str)
        Queries, and the subject of each.

    Returns
    -------
    list of int
        In order; none of a query that does not name its subject.
    """
    found = [(query, token_roles(encoder, query, subject)) for query, subject in asked]
    return [query.targets[0].ids[place] for query, roles in found if roles for place in roles.subject]


def noise(scale: float, roles: TokenRoles, width: int, samples: int, seed: int, query: int) -> Array:
    """Draw the noise of a query; no other query bears on it.

    Parameters
    ----------
    scale : float
        Its standard deviation.
    roles : TokenRoles
        Which tokens are the subject's.
    width : int
        Width of an embedding.
    samples : int
        How often it is drawn.
    seed : int
        The plan's.
    query : int
        Number of the query in the study.

    Returns
    -------
    float64 ndarray, shape (sample, subject token, embedding)
        Normal.
    """
    shape = (samples, len(roles.subject), width)
    return scale * Stream.TRACING_NOISE.generator(seed, query).standard_normal(shape)


@dataclass(frozen=True, kw_only=True)
class OtherSubjects:
    """Finds a subject of the relation that has as many tokens as another, in the same prompt.

    Attributes
    ----------
    encoder : Encoder
        The model's tokenizer.
    facts : sequence of Fact
        The study's facts.
    seed : int
        Of every draw.
    """

    encoder: Encoder
    facts: Sequence[Fact]
    seed: int

    def of(self, asked: TokenizedQuery, fact: int, query: int) -> OtherSubject | None:
        """Return the query with the first of the other subjects, in drawn order, that fits.

        The other subject has another right answer; that of a minimal pair is a cue of another feature. The
        prompt differs from the query's in the tokens of its subject alone, and the answer stays the query's
        own.

        Parameters
        ----------
        asked : TokenizedQuery
            The query.
        fact : int
            Number of its fact.
        query : int
            Number of the query in the study.

        Returns
        -------
        OtherSubject or None
            None where no subject fits.
        """
        own = self.facts[fact]
        subject = own.subject_of(asked.query)
        roles = token_roles(self.encoder, asked, subject)
        if roles is None:
            return None
        order = Stream.TRACING_SUBJECT.generator(self.seed, query).permutation(len(self.facts))
        others = [
            (number, name)
            for number in order.tolist()
            if _is_other(own, self.facts[number])
            for name in _subjects(self.facts[number])
            if name not in ("", subject)
        ]
        for start in range(0, len(others), _TRIED):
            some = others[start : start + _TRIED]
            texts = [renamed(asked.query.text, subject, name) for _, name in some]
            pairs = [(replace(asked.query, text=text), asked.answer) for text in texts]
            for (number, _), found in zip(some, self.encoder.ask_all(pairs, ignore_tail=True), strict=True):
                if isinstance(found, TokenizedQuery) and fits(asked, found, roles.subject):
                    return OtherSubject(fact=number, asked=found)
        return None


@dataclass(frozen=True, kw_only=True)
class OtherSubject:
    """A query with another subject.

    Attributes
    ----------
    fact : int
        Number of the fact that lends its subject.
    asked : TokenizedQuery
        The query.
    """

    fact: int
    asked: TokenizedQuery


def _subjects(fact: Fact) -> list[str]:
    """Return what a fact's queries are about, each once: of a group of pairs, the cues of its sentences."""
    return list(dict.fromkeys(map(fact.subject_of, fact.queries)))


def _is_other(own: Fact, other: Fact) -> bool:
    """Whether another subject of the same relation has another answer; of pairs, another feature."""
    if (other.kind, other.relation) != (own.kind, own.relation):
        return False
    return other.feature != own.feature if own.kind == "minimal_pair" else own.object not in other.objects


def fits(asked: TokenizedQuery, other: TokenizedQuery, subject: tuple[int, ...]) -> bool:
    """Return whether two prompts of one answer differ in tokens of the subject alone, and do differ.

    Parameters
    ----------
    asked, other : TokenizedQuery
        The prompts.
    subject : tuple of int
        Positions of the subject's tokens.

    Returns
    -------
    bool
        In the pass of each answer token.
    """
    if len(other.targets) != len(asked.targets):
        return False
    for mine, theirs in zip(asked.targets, other.targets, strict=True):
        if (len(mine.ids), mine.position, mine.token) != (len(theirs.ids), theirs.position, theirs.token):
            return False
        apart = {place for place, (a, b) in enumerate(zip(mine.ids, theirs.ids, strict=True)) if a != b}
        if not apart or not apart.issubset(subject):
            return False
    return True


def corrupted(
    target: Target,
    other: Target | None,
    drawn: Array,
    subject: tuple[int, ...],
    like: Callable[[Ints], Tensor],
) -> tuple[Tensor, Tensor]:
    """Return the corrupted prompts of one pass: of each sample of noise, then of the other subject.

    Parameters
    ----------
    target : Target
        The pass.
    other : Target or None
        The same pass with another subject.
    drawn : float64 ndarray, shape (sample, subject token, embedding)
        The noise.
    subject : tuple of int
        Positions of the subject's tokens.
    like : callable
        (ids) → their embeddings, whose dtype and device the noise takes.

    Returns
    -------
    ids : int64 Tensor, shape (prompt, token)
        What the model reads.
    noise : Tensor, shape (prompt, token, embedding)
        What is added to the embeddings; zero for the other subject.
    """
    rows = [target.ids] * len(drawn) + ([other.ids] if other is not None else [])
    vectors = like(np.array(rows[:1]))
    added = torch.zeros(len(rows), len(target.ids), vectors.shape[-1], dtype=torch.float64)
    added[: len(drawn), list(subject)] = torch.from_numpy(drawn)
    return torch.tensor(rows, device=vectors.device), added.to(vectors)
