"""Exact path gradients at a fraction of the work: rows that exist only from their layer on.

A path gradient at layer l needs forward passes in which one vector differs: the down-projection's input at
the target position of layer l. Nothing below layer l changes then, and in a causal model nothing before the
target does. So the prompt is run once; then one batch *grows*: the rows of layer l join as copies of the
unpatched row, and layer l is given their points of the path. m rows a layer cost about m · L(L−1)/2
row-layers instead of m · L². In a causal model a row is one token, attending to the prompt's cached keys
and values; in a masked model it is the whole sequence, but for the last block, where it is one token again.

Rows join ``after`` their block where its output is the down-projection's plus something that does not
depend on it (most decoders). Else ``before`` it; or, in a masked model, as one ``token`` that is run through
it (:mod:`qloc.extract.at_target`). Gradients are taken for a zero added to the
down-projection's *output* at the target position; one product with its weight then gives the neurons',
after averaging over the path.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qloc.extract.architectures import Sites, down_weight
from qloc.extract.at_target import attention_of
from qloc.extract.carried import Carried
from qloc.extract.devices import stacked
from qloc.extract.head import Head
from qloc.extract.hooks import without_head
from qloc.extract.prefix import last_token
from qloc.extract.rows import GrowingBatch, Join, Points
from qloc.extract.tokens import Family, Target


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
    cut: bool = False,
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
    cut : run the last block, and what follows, at the target alone (masked models).
    """
    ids, token, against, place = _tensors(model, sites, family, targets)
    with attention_of(model) if cut else nullcontext() as attention:
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
