"""Exact path gradients at a fraction of the work: rows that exist only from their layer on.

A path gradient at layer l needs forward passes in which one vector differs: the down-projection's input at
the target position of layer l. Nothing below layer l changes then, and in a causal model nothing before the
target does. So the prompt is run once; then one batch *grows*: the rows of layer l join as copies of the
unpatched row, and layer l is given their points of the path. m rows a layer cost about m · L(L−1)/2
row-layers instead of m · L². In a causal model a row is one token, attending to the prompt's cached keys
and values; in a masked model it is the whole sequence, but for the last block, where it is one token again.

Rows join ``after`` their block where its output is the down-projection's plus something that does not
depend on it (most decoders). Else ``before`` it; or, in a masked model, as one ``token`` that is run through
it (:mod:`qloc.extract.passes.target_only`). Gradients are taken for a zero added to the
down-projection's *output* at the target position; one product with its weight then gives the neurons',
after averaging over the path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from qloc.extract.models.architectures import Sites, down_weight
from qloc.extract.models.devices import stacked
from qloc.extract.models.hooks import hooked, without_head
from qloc.extract.models.output_head import Head
from qloc.extract.passes.block_arguments import ArgumentPath, BlockCall, EntriesPerQuery, for_rows
from qloc.extract.passes.prompt_cache import last_token
from qloc.extract.passes.target_only import Attention, replaced_attention
from qloc.extract.prompts.tokenizing import Family, Target


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
    carried: EntriesPerQuery,
    cut: bool = False,
) -> PathGradients:
    """Path gradients of targets of equal length, at ``layers``, in one growing batch.

    Parameters
    ----------
    targets : all with as many ids.
    points : the path of a layer, given its activation.
    weights : (rule, node); 0 where a node only serves its probability.
    layers : ascending; other layers get no rows, and zeros in the result.
    join : when rows join; which one holds is for :mod:`qloc.extract.attribution.engine` to prove.
    carried : which of the blocks' arguments have entries of each query.
    cut : run the last block, and what follows, at the target alone (masked models).
    """
    ids, token, against, place = _tensors(model, sites, family, targets)
    with replaced_attention(model) if cut else nullcontext() as attention:
        batch = GrowingBatch(
            sites=sites,
            n_queries=len(targets),
            n_nodes=weights.shape[1],
            place=place,
            points=points,
            layers=frozenset(layers),
            carried=carried,
            join=join,
            attention=attention,
        )
        inputs = last_token(model, ids, lambda: batch.query) if family == "causal" else {"input_ids": ids}
        with batch.hooks(), without_head(sites.head) as given:
            model(**inputs)
    query = batch.query.to(token.device)
    hidden = given[0][torch.arange(len(query), device=query.device), batch.place[query]]
    final = hidden.detach().to(torch.promote_types(hidden.dtype, torch.float32)).requires_grad_(True)
    contrast = None if against is None else against[query]
    probability = head.probability(final, token[query], contrast)
    (change,) = torch.autograd.grad(probability.sum(), final)
    found = _gradients(hidden, change, batch.leaves(), sites.n_layers)
    return _collected(batch, found, weights, probability.detach(), hidden.detach())


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
    own = found[:n_own]
    first, sized = len(leaves[0]), [p.to(change.dtype) * size[: len(p)].to(p.device) for p in own]
    for part in found[n_own:]:
        sized.append(part.to(change.dtype) * size[first : first + len(part)].to(part.device))
        first += len(part)
    return sized


def _tensors(
    model: Any, sites: Sites, family: Family, targets: Sequence[Target]
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Ids, (query, token); answer token, (query,); what it is contrasted with; its place in what rows run.

    All but the ids are on the output embedding's device.
    """
    device = sites.device
    places = [0 if family == "causal" else target.position for target in targets]
    against = [-1 if target.against is None else target.against for target in targets]
    return (
        torch.tensor([target.ids for target in targets], device=next(iter(model.parameters())).device),
        torch.tensor([target.token for target in targets], device=device),
        torch.tensor(against, device=device) if max(against) >= 0 else None,
        torch.tensor(places, device=device),
    )


def _collected(
    batch: GrowingBatch, found: Sequence[Tensor], weights: Tensor, probability: Tensor, hidden: Tensor
) -> PathGradients:
    """Average over nodes in the residual stream's width, then go to neurons by one product a layer.

    A layer's product is made on its device; what comes of it goes to that of ``probability``.
    """
    sites, n_nodes, n_queries = batch.sites, batch.n_nodes, batch.n_queries
    n_layers, wide, device = sites.n_layers, probability.dtype, probability.device
    shares, order = weights.to(probability), sorted(batch.layers)
    own = [
        change.to(wide) @ down_weight(down).to(wide)
        for change, down in zip(found[:n_layers], sites.downs, strict=True)
    ]
    mean = torch.zeros(len(shares), n_queries, n_layers, sites.n_neurons, dtype=wide, device=device)
    for layer, change in zip(order, found[n_layers:], strict=True):
        path = change.to(wide).view(n_nodes, n_queries, -1)
        summed = torch.einsum("rn,nqh->rqh", shares.to(path.device), path)
        mean[:, :, layer] = summed @ down_weight(sites.downs[layer]).to(wide)
    node = torch.zeros(n_nodes, n_queries, n_layers, dtype=wide, device=device)
    by_layer = probability[n_queries:].view(len(order), n_nodes, n_queries)
    node[:, :, order] = by_layer.permute(1, 2, 0)
    return PathGradients(
        activation=stacked((batch.activation[layer] for layer in range(n_layers)), device).to(wide),
        gradient=stacked(own, device),
        mean_gradient=mean,
        probability=probability[:n_queries],
        node_probability=node,
        hidden=hidden[:n_queries],
    )


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
    carried: EntriesPerQuery
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

    def _by_row(self, place: ArgumentPath, value: Tensor) -> Tensor:
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
