"""The peers' site: the input z of the MLP's activation function (GPT-2, BERT: before GELU; LLaMA: the gate).

What the down-projection is given is a = f(z) ⊙ u, u being 1 or the other half of a gated MLP, which does not
depend on z. So a path of z is one of a, which the engine knows, and ∂P/∂z = ∂P/∂a ⊙ u ⊙ f′(z) at each node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from qloc.errors import InputError, message
from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.growing_rows import PathGradients, Points
from qloc.extract.models.devices import stacked
from qloc.extract.models.hooks import hooked, in_turn, without_head
from qloc.extract.prompts.tokenizing import Target


@dataclass(frozen=True, kw_only=True)
class PreActivationEngine(GradientEngine):
    """A gradient engine for the inputs of activation functions.

    Attributes
    ----------
    functions : the activation functions, one a layer.
    """

    functions: tuple[nn.Module, ...]

    @property
    def inputs(self) -> tuple[nn.Module, ...]:
        """The modules whose input is the vector that is attributed, one a layer."""
        return self.functions

    def paths(
        self,
        targets: Sequence[Target],
        points: Points,
        weights: Tensor,
        layers: Sequence[int] | None = None,
    ) -> PathGradients:
        """As of the engine; ``points`` are of z."""
        at = _inputs_of(self, targets)

        def through(layer: int, activation: Tensor) -> Tensor:
            value: Tensor = self.functions[layer](points(layer, at.before[:, layer]))
            return (value * at.gate[:, layer]).to(activation.device)

        each = torch.eye(weights.shape[1], dtype=weights.dtype)
        found = super().paths(targets, through, each, layers)
        gradient = torch.zeros_like(found.gradient)
        mean = gradient.new_zeros(len(weights), *gradient.shape)
        for layer in range(self.sites.n_layers):
            gate = at.gate[:, layer].to(gradient)
            own = at.before[:, layer]
            gradient[:, layer] = found.gradient[:, layer] * gate * _slope(self.functions[layer], own).to(gate)
            slopes = _slope(self.functions[layer], points(layer, own)).to(gate)
            by_node = found.mean_gradient[:, :, layer] * gate * slopes
            mean[:, :, layer] = torch.einsum("rn,nqp->rqp", weights.to(by_node), by_node)
        return replace(found, activation=at.before.to(gradient), gradient=gradient, mean_gradient=mean)


def before_activation(engine: GradientEngine, target: Target) -> PreActivationEngine:
    """The engine for the inputs of activation functions.

    They are the one module of each block that has no weights and is given a vector as wide as the
    down-projection's input.

    Parameters
    ----------
    target : a prompt, to see what is called.

    Raises
    ------
    InputError : a model in whose blocks no such module, or more than one, is called, or one in which the
        down-projection is given something else than f(z) ⊙ u.
    """
    functions = _functions(engine, target)
    if len(functions) == engine.sites.n_layers:
        names = {field.name: getattr(engine, field.name) for field in fields(engine)}
        found = PreActivationEngine(**names, functions=functions)
        if _holds(found, target):
            return found
    rule = "one whose blocks call one activation function f, as a module, and then the down-projection of "
    rule += "f(z) ⊙ u"
    got = f"{engine.model.config.model_type} at site mlp_pre"
    raise InputError(message("model type", got, rule, "qloc extract --site", "Use --site mlp_post"))


@dataclass(frozen=True)
class _Inputs:
    """z and u of targets, (target, layer, neuron), and what the head is given, (target, position, hidden)."""

    before: Tensor
    gate: Tensor
    hidden: Tensor


@torch.no_grad()
def _inputs_of(engine: PreActivationEngine, targets: Sequence[Target]) -> _Inputs:
    """One pass in which f(z) is 1 for as long as it takes to read what it is multiplied by."""
    ids = torch.tensor([target.ids for target in targets], device=engine.device)
    places = torch.tensor([target.position for target in targets], device=engine.device)
    before, gates, values = dict[int, Tensor](), dict[int, Tensor](), dict[int, Tensor]()

    def at_target(given: Tensor) -> Tensor:
        rows = torch.arange(len(targets), device=given.device)
        return given.view(len(targets), -1, given.shape[-1])[rows, places.to(given.device)]

    def hold(layer: int) -> Callable[..., Tensor]:
        def hook(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            before[layer], values[layer] = at_target(args[0]), output
            return torch.ones_like(output)

        return hook

    def release(layer: int) -> Callable[..., tuple[Tensor, ...]]:
        def hook(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            gates[layer] = at_target(args[0])
            return (args[0] * values.pop(layer), *args[1:])

        return hook

    holding = in_turn((module, hold(layer)) for layer, module in enumerate(engine.functions))
    releasing = in_turn((module, release(layer)) for layer, module in enumerate(engine.sites.downs))
    with hooked(forward=holding, forward_pre=releasing), without_head(engine.sites.head) as given:
        engine.model(input_ids=ids)
    order = range(engine.sites.n_layers)
    z, u = (stacked((found[layer] for layer in order), engine.sites.device) for found in (before, gates))
    return _Inputs(z, u, given[0])


def _slope(function: nn.Module, values: Tensor) -> Tensor:
    """f′ of every element."""
    with torch.enable_grad():
        leaf = values.detach().requires_grad_(True)
        (found,) = torch.autograd.grad(function(leaf).sum(), leaf)
    return found


@torch.no_grad()
def _holds(engine: PreActivationEngine, target: Target) -> bool:
    """Whether f(z) ⊙ u is what the model computes: the same final hidden states come of it."""
    with without_head(engine.sites.head) as given:
        engine.model(input_ids=torch.tensor([target.ids], device=engine.device))
    try:
        ours = _inputs_of(engine, [target]).hidden
    except (RuntimeError, KeyError):  # shapes that do not fit
        return False
    rounding = 64 * torch.finfo(given[0].dtype).eps
    return bool((ours - given[0]).abs().max() <= rounding * given[0].abs().max())


@torch.no_grad()
def _functions(engine: GradientEngine, target: Target) -> tuple[nn.Module, ...]:
    """The activation functions that are called, one before each down-projection; none if it is otherwise."""
    sites, calls, downs = engine.sites, list[nn.Module](), set(engine.sites.downs)

    def look(module: nn.Module, args: tuple[Any, ...]) -> None:
        if args and isinstance(args[0], Tensor) and args[0].shape[-1:] == (sites.n_neurons,):
            calls.append(module)

    looked_at = {m for block in sites.blocks for m in block.modules() if m in downs or _is_function(m)}
    with hooked(forward_pre=dict.fromkeys(looked_at, look)):
        engine.model(input_ids=torch.tensor([target.ids], device=engine.device))
    functions, after = calls[::2], calls[1::2]
    return tuple(functions) if after == list(sites.downs) and not downs & set(functions) else ()


def _is_function(module: nn.Module) -> bool:
    """Whether a module computes a function of its input and nothing else."""
    empty = next(module.parameters(), None) is None and next(module.children(), None) is None
    return empty and not isinstance(module, nn.Identity | nn.Dropout)
