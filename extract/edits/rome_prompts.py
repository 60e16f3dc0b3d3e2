"""The prompts of ROME's search as rows of a batch, of which only what the value changes is run at every step.

The value is written at one layer and one position of each row. Blocks below the layer give what they gave
(:mod:`qloc.extract.passes.known_blocks`), and in a causal model so do all positions before the subject's last
token (:mod:`qloc.extract.passes.prompt_beginnings`). Either is used where the unchanged prompts' final hidden
states prove that it gives the same.
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
from qloc.extract.models.out_of_memory import raise_if_out_of_memory
from qloc.extract.models.unsupported import MODEL_FAILURES
from qloc.extract.passes.block_arguments import each_tensor
from qloc.extract.passes.known_blocks import known_blocks
from qloc.extract.passes.prompt_beginnings import Beginnings
from qloc.extract.passes.prompt_cache import whole
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.prompts.tokenizing import TokenizedQuery

_ALLOWED: Final = {torch.float64: 1e-6, torch.float32: 1e-4}
"""Largest difference of final hidden states from those of whole passes, relative to the largest; 0.02 in half
precision. float64: transformers' RMSNorm computes in float32 even then."""


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

    @property
    def ids(self) -> tuple[int, ...]:
        """Token ids, with all of the answer that is ever read."""
        return self.asked.targets[-1].ids


@dataclass(frozen=True, kw_only=True)
class Known:
    """What need not run again.

    Attributes
    ----------
    below : sequence of Any
        What the blocks below the layer return; empty where they run.
    beginnings : Beginnings or None
        Keys and values before the subjects; None where whole prompts run.
    """

    below: Sequence[Any] = ()
    beginnings: Beginnings | None = None


@dataclass(frozen=True, kw_only=True)
class PromptBatch:
    """Prompts that run together, padded on the right.

    Attributes
    ----------
    engine : RowEngine
        Holds the model.
    layer : int
        The layer whose down-projection the value is written behind.
    prompts : sequence of Prompt
        The rows.
    """

    engine: RowEngine
    layer: int
    prompts: Sequence[Prompt]

    @property
    def unchanged(self) -> Tensor:
        """Final hidden states with nothing changed: (row, position, hidden), of all positions."""
        return self._whole[0]

    @cached_property
    def keys(self) -> Tensor:
        """Input of the layer's down-projection at the subject's last token: (row, neuron)."""
        inputs = self._whole[1].view(len(self.prompts), -1, self._whole[1].shape[-1])
        return torch.stack([row[prompt.subject] for row, prompt in zip(inputs, self.prompts, strict=True)])

    def written(self, value: Tensor, *, added: bool = False) -> Tensor:
        """Run the prompts with a value written behind the down-projection, at the subject's last token.

        Parameters
        ----------
        value : Tensor, shape (n_out,)
            The value; gradients go to it.
        added : bool, default False
            Whether the value is added to each prompt's own output rather than put in its place.

        Returns
        -------
        Tensor, shape (row, position, hidden)
            Final hidden states; :meth:`place` tells of which positions.
        """
        with hooked(forward={self.engine.sites.downs[self.layer]: self._writing(value, added)}):
            return self._hidden(self.known)

    def place(self, row: int, position: int) -> int:
        """Return where a position of a row stands among those that :meth:`written` returns.

        Parameters
        ----------
        row : int
            The row.
        position : int
            Position in the prompt, not before the subject's last token.

        Returns
        -------
        int
            Index on the axis ``position``.
        """
        return position - (self.prompts[row].subject if self.known.beginnings is not None else 0)

    @cached_property
    def known(self) -> Known:
        """What need not run again, the most that gives the same."""
        hidden, _, below, cache = self._whole
        allowed = _ALLOWED.get(hidden.dtype, 0.02) * hidden.abs().max()
        for known in self._candidates(below, cache):
            try:
                with torch.no_grad():
                    found = self._hidden(known)
            except MODEL_FAILURES as error:
                raise_if_out_of_memory(error)
                continue
            expected, first = hidden, torch.zeros_like(self._first)
            if known.beginnings is not None:
                expected, first = _from(hidden, self._first, found.shape[1]), self._first
            real = self._real(first, found.shape[1]).to(found.device)
            if bool((found - expected).abs().amax(2)[real].max() <= allowed):
                return known
        return Known()

    def _candidates(self, below: list[Any], cache: Any) -> Iterator[Known]:
        """Yield what may be known, the most first."""
        if cache is not None and int(self._first.max()):
            try:
                beginnings = Beginnings.of(cache, self._first, self._n_behind)
            except MODEL_FAILURES as error:  # a cache that is not keys and values of every position
                raise_if_out_of_memory(error)
            else:
                yield Known(below=self._behind(below), beginnings=beginnings)
        yield Known(below=below)

    def _behind(self, below: list[Any]) -> list[Any]:
        """Return what blocks return, at the positions from the subjects on."""
        shape = self._ids.shape

        def cut(_: Any, value: Tensor) -> Tensor:
            return _from(value, self._first, self._n_behind) if value.shape[:2] == shape else value

        return [each_tensor(output, cut, ()) for output in below]

    @cached_property
    def _whole(self) -> tuple[Tensor, Tensor, list[Any], Any]:
        """What whole prompts give: final hidden states, keys, outputs of lower blocks, and the cache."""
        kept, below = list[Tensor](), list[Any]()

        def keep(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            kept.append(args[0])

        def note(_: nn.Module, __: Any, output: Any) -> None:
            below.append(output)

        sites, cache = self.engine.sites, None
        inputs = self._inputs(Known())
        if self.engine.family == "causal":
            from transformers import DynamicCache

            cache = DynamicCache(config=self.engine.model.config)
            inputs |= {"past_key_values": cache, "use_cache": True}
        lower = in_turn((block, note) for block in sites.blocks[: self.layer])
        with torch.no_grad(), hooked(forward_pre={sites.downs[self.layer]: keep}, forward=lower):
            hidden = self._run(inputs)
        return hidden, kept[0], below, cache

    def _hidden(self, known: Known) -> Tensor:
        blocks = self.engine.sites.blocks[: len(known.below)]
        with known_blocks(blocks, known.below) if known.below else nullcontext():
            return self._run(self._inputs(known))

    def _run(self, inputs: dict[str, Any]) -> Tensor:
        with without_head(self.engine.sites.head) as states:
            self.engine.model(**inputs)
        return states[0]

    def _inputs(self, known: Known) -> dict[str, Any]:
        if known.beginnings is not None:
            behind = _from(self._ids, self._first, self._n_behind)
            return known.beginnings.inputs(self.engine.model, behind)
        inputs = whole(self.engine.model, self._ids)
        if self.engine.family == "masked":  # a causal model cannot read what stands behind
            real = self._real(torch.zeros_like(self._first), self._ids.shape[1])
            inputs["attention_mask"] = real.long()
        return inputs

    def _real(self, first: Tensor, n: int) -> Tensor:
        """Tell which of ``n`` positions from each row's first on are not padding: (row, position)."""
        size = torch.tensor([len(prompt.ids) for prompt in self.prompts], device=first.device)
        return (first[:, None] + torch.arange(n, device=first.device)) < size[:, None]

    @cached_property
    def _ids(self) -> Tensor:
        width = max(len(prompt.ids) for prompt in self.prompts)
        padded = [[*p.ids, *[p.ids[-1]] * (width - len(p.ids))] for p in self.prompts]
        return torch.tensor(padded, device=next(iter(self.engine.model.parameters())).device)

    @cached_property
    def _first(self) -> Tensor:
        return torch.tensor([prompt.subject for prompt in self.prompts], device=self._ids.device)

    @property
    def _n_behind(self) -> int:
        return max(len(prompt.ids) - prompt.subject for prompt in self.prompts)

    def _writing(self, value: Tensor, added: bool) -> Callable[..., Tensor]:
        """Make a hook that writes the value, or adds it, where each row's subject ends."""
        place = torch.tensor([self.place(row, prompt.subject) for row, prompt in enumerate(self.prompts)])

        def write(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
            before = output.view(len(place), -1, output.shape[-1])
            at = torch.arange(len(place), device=output.device), place.to(output.device)
            values = value.to(output).expand(len(place), -1)
            return before.index_put(at, values, accumulate=added).view(output.shape)

        return write


def _from(value: Tensor, first: Tensor, n: int) -> Tensor:
    """Take ``n`` positions of (row, position, …) from each row's first on; behind the end the last one."""
    place = (first[:, None] + torch.arange(n, device=first.device)).clamp_max(value.shape[1] - 1)
    return value[torch.arange(len(value), device=value.device)[:, None], place.to(value.device)]
