"""The peers' site: the input of the MLP's activation function (before GELU; LLaMA: the gate before SiLU).

Found by looking: the one module of each block that has no weights, is called once a pass and is given a
vector as wide as the down-projection's input. For comparison with published figures only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from qloc.errors import InputError, message
from qloc.extract.architectures import Sites
from qloc.extract.hooks import hooked


@torch.no_grad()
def before_activation(model: Any, sites: Sites, ids: Sequence[int]) -> Sites:
    """The sites with each layer's activation function.

    Parameters
    ----------
    ids : a prompt, to see what is called.

    Raises
    ------
    InputError : a model in whose blocks no such module, or more than one, is called.
    """
    calls: list[nn.Module] = []

    def look(module: nn.Module) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
            if args and isinstance(args[0], Tensor) and args[0].shape[-1:] == (sites.n_neurons,):
                calls.append(module)

        return hook

    downs = set(sites.downs)
    bare = {m for block in set(sites.blocks) for m in block.modules() if m in downs or _is_function(m)}
    with hooked(forward_pre={module: look(module) for module in bare}):
        model(input_ids=torch.tensor([list(ids)], device=next(iter(model.parameters())).device))
    found: list[nn.Module] = []
    seen: list[nn.Module] = []
    for module in calls:
        if module not in downs:
            seen.append(module)
        elif len(seen) == 1:
            found, seen = found + seen, []
        else:
            break
    if len(found) != sites.n_layers or seen:
        rule = "one whose blocks call one activation function before the down-projection, as a module"
        got = f"{model.config.model_type} at site mlp_pre"
        raise InputError(message("model type", got, rule, "qloc extract --site", "Use --site mlp_post"))
    return replace(sites, activations=tuple(found))


def _is_function(module: nn.Module) -> bool:
    """Whether a module computes a function of its input and nothing else."""
    empty = next(module.parameters(), None) is None and next(module.children(), None) is None
    return empty and not isinstance(module, nn.Identity | nn.Dropout)
