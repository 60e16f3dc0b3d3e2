"""Rows that join a pass where they first differ: below, one unchanged row a prompt stands for all of them.

A changed activation or an edited slot of layer l changes nothing below layer l. So the unchanged prompts run
alone, and each row joins as a copy of its prompt at the first layer that it changes:

- ``after`` that layer's block, where the block's output is the down-projection's plus something that does not
  depend on it (most decoders): what the change adds to the one is added to the other, and the row has not
  cost that block at all;
- else ``before`` the block, which the row then runs through.

Where rows are whole prompts, only the target is wanted behind the last block's attention: the last block is
``cut`` to it (:mod:`qloc.extract.passes.target_only`). A row that changes nothing is its prompt's unchanged
row.
Nothing here is trusted: :mod:`qloc.extract.passes.late_join_proof` compares with the plain way on each model.
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
    """What some rows change. Tensors are (row, position, …); rows of ``given`` below are in :attr:`order`."""

    @property
    def first(self) -> Ints:
        """The first layer that each row changes, (row,); the number of layers where it changes none."""

    @property
    def order(self) -> Ints:
        """The rows by their first layer."""

    def of_rows(self, rows: Ints) -> Self:
        """Chosen rows, in that order."""

    def inputs(self, layer: int, given: Tensor, place: Tensor) -> None:
        """Change a down-projection's input, of the first ``len(given)`` rows, in place.

        Parameters
        ----------
        place : (row,), the target's position.
        """

    def outputs(self, layer: int, given: Tensor, output: Tensor) -> None:
        """Change its output in place, of the first rows, whose input was ``given``."""

    def joined(
        self, layer: int, start: int, given: Tensor, query: Tensor, place: Tensor, output: Tensor
    ) -> None:
        """Add to ``output``, of rows from ``start`` on, what their change adds to the down-projection's.

        Parameters
        ----------
        given : (query, position, neuron), unchanged inputs of the down-projection.
        query : (row,), whose input each row would have had.
        """


@dataclass(frozen=True, kw_only=True)
class JoinMode:
    """How rows join on one model.

    Attributes
    ----------
    cut : whether the last block runs at the target alone, where rows are whole prompts.
    carried : which of the blocks' arguments have entries of each prompt.
    fused : whether activation functions run as one kernel (:mod:`qloc.extract.passes.fused_gelu`).
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
    """Final hidden states of every row at its target, (row, hidden).

    Parameters
    ----------
    ids : int64, (query, token), the different prompts.
    place : int64, (query,), the target's position.
    query : (row,), the prompt of each row.
    shared : rows are one token behind the prompt, which has keys and values only (causal models).
    everywhere : at every position instead, (row, position, hidden).
    """
    order, n_layers = change.order, sites.n_layers
    first, of = change.first[order], torch.as_tensor(query[order], device=ids.device)
    with (
        replaced_attention(model) if way.cut and not shared and not everywhere else nullcontext() as attention
    ):
        batch = JoiningBatch(
            sites=sites,
            way=way,
            change=change.of_rows(order),
            first=first,
            row_query=of,
            place=torch.zeros_like(place) if shared else place,
            n_positions=ids.shape[1],
            attention=attention,
        )
        inputs = last_token(model, ids, lambda: batch.query) if shared else whole(model, ids)
        quick = fused(model) if way.fused else nullcontext()
        with quick, batch.hooks(), without_head(sites.head) as given:
            model(**inputs)
    final = given[0]
    if not everywhere:
        final = final[
            torch.arange(len(final), device=final.device), batch.place[batch.query].to(final.device)
        ]
    n_joined = int(np.searchsorted(first, n_layers))
    own = torch.arange(batch.unchanged, batch.unchanged + n_joined, device=ids.device)
    found = torch.cat([own, of[n_joined:]])[torch.as_tensor(np.argsort(order), device=ids.device)]
    return final[found.to(final.device)]


@dataclass(kw_only=True)
class JoiningBatch:
    """The rows of one batch: first one unchanged row a prompt, then those that have joined.

    Attributes
    ----------
    change : of all rows, in the order in which they join.
    first : int64, (row,), ascending: the layer at which each joins.
    row_query : int64, (row,), the prompt of each.
    place : int64, (query,), the target's position in what the rows run.
    n_positions : of a prompt.
    attention : what stands in for the model's; with it the last block is run at the target alone.
    layer : the block that runs.
    present : how many rows have joined.
    unchanged : how many unchanged rows there are; none once nothing will be a copy of them.
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
    _given: Tensor | None = None

    def __post_init__(self) -> None:
        self.unchanged = len(self.place)

    @property
    def query(self) -> Tensor:
        """Which prompt each row of the batch belongs to, as it is now: int64, (row,)."""
        own = torch.arange(self.unchanged, device=self.place.device)
        return torch.cat([own, self.row_query[: self.present]])

    def hooks(self) -> Any:
        """All hooks of one pass, as a context manager."""
        blocks, downs = self.sites.blocks, self.sites.downs
        return hooked(
            forward_pre_kwargs=dict.fromkeys(blocks, self._enter),
            forward_pre=dict.fromkeys(downs, self._before_down),
            forward={**dict.fromkeys(downs, self._behind_down), **dict.fromkeys(blocks, self._leave)},
        )

    def _enter(self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """Before a block: rows may join; what has entries of each prompt is indexed by row."""
        self.layer += 1
        call = BlockCall(args, kwargs)
        hidden = call.hidden
        if self.attention is not None and self.layer == self.sites.n_layers - 1:
            hidden = self._only_target(block, call.changed(hidden, self._by_row), self.attention)
        if self.way.join == "before":
            n = self.unchanged
            hidden = self._grown(hidden, self._copies(hidden))
            if self.attention is not None and self.attention.given is not None:
                self.attention.given = self.attention.given[n - self.unchanged :]
        call = call.changed(hidden, self._by_row)
        return call.args, call.kwargs

    def _leave(self, block: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        """Behind a block: rows may join, with what their change adds."""
        hidden: Tensor = output[0] if isinstance(output, tuple) else output
        if self._given is not None:
            new, query = self._copies(hidden), self.row_query[self._joining()]
            self.change.joined(self.layer, self.present, self._given, query, self.place[query], new)
            self._given, hidden = None, self._grown(hidden, new)
        if self.attention is not None and self.attention.given is not None:
            self.attention.given = None
            hidden = hidden.expand(-1, self.n_positions, -1)  # some models view it as what they were given
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    def _before_down(self, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        given = self._by_position(args[0])
        if self.way.join == "after" and self._joining().stop > self.present:
            self._given = given[: self.unchanged]
        place = self.place[self.row_query[: self.present]]
        self.change.inputs(self.layer, given[self.unchanged :], place)

    def _behind_down(self, _: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        given, n = self._by_position(args[0]), self.unchanged
        self.change.outputs(self.layer, given[n:], self._by_position(output)[n:])

    def _by_position(self, value: Tensor) -> Tensor:
        """(row, position, …), whichever way the block flattens it; what is changed in it changes it."""
        return value.view(self.unchanged + self.present, -1, value.shape[-1])

    def _joining(self) -> slice:
        """The rows that join at this layer."""
        return slice(self.present, int(np.searchsorted(self.first, self.layer, side="right")))

    def _copies(self, hidden: Tensor) -> Tensor:
        """What the rows that join are copies of."""
        return hidden[self.row_query[self._joining()].to(hidden.device)]

    def _grown(self, hidden: Tensor, new: Tensor) -> Tensor:
        if len(new):
            self.present, hidden = self.present + len(new), torch.cat([hidden, new])
        if self.present == len(self.first):
            self.unchanged, hidden = 0, hidden[self.unchanged :]
        return hidden

    def _only_target(self, block: nn.Module, call: BlockCall, attention: Attention) -> Tensor:
        """Hidden states of one token a row; the block is to be given attention's output of that token."""
        hidden, place = call.hidden, self.place[self.query].to(call.hidden.device)
        given = attention.only_at(place, lambda: block.forward(*call.args, **call.kwargs))
        self.place = torch.zeros_like(self.place)
        new = self._copies(given) if self.way.join == "before" else given[:0]
        attention.given = torch.cat([given, new])
        return hidden[torch.arange(len(place), device=hidden.device), place][:, None]

    def _by_row(self, place: ArgumentPath, value: Tensor) -> Tensor:
        if self.present == 0:
            return value
        return for_rows(value, self.way.carried.get((self.layer, *place)), len(self.place), self.query)
