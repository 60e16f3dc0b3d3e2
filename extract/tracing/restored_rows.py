"""Restorations as rows that exist only behind the layer that they first restore.

Below it a row is the corrupted pass, in it :mod:`qloc.extract.tracing.corrupted_states` knows what becomes of
it. So a row joins behind that block: as the corrupted pass's output of the block, restored at one position.
In a causal model nothing before that position changes: rows run the tokens from it on, behind keys and values
of the corrupted prompts. And in the last block only the target is wanted. No shortcut is trusted:
:mod:`qloc.extract.tracing.proof` compares them with plain passes on each model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from qloc.arrays import Floats, Ints
from qloc.extract.models.hooks import without_head
from qloc.extract.models.out_of_memory import in_halves
from qloc.extract.passes.block_arguments import ArgumentPath, BlockCall, EntriesPerQuery, for_rows
from qloc.extract.passes.outcomes import log_odds
from qloc.extract.passes.prompt_cache import last_tokens, whole
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.passes.target_only import Attention, replaced_attention
from qloc.extract.tracing.corrupted_states import CorruptedStates, corrupted_states
from qloc.extract.tracing.states import Prompts, States, TracedSites, clean_states, watched
from qloc.phase_plan import TracingPart

Windows = Mapping[TracingPart, Sequence[range]]
"""The layers that are restored together, of each part around each layer."""

_PARTS: Final[tuple[TracingPart, ...]] = ("residual", "mlp", "attention")


@dataclass(frozen=True, kw_only=True)
class Traced:
    """Log odds of one answer token.

    Attributes
    ----------
    clean : float
        In the clean pass.
    corrupted : float64 ndarray, shape (prompt,)
        In the corrupted passes.
    restored : float64 ndarray, shape (part, position, layer, prompt)
        In the corrupted passes with one restoration.
    """

    clean: float
    corrupted: Floats
    restored: Floats


@dataclass(frozen=True, kw_only=True)
class Shortcuts:
    """What rows save besides the layers below them.

    Attributes
    ----------
    behind : bool
        Whether rows run the tokens from the restored one on, behind kept keys and values.
    cut : bool
        Whether the last block runs at the target alone.
    """

    behind: bool
    cut: bool


@dataclass(frozen=True, kw_only=True)
class TracingEngine:
    """Runs restorations on one model.

    Attributes
    ----------
    engine : RowEngine
        The model, its output embedding and how much memory there is.
    traced : TracedSites
        The modules whose outputs are restored.
    carried : EntriesPerQuery
        Which arguments of blocks have entries of each prompt.
    shortcuts : Shortcuts
        What rows save.
    """

    engine: RowEngine
    traced: TracedSites
    carried: EntriesPerQuery
    shortcuts: Shortcuts

    def trace(
        self, clean: Prompts, corrupted: Prompts, positions: Ints, target: tuple[int, int], windows: Windows
    ) -> Traced:
        """Run every restoration of one prompt.

        Parameters
        ----------
        clean : Prompts
            The clean prompt.
        corrupted : Prompts
            The same with a corrupted subject, once or more.
        positions : int64 ndarray, shape (position,)
            Positions that are restored, one at a time.
        target : tuple of (int, int)
            Position of the target, and id of the answer token.
        windows : Windows
            The parts that are restored, and around each layer the layers that are restored together.

        Returns
        -------
        Traced
            Log odds of the answer token.

        Raises
        ------
        DoesNotFit
            If memory runs out for a single row.
        """
        head, (position, token) = self.engine.head, target
        own = clean_states(self.engine.model, self.traced, clean, positions, position)
        base = self.begin(corrupted, own, positions, position)
        odds = log_odds(head, torch.cat([own.final[None], base.final]), [token] * (1 + len(corrupted)))
        plan = RestoredRows.of(windows, len(positions), len(corrupted))
        restored = odds[1:][plan.prompt]
        for rows, hidden in self.passes(plan, corrupted, own, base, positions, position):
            restored[rows] = log_odds(head, hidden, [token] * len(rows))
        shape = (len(windows), len(positions), self.traced.sites.n_layers, len(corrupted))
        return Traced(clean=float(odds[0]), corrupted=odds[1:], restored=restored.reshape(shape))

    def begin(self, corrupted: Prompts, own: States, positions: Ints, position: int) -> CorruptedStates:
        """Run the corrupted prompts.

        Parameters
        ----------
        corrupted : Prompts
            The prompts.
        own : States
            States of the clean pass.
        positions : int64 ndarray, shape (position,)
            Positions that are restored.
        position : int
            Position of the target.

        Returns
        -------
        CorruptedStates
            What rows begin with.
        """
        return corrupted_states(
            self.engine.model, self.traced, self.carried, corrupted, own, positions, position
        )

    def passes(
        self,
        plan: RestoredRows,
        corrupted: Prompts,
        own: States,
        base: CorruptedStates,
        positions: Ints,
        position: int,
    ) -> Iterator[tuple[Ints, Tensor]]:
        """Run the rows that differ from the corrupted pass at the target.

        Parameters
        ----------
        plan : RestoredRows
            The rows.
        corrupted : Prompts
            The corrupted prompts.
        own : States
            States of the clean pass.
        base : CorruptedStates
            States of the corrupted passes.
        positions : int64 ndarray, shape (position,)
            Positions that are restored.
        position : int
            Position of the target.

        Yields
        ------
        rows : int64 ndarray, shape (row,)
            Numbers of the rows.
        hidden : Tensor, shape (row, hidden)
            Their final hidden states at the target.
        """
        n_tokens, last = corrupted.ids.shape[1], self.traced.sites.n_layers - 1
        for number, place in enumerate(positions.tolist()):
            here = np.flatnonzero((plan.position == number) & ((plan.start < last) | (place == position)))
            here = here[np.argsort(plan.start[here], kind="stable")]
            begin = place if self.shortcuts.behind else 0

            def run(rows: list[int], begin: int = begin, place: int = place) -> Tensor:
                batch = _Batch(
                    engine=self,
                    plan=plan.chosen(np.array(rows)),
                    prompts=corrupted,
                    own=own,
                    base=base,
                    begin=begin,
                    place=place - begin,
                    target=position - begin,
                )
                return batch.hidden()

            size = self.engine.rows_a_batch(n_tokens - begin)
            for first in range(0, len(here), size):
                for rows, hidden in in_halves("rows", here[first : first + size].tolist(), run):
                    yield np.array(rows), hidden


@dataclass(frozen=True, kw_only=True)
class RestoredRows:
    """Rows, each with one restoration of one corrupted prompt.

    Attributes
    ----------
    part : int64 ndarray, shape (row,)
        What is restored: 0 the residual stream, 1 the MLP, 2 attention.
    position : int64 ndarray, shape (row,)
        Number of the restored position.
    start : int64 ndarray, shape (row,)
        First restored layer.
    stop : int64 ndarray, shape (row,)
        The layer behind the last restored one.
    prompt : int64 ndarray, shape (row,)
        Number of the corrupted prompt.
    """

    part: Ints
    position: Ints
    start: Ints
    stop: Ints
    prompt: Ints

    @classmethod
    def of(cls, windows: Windows, n_positions: int, n_prompts: int) -> RestoredRows:
        """Return all rows: part by part, position by position, layer by layer, prompt by prompt.

        Parameters
        ----------
        windows : Windows
            The layers that are restored together.
        n_positions : int
            Number of positions.
        n_prompts : int
            Number of corrupted prompts.

        Returns
        -------
        RestoredRows
            part × position × layer × prompt rows.
        """
        n_layers = len(next(iter(windows.values())))
        shape = (len(windows), n_positions, n_layers, n_prompts)
        which, position, layer, prompt = (axis.ravel() for axis in np.indices(shape))
        bounds = np.array([[(window.start, window.stop) for window in part] for part in windows.values()])
        start, stop = bounds[which, layer].T
        part = np.array([_PARTS.index(name) for name in windows])[which]
        return cls(part=part, position=position, start=start, stop=stop, prompt=prompt)

    def chosen(self, rows: Ints) -> RestoredRows:
        """Return some of the rows.

        Parameters
        ----------
        rows : int64 ndarray, shape (chosen,)
            Their numbers.

        Returns
        -------
        RestoredRows
            These, in the order given.
        """
        return RestoredRows(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


@dataclass(kw_only=True)
class _Batch:
    """Rows that restore one position, ordered by their first layer, and the hooks that run them.

    Before the first row joins, one prompt runs in its place: what it computes is read by nobody.
    """

    engine: TracingEngine
    plan: RestoredRows
    prompts: Prompts
    own: States
    base: CorruptedStates
    begin: int
    place: int
    target: int
    present: int = 0
    layer: int = -1
    attention: Attention | None = None

    @property
    def query(self) -> Tensor:
        """The corrupted prompt of each row that runs now: int64, (row,)."""
        numbers = self.plan.prompt[: self.present] if self.present else np.zeros(1, dtype=np.int64)
        return torch.as_tensor(numbers, device=self.prompts.ids.device)

    @torch.no_grad()
    def hidden(self) -> Tensor:
        """Run the rows and return their final hidden states at the target, (row, hidden)."""
        model, traced = self.engine.engine.model, self.engine.traced
        if self.begin:
            with self.prompts.noised(traced.embedding, self.begin):
                inputs = last_tokens(model, self.prompts.ids, lambda: self.query, self.begin)
        else:
            inputs = whole(model, self.prompts.ids)
        inputs["input_ids"] = inputs["input_ids"][:1]
        replaced = replaced_attention(model) if self.engine.shortcuts.cut else nullcontext()
        watching = watched(
            traced,
            enter=self._enter,
            residual=self._leave,
            mlp=lambda _, layer, output: self._restored("mlp", layer, output),
            attention=lambda _, layer, output: self._restored("attention", layer, output),
        )
        with replaced as self.attention, watching, without_head(traced.sites.head) as finals:
            model(**inputs)
        return finals[0][:, self.target]

    @property
    def _in_last(self) -> bool:
        return self.layer == self.engine.traced.sites.n_layers - 1

    def _enter(self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        self.layer += 1
        call = BlockCall(args, kwargs)
        hidden, rows = call.hidden, torch.zeros(max(1, self.present), dtype=torch.int64)

        def by_row(place: ArgumentPath, value: Tensor) -> Tensor:
            entries = self.engine.carried.get((self.layer, *place))
            return for_rows(value, entries, 1, rows) if entries and entries > 1 else value

        call = call.changed(hidden, by_row)
        if self.attention is not None and self._in_last:
            at = torch.full((len(hidden),), self.target, device=hidden.device)
            self.attention.substitute = self.attention.only_at(
                at, lambda: block.forward(*call.args, **call.kwargs)
            )
            call = call.changed(hidden[:, self.target][:, None], lambda _, value: value)
        return call.args, call.kwargs

    def _leave(self, _: nn.Module, layer: int, output: Tensor) -> Tensor:
        restored = self._restored("residual", layer, output)  # of windows that began below
        output = output if restored is None else restored
        if self.attention is not None and self.attention.substitute is not None:
            self.attention.substitute = None
            # some models view it as what they were given
            output = output.expand(-1, self.prompts.ids.shape[1] - self.begin, -1)
        joining = slice(self.present, int(np.searchsorted(self.plan.start, layer, side="right")))
        if joining.stop == joining.start:
            return output
        before = output[: self.present]  # without what ran in place of rows
        self.present = joining.stop
        return torch.cat([before, self._new(layer, joining).to(output)])

    def _new(self, layer: int, joining: slice) -> Tensor:
        """Return the corrupted pass's output of a block, restored at the position, for rows that join."""
        device = self.base.blocks.device
        prompt = torch.as_tensor(self.plan.prompt[joining], device=device)
        new = self.base.blocks[layer][prompt, self.begin :]
        number = int(self.plan.position[0])
        for index, part in enumerate(_PARTS):
            own = torch.as_tensor(np.flatnonzero(self.plan.part[joining] == index), device=device)
            new[own, self.place] = self.base.begun[part][layer][prompt[own], number]
        return new

    def _restored(self, part: TracingPart, layer: int, output: Tensor) -> Tensor | None:
        """Restore one part of the rows whose windows began below this layer and do not end below it."""
        plan = self.plan.chosen(np.arange(self.present))
        rows = np.flatnonzero((plan.part == _PARTS.index(part)) & (layer < plan.stop))
        place = self.place
        if self.attention is not None and self.attention.substitute is not None:
            if self.place != self.target:
                return None
            place = 0
        if len(rows) == 0:
            return None
        changed = output.clone()
        by_position = changed.view(self.present, -1, output.shape[-1])
        value = self.own.of_part[part][layer, int(self.plan.position[0])]
        by_position[torch.as_tensor(rows, device=output.device), place] = value.to(output)
        return changed
