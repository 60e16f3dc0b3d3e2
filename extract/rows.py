"""The rows of one growing batch, and the hooks by which they join, move along their paths and are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from qloc.extract.architectures import Sites, down_weight
from qloc.extract.at_target import Attention
from qloc.extract.carried import BlockCall, Carried, Place, for_rows
from qloc.extract.hooks import hooked

Points = Callable[[int, Tensor], Tensor]
"""(layer, activation (query, neuron)) → points of the path, (node, query, neuron)."""

Join = Literal["after", "token", "before"]
"""When a layer's rows join: behind its block, as one token run through it, or as whole rows before it."""


@dataclass(kw_only=True)
class GrowingBatch:
    """The rows of one batch: first the unpatched ones, then ``n_nodes · n_queries`` a layer, node by node.

    Attributes
    ----------
    place : int64, (query,), the target's position in what the rows run.
    layers : those that get rows.
    attention : what stands in for the model's; with it the last block is run at the target alone.
    layer : the block that runs.
    query : int64, (row,), which query each row belongs to.
    own_zeros, row_zeros : layer → the zeros added at the target, of the unpatched rows and of the layer's
        rows.
    """

    sites: Sites
    n_queries: int
    n_nodes: int
    place: Tensor
    points: Points
    layers: frozenset[int]
    carried: Carried
    join: Join
    attention: Attention | None
    layer: int = -1
    query: Tensor = field(init=False)
    activation: dict[int, Tensor] = field(default_factory=dict)
    own_zeros: dict[int, Tensor] = field(default_factory=dict)
    row_zeros: dict[int, Tensor] = field(default_factory=dict)
    _call: BlockCall = field(init=False)
    _aside: bool = False

    def __post_init__(self) -> None:
        self.query = torch.arange(self.n_queries, device=self.place.device)

    def hooks(self) -> Any:
        """All hooks of one pass, as a context manager."""
        blocks, downs = self.sites.blocks, self.sites.downs
        return hooked(
            forward_pre_kwargs=dict.fromkeys(blocks, self._enter),
            forward_pre=dict.fromkeys(downs, self._read),
            forward={**dict.fromkeys(downs, self._add_zeros), **dict.fromkeys(blocks, self._leave)},
        )

    def leaves(self) -> list[Tensor]:
        """The zeros of the unpatched rows, layer by layer, then those of the layers' own rows."""
        own = [self.own_zeros[layer] for layer in range(self.sites.n_layers)]
        return own + [self.row_zeros[layer] for layer in sorted(self.layers)]

    def _enter(self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """Before a block: rows may join; what has entries of each query is indexed by row."""
        self.layer += 1
        call = BlockCall(args, kwargs)
        hidden = call.hidden.to(next(block.parameters()).device)  # once, so that gradients sum in one order
        if self.attention is not None and self._is_last():
            hidden = self._only_target(block, call.changed(hidden, self._by_row), self.attention)
        if self._joins_before():
            hidden = self._grow(hidden, self._copies(hidden))
        self._call = call.changed(hidden, self._by_row)
        return self._call.args, self._call.kwargs

    def _leave(self, block: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        """Behind a block: rows may join."""
        if self.attention is not None:
            self.attention.given = None
        if self.layer not in self.layers or self._joins_before():
            return None
        hidden: Tensor = output[0] if isinstance(output, tuple) else output
        moved = self._moved(hidden) if self.join == "after" else self._token(block)
        where = torch.arange(len(moved), device=hidden.device), self._places(hidden)
        grown = self._grow(hidden, self._copies(hidden).index_put(where, moved))
        return (grown, *output[1:]) if isinstance(output, tuple) else grown

    def _is_last(self) -> bool:
        return self.layer == self.sites.n_layers - 1

    def _joins_before(self) -> bool:
        """A token that runs through a block that is run at the target alone is a whole row of it."""
        before = self.join == "before" or (self.join == "token" and self._is_last())
        return before and self.layer in self.layers

    def _only_target(self, block: nn.Module, call: BlockCall, attention: Attention) -> Tensor:
        """Hidden states of one token a row; the block is to be given attention's output of that token."""
        hidden = call.hidden
        place = self.place.to(hidden.device)[self.query.to(hidden.device)]
        given = attention.only_at(place, lambda: block.forward(*call.args, **call.kwargs))
        self.place = torch.zeros_like(self.place)
        joined = self._copies(given) if self._joins_before() else given[:0]
        attention.given = torch.cat([given, joined])
        return hidden[torch.arange(len(place), device=hidden.device), place][:, None]

    def _token(self, block: nn.Module) -> Tensor:
        """The target's new hidden states, (row, hidden): one token a row, on its path, through the block."""
        if self.attention is None:
            raise RuntimeError("attention at the target is not known")
        hidden = self._call.hidden[self._own(self._call.hidden)][:, None]
        self.attention.given = self._copies(self.attention.known_at(self.place))
        call, self._aside = self._call.changed(self._copies(hidden), lambda _, value: value), True
        output = block.forward(*call.args, **call.kwargs)
        self.attention.given, self._aside = None, False
        new: Tensor = output[0] if isinstance(output, tuple) else output
        return new[:, 0]

    def _moved(self, hidden: Tensor) -> Tensor:
        """The target's new hidden states, (row, hidden), by what the down-projection makes of the path."""
        activation, own = self.activation[self.layer], hidden[self._own(hidden)].detach()
        step = (self.points(self.layer, activation) - activation).flatten(0, 1).to(hidden.dtype)
        zeros = self.row_zeros[self.layer] = _zeros(len(step), hidden)
        return self._copies(own) + step @ down_weight(self.sites.downs[self.layer]).T + zeros

    def _by_row(self, place: Place, value: Tensor) -> Tensor:
        return for_rows(value, self.carried.get((self.layer, *place)), self.n_queries, self.query)

    def _copies(self, hidden: Tensor) -> Tensor:
        """``n_nodes`` copies of the unpatched rows; detached: a row's gradients are its own path's."""
        return hidden[: self.n_queries].detach().repeat(self.n_nodes, *[1] * (hidden.dim() - 1))

    def _grow(self, hidden: Tensor, new: Tensor) -> Tensor:
        hidden = torch.cat([hidden, new])
        self.query = torch.arange(len(hidden), device=hidden.device) % self.n_queries
        return hidden

    def _read(self, _: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """Before a down-projection: read the activation; put rows that run through it on their path."""
        given, layer = args[0], self.layer
        if self._aside:
            return (self._path().to(given.dtype).view(given.shape), *args[1:])
        rows = given.view(len(self.query), -1, given.shape[-1])
        self.activation[layer] = rows[self._own(rows)].detach()
        if not self._joins_before():
            return None
        changed = rows.index_put(self._new(rows), self._path().to(rows.dtype))
        return (changed.view(given.shape), *args[1:])

    def _add_zeros(self, _: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Behind a down-projection: add the zeros whose gradients are wanted."""
        if self._aside or self._joins_before():
            zeros = self.row_zeros[self.layer] = _zeros(self.n_nodes * self.n_queries, output)
            if self._aside:
                return output + zeros.view(output.shape)
        rows = output.view(len(self.query), -1, output.shape[-1])
        own = self.own_zeros[self.layer] = _zeros(self.n_queries, rows)
        rows = rows.index_put(self._own(rows), own, accumulate=True)
        if self._joins_before():
            rows = rows.index_put(self._new(rows), zeros, accumulate=True)
        return rows.view(output.shape)

    def _path(self) -> Tensor:
        """The layer's rows' activations, (row, neuron)."""
        return self.points(self.layer, self.activation[self.layer]).flatten(0, 1)

    def _own(self, of: Tensor) -> tuple[Tensor, Tensor]:
        """The unpatched rows, and their targets' positions, on the device of what they index."""
        return torch.arange(self.n_queries, device=of.device), self.place.to(of.device)

    def _new(self, of: Tensor) -> tuple[Tensor, Tensor]:
        """Rows that joined last, and their targets' positions, on the device of what they index."""
        n_rows, n_new = len(self.query), self.n_nodes * self.n_queries
        return torch.arange(n_rows - n_new, n_rows, device=of.device), self._places(of)

    def _places(self, of: Tensor) -> Tensor:
        return self.place.to(of.device).repeat(self.n_nodes)


def _zeros(n: int, like: Tensor) -> Tensor:
    return torch.zeros(n, like.shape[-1], dtype=like.dtype, device=like.device, requires_grad=True)
