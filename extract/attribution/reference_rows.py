"""Path gradients the plain way: every row runs the whole prompt through the whole model.

This is the oracle that proves :mod:`qloc.extract.attribution.growing_rows` on each model, and the fallback
where growing rows do not hold. It knows only the down-projections and the logits of a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from qloc.extract.attribution.growing_rows import Points, RowGradients
from qloc.extract.models.architectures import Sites
from qloc.extract.models.devices import stacked
from qloc.extract.models.hooks import hooked, in_turn, nothing
from qloc.extract.prompts.tokenizing import Target


def full_rows(
    model: Any, sites: Sites, target: Target, points: Points, layers: Sequence[int]
) -> RowGradients:
    """Compute gradients at points of paths of one target, each row through the whole model.

    Parameters
    ----------
    model : transformers model
        The loaded model.
    sites : Sites
        Its down-projections and output embedding.
    target : Target
        The prompt and its answer token.
    points : Points
        What the rows of a layer put in place of its activation, (1, neuron).
    layers : sequence of int
        Layers that get rows. Other layers have zeros in ``gradient``.

    Returns
    -------
    RowGradients
        Results of a batch of one query, float32 at least; ``row_gradient`` is that of the neurons.
    """
    device, ids = sites.device, torch.tensor([target.ids], device=next(iter(model.parameters())).device)
    base = _Patch(position=target.position)
    with (
        torch.no_grad(),
        hooked(forward_pre=in_turn((down, base.read(layer)) for layer, down in enumerate(sites.downs))),
    ):
        logits = _wide(model(input_ids=ids).logits[:, target.position]).to(device)
        hidden = _final_hidden(model, sites, ids, target.position)
    wide, n_layers = logits.dtype, sites.n_layers
    gradient = torch.zeros(1, n_layers, sites.n_neurons, dtype=wide, device=device)
    of_row, probabilities = dict[int, Tensor](), dict[int, Tensor]()
    for layer in layers:
        activation = base.activation[layer]
        rows = torch.cat([points(layer, activation), activation]).to(activation.dtype)
        probability, change = _patched(model, sites, layer, ids, target, rows)
        gradient[0, layer] = change[-1].to(gradient)
        of_row[layer], probabilities[layer] = change[:-1].to(gradient), probability[:-1].to(device)
    return RowGradients(
        activation=stacked((base.activation[layer] for layer in range(n_layers)), device).to(wide),
        gradient=gradient,
        probability=_difference(logits.softmax(-1), target),
        hidden=hidden,
        own_gradient=gradient,
        row_gradient=of_row,
        row_probability=probabilities,
    )


class _Patch:
    """Hooks that read down-projections' inputs at a position, or put given rows there."""

    def __init__(self, position: int, rows: Tensor | None = None) -> None:
        self.position, self.rows = position, rows
        self.activation: dict[int, Tensor] = {}

    def read(self, layer: int) -> Any:
        """Return a forward pre-hook that keeps the input, (1, neuron)."""

        def hook(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            self.activation[layer] = args[0].view(1, -1, args[0].shape[-1])[:, self.position].detach()

        return hook

    def put(self, _: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Replace the input by the rows, as a forward pre-hook."""
        if self.rows is None:
            return args
        inputs = args[0]
        changed = inputs.view(len(self.rows), -1, inputs.shape[-1]).clone()
        changed[:, self.position] = self.rows
        return (changed.view(inputs.shape), *args[1:])


def _patched(
    model: Any, sites: Sites, layer: int, ids: Tensor, target: Target, rows: Tensor
) -> tuple[Tensor, Tensor]:
    leaf = rows.detach().requires_grad_(True)
    patch, shared = _Patch(target.position, leaf).put, sites.downs[layer]
    turns = [
        (shared, patch if n == layer else nothing) for n, down in enumerate(sites.downs) if down is shared
    ]
    with torch.enable_grad(), hooked(forward_pre=in_turn(turns)):
        logits = model(input_ids=ids.expand(len(rows), -1)).logits[:, target.position]
        return _probability_and_slope(_wide(logits).log_softmax(-1), leaf, target)


def _difference(shares: Tensor, target: Target) -> Tensor:
    """Return P of the target's token, less that of the token it is contrasted with."""
    probability = shares[:, target.token]
    return probability if target.against is None else probability - shares[:, target.against]


def _probability_and_slope(logs: Tensor, leaf: Tensor, target: Target) -> tuple[Tensor, Tensor]:
    """Return P of the target's token, less that of the contrasted token, and its gradient at ``leaf``.

    It is the gradient of log P, times P: that of P itself may vanish in half precision.
    """
    signs = {target.token: 1.0} if target.against is None else {target.token: 1.0, target.against: -1.0}
    probability, change = torch.zeros_like(logs[:, 0]), torch.zeros_like(leaf)
    for token, sign in signs.items():
        (slope,) = torch.autograd.grad(logs[:, token].sum(), leaf, retain_graph=True)
        share = sign * logs[:, token].detach().exp()
        probability, change = probability + share, change + share[:, None].to(slope.device) * slope
    return probability.detach(), change


def _final_hidden(model: Any, sites: Sites, ids: Tensor, position: int) -> Tensor:
    kept: list[Tensor] = []

    def keep(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        kept.append(args[0][:, position].detach())

    with hooked(forward_pre={sites.head: keep}):
        model(input_ids=ids)
    return kept[0].to(sites.device)


def _wide(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
