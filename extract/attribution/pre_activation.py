"""Attribution to the inputs of activation functions (``--site mlp_pre``).

The site is the input z of the MLP's activation function (GPT-2, BERT: before GELU; LLaMA: the gate). The
down-projection is given a = f(z) ⊙ u, where u is 1 or, in a gated MLP, the other half, which does not
depend on z. So a path of z is a path of a, which the engine knows, and ∂P/∂z = ∂P/∂a ⊙ u ⊙ f′(z) at each
node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from qloc.errors import InputError, message
from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.growing_rows import Points, RowGradients, RowQueries
from qloc.extract.models.devices import stacked
from qloc.extract.models.hooks import hooked, in_turn, without_head
from qloc.extract.models.out_of_memory import raise_if_out_of_memory
from qloc.extract.passes.prompt_cache import KeptPrompts
from qloc.extract.prompts.tokenizing import Target


@dataclass(frozen=True, kw_only=True)
class PreActivationEngine(GradientEngine):
    """A gradient engine for the inputs of activation functions.

    Attributes
    ----------
    functions : tuple of nn.Module
        The activation functions, one a layer.
    """

    functions: tuple[nn.Module, ...]

    @property
    def inputs(self) -> tuple[nn.Module, ...]:
        """The modules whose input is the attributed vector, one a layer."""
        return self.functions

    def rows(
        self,
        targets: Sequence[Target],
        points: Points,
        row_query: RowQueries,
        kept: KeptPrompts | None = None,
    ) -> RowGradients:
        """Compute gradients, as the engine does, at points of paths of z.

        Parameters
        ----------
        targets : sequence of Target
            The batch, all with as many ids.
        points : Points
            What the rows of a layer put in place of its z.
        row_query : RowQueries
            The layers that have rows, ascending, and the query of each row.
        kept : KeptPrompts, optional
            Prompts of the call before.

        Returns
        -------
        RowGradients
            ``activation`` is z, and all gradients are with respect to z.
        """
        inputs = _inputs_of(self, targets)

        def put(layer: int) -> Tensor:
            return points(layer, inputs.before[:, layer])

        def gate(layer: int) -> Tensor:
            return inputs.gate[row_query[layer].to(inputs.gate.device), layer]

        def through(layer: int, activation: Tensor) -> Tensor:
            value: Tensor = self.functions[layer](put(layer))
            return (value * gate(layer)).to(activation.device)

        found = super().rows(targets, through, row_query, kept)
        gradient, of_row = torch.zeros_like(found.gradient), dict[int, Tensor]()
        for layer, function in enumerate(self.functions):
            own = inputs.before[:, layer]
            slope = inputs.gate[:, layer].to(gradient) * _slope(function, own).to(gradient)
            gradient[:, layer] = found.gradient[:, layer] * slope
        for layer, change in found.row_gradient.items():
            slope = gate(layer) * _slope(self.functions[layer], put(layer)).to(inputs.gate)
            of_row[layer] = super().to_neurons(layer, change) * slope.to(change)
        return replace(
            found,
            activation=inputs.before.to(gradient),
            gradient=gradient,
            own_gradient=gradient,
            row_gradient=of_row,
        )

    @property
    def row_width(self) -> int:
        """Numbers in one gradient of a row: those of z."""
        return self.sites.n_neurons

    def to_neurons(self, layer: int, change: Tensor) -> Tensor:
        """Return gradients as they are: :meth:`rows` gives those of z already.

        Parameters
        ----------
        layer : int
            Their layer.
        change : Tensor, shape (…, neuron)
            Rows, or sums of them.

        Returns
        -------
        Tensor, shape (…, neuron)
            The same.
        """
        return change

    def written(self, layer: int, step: Tensor) -> Tensor:
        """Return steps as they are, too.

        Parameters
        ----------
        layer : int
            Their layer.
        step : Tensor, shape (…, neuron)
            Changes of z.

        Returns
        -------
        Tensor, shape (…, neuron)
            The same.
        """
        return step


def before_activation(engine: GradientEngine, target: Target) -> PreActivationEngine:
    """Return the engine for the inputs of activation functions.

    An activation function is the one module of each block that has no weights and is given a vector as wide
    as the down-projection's input.

    Parameters
    ----------
    engine : GradientEngine
        The engine for the inputs of down-projections.
    target : Target
        A prompt; one pass shows which modules are called.

    Returns
    -------
    PreActivationEngine
        The same engine, at the other site.

    Raises
    ------
    InputError
        When no such module, or more than one, is called in the model's blocks, or when its down-projections
        are given something else than f(z) ⊙ u.
    """
    functions = _functions(engine, target)
    if len(functions) == engine.sites.n_layers:
        names = {field.name: getattr(engine, field.name) for field in fields(engine)}
        other = PreActivationEngine(**names, functions=functions)
        if _holds(other, target):
            return other
    rule = "one whose blocks call one activation function f, as a module, and then the down-projection of "
    rule += "f(z) ⊙ u"
    got = f"{engine.model.config.model_type} at site mlp_pre"
    raise InputError(message("model type", got, rule, "qloc extract --site", "Use --site mlp_post"))


@dataclass(frozen=True)
class _Inputs:
    """z and u of targets, (target, layer, neuron), and the head's input, (target, position, hidden)."""

    before: Tensor
    gate: Tensor
    hidden: Tensor


@torch.no_grad()
def _inputs_of(engine: PreActivationEngine, targets: Sequence[Target]) -> _Inputs:
    """Run one pass in which f(z) is 1 for as long as it takes to read what it is multiplied by."""
    ids = torch.tensor([target.ids for target in targets], device=engine.device)
    places = torch.tensor([target.position for target in targets], device=engine.device)
    before, gates, values = dict[int, Tensor](), dict[int, Tensor](), dict[int, Tensor]()

    def at_target(vectors: Tensor) -> Tensor:
        rows = torch.arange(len(targets), device=vectors.device)
        return vectors.view(len(targets), -1, vectors.shape[-1])[rows, places.to(vectors.device)]

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
    with hooked(forward=holding, forward_pre=releasing), without_head(engine.sites.head) as finals:
        engine.model(input_ids=ids)
    order = range(engine.sites.n_layers)
    z, u = (
        stacked((by_layer[layer] for layer in order), engine.sites.device) for by_layer in (before, gates)
    )
    return _Inputs(z, u, finals[0])


def _slope(function: nn.Module, values: Tensor) -> Tensor:
    """Return f′ of every element."""
    with torch.enable_grad():
        leaf = values.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(function(leaf).sum(), leaf)
    return slope


@torch.no_grad()
def _holds(engine: PreActivationEngine, target: Target) -> bool:
    """Tell whether the model computes f(z) ⊙ u: whether the same final hidden states come of it."""
    with without_head(engine.sites.head) as finals:
        engine.model(input_ids=torch.tensor([target.ids], device=engine.device))
    try:
        ours = _inputs_of(engine, [target]).hidden
    except (RuntimeError, KeyError) as error:  # shapes that do not fit
        raise_if_out_of_memory(error)
        return False
    rounding = 64 * torch.finfo(finals[0].dtype).eps
    return bool((ours - finals[0]).abs().max() <= rounding * finals[0].abs().max())


@torch.no_grad()
def _functions(engine: GradientEngine, target: Target) -> tuple[nn.Module, ...]:
    """Return the activation functions that are called, one before each down-projection; none if otherwise."""
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
    """Tell whether a module computes a function of its input and nothing else."""
    empty = next(module.parameters(), None) is None and next(module.children(), None) is None
    return empty and not isinstance(module, nn.Identity | nn.Dropout)
