"""Exact path gradients at a fraction of the work, by rows that exist only from their layer on.

A path gradient at layer l needs forward passes in which one vector differs: the input of layer l's
down-projection at the target position. Nothing below layer l changes then, and in a causal model nothing
before the target does. So the prompt runs once, and one batch *grows* on the way up: the rows of layer l
join as copies of the unpatched row, and layer l gives them their points of the path. m rows a layer cost
about m · L(L−1)/2 row-layers instead of m · L². In a causal model a row is one token that attends to the
prompt's cached keys and values. In a masked model it is the whole sequence, except in the last block, where
it is one token again.

Rows join in one of three ways (:data:`Join`):

- ``after`` their block, where the block's output is the down-projection's output plus something that does not
  depend on it (most decoders);
- ``before`` their block, which they then run through as whole rows;
- as one ``token`` that runs through the block (:mod:`qloc.extract.passes.target_only`; masked models).

Gradients are taken for a zero that is added to the down-projection's *output* at the target position. After
averaging over the path, one product with the down-projection's weight gives the gradients of the neurons.

Each row belongs to one query and one layer, and how many each has is free: a path that is rough needs more
rows than one that is smooth.

The module reads from the outside in: the result (:class:`RowGradients`), one batch from prompts to result
(:func:`growing_rows`), and the hooks that let the batch grow during the pass (:class:`GrowingBatch`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from qloc.extract.passes.prompt_cache import KeptPrompts, last_token
from qloc.extract.passes.target_only import Attention, replaced_attention
from qloc.extract.prompts.tokenizing import Family, Target

Points = Callable[[int, Tensor], Tensor]
"""What a layer's rows put in place of the activation: (layer, activation (query, neuron)) → (row, neuron)."""

RowQueries = Mapping[int, Tensor]
"""The layers that have rows, ascending, and the query of each of their rows: layer → int64 (row,)."""

Join = Literal["after", "token", "before"]
"""How a layer's rows join: behind its block, as one token run through it, or before it as whole rows."""


@dataclass(frozen=True, kw_only=True)
class RowGradients:
    """Gradients of the rows of one batch of targets.

    Attributes
    ----------
    activation : Tensor, shape (query, layer, neuron)
        Input of the down-projection at the target position.
    gradient : Tensor, shape (query, layer, neuron)
        ∂P(answer)/∂activation at the activation itself.
    probability : Tensor, shape (query,)
        P of the answer token, unpatched.
    hidden : Tensor, shape (query, hidden)
        Final hidden state at the target, unpatched.
    own_gradient : Tensor, shape (query, layer, n)
        As ``row_gradient``, of the unpatched rows.
    row_gradient : dict of int to Tensor, each of shape (row, n)
        ∂P(answer)/∂(the down-projection's output) at each row of a layer, where the rows grew; else by its
        input, the neurons. A weighted sum of rows is made before it goes from one to the other.
    row_probability : dict of int to Tensor, each of shape (row,)
        P of the answer token in each row of a layer.
    """

    activation: Tensor
    gradient: Tensor
    probability: Tensor
    hidden: Tensor
    own_gradient: Tensor
    row_gradient: Mapping[int, Tensor]
    row_probability: Mapping[int, Tensor]


def growing_rows(
    model: Any,
    sites: Sites,
    head: Head,
    family: Family,
    targets: Sequence[Target],
    points: Points,
    row_query: RowQueries,
    join: Join,
    carried: EntriesPerQuery,
    cut: bool = False,
    kept: KeptPrompts | None = None,
) -> RowGradients:
    """Compute gradients at the points of paths, for targets of equal length, in one growing batch.

    Parameters
    ----------
    model : transformers model
        The loaded model.
    sites : Sites
        Its blocks, down-projections and output embedding.
    head : Head
        From final hidden states to P(answer).
    family : {"causal", "masked"}
        Kind of model.
    targets : sequence of Target
        The batch, all with as many ids.
    points : Points
        What the rows of a layer put in place of its activation.
    row_query : RowQueries
        The layers that get rows, and the query of each row.
    join : {"after", "token", "before"}
        How rows join; :mod:`qloc.extract.attribution.engine_proof` finds the way that holds on a model.
    carried : EntriesPerQuery
        Which arguments of the blocks have entries of each query.
    cut : bool, default False
        Whether the last block, and what follows, runs at the target alone (masked models).
    kept : KeptPrompts, optional
        Prompts of the batch before; those of this one are put there (causal models).

    Returns
    -------
    RowGradients
        Results in the order of ``targets`` and of the rows, float32 at least.
    """
    ids, token, against, place = _tensors(model, sites, family, targets)
    with replaced_attention(model) if cut else nullcontext() as attention:
        batch = GrowingBatch(
            sites=sites,
            n_queries=len(targets),
            row_query={layer: row_query[layer].to(place.device) for layer in sorted(row_query)},
            place=place,
            points=points,
            carried=carried,
            join=join,
            attention=attention,
        )
        inputs = (
            last_token(model, ids, lambda: batch.query, kept) if family == "causal" else {"input_ids": ids}
        )
        with batch.hooks(), without_head(sites.head) as finals:
            model(**inputs)
    query = batch.query.to(token.device)
    hidden = finals[0][torch.arange(len(query), device=query.device), batch.place[query]]
    final = hidden.detach().to(torch.promote_types(hidden.dtype, torch.float32)).requires_grad_(True)
    contrast = None if against is None else against[query]
    probability = head.probability(final, token[query], contrast)
    (slope,) = torch.autograd.grad(probability.sum(), final)
    gradients = _gradients(hidden, slope, batch.leaves(), sites.n_layers)
    return _collected(batch, gradients, probability.detach(), hidden.detach())


def _gradients(hidden: Tensor, change: Tensor, leaves: Sequence[Tensor], n_own: int) -> list[Tensor]:
    """Return gradients of the leaves, each of whose rows bears on one row of ``hidden`` only.

    In half precision a row's gradient goes back through the model at size one, since those of improbable
    answers would vanish, and gets its size back in float32.

    Parameters
    ----------
    hidden : Tensor, shape (row, hidden)
        Final hidden states.
    change : Tensor, shape (row, hidden)
        Gradients at the final hidden states, float32 at least.
    leaves : sequence of Tensor, each of shape (some rows, n)
        ``n_own`` leaves of the unpatched rows, then those of the rows that joined, in the order of joining.
    n_own : int
        How many leaves belong to the unpatched rows: the number of layers.
    """
    if hidden.dtype == change.dtype:
        return list(torch.autograd.grad(hidden, leaves, change))
    size = change.abs().amax(1, keepdim=True).clamp_min(torch.finfo(change.dtype).tiny)
    unit_gradients = torch.autograd.grad(hidden, leaves, (change / size).to(hidden.dtype))
    own = unit_gradients[:n_own]
    first, sized = len(leaves[0]), [p.to(change.dtype) * size[: len(p)].to(p.device) for p in own]
    for part in unit_gradients[n_own:]:
        sized.append(part.to(change.dtype) * size[first : first + len(part)].to(part.device))
        first += len(part)
    return sized


def _tensors(
    model: Any, sites: Sites, family: Family, targets: Sequence[Target]
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Return the targets' ids, answer tokens, contrasted tokens, and positions in what the rows run.

    Ids have shape (query, token), the others (query,). Contrasted tokens are None where no target has one.
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
    batch: GrowingBatch, gradients: Sequence[Tensor], probability: Tensor, hidden: Tensor
) -> RowGradients:
    """Sort what one batch gave by layer. A layer's numbers stay on its own device until they are summed."""
    sites, n_queries = batch.sites, batch.n_queries
    n_layers, wide, device = sites.n_layers, probability.dtype, probability.device
    own = [change.to(wide) for change in gradients[:n_layers]]
    of_neurons = (g @ down_weight(down).to(wide) for g, down in zip(own, sites.downs, strict=True))
    sizes = [len(rows) for rows in batch.row_query.values()]
    of_rows = probability[n_queries:].split(sizes) if sizes else ()
    return RowGradients(
        activation=stacked((batch.activation[layer] for layer in range(n_layers)), device).to(wide),
        gradient=stacked(of_neurons, device),
        probability=probability[:n_queries],
        hidden=hidden[:n_queries],
        own_gradient=stacked(own, device),
        row_gradient=dict(zip(batch.row_query, (g.to(wide) for g in gradients[n_layers:]), strict=True)),
        row_probability=dict(zip(batch.row_query, of_rows, strict=True)),
    )


@dataclass(kw_only=True)
class GrowingBatch:
    """The rows of one growing batch, and the hooks that change them during a pass.

    The unpatched rows, one a query, come first. Each layer that gets rows adds its own behind them.

    Attributes
    ----------
    sites : Sites
        Blocks, down-projections and output embedding of the model.
    n_queries : int
        Number of unpatched rows.
    row_query : dict of int to int64 Tensor, each of shape (row,)
        The layers that get rows, ascending, and the query of each of their rows.
    place : int64 Tensor, shape (query,)
        Position of the target in what the rows run.
    points : Points
        What the rows of a layer put in place of its activation.
    carried : EntriesPerQuery
        Which arguments of the blocks have entries of each query.
    join : {"after", "token", "before"}
        How rows join.
    attention : Attention or None
        Stand-in for the model's attention function; with it the last block runs at the target alone.
    layer : int
        The block that runs now; -1 before the first.
    query : int64 Tensor, shape (row,)
        The query that each row belongs to.
    activation : dict of int to Tensor, each of shape (query, neuron)
        Input of each layer's down-projection at the target, unpatched.
    own_zeros : dict of int to Tensor, each of shape (query, n_out)
        Zeros added to a down-projection's output at the target of the unpatched rows, by layer.
    row_zeros : dict of int to Tensor, each of shape (row of the layer, n_out)
        Zeros added at the target of the layer's own rows, by layer.
    """

    sites: Sites
    n_queries: int
    row_query: dict[int, Tensor]
    place: Tensor
    points: Points
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
        """Return all hooks of one pass.

        Returns
        -------
        context manager
            The hooks are in place inside it, and removed when it ends.
        """
        blocks, downs = self.sites.blocks, self.sites.downs
        return hooked(
            forward_pre_kwargs=dict.fromkeys(blocks, self._enter),
            forward_pre=dict.fromkeys(downs, self._read),
            forward={**dict.fromkeys(downs, self._add_zeros), **dict.fromkeys(blocks, self._leave)},
        )

    def leaves(self) -> list[Tensor]:
        """Return the zeros whose gradients are wanted, once the pass has run.

        Returns
        -------
        list of Tensor
            Those of the unpatched rows, layer by layer, then those of the layers' own rows.
        """
        own = [self.own_zeros[layer] for layer in range(self.sites.n_layers)]
        return own + [self.row_zeros[layer] for layer in self.row_query]

    def _enter(self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """Run before a block: let rows join, and index by row what has entries of each query."""
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
        """Run behind a block: let rows join."""
        if self.attention is not None:
            self.attention.substitute = None
        if self.layer not in self.row_query or self._joins_before():
            return None
        hidden: Tensor = output[0] if isinstance(output, tuple) else output
        moved = self._moved(hidden) if self.join == "after" else self._token(block)
        where = torch.arange(len(moved), device=hidden.device), self._places(hidden)
        grown = self._grow(hidden, self._copies(hidden).index_put(where, moved))
        return (grown, *output[1:]) if isinstance(output, tuple) else grown

    def _is_last(self) -> bool:
        return self.layer == self.sites.n_layers - 1

    def _joins_before(self) -> bool:
        """Tell whether rows join before the block that runs now.

        Under ``token``, this is so in the last block: where a block runs at the target alone, a token that
        runs through it is a whole row of it.
        """
        before = self.join == "before" or (self.join == "token" and self._is_last())
        return before and self.layer in self.row_query

    def _only_target(self, block: nn.Module, call: BlockCall, attention: Attention) -> Tensor:
        """Return hidden states of one token a row, and let the block be given attention's output there."""
        hidden = call.hidden
        place = self.place.to(hidden.device)[self.query.to(hidden.device)]
        attended = attention.only_at(place, lambda: block.forward(*call.args, **call.kwargs))
        self.place = torch.zeros_like(self.place)
        joined = self._copies(attended) if self._joins_before() else attended[:0]
        attention.substitute = torch.cat([attended, joined])
        return hidden[torch.arange(len(place), device=hidden.device), place][:, None]

    def _token(self, block: nn.Module) -> Tensor:
        """Return the target's new hidden states, (row, hidden), by one token a row through the block."""
        if self.attention is None:
            raise RuntimeError("attention at the target is not known")
        hidden = self._call.hidden[self._own(self._call.hidden)][:, None]
        self.attention.substitute = self._copies(self.attention.known_at(self.place))
        call, self._aside = self._call.changed(self._copies(hidden), lambda _, value: value), True
        output = block.forward(*call.args, **call.kwargs)
        self.attention.substitute, self._aside = None, False
        new: Tensor = output[0] if isinstance(output, tuple) else output
        return new[:, 0]

    def _moved(self, hidden: Tensor) -> Tensor:
        """Return the target's new hidden states, (row, hidden), from the down-projection of the path."""
        activation, own = self.activation[self.layer], hidden[self._own(hidden)].detach()
        step = (self._path() - activation[self._of_query(activation)]).to(hidden.dtype)
        zeros = self.row_zeros[self.layer] = _zeros(len(step), hidden)
        return self._copies(own) + step @ down_weight(self.sites.downs[self.layer]).T + zeros

    def _by_row(self, place: ArgumentPath, value: Tensor) -> Tensor:
        return for_rows(value, self.carried.get((self.layer, *place)), self.n_queries, self.query)

    def _copies(self, hidden: Tensor) -> Tensor:
        """Return a copy of its unpatched row for each row that joins, detached: its gradients are its own."""
        return hidden.detach()[self._of_query(hidden)]

    def _grow(self, hidden: Tensor, new: Tensor) -> Tensor:
        """Append rows, and note the query of each."""
        self.query = torch.cat([self.query, self.row_query[self.layer]])
        return torch.cat([hidden, new])

    def _read(self, _: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """Run before a down-projection: read the activation, and put the rows that run on their path."""
        inputs, layer = args[0], self.layer
        if self._aside:
            return (self._path().to(inputs.dtype).view(inputs.shape), *args[1:])
        rows = inputs.view(len(self.query), -1, inputs.shape[-1])
        self.activation[layer] = rows[self._own(rows)].detach()
        if not self._joins_before():
            return None
        changed = rows.index_put(self._new(rows), self._path().to(rows.dtype))
        return (changed.view(inputs.shape), *args[1:])

    def _add_zeros(self, _: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Run behind a down-projection: add the zeros whose gradients are wanted."""
        if self._aside or self._joins_before():
            zeros = self.row_zeros[self.layer] = _zeros(len(self.row_query[self.layer]), output)
            if self._aside:
                return output + zeros.view(output.shape)
        rows = output.view(len(self.query), -1, output.shape[-1])
        own = self.own_zeros[self.layer] = _zeros(self.n_queries, rows)
        rows = rows.index_put(self._own(rows), own, accumulate=True)
        if self._joins_before():
            rows = rows.index_put(self._new(rows), zeros, accumulate=True)
        return rows.view(output.shape)

    def _path(self) -> Tensor:
        """Return the activations of the layer's rows, (row, neuron)."""
        return self.points(self.layer, self.activation[self.layer])

    def _own(self, of: Tensor) -> tuple[Tensor, Tensor]:
        """Index the unpatched rows at their targets, on the device of what is indexed."""
        return torch.arange(self.n_queries, device=of.device), self.place.to(of.device)

    def _new(self, of: Tensor) -> tuple[Tensor, Tensor]:
        """Index the rows that joined last at their targets, on the device of what is indexed."""
        n_rows, n_new = len(self.query), len(self.row_query[self.layer])
        return torch.arange(n_rows - n_new, n_rows, device=of.device), self._places(of)

    def _places(self, of: Tensor) -> Tensor:
        return self.place.to(of.device)[self._of_query(of)]

    def _of_query(self, of: Tensor) -> Tensor:
        """Return the query of each row of this layer, on the device of what is indexed."""
        return self.row_query[self.layer].to(of.device)


def _zeros(n: int, like: Tensor) -> Tensor:
    return torch.zeros(n, like.shape[-1], dtype=like.dtype, device=like.device, requires_grad=True)
