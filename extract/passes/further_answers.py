"""Read log P of further answers to queries whose answers are run: in the same passes, where they share one.

Answers of one token are read from the pass of the answer's first token. Others need passes of their own, with
the same changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from torch import Tensor

from qloc.arrays import Floats, Ints
from qloc.extract.models.output_head import Head
from qloc.extract.passes.outcomes import add_from_nan, log_probabilities
from qloc.extract.prompts.tokenizing import Target, TokenizedQuery, Tokens


@dataclass(frozen=True, kw_only=True)
class FurtherAnswers:
    """The tokens of further answers, by the pass that each is read from.

    Passes are numbered: those of the answers' tokens first, then the others.

    Attributes
    ----------
    shape : tuple of (int, int)
        Number of queries, and of further answers to each.
    targets : sequence of Target
        Every pass.
    query : int64 ndarray, shape (pass,)
        The query of each.
    n_own : int
        Number of passes of the answers' tokens.
    first, count : int64 ndarray, shape (pass,)
        Where the tokens of each pass begin, and how many they are.
    place : int64 ndarray, shape (token,)
        The place of each token's answer among those of its query.
    token : int64 ndarray, shape (token,)
        Token ids.
    """

    shape: tuple[int, int]
    targets: Sequence[Target]
    query: Ints
    n_own: int
    first: Ints
    count: Ints
    place: Ints
    token: Ints

    @classmethod
    def of(cls, tokens: Tokens, further: Sequence[Sequence[TokenizedQuery | None]], width: int) -> Self:
        """Find the pass of each token of further answers.

        Parameters
        ----------
        tokens : Tokens
            The tokens of the answers of the queries.
        further : sequence of sequence of (TokenizedQuery or None)
            Of each query, the same prompt with other answers.
        width : int
            Number of further answers to each query.

        Returns
        -------
        FurtherAnswers
            The tokens, sorted by pass.
        """
        targets, query = list(tokens.targets), tokens.query.tolist()
        numbers = {
            (of, target.ids, target.position): n
            for n, (of, target) in enumerate(zip(query, targets, strict=True))
        }
        rows: list[tuple[int, int, int]] = []
        for of, answers in enumerate(further):
            for place, answer in enumerate(answers):
                for target in () if answer is None else answer.targets:
                    number = numbers.setdefault((of, target.ids, target.position), len(targets))
                    if number == len(targets):
                        targets.append(target)
                        query.append(of)
                    rows.append((number, place, target.token))
        number_of, place_of, token = np.array(rows, dtype=np.int64).reshape(-1, 3).T
        order = np.argsort(number_of, kind="stable")
        count = np.bincount(number_of, minlength=len(targets))
        return cls(
            shape=(len(further), width),
            targets=targets,
            query=np.array(query, dtype=np.int64),
            n_own=len(tokens.targets),
            first=(np.cumsum(count) - count).astype(np.int64),
            count=count.astype(np.int64),
            place=place_of[order],
            token=token[order],
        )

    @property
    def other(self) -> Ints:
        """Numbers of the passes that the answers' own tokens do not have, int64, shape (pass,)."""
        return np.arange(self.n_own, len(self.targets), dtype=np.int64)

    def add(self, head: Head, hidden: Tensor, number: Ints, arm: Ints, column: Floats) -> None:
        """Read the tokens of passes, and add their log P to those of their answers.

        Parameters
        ----------
        head : Head
            From final hidden states to logits.
        hidden : Tensor, shape (row, hidden)
            Final hidden states at the target.
        number : int64 ndarray, shape (row,)
            The pass that each row runs.
        arm : int64 ndarray, shape (row,)
            The place of each row's arm and query among all (..., query).
        column : float64 ndarray, flat
            Log P of further answers, (..., query, further answer); NaN until something is added.
        """
        read = np.flatnonzero(self.count[number])
        if not len(read):
            return
        number, arm = number[read], arm[read]
        count = self.count[number]
        row = np.repeat(np.arange(len(read)), count)
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        token = self.first[number][row] + within
        rows = hidden if len(read) == len(hidden) else hidden[read]
        logs = log_probabilities(head, rows, self.token[token], row)
        add_from_nan(column, arm[row] * self.shape[1] + self.place[token], logs)
