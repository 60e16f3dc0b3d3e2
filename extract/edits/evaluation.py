"""Evaluate edits: on a fact's queries, probes of other subjects, held-out text and greedy tokens.

Each evaluation is run for all edits at once: a row is one pass under one edit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qloc.arrays import Floats, Ints
from qloc.extract.models.hooks import without_head
from qloc.extract.models.torch_settings import quiet
from qloc.extract.passes.late_join import run_joining
from qloc.extract.passes.outcomes import OutcomeColumns, log_probabilities, outcomes
from qloc.extract.passes.prompt_cache import whole
from qloc.extract.passes.row_engine import Cells, RowEngine
from qloc.extract.passes.weight_changes import Added, EditRows, edited
from qloc.extract.prompts.tokenizing import Target, TokenizedQuery, Tokens
from qloc.vocabulary import NO_INDEX


@dataclass(frozen=True, kw_only=True)
class EditTests:
    """Evaluations of several edits of one model.

    Attributes
    ----------
    engine : RowEngine
        Runs the rows.
    edits : sequence of (Added or None)
        The edits. None leaves the model as it is.
    """

    engine: RowEngine
    edits: Sequence[Added | None]

    def answers(
        self,
        questions: Sequence[TokenizedQuery | None],
        compared: Sequence[tuple[int, int]] = (),
        *,
        further: Sequence[TokenizedQuery | None] = (),
    ) -> tuple[OutcomeColumns, Floats]:
        """Score whole answers under every edit. Answers that can share a pass do.

        Parameters
        ----------
        questions : sequence of (TokenizedQuery or None)
            Prompts with answers. None is not run.
        compared : sequence of tuple of (int, int)
            A question whose next-token distribution is compared, and the question it is compared with, which
            is taken under the first edit.
        further : sequence of (TokenizedQuery or None)
            Prompts with answers of which only log P is read; they stand behind the questions.

        Returns
        -------
        columns : OutcomeColumns
            Outcomes, of shape (edit, question).
        divergence : float64 ndarray, shape (edit, compared)
            KL(first edit ‖ edit) at the compared questions' first targets, in nats; NaN where not run.
        """
        n, questions = len(questions), [*questions, *further]
        there = np.array([n for n, question in enumerate(questions) if question is not None], dtype=np.int64)
        tokens = Tokens.of([question for question in questions if question is not None])
        columns = OutcomeColumns.empty(len(self.edits), len(questions))
        passes = _Passes.of(tokens.targets)
        question = there[tokens.query] if len(there) else there
        kept: dict[tuple[int, int], Tensor] = {}
        in_pairs = [number for pair in compared for number in pair]
        for edit, number, hidden in self._hidden(passes.targets) if len(there) else ():
            row, token = passes.tokens_of(number)
            place = np.ravel_multi_index((edit[row], question[token]), columns.shape)
            alone = question[token] >= n
            if alone.any():
                read = _read_from(hidden, row[alone])
                logs = log_probabilities(self.engine.head, read[0], tokens.answers[token[alone]], read[1])
                columns.add_log_probability(place[alone], logs)
            row, token, place = row[~alone], token[~alone], place[~alone]
            if not len(row):
                continue
            read = _read_from(hidden, row)
            answers = outcomes(self.engine.head, read[0], tokens.answers[token], read[1])
            columns.add(place, tokens.first[token], tokens.share[token], answers)
            for at in np.flatnonzero(tokens.first[token] & np.isin(question[token], in_pairs)):
                kept[int(edit[row[at]]), int(question[token[at]])] = hidden[row[at]]
        return columns, self._divergences(kept, compared)

    def _divergences(
        self, kept: dict[tuple[int, int], Tensor], compared: Sequence[tuple[int, int]]
    ) -> Floats:
        divergence = np.full((len(self.edits), len(compared)), np.nan)
        head = self.engine.head
        for place, (question, reference) in enumerate(compared):
            if (0, question) not in kept or (0, reference) not in kept:
                continue
            before = head.logits(kept[0, reference][None]).double().log_softmax(1)
            rows = torch.stack([kept[edit, question] for edit in range(len(self.edits))])
            parts = [
                (before.exp() * (before - head.logits(piece).double().log_softmax(1))).sum(1)
                for piece in rows.split(head.rows_a_chunk())
            ]
            divergence[:, place] = torch.cat(parts).clamp_min(0).cpu().numpy()
        return divergence

    def nats(self, windows: Sequence[Sequence[Target]]) -> Floats:
        """Return −log P of every token of held-out text that is predicted.

        Parameters
        ----------
        windows : sequence of sequence of Target
            Stretches of text. The targets of one window share one token sequence.

        Returns
        -------
        float64 ndarray, shape (edit, token)
            Nats, in the order of the text.
        """
        first = np.cumsum([0, *map(len, windows)])
        nats = np.full((len(self.edits), first[-1]), np.nan)
        single = [number for number, window in enumerate(windows) if len(window) == 1]
        alone = [windows[number][0] for number in single]
        for edit, target, hidden in self._hidden(alone) if alone else ():
            logs = log_probabilities(self.engine.head, hidden, [alone[of].token for of in target])
            nats[edit, first[np.array(single)[target]]] = -logs
        for start, window in zip(first[:-1].tolist(), windows, strict=True):
            if len(window) == 1:
                continue
            places = [target.position for target in window]
            for rows in self._runs(len(window[0].ids)):
                hidden = self._everywhere(window[0].ids, rows)[:, places].flatten(0, 1)
                tokens = [target.token for target in window] * len(rows)
                logs = log_probabilities(self.engine.head, hidden, tokens)
                nats[rows, start : start + len(window)] = -logs.reshape(len(rows), -1)
        return nats

    def greedy(self, prompt: Sequence[int], n_tokens: int, longest: int) -> Ints:
        """Continue a prompt greedily.

        Parameters
        ----------
        prompt : sequence of int
            Token ids.
        n_tokens : int
            Number of tokens to add.
        longest : int
            Length of the model's context.

        Returns
        -------
        int64 ndarray, shape (edit, step)
            The likeliest token at each step; -1 beyond the context.
        """
        from transformers import DynamicCache

        tokens = np.full((len(self.edits), n_tokens), NO_INDEX, dtype=np.int64)
        model, head = self.engine.model, self.engine.head
        device = next(iter(model.parameters())).device
        for rows in self._runs(len(prompt) + n_tokens):
            ids = torch.tensor([list(prompt)] * len(rows), device=device)
            cache: Any = DynamicCache(config=model.config)
            with torch.no_grad(), quiet(), edited(self.engine.sites, self.edits, rows):
                for step in range(min(n_tokens, longest - len(prompt))):
                    with without_head(self.engine.sites.head) as states:
                        model(input_ids=ids, past_key_values=cache, use_cache=True)
                    ids = _best(head, states[0][:, -1])[:, None]
                    tokens[rows, step] = ids[:, 0].cpu().numpy()
        return tokens

    def _hidden(self, targets: Sequence[Target]) -> Iterator[tuple[Ints, Ints, Tensor]]:
        """Run every target under every edit; yield edit, target and final hidden state of rows by batch."""
        n = len(targets)
        edit, target = np.divmod(np.arange(len(self.edits) * n), n)
        order = np.lexsort((edit, target))
        edit, target = edit[order], target[order]
        rows = EditRows(self.engine.sites, self.edits, edit)
        for done in self.engine.passes(targets, target, Cells.none(), edits=rows):
            yield edit[done.rows], target[done.rows], done.hidden

    def _runs(self, length: int) -> Iterator[list[int]]:
        """Yield batches of edits whose rows of ``length`` tokens are run together."""
        size = max(1, self.engine.rows_a_batch(length) - (self.engine.way is not None))
        for start in range(0, len(self.edits), size):
            yield list(range(start, min(start + size, len(self.edits))))

    @torch.no_grad()
    def _everywhere(self, ids: Sequence[int], rows: list[int]) -> Tensor:
        """Return the final hidden states of one text under several edits: (edit, position, hidden)."""
        engine = self.engine
        text = torch.tensor([list(ids)], device=next(iter(engine.model.parameters())).device)
        if engine.way is not None:
            edits = EditRows(engine.sites, self.edits, np.array(rows, dtype=np.int64))
            place, query = torch.zeros_like(text[:, 0]), np.zeros(len(rows), dtype=np.int64)
            return run_joining(
                engine.model, engine.sites, engine.way, text, place, query, edits, everywhere=True
            )
        with edited(engine.sites, self.edits, rows), without_head(engine.sites.head) as states:
            engine.model(**whole(engine.model, text.repeat(len(rows), 1)))
        return states[0]


@dataclass(frozen=True, kw_only=True)
class _Passes:
    """Passes from which several answer tokens are read, such as those of o and o′ after one prompt.

    Attributes
    ----------
    targets : sequence of Target
        One for each pass.
    order : int64 ndarray, shape (token,)
        The tokens, sorted by pass.
    first, count : int64 ndarray, shape (pass,)
        Where each pass's tokens begin in ``order``, and how many they are.
    """

    targets: Sequence[Target]
    order: Ints
    first: Ints
    count: Ints

    @classmethod
    def of(cls, targets: Sequence[Target]) -> _Passes:
        """Find the different passes among targets."""
        numbers: dict[tuple[tuple[int, ...], int], int] = {}
        which = [numbers.setdefault((target.ids, target.position), len(numbers)) for target in targets]
        pass_of = np.array(which, dtype=np.int64)
        count = np.bincount(pass_of, minlength=len(numbers))
        order = np.argsort(pass_of, kind="stable")
        first = np.concatenate([[0], np.cumsum(count)])[:-1].astype(np.int64)
        return cls(targets=[targets[token] for token in order[first]], order=order, first=first, count=count)

    def tokens_of(self, number: Ints) -> tuple[Ints, Ints]:
        """Return, for rows that run these passes, the row of each token, and the token."""
        count = self.count[number]
        row = np.repeat(np.arange(len(number)), count)
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        return row, self.order[self.first[number][row] + within]


def _read_from(hidden: Tensor, row: Ints) -> tuple[Tensor, Ints]:
    """Return the rows that tokens are read from, and the place of each token's row among them."""
    used, place = np.unique(row, return_inverse=True)
    return (hidden, row) if len(used) == len(hidden) else (hidden[used], place)


def _best(head: Any, hidden: Tensor) -> Tensor:
    parts = [head.logits(piece).argmax(1) for piece in hidden.split(head.rows_a_chunk())]
    return torch.cat(parts)
