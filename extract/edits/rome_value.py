"""ROME's v*: search for the value that makes a model give a new answer, by gradient descent.

The value is written into the output of one layer's down-projection, at the subject's last token and in every
prompt at once. Prompts are rows of one batch, padded on the right. Nothing before that layer depends on the
value: gradients end there, and what lies before it is run once (:mod:`qloc.extract.edits.rome_prompts`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from qloc.extract.edits.rome_prompts import Prompt, PromptBatch
from qloc.extract.passes.row_engine import RowEngine
from qloc.phase_plan import RomePlan


@dataclass(frozen=True, kw_only=True)
class KeyAndValue:
    """The key k* and the value v*, of float32 at least.

    Attributes
    ----------
    key : torch.Tensor, shape (neuron,)
        k*.
    solved : torch.Tensor, shape (neuron,)
        The key at which the edit gives v*: k* itself, or the bare prompt's as coded.
    value : torch.Tensor, shape (n_out,)
        v*.
    loss : float
        −log P(o′) + ``kl`` · KL at v*, in nats: what the search is for, without the weight decay.
    changed : bool
        False where v* is the value that the search began with, so that there is no edit.
    """

    key: Tensor
    solved: Tensor
    value: Tensor
    loss: float
    changed: bool


@dataclass(frozen=True, kw_only=True)
class ValueSearch:
    """Minimizes L(z) = mean −log P(o′ | z) + ``kl`` · KL(P(z) ‖ P) + ``weight_decay`` · ‖z − v0‖ / ‖v0‖².

    The mean is over prompts and tokens of the answer. KL compares the next token of ``essence`` with what it
    is when nothing is changed. v0 = W k* + b is what the layer gives at the mean key k* of the prompts.

    As the authors' program has it (``as_coded``): v0 and the key that the edit is solved for are those of the
    bare prompt; z − v0 is *added* to what the layer gives in each prompt, rather than z put in its place; KL
    is read at the subject's last token; and v* is the last z that is evaluated, not the best.
    docs/methods.md#rome has both, point by point.

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
    as_coded : bool, default False
        Whether to search as the authors' program does.
    """

    engine: RowEngine
    layer: int
    plan: RomePlan
    prompts: Sequence[Prompt]
    essence: Prompt
    as_coded: bool = False

    def best(self) -> KeyAndValue:
        """Search for v*: the best z that Adam visits from v0 on, within ``steps`` steps.

        After each step ‖z − v0‖ is reduced to at most ``clamp`` · ‖v0‖. The best has the least −log P + KL
        (``best_by="likelihood"``) or, as in older stores, the least L; as coded it is the last.

        Returns
        -------
        KeyAndValue
            k* and the best z.
        """
        delta = torch.zeros_like(self.start).requires_grad_(True)
        adam, most = torch.optim.Adam([delta], lr=self.plan.rate), self.plan.clamp * self.start.norm()
        best, least, told = torch.zeros_like(self.start), torch.inf, torch.nan
        for _ in range(self.plan.steps):
            adam.zero_grad()
            loss = self.descend(delta)
            aim = loss - float(self._decay(delta.detach()))
            judged = loss if self.plan.best_by == "loss" else aim
            if self.as_coded or judged < least:
                best, least, told = delta.detach().clone(), judged, aim
            if not loss > self.plan.enough:
                break
            adam.step()
            with torch.no_grad():
                delta.mul_((most / delta.norm()).clamp_max(1.0))
        changed, value = bool(best.any()), self.start + best
        return KeyAndValue(key=self.key, solved=self._solved, value=value, loss=told, changed=changed)

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

    @property
    def _solved(self) -> Tensor:
        """The key at which the edit is to give v*."""
        return self._unchanged[1] if self.as_coded else self.key

    @cached_property
    def start(self) -> Tensor:
        """The value v0 that the layer gives at k*, or in the bare prompt as coded."""
        down = self.engine.sites.downs[self.layer]
        with torch.no_grad():
            value: Tensor = down(self._solved.to(next(down.parameters()).dtype)[None])[0]
        return value.to(self.engine.wide)

    @cached_property
    def _unchanged(self) -> tuple[Tensor, Tensor, Tensor]:
        """k*, the first prompt's key, and log P of the next token of ``essence``, with nothing changed."""
        keys = torch.cat([batch.keys for batch in self._batches])[:-1].to(self.engine.wide)
        last = self._batches[-1].unchanged[-1]
        with torch.no_grad():
            return keys.mean(0), keys[0], self._logs(last[self._compared][None])[0]

    @property
    def _compared(self) -> int:
        """Position of ``essence`` whose next token KL compares."""
        return self.essence.subject if self.as_coded else self.essence.asked.targets[0].position

    def _decay(self, delta: Tensor) -> Tensor:
        """Return what L adds for the length of δ."""
        decay: Tensor = self.plan.weight_decay * delta.norm() / self.start.square().sum()
        return decay

    def _parts(self, delta: Tensor) -> Iterator[Tensor]:
        """Yield the terms of L: one for each batch, and at last that of δ alone."""
        n_tokens = sum(len(prompt.asked.targets) for prompt in self.prompts)
        for batch in self._batches:
            written = delta if self.as_coded else self.start + delta
            hidden, last = batch.written(written, added=self.as_coded), batch is self._batches[-1]
            answers = [
                (row, target)
                for row, prompt in enumerate(batch.prompts[:-1] if last else batch.prompts)
                for target in prompt.asked.targets
            ]
            loss = delta.new_zeros(())
            if answers:
                rows, places = [row for row, _ in answers], [batch.place(n, t.position) for n, t in answers]
                logs = self._logs(hidden[rows, places])
                tokens = torch.tensor([target.token for _, target in answers], device=logs.device)
                loss = loss - (logs.gather(1, tokens[:, None]).sum() / n_tokens).to(loss)
            if last:
                row = len(batch.prompts) - 1
                place = batch.place(row, self._compared)
                after = self._logs(hidden[row, place][None])[0]
                loss = loss + self.plan.kl * (after.exp() * (after - self._unchanged[2])).sum().to(loss)
            yield loss
        yield self._decay(delta)

    def _logs(self, hidden: Tensor) -> Tensor:
        """Return log P of every token, (row, vocabulary), from final hidden states, (row, hidden)."""
        return self.engine.head.logits(hidden).log_softmax(1)

    @cached_property
    def _batches(self) -> list[PromptBatch]:
        """The prompts in batches, ``essence`` last. A gradient keeps what every layer has computed."""
        rows = (*self.prompts, self.essence)
        longest = max(len(prompt.ids) for prompt in rows)
        size = self.engine.rows_a_batch(longest, layers=self.engine.sites.n_layers)
        return [
            PromptBatch(engine=self.engine, layer=self.layer, prompts=rows[start : start + size])
            for start in range(0, len(rows), size)
        ]
