"""Exact path gradients at a fraction of the work: rows that exist only from their layer on.

A path gradient at layer l needs forward passes in which one vector differs: the down-projection's input at
the target position of layer l. Nothing below layer l changes then, and in a causal model nothing before the
target does. So the prompt is run once; then one batch *grows*: the rows of layer l join as copies of the
unpatched row, and layer l is given their points of the path. m rows a layer cost about m · L(L−1)/2
row-layers instead of m · L². In a causal model a row is one token, attending to the prompt's cached keys
and values; in a masked model it is the whole sequence.

Rows join ``after`` their block where its output is the down-projection's plus something that does not
depend on it (most decoders), else ``before`` it. Gradients are taken for a zero added to the
down-projection's *output* at the target position; one product with its weight then gives the neurons',
after averaging over the path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from qloc.extract.architectures import Sites, down_weight
from qloc.extract.carried import Carried, Place, each_tensor, for_rows
from qloc.extract.head import Head
from qloc.extract.hooks import hooked, in_turn, nothing, without_head
from qloc.extract.prefix import last_token
from qloc.extract.tokens import Family, Target

Points = Callable[[int, Tensor], Tensor]
"""(layer, activation (query, neuron)) → points of the path, (node, query, neuron)."""

Join = Literal["after", "before"]


@dataclass(frozen=True, kw_only=True)
class PathGradients:
    """What one batch of targets gives.

    Attributes
    ----------
    activation : (query, layer, neuron), the down-projection's input at the target.
    gradient : (query, layer, neuron), ∂P(answer)/∂activation at the activation itself.
    mean_gradient : (rule, query, layer, neuron), weighted sum over the path's nodes.
    probability : (query,), of the answer token, unpatched.
    node_probability : (node, query, layer), with the layer's vector at each point of its path.
    hidden : (query, hidden), final hidden state at the target, unpatched.
    """

    activation: Tensor
    gradient: Tensor
    mean_gradient: Tensor
    probability: Tensor
    node_probability: Tensor
    hidden: Tensor


def growing_rows(
    model: Any,
    sites: Sites,
    head: Head,
    family: Family,
    targets: Sequence[Target],
    points: Points,
    weights: Tensor,
    layers: Sequence[int],
    join: Join,
    carried: Carried,
) -> PathGradients:
    """Path gradients of targets of equal length, at ``layers``, in one growing batch.

    Parameters
    ----------
    targets : all with as many ids.
    points : the path of a layer, given its activation.
    weights : (rule, node); 0 where a node only serves its probability.
    layers : ascending; other layers get no rows, and zeros in the result.
    join : when rows join; which one holds is for :mod:`qloc.extract.gradients` to prove.
    carried : which of the blocks' arguments have entries of each query.
    """
    ids, token, place = _tensors(model, family, targets)
    batch = _GrowingBatch(
        sites=sites,
        n_queries=len(targets),
        n_nodes=weights.shape[1],
        place=place,
        points=points,
        layers=frozenset(layers),
        carried=carried,
    )
    inputs = last_token(model, ids, lambda: batch.query) if family == "causal" else {"input_ids": ids}
    with batch.hooks(join), without_head(sites.head) as given:
        model(**inputs)
    hidden = given[0][torch.arange(len(batch.query), device=ids.device), place[batch.query]]
    final = hidden.detach().to(torch.promote_types(hidden.dtype, torch.float32)).requires_grad_(True)
    probability = head.probability(final, token[batch.query])
    (change,) = torch.autograd.grad(probability.sum(), final)
    found = _gradients(hidden, change, batch.leaves(), sites.n_layers)
    return batch.collected(found, weights, probability.detach(), hidden.detach())


def _gradients(hidden: Tensor, change: Tensor, leaves: Sequence[Tensor], n_own: int) -> list[Tensor]:
    """Gradients of leaves, each of whose rows bears on one row of ``hidden`` only, from those of ``hidden``.

    In half precision a row's gradient goes back through the model at size one, since those of improbable
    answers would vanish, and gets its size again in float32.

    Parameters
    ----------
    hidden : (row, hidden), final hidden states.
    change : (row, hidden), gradients at them, float32 at least.
    leaves : (some rows, n): ``n_own`` of the unpatched rows, then those of rows that joined, in their order.
    """
    if hidden.dtype == change.dtype:
        return list(torch.autograd.grad(hidden, leaves, change))
    size = change.abs().amax(1, keepdim=True).clamp_min(torch.finfo(change.dtype).tiny)
    found = torch.autograd.grad(hidden, leaves, (change / size).to(hidden.dtype))
    first, sized = len(leaves[0]), [part.to(change.dtype) * size[: len(part)] for part in found[:n_own]]
    for part in found[n_own:]:
        sized.append(part.to(change.dtype) * size[first : first + len(part)])
        first += len(part)
    return sized


def _tensors(model: Any, family: Family, targets: Sequence[Target]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, (query, token); answer token, (query,); where it is predicted, (query,), in what the rows run."""
    device = next(iter(model.parameters())).device
    places = [0 if family == "causal" else target.position for target in targets]
    return (
        torch.tensor([target.ids for target in targets], device=device),
        torch.tensor([target.token for target in targets], device=device),
        torch.tensor(places, device=device),
    )


@dataclass(kw_only=True)
class _GrowingBatch:
    """The rows of one batch: first the unpatched ones, then ``n_nodes · n_queries`` a layer, node by node.

    Attributes
    ----------
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
    query: Tensor = field(init=False)
    activation: dict[int, Tensor] = field(default_factory=dict)
    own_zeros: dict[int, Tensor] = field(default_factory=dict)
    row_zeros: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.query = torch.arange(self.n_queries, device=self.place.device)

    def hooks(self, join: Join) -> Any:
        """All hooks of one pass, as a context manager."""
        blocks, downs = list(enumerate(self.sites.blocks)), list(enumerate(self.sites.downs))
        before = in_turn((block, self._enter(layer, join)) for layer, block in blocks)
        reading = in_turn((down, self._read(layer, join)) for layer, down in downs)
        behind = in_turn((down, self._add_zeros(layer, join)) for layer, down in downs)
        if join == "after":
            behind |= in_turn(
                (block, self._join_after(layer) if layer in self.layers else nothing)
                for layer, block in blocks
            )
        return hooked(forward_pre_kwargs=before, forward_pre=reading, forward=behind)

    def _enter(self, layer: int, join: Join) -> Callable[..., Any]:
        """Before block ``layer``: rows may join; what has entries of each query is indexed by row."""

        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
            named = "hidden_states" in kwargs
            hidden = kwargs["hidden_states"] if named else args[0]
            if join == "before" and layer in self.layers:
                hidden = self._grow(hidden, self._copies(hidden))
            if named:  # hidden states are rows already
                args, rest = each_tensor((args, {**kwargs, "hidden_states": None}), self._by_row, (layer,))
                return args, {**rest, "hidden_states": hidden}
            args, rest = each_tensor(((None, *args[1:]), kwargs), self._by_row, (layer,))
            return (hidden, *args[1:]), rest

        return hook

    def _by_row(self, place: Place, value: Tensor) -> Tensor:
        return for_rows(value, self.carried.get(place), self.n_queries, self.query)

    def _copies(self, hidden: Tensor) -> Tensor:
        """``n_nodes`` copies of the unpatched rows; detached: a row's gradients are its own path's."""
        return hidden[: self.n_queries].detach().repeat(self.n_nodes, *[1] * (hidden.dim() - 1))

    def _grow(self, hidden: Tensor, new: Tensor) -> Tensor:
        hidden = torch.cat([hidden, new])
        self.query = torch.arange(len(hidden), device=hidden.device) % self.n_queries
        return hidden

    def _read(self, layer: int, join: Join) -> Callable[..., Any]:
        """Before down-projection ``layer``: read the activation; put rows that joined on their path."""

        def hook(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
            given = args[0]
            rows = given.view(len(self.query), -1, given.shape[-1])
            self.activation[layer] = rows[self._own(), self.place].detach()
            if join == "after" or layer not in self.layers:
                return None
            changed = rows.clone()
            points = self.points(layer, self.activation[layer]).flatten(0, 1)
            changed[self._new_rows(), self.place.repeat(self.n_nodes)] = points.to(rows.dtype)
            return (changed.view(given.shape), *args[1:])

        return hook

    def _add_zeros(self, layer: int, join: Join) -> Callable[..., Any]:
        """Behind down-projection ``layer``: add the zeros whose gradients are wanted."""

        def hook(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            rows = output.view(len(self.query), -1, output.shape[-1])
            self.own_zeros[layer] = _zeros(self.n_queries, rows)
            rows = rows.index_put((self._own(), self.place), self.own_zeros[layer], accumulate=True)
            if join == "before" and layer in self.layers:
                zeros = self.row_zeros[layer] = _zeros(self.n_nodes * self.n_queries, rows)
                rows = rows.index_put(
                    (self._new_rows(), self.place.repeat(self.n_nodes)), zeros, accumulate=True
                )
            return rows.view(output.shape)

        return hook

    def _join_after(self, layer: int) -> Callable[..., Any]:
        """Behind block ``layer``: its rows join, moved by what the down-projection makes of their path."""

        def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            hidden: Tensor = output[0] if isinstance(output, tuple) else output
            copies, activation = self._copies(hidden), self.activation[layer]
            zeros = self.row_zeros[layer] = _zeros(len(copies), copies)
            step = (self.points(layer, activation) - activation).flatten(0, 1)
            moved = step.to(hidden.dtype) @ down_weight(self.sites.downs[layer]).T + zeros
            where = torch.arange(len(copies), device=hidden.device), self.place.repeat(self.n_nodes)
            grown = self._grow(hidden, copies.index_put(where, moved, accumulate=True))
            return (grown, *output[1:]) if isinstance(output, tuple) else grown

        return hook

    def _own(self) -> Tensor:
        return torch.arange(self.n_queries, device=self.place.device)

    def _new_rows(self) -> Tensor:
        n_rows = len(self.query)
        return torch.arange(n_rows - self.n_nodes * self.n_queries, n_rows, device=self.place.device)

    def leaves(self) -> list[Tensor]:
        """The zeros of the unpatched rows, layer by layer, then those of the layers' own rows."""
        own = [self.own_zeros[layer] for layer in range(self.sites.n_layers)]
        return own + [self.row_zeros[layer] for layer in sorted(self.layers)]

    def collected(
        self, found: Sequence[Tensor], weights: Tensor, probability: Tensor, hidden: Tensor
    ) -> PathGradients:
        """Average over nodes in the residual stream's width, then go to neurons by one product a layer."""
        n_layers, n_queries, wide = self.sites.n_layers, self.n_queries, probability.dtype
        shares, order = weights.to(probability), sorted(self.layers)
        own = [
            change.to(wide) @ down_weight(down).to(wide)
            for change, down in zip(found[:n_layers], self.sites.downs, strict=True)
        ]
        mean = torch.zeros(
            len(shares), n_queries, n_layers, self.sites.n_neurons, dtype=wide, device=probability.device
        )
        for layer, change in zip(order, found[n_layers:], strict=True):
            path = change.to(wide).view(self.n_nodes, n_queries, -1)
            mean[:, :, layer] = torch.einsum("rn,nqh->rqh", shares, path) @ down_weight(
                self.sites.downs[layer]
            ).to(wide)
        node = torch.zeros(self.n_nodes, n_queries, n_layers, dtype=wide, device=probability.device)
        by_layer = probability[n_queries:].view(len(order), self.n_nodes, n_queries)
        node[:, :, order] = by_layer.permute(1, 2, 0)
        return PathGradients(
            activation=torch.stack([self.activation[layer] for layer in range(n_layers)], 1).to(wide),
            gradient=torch.stack(own, 1),
            mean_gradient=mean,
            probability=probability[:n_queries],
            node_probability=node,
            hidden=hidden[:n_queries],
        )


def _zeros(n: int, like: Tensor) -> Tensor:
    return torch.zeros(n, like.shape[-1], dtype=like.dtype, device=like.device, requires_grad=True)
