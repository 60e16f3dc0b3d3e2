"""Rows that join a pass where they first differ: below, one unchanged row a prompt stands for all of them.

A changed activation or an edited slot of layer l changes nothing below layer l. So the unchanged prompts
run alone, and each row joins as a copy of its prompt at the first layer that it changes:

- ``after`` that layer's block, where the block's output is the down-projection's plus something that does not
  depend on it (most decoders): what the change adds to the one is added to the other, and the row has not
  cost that block at all;
- else ``before`` the block, which the row then runs through.

Where rows are whole prompts, only the target is wanted behind the last block's attention: the last block is
``cut`` to it (:mod:`qloc.extract.passes.target_only`). A row that changes nothing is its prompt's unchanged
row. Nothing here is trusted: :mod:`qloc.extract.passes.late_join_proof` compares it with the plain way on
each model.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from qloc.arrays import Ints
from qloc.extract.models.architectures import Sites
from qloc.extract.models.hooks import hooked, without_head
from qloc.extract.passes.block_arguments import ArgumentPath, BlockCall, EntriesPerQuery, for_rows
from qloc.extract.passes.fused_gelu import fused
from qloc.extract.passes.prompt_cache import last_token, whole
from qloc.extract.passes.target_only import Attention, replaced_attention


class RowChange(Protocol):
    """What some rows change, layer by layer.

    Rows are in :attr:`order` in all methods below, and tensors are (row, position, …).
    """

    @property
    def first(self) -> Ints:
        """The first layer that each row changes, (row,); the number of layers where it changes none."""

    @property
    def order(self) -> Ints:
        """The rows by their first layer."""

    def of_rows(self, rows: Ints) -> Self:
        """Return chosen rows, in the order given.

        Parameters
        ----------
        rows : int64 ndarray, shape (chosen row,)
            Numbers of the rows.

        Returns
        -------
        RowChange
            These rows, numbered from 0.
        """

    def inputs(self, layer: int, activation: Tensor, place: Tensor) -> None:
        """Change the input of a down-projection in place, for the first ``len(activation)`` rows.

        Parameters
        ----------
        layer : int
            Layer of the down-projection.
        activation : Tensor, shape (row, position, neuron)
            Its input.
        place : int64 Tensor, shape (row,)
            Position of each row's target.
        """

    def outputs(self, layer: int, activation: Tensor, output: Tensor) -> None:
        """Change the output of a down-projection in place, for the first ``len(output)`` rows.

        Parameters
        ----------
        layer : int
            Layer of the down-projection.
        activation : Tensor, shape (row, position, neuron)
            Its input.
        output : Tensor, shape (row, position, n_out)
            Its output.
        """

    def joined(
        self, layer: int, start: int, activation: Tensor, query: Tensor, place: Tensor, output: Tensor
    ) -> None:
        """Add to ``output`` what the change of rows from ``start`` on adds to the down-projection's output.

        Parameters
        ----------
        layer : int
            Layer of the down-projection.
        start : int
            First of the rows that join.
        activation : Tensor, shape (query, position, neuron)
            Unchanged input of the down-projection.
        query : int64 Tensor, shape (row,)
            The query whose input each row would have had.
        place : int64 Tensor, shape (row,)
            Position of each row's target.
        output : Tensor, shape (row, position, n_out)
            Output of the block for the rows that join; changed in place.
        """


@dataclass(frozen=True, kw_only=True)
class JoinMode:
    """How rows join on one model.

    Attributes
    ----------
    join : {"after", "before"}
        Whether rows join behind or before the block of the first layer that they change.
    cut : bool
        Whether the last block runs at the target alone, where rows are whole prompts.
    carried : EntriesPerQuery
        Which arguments of the blocks have entries of each prompt.
    fused : bool
        Whether activation functions run as one kernel (:mod:`qloc.extract.passes.fused_gelu`).
    """

    join: Literal["after", "before"]
    cut: bool
    carried: EntriesPerQuery
    fused: bool = False


@torch.no_grad()
def run_joining(
    model: Any,
    sites: Sites,
    way: JoinMode,
    ids: Tensor,
    place: Tensor,
    query: Ints,
    change: RowChange,
    *,
    shared: bool = False,
    everywhere: bool = False,
) -> Tensor:
    """Run rows that join late, and return their final hidden states.

    Parameters
    ----------
    model : transformers model
        The loaded model.
    sites : Sites
        Its blocks, down-projections and output embedding.
    way : JoinMode
        How rows join.
    ids : int64 Tensor, shape (query, token)
        The different prompts, all of one length.
    place : int64 Tensor, shape (query,)
        Position of each prompt's target.
    query : int64 ndarray, shape (row,)
        The prompt of each row.
    change : RowChange
        What each row changes.
    shared : bool, default False
        Whether rows are one token behind the prompt, which has keys and values only (causal models).
    everywhere : bool, default False
        Whether hidden states of every position are returned.

    Returns
    -------
    Tensor, shape (row, hidden)
        Final hidden states at each row's target, or (row, position, hidden) if ``everywhere``.
    """
    order, n_layers = change.order, sites.n_layers
    first, row_query = change.first[order], torch.as_tensor(query[order], device=ids.device)
    with (
        replaced_attention(model) if way.cut and not shared and not everywhere else nullcontext() as attention
    ):
        batch = JoiningBatch(
            sites=sites,
            way=way,
            change=change.of_rows(order),
            first=first,
            row_query=row_query,
            place=torch.zeros_like(place) if shared else place,
            n_positions=ids.shape[1],
            attention=attention,
        )
        inputs = last_token(model, ids, lambda: batch.query) if shared else whole(model, ids)
        quick = fused(model) if way.fused else nullcontext()
        with quick, batch.hooks(), without_head(sites.head) as finals:
            model(**inputs)
    final = finals[0]
    if not everywhere:
        final = final[
            torch.arange(len(final), device=final.device), batch.place[batch.query].to(final.device)
        ]
    n_joined = int(np.searchsorted(first, n_layers))
    own = torch.arange(batch.unchanged, batch.unchanged + n_joined, device=ids.device)
    row_index = torch.cat([own, row_query[n_joined:]])[torch.as_tensor(np.argsort(order), device=ids.device)]
    return final[row_index.to(final.device)]


@dataclass(kw_only=True)
class JoiningBatch:
    """The rows of one batch, and the hooks that let them join during a pass.

    One unchanged row a prompt comes first, then the rows that have joined.

    Attributes
    ----------
    sites : Sites
        Blocks, down-projections and output embedding of the model.
    way : JoinMode
        How rows join.
    change : RowChange
        What all rows change, in the order in which they join.
    first : int64 ndarray, shape (row,)
        The layer at which each row joins, ascending.
    row_query : int64 Tensor, shape (row,)
        The prompt of each row.
    place : int64 Tensor, shape (query,)
        Position of each prompt's target in what the rows run.
    n_positions : int
        Number of positions of a prompt.
    attention : Attention or None
        Stand-in for the model's attention function; with it the last block runs at the target alone.
    layer : int
        The block that runs now; -1 before the first.
    present : int
        How many rows have joined.
    unchanged : int
        How many unchanged rows there are; none once no row will be a copy of them.
    """

    sites: Sites
    way: JoinMode
    change: RowChange
    first: Ints
    row_query: Tensor
    place: Tensor
    n_positions: int
    attention: Attention | None
    layer: int = -1
    present: int = 0
    unchanged: int = field(init=False)
    _unchanged_input: Tensor | None = None

    def __post_init__(self) -> None:
        self.unchanged = len(self.place)

    @property
    def query(self) -> Tensor:
        """The prompt of each row that is in the batch now: int64, (row,)."""
        own = torch.arange(self.unchanged, device=self.place.device)
        return torch.cat([own, self.row_query[: self.present]])

    def hooks(self) -> Any:
        """Return all hooks of one pass.

        Returns
        -------
        context manager
            The hooks are in place inside it, and removed when it ends.
        """
        blocks, downs = self.sites.blocks, self.sites.downs
        return hooked(
            forward_pre_kwargs=dict.fromkeys(blocks, self._enter),
            forward_pre=dict.fromkeys(downs, self._before_down),
            forward={**dict.fromkeys(downs, self._behind_down), **dict.fromkeys(blocks, self._leave)},
        )

    def _enter(self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """Run before a block: let rows join, and index by row what has entries of each prompt."""
        self.layer += 1
        call = BlockCall(args, kwargs)
        hidden = call.hidden
        if self.attention is not None and self.layer == self.sites.n_layers - 1:
            hidden = self._only_target(block, call.changed(hidden, self._by_row), self.attention)
        if self.way.join == "before":
            n = self.unchanged
            hidden = self._grown(hidden, self._copies(hidden))
            if self.attention is not None and self.attention.substitute is not None:
                self.attention.substitute = self.attention.substitute[n - self.unchanged :]
        call = call.changed(hidden, self._by_row)
        return call.args, call.kwargs

    def _leave(self, block: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        """Run behind a block: let rows join, with what their change adds."""
        hidden: Tensor = output[0] if isinstance(output, tuple) else output
        if self._unchanged_input is not None:
            new, query = self._copies(hidden), self.row_query[self._joining()]
            self.change.joined(self.layer, self.present, self._unchanged_input, query, self.place[query], new)
            self._unchanged_input, hidden = None, self._grown(hidden, new)
        if self.attention is not None and self.attention.substitute is not None:
            self.attention.substitute = None
            hidden = hidden.expand(-1, self.n_positions, -1)  # some models view it as what they were given
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    def _before_down(self, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        inputs = self._by_position(args[0])
        if self.way.join == "after" and self._joining().stop > self.present:
            self._unchanged_input = inputs[: self.unchanged]
        place = self.place[self.row_query[: self.present]]
        self.change.inputs(self.layer, inputs[self.unchanged :], place)

    def _behind_down(self, _: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        inputs, n = self._by_position(args[0]), self.unchanged
        self.change.outputs(self.layer, inputs[n:], self._by_position(output)[n:])

    def _by_position(self, value: Tensor) -> Tensor:
        """View a value as (row, position, …), however the block flattens it; changes in it go through."""
        return value.view(self.unchanged + self.present, -1, value.shape[-1])

    def _joining(self) -> slice:
        """Return the rows that join at this layer."""
        return slice(self.present, int(np.searchsorted(self.first, self.layer, side="right")))

    def _copies(self, hidden: Tensor) -> Tensor:
        """Return what the rows that join are copies of."""
        return hidden[self.row_query[self._joining()].to(hidden.device)]

    def _grown(self, hidden: Tensor, new: Tensor) -> Tensor:
        if len(new):
            self.present, hidden = self.present + len(new), torch.cat([hidden, new])
        if self.present == len(self.first):
            self.unchanged, hidden = 0, hidden[self.unchanged :]
        return hidden

    def _only_target(self, block: nn.Module, call: BlockCall, attention: Attention) -> Tensor:
        """Return hidden states of one token a row, and let the block be given attention's output there."""
        hidden, place = call.hidden, self.place[self.query].to(call.hidden.device)
        attended = attention.only_at(place, lambda: block.forward(*call.args, **call.kwargs))
        self.place = torch.zeros_like(self.place)
        new = self._copies(attended) if self.way.join == "before" else attended[:0]
        attention.substitute = torch.cat([attended, new])
        return hidden[torch.arange(len(place), device=hidden.device), place][:, None]

    def _by_row(self, place: ArgumentPath, value: Tensor) -> Tensor:
        if self.present == 0:
            return value
        return for_rows(value, self.way.carried.get((self.layer, *place)), len(self.place), self.query)
