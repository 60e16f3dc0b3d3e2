"""Whether a norm follows the MLP's output, as in Gemma 2 and 3, OLMo 2 and GLM-4.

Then the block's output hardly depends on how long that vector is. Along a path α · w̄ from zero, P changes
within the first thousandths and is flat from there; a neuron's gradient goes like 1/α, and its integral like
log(1/ε) · w̄ ∂P/∂w, with the norm's ε. So integrated gradients from zero are gradient × activation times a
number that ε sets, and little is left of their sum. See docs/paths.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn

from qloc.extract.models.architectures import Sites
from qloc.extract.models.hooks import hooked, in_turn, nothing
from qloc.extract.prompts.tokenizing import Target

_SMALL: Final = 0.05
"""Share of the MLP's effect below which half its output counts as all of it; 0.5 where nothing follows it."""


@torch.no_grad()
def norm_behind_mlp(model: Any, sites: Sites, target: Target) -> bool:
    """Tell whether a block's output hardly depends on the length of its MLP's output.

    In the first, the middle and the last layer, the down-projection's output at the target is multiplied by
    0, ½ and 1: ‖out(½) − out(1)‖ / ‖out(0) − out(1)‖ is ½ where it is added as it is, and 0 where a norm
    follows.

    Parameters
    ----------
    model : transformers model
        The loaded model.
    sites : Sites
        Its blocks and down-projections.
    target : Target
        A prompt.

    Returns
    -------
    bool
        Whether the ratio is under 0.05 in each of the three layers.
    """
    ids = torch.tensor([target.ids], device=next(iter(model.parameters())).device)
    layers = sorted({0, sites.n_layers // 2, sites.n_layers - 1})
    return all(_ratio(model, sites, ids, target.position, layer) < _SMALL for layer in layers)


def _ratio(model: Any, sites: Sites, ids: Tensor, position: int, layer: int) -> float:
    none, half, whole = (_output(model, sites, ids, position, layer, share) for share in (0.0, 0.5, 1.0))
    least = torch.finfo(whole.dtype).tiny
    return float((half - whole).norm() / (none - whole).norm().clamp_min(least))


def _output(model: Any, sites: Sites, ids: Tensor, position: int, layer: int, share: float) -> Tensor:
    """Return a block's output at the target, float32 at least, with a share of its MLP's output."""
    kept: list[Tensor] = []

    def scaled(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
        rows = output.reshape(-1, output.shape[-1]).clone()
        rows[position] *= share
        return rows.view(output.shape)

    def keep(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        row = hidden.reshape(-1, hidden.shape[-1])[position]
        kept.append(row.to(torch.promote_types(row.dtype, torch.float32)))

    def only(modules: tuple[nn.Module, ...], hook: Callable[..., Any]) -> dict[nn.Module, Any]:
        return in_turn((module, hook if n == layer else nothing) for n, module in enumerate(modules))

    with hooked(forward={**only(sites.downs, scaled), **only(tuple(sites.blocks), keep)}):
        model(input_ids=ids)
    return kept[0]
