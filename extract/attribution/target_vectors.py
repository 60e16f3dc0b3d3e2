"""Read the vectors that methods attribute to, at the targets of plain forward passes without gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.models.devices import stacked
from qloc.extract.models.hooks import hooked, in_turn, without_head
from qloc.extract.prompts.tokenizing import Target

_MOST_POSITIONS: Final = 2048
"""Positions of one forward pass beyond which a larger one is not faster, only larger."""


@torch.no_grad()
def target_vectors(engine: GradientEngine, targets: Sequence[Target]) -> Iterator[tuple[list[int], Tensor]]:
    """Run unchanged prompts, batch by batch, and read each layer's vector at the target.

    Parameters
    ----------
    engine : GradientEngine
        The model, and the memory that one pass may take.
    targets : sequence of Target
        Targets of any lengths. Prompts of equal length run together, within the engine's memory.

    Yields
    ------
    indices : list of int
        Indices into ``targets``.
    vectors : Tensor, shape (target, layer, neuron)
        Their vectors, in the order of ``indices``.
    """
    by_length: dict[int, list[int]] = {}
    for index, target in enumerate(targets):
        by_length.setdefault(len(target.ids), []).append(index)
    for length, indices in by_length.items():
        size = _rows_a_pass(engine, length)
        for first in range(0, len(indices), size):
            chosen = indices[first : first + size]
            yield chosen, _of_one_length(engine, [targets[index] for index in chosen])


@torch.no_grad()
def _of_one_length(engine: GradientEngine, targets: list[Target]) -> Tensor:
    ids = torch.tensor([target.ids for target in targets], device=engine.device)
    places = torch.tensor([target.position for target in targets], device=engine.device)
    seen = dict[int, Tensor]()

    def read(layer: int) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            rows = torch.arange(len(targets), device=args[0].device)
            inputs = args[0].view(len(targets), -1, args[0].shape[-1])
            seen[layer] = inputs[rows, places.to(inputs.device)]

        return hook

    reading = in_turn((module, read(layer)) for layer, module in enumerate(engine.inputs))
    with hooked(forward_pre=reading), without_head(engine.sites.head):
        engine.model(input_ids=ids)
    return stacked((seen[layer] for layer in range(engine.sites.n_layers)), engine.device)


def _rows_a_pass(engine: GradientEngine, length: int) -> int:
    """Return how many prompts of a length one pass without gradients may hold.

    The memory is that of one layer's tensors, and of the vectors of all layers.
    """
    config = engine.model.config.get_text_config()
    heads, width = int(config.num_attention_heads), int(config.hidden_size)
    alive = length * (16 * width + 4 * engine.sites.n_neurons) + 4 * heads * length**2
    kept = engine.sites.n_layers * (engine.sites.n_neurons + 2 * length * width)
    fit = engine.memory // ((alive + kept) * engine.itemsize)
    return max(1, min(fit, _MOST_POSITIONS // length))
