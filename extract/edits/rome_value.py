"""ROME's v*: search for the value that makes a model give a new answer, by gradient descent.

The value is written into the output of one layer's down-projection, at the subject's last token and in every
prompt at once. Prompts are rows of one batch, padded on the right. Nothing before that layer depends on the
value: gradients end there, and the blocks below it run once and are not computed again, where the model's
final hidden states prove that to be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import torch
from torch import Tensor, nn

from qloc.extract.models.hooks import hooked, in_turn, without_head
from qloc.extract.passes.known_blocks import known_blocks
from qloc.extract.passes.prompt_cache import whole
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.prompts.tokenizing import TokenizedQuery
from qloc.phase_plan import RomePlan

_ALLOWED: Final = {torch.float64: 1e-6, torch.float32: 1e-4}
"""Largest difference of final hidden states from those of all blocks, relative to the largest; 0.02 in half
precision."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A question with an answer.

    Attributes
    ----------
    asked : TokenizedQuery
        The question and the answer.
    subject : int
        Position of the subject's last token.
    """

    asked: TokenizedQuery
    subject: int


@dataclass(frozen=True, kw_only=True)
class KeyAndValue:
    """The key k* and the value v*, of float32 at least.

    Attributes
    ----------
    key : torch.Tensor, shape (neuron,)
        k*.
    value : torch.Tensor, shape (n_out,)
        v*.
    """

    key: Tensor
    value: Tensor


@dataclass(frozen=True, kw_only=True)
class ValueSearch:
    """Minimizes L(z) = mean −log P(o′ | z) + ``kl`` · KL(P(z) ‖ P) + ``weight_decay`` · ‖z − v0‖ / ‖v0‖².

    The mean is over prompts and tokens of the answer. KL compares the next token of ``essence`` with what it
    is when nothing is changed. v0 = W k* + b is what the layer gives at the mean key k* of the prompts.

    Attributes
    ----------
    engine : RowEngine
        Holds the model and the memory bound.
    layer : int
        The layer that is edited.
    plan : RomePlan
        The constants of L and of the descent.
    prompts : sequence of Prompt
        Questions with the new answer.
    essence : Prompt
        A prompt that says nothing of the edited relation. Its KL keeps the subject what it is.
    """

    engine: RowEngine
    layer: int
    plan: RomePlan
    prompts: Sequence[Prompt]
    essence: Prompt

    def best(self) -> KeyAndValue:
        """Search for v*: the best z that Adam visits from v0 on, within ``steps`` steps.

        After each step ‖z − v0‖ is reduced to at most ``clamp`` · ‖v0‖.

        Returns
        -------
        KeyAndValue
            k* and the best z.
        """
        delta = torch.zeros_like(self.start).requires_grad_(True)
        adam, most = torch.optim.Adam([delta], lr=self.plan.rate), self.plan.clamp * self.start.norm()
        best, least = self.start, torch.inf
        for _ in range(self.plan.steps):
            adam.zero_grad()
            loss = self.descend(delta)
            if loss < least:
                best, least = self.start + delta.detach(), loss
            if not loss > self.plan.enough:
                break
            adam.step()
            with torch.no_grad():
                delta.mul_((most / delta.norm()).clamp_max(1.0))
        return KeyAndValue(key=self.key, value=best)

    def descend(self, delta: Tensor) -> float:
        """Compute L(v0 + δ) batch by batch, and add its gradient to that of δ.

        Parameters
        ----------
        delta : torch.Tensor, shape (n_out,)
            δ, a leaf that requires a gradient.

        Returns
        -------
        float
            L(v0 + δ) in nats.
        """
        total = 0.0
        for part in self._parts(delta):
            part.backward()
            total += float(part.detach())
        return total

    @property
    def key(self) -> Tensor:
        """The key k*, the mean over prompts."""
        return self._unchanged[0]

    @cached_property
    def start(self) -> Tensor:
        """The value v0 that the layer gives at k*."""
        down = self.engine.sites.downs[self.layer]
        with torch.no_grad():
            value: Tensor = down(self.key.to(next(down.parameters()).dtype)[None])[0]
        return value.to(self.engine.wide)

    @cached_property
    def _unchanged(self) -> tuple[Tensor, Tensor, dict[int, list[Any]]]:
        """What holds with nothing changed, all blocks run.

        k*, log P of the next token of ``essence``, and what the blocks below the layer return in each batch,
        by its first row; nothing in batches where other blocks do not give the same with these.
        """
        keys, last, below = [], torch.zeros(0), dict[int, list[Any]]()
        for rows in self._batches():
            kept: list[Tensor] = []
            outputs: list[Any] = []

            def keep(_: nn.Module, args: tuple[Tensor, ...], kept: list[Tensor] = kept) -> None:
                kept.append(args[0])

            def known(_: nn.Module, __: Any, output: Any, outputs: list[Any] = outputs) -> None:
                outputs.append(output)

            sites = self.engine.sites
            lower = in_turn((block, known) for block in sites.blocks[: self.layer])
            with torch.no_grad(), hooked(forward_pre={sites.downs[self.layer]: keep}, forward=lower):
                hidden = self._hidden(rows)
            below[rows.start] = outputs if self._proved(rows, outputs, hidden) else []
            inputs = kept[0].view(len(rows), -1, kept[0].shape[-1])
            keys += [inputs[n, self._rows[row].subject] for n, row in enumerate(rows)]
            if rows[-1] == len(self.prompts):
                with torch.no_grad():
                    last = self._next(hidden[-1])
        return torch.stack(keys[:-1]).to(self.engine.wide).mean(0), last, below

    def _proved(self, rows: Sequence[int], outputs: list[Any], expected: Tensor) -> bool:
        """Tell whether a batch's final hidden states are the same where lower blocks are not computed."""
        with torch.no_grad():
            found = self._hidden(rows, outputs)
        allowed = _ALLOWED.get(expected.dtype, 0.02) * expected.abs().max()
        return bool((found - expected).abs().max() <= allowed)

    def _parts(self, delta: Tensor) -> Iterator[Tensor]:
        """Yield the terms of L: one for each batch, and at last that of δ alone."""
        n_tokens = sum(len(prompt.asked.targets) for prompt in self.prompts)
        for rows in self._batches():
            with hooked(
                forward={self.engine.sites.downs[self.layer]: self._writing(rows, self.start + delta)}
            ):
                hidden = self._hidden(rows, self._unchanged[2][rows.start])
            answers = [(n, target) for n, row in enumerate(rows[: self._n_prompts(rows)])
                       for target in self._rows[row].asked.targets]  # fmt: skip
            loss = delta.new_zeros(())
            if answers:
                at, places = [n for n, _ in answers], [target.position for _, target in answers]
                logs = self.engine.head.logits(hidden[at, places]).log_softmax(1)
                tokens = torch.tensor([target.token for _, target in answers], device=logs.device)
                loss = loss - (logs.gather(1, tokens[:, None]).sum() / n_tokens).to(loss)
            if rows[-1] == len(self.prompts):
                after = self._next(hidden[-1])
                loss = loss + self.plan.kl * (after.exp() * (after - self._unchanged[1])).sum().to(loss)
            yield loss
        yield self.plan.weight_decay * delta.norm() / self.start.square().sum()

    def _writing(self, rows: Sequence[int], value: Tensor) -> Callable[..., Tensor]:
        """Make a hook that writes the value where each row's subject ends."""
        place = torch.tensor([self._rows[row].subject for row in rows])

        def write(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            before = output.view(len(rows), -1, output.shape[-1])
            at = torch.arange(len(rows), device=output.device), place.to(output.device)
            return before.index_put(at, value.to(output).expand(len(rows), -1)).view(output.shape)

        return write

    def _next(self, hidden: Tensor) -> Tensor:
        """Return log P of the next token of ``essence``, (vocabulary,), from its final hidden states."""
        place = self.essence.asked.targets[0].position
        return self.engine.head.logits(hidden[place][None]).log_softmax(1)[0]

    def _hidden(self, rows: Sequence[int], below: Sequence[Any] = ()) -> Tensor:
        """Return final hidden states, (row, position, hidden); the first blocks return ``below``."""
        ids = [self._rows[row].asked.targets[-1].ids for row in rows]
        width = max(map(len, ids))
        device = next(iter(self.engine.model.parameters())).device
        padded = torch.tensor([[*row, *[row[-1]] * (width - len(row))] for row in ids], device=device)
        inputs = whole(self.engine.model, padded)
        if self.engine.family == "masked":  # a causal model cannot read what stands behind
            there = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids], device=device)
            inputs["attention_mask"] = there
        known = known_blocks(self.engine.sites.blocks[: len(below)], below) if below else nullcontext()
        with known, without_head(self.engine.sites.head) as states:
            self.engine.model(**inputs)
        return states[0]

    @cached_property
    def _rows(self) -> tuple[Prompt, ...]:
        return (*self.prompts, self.essence)

    def _n_prompts(self, rows: Sequence[int]) -> int:
        return sum(row < len(self.prompts) for row in rows)

    def _batches(self) -> Iterator[range]:
        """Yield the rows of each batch. A gradient keeps what every layer has computed."""
        longest = max(len(prompt.asked.targets[-1].ids) for prompt in self._rows)
        size = self.engine.rows_a_batch(longest, layers=self.engine.sites.n_layers)
        for start in range(0, len(self._rows), size):
            yield range(start, min(start + size, len(self._rows)))
