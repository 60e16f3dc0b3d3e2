"""Changed passes as rows: hundreds of changes to one prompt's activations in one forward pass.

A change is a row of the batch, not a copy of the model and not a pass of its own. Activations are changed
at the target position alone, so in a causal model a row is one token behind the prompt, which runs once and
is shared. In a masked model, where sharing does not hold, and where weights are edited, a row is the whole
sequence. Where that is proved to hold, rows join at the first layer that they change
(:mod:`qloc.extract.passes.late_join`); else each runs all layers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from qloc.arrays import Ints
from qloc.extract.models.architectures import Sites
from qloc.extract.models.hooks import hooked, in_turn, without_head
from qloc.extract.models.out_of_memory import in_halves, raise_if_out_of_memory
from qloc.extract.models.output_head import Head
from qloc.extract.models.unsupported import MODEL_FAILURES
from qloc.extract.passes.activation_changes import CellRows, Cells
from qloc.extract.passes.late_join import JoinMode, RowChange, run_joining
from qloc.extract.passes.prompt_cache import last_token, whole
from qloc.extract.passes.weight_changes import EditRows, edited
from qloc.extract.prompts.tokenizing import Family, Target

log = logging.getLogger(__name__)

__all__ = ["Cells", "Ints", "Pass", "RowEngine", "sharing"]

_MOST_POSITIONS: Final = 2048
"""Positions of one batch, beyond which a larger one was not faster on two cores."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """Results of one batch of rows.

    Attributes
    ----------
    rows : int64 ndarray, shape (row,)
        Numbers of the rows, among all that were asked for.
    hidden : Tensor, shape (row, hidden)
        Final hidden states at each row's target.
    activation : Tensor, shape (row, layer, neuron), or None
        Inputs of the down-projections at the target before they are changed; None where they were not asked
        for.
    """

    rows: Ints
    hidden: Tensor
    activation: Tensor | None


Within = Callable[[Ints], AbstractContextManager[Any]]
"""What else holds during one batch, given its rows, such as changed attention."""


@dataclass(frozen=True, kw_only=True)
class RowEngine:
    """Runs changed passes on one model.

    Attributes
    ----------
    model : transformers model
        The loaded model.
    sites : Sites
        Its blocks, down-projections and output embedding.
    family : {"causal", "masked"}
        Kind of model.
    memory : int
        Bytes that the rows in flight may take.
    shared : bool
        Whether rows share their prompt's keys and values; :func:`sharing` finds out.
    way : JoinMode or None
        How rows join; None where each runs all layers. :mod:`qloc.extract.passes.late_join_proof` finds
        out.
    """

    model: Any
    sites: Sites
    family: Family
    memory: int
    shared: bool = False
    way: JoinMode | None = None

    @property
    def head(self) -> Head:
        """The output embedding, with a quarter of the memory for its logits."""
        return Head(model=self.model, module=self.sites.head, chunk_bytes=self.memory // 4)

    @property
    def wide(self) -> torch.dtype:
        """Dtype in which activations are kept: float32, or float64 of a float64 model."""
        return torch.promote_types(next(iter(self.model.parameters())).dtype, torch.float32)

    def passes(
        self,
        targets: Sequence[Target],
        row_target: Ints,
        cells: Cells,
        *,
        read: bool = False,
        within: Within | None = None,
        edits: EditRows | None = None,
    ) -> Iterator[Pass]:
        """Run rows, batch by batch; the batches are a function of the arguments and the bound alone.

        Parameters
        ----------
        targets : sequence of Target
            Targets of any lengths.
        row_target : int64 ndarray, shape (row,)
            The target that each row runs.
        cells : Cells
            The activations that each row changes.
        read : bool, default False
            Whether to keep the activations too.
        within : Within, optional
            What else holds during a batch; prompts then run whole.
        edits : EditRows, optional
            The edit of each row, in place of ``cells``; prompts then run whole.

        Yields
        ------
        Pass
            Results of one batch.
        """
        shared = self.shared and within is None and edits is None
        change = edits or CellRows(self.sites, cells, len(row_target))
        if edits is not None and self.way is None:
            within = lambda rows: edited(self.sites, edits.edits, edits.of_row[rows].tolist())  # noqa: E731

        def run(rows: list[int]) -> Pass:
            chosen = np.array(rows, dtype=np.int64)
            if self.way is not None and within is None and not read:
                return self._joining(self.way, targets, row_target, change.of_rows(chosen), chosen, shared)
            with torch.no_grad(), within(chosen) if within else nullcontext():
                return self._pass(targets, row_target, cells, chosen, shared, read)

        for rows in self._plan(targets, row_target, shared, read):
            for _, done in in_halves("rows", rows.tolist(), run):
                yield done

    def _pass(
        self, targets: Sequence[Target], row_target: Ints, cells: Cells, rows: Ints, shared: bool, read: bool
    ) -> Pass:
        device = next(iter(self.model.parameters())).device
        used, of_row = np.unique(row_target[rows], return_inverse=True)
        which = torch.as_tensor(of_row, device=device)
        ids = torch.tensor([targets[index].ids for index in used], device=device)
        places = [0 if shared else targets[index].position for index in used]
        place = torch.tensor(places, device=device)[which]
        inputs = last_token(self.model, ids, lambda: which) if shared else whole(self.model, ids)
        inputs["input_ids"] = inputs["input_ids"][which]
        kept: dict[int, Tensor] = {}
        change = _ActivationHook(place=place, cells=cells.of_rows(rows), kept=kept if read else None)
        hooks = in_turn((down, change.hook(layer)) for layer, down in enumerate(self.sites.downs))
        with hooked(forward_pre=hooks), without_head(self.sites.head) as finals:
            self.model(**inputs)
        final = finals[0]
        hidden = final[torch.arange(len(rows), device=final.device), place.to(final.device)]
        activation = torch.stack([kept[layer].to(device) for layer in sorted(kept)], 1) if read else None
        return Pass(rows=rows, hidden=hidden, activation=activation)

    def _joining(
        self,
        way: JoinMode,
        targets: Sequence[Target],
        row_target: Ints,
        change: RowChange,
        rows: Ints,
        shared: bool,
    ) -> Pass:
        device = next(iter(self.model.parameters())).device
        used, of_row = np.unique(row_target[rows], return_inverse=True)
        ids = torch.tensor([targets[index].ids for index in used], device=device)
        place = torch.tensor([targets[index].position for index in used], device=device)
        hidden = run_joining(self.model, self.sites, way, ids, place, of_row, change, shared=shared)
        return Pass(rows=rows, hidden=hidden, activation=None)

    def _plan(self, targets: Sequence[Target], row_target: Ints, shared: bool, read: bool) -> Iterator[Ints]:
        """Yield rows of prompts of equal length together, as many as the bound allows."""
        lengths = np.array([len(targets[index].ids) for index in row_target], dtype=np.int64)
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            size = self.rows_a_batch(int(length), shared=shared, read=read)
            yield from _together(rows, row_target, size, own=self.way is not None)

    def rows_a_batch(self, length: int, *, shared: bool = False, read: bool = False, layers: int = 1) -> int:
        """Return how many rows of a prompt of ``length`` tokens go together.

        Parameters
        ----------
        length : int
            Number of tokens of the prompt.
        shared : bool, default False
            Whether rows share their prompt's keys and values.
        read : bool, default False
            Whether activations are kept.
        layers : int, default 1
            Number of layers whose tensors are kept at once: all of them, where a gradient is wanted.

        Returns
        -------
        int
            At least 1.
        """
        positions = 1 if shared else length
        fit = self.memory // (layers * self._bytes(length, positions, read))
        return max(1, min(fit, _MOST_POSITIONS // positions))

    def _bytes(self, length: int, positions: int, read: bool) -> int:
        """What one row takes while it is in a block, and what is kept of it."""
        config = self.model.config.get_text_config()
        width, heads = int(config.hidden_size), int(config.num_attention_heads)
        a_block = positions * (14 * width + 4 * self.sites.n_neurons) + 4 * heads * positions * length
        prompt = 2 * length * width * (self.sites.n_layers if positions < length else 1)
        kept = self.sites.n_layers * self.sites.n_neurons if read else 0
        itemsize = int(next(iter(self.model.parameters())).element_size())
        return max(1, (a_block + prompt + kept) * itemsize)


def _together(rows: Ints, prompt: Ints, most: int, *, own: bool) -> Iterator[Ints]:
    """Yield consecutive rows, at most ``most`` together; if ``own``, each prompt among them takes one more.

    Examples
    --------
    >>> [rows.tolist() for rows in _together(np.arange(5), np.array([0, 0, 0, 1, 1]), 4, own=True)]
    [[0, 1, 2], [3, 4]]
    """
    start, size, last = 0, 0, -1
    for place, of in enumerate(prompt[rows].tolist()):
        size += 1 + (own and of != last)
        if size > most and place > start:
            yield rows[start:place]
            start, size = place, 1 + own
        last = of
    if len(rows):
        yield rows[start:]


@dataclass(frozen=True, kw_only=True)
class _ActivationHook:
    """The hooks of one batch: they read activations at the target, and change the rows' cells."""

    place: Tensor
    cells: Cells
    kept: dict[int, Tensor] | None

    def hook(self, layer: int) -> Callable[..., Any]:
        """Return a forward pre-hook of down-projection ``layer``."""
        cells, n = self.cells.of_layer(layer), len(self.place)

        def change(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
            inputs = args[0]
            rows, place = inputs.view(n, -1, inputs.shape[-1]), self.place.to(inputs.device)
            if self.kept is not None:
                self.kept[layer] = rows[torch.arange(n, device=rows.device), place].clone()
            if len(cells.row) == 0:
                return None
            row, neuron = (torch.as_tensor(v, device=rows.device) for v in (cells.row, cells.neuron))
            factor, offset = (
                torch.as_tensor(v, device=rows.device).to(rows.dtype) for v in (cells.factor, cells.offset)
            )
            where = (row, place[row], neuron)
            changed = rows.clone()
            changed[where] = factor * rows[where] + offset
            return (changed.view(inputs.shape), *args[1:])

        return change


def sharing(engine: RowEngine, targets: Sequence[Target], allowed: float) -> RowEngine:
    """Return the engine with rows that share their prompt where that gives what whole prompts give.

    The proof runs on the shortest and the longest target, with a row that changes nothing and one that
    halves some activations of every layer. A masked model shares nothing, since all of its positions
    change.

    Parameters
    ----------
    engine : RowEngine
        The engine to prove.
    targets : sequence of Target
        Targets that it will run.
    allowed : float
        Largest difference of final hidden states, relative to the largest of them.

    Returns
    -------
    RowEngine
        The same engine with ``shared`` set.
    """
    if engine.family == "masked":
        return replace(engine, shared=False)
    ends = [pick(targets, key=lambda target: len(target.ids)) for pick in (min, max)]
    layer, neuron = np.divmod(np.arange(engine.sites.n_layers * 4), 4)
    half = np.full(len(layer), 0.5)
    one = np.ones(len(layer), dtype=np.int64)
    rows = np.array([0, 0, 1, 1])
    cells = Cells(
        row=np.concatenate([one, 3 * one]),
        layer=np.tile(layer, 2),
        neuron=np.tile(neuron, 2),
        factor=np.tile(half, 2),
        offset=np.zeros(2 * len(layer)),
    )
    try:
        quick, plain = (
            _hidden(replace(engine, shared=shared), ends, rows, cells) for shared in (True, False)
        )
    except MODEL_FAILURES as error:
        raise_if_out_of_memory(error)
        log.info("rows cannot share their prompt on %s: %s", engine.model.config.model_type, error)
        return replace(engine, shared=False)
    worst = float((quick - plain).abs().max() / plain.abs().max())
    if not worst <= allowed:
        log.info("rows that share their prompt differ by %.1e on %s", worst, engine.model.config.model_type)
    return replace(engine, shared=worst <= allowed)


def _hidden(engine: RowEngine, targets: Sequence[Target], rows: Ints, cells: Cells) -> Tensor:
    by_row: dict[int, Tensor] = {}
    for batch in engine.passes(targets, rows, cells):
        by_row |= dict(zip(batch.rows.tolist(), batch.hidden.double(), strict=True))
    return torch.stack([by_row[row] for row in range(len(rows))])
