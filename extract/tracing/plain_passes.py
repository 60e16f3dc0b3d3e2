"""Causal tracing the plain way: one restoration a pass, every layer of whole prompts.

What :mod:`qloc.extract.tracing.restored_rows` is compared with on each model, and measured against.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from qloc.extract.models.hooks import without_head
from qloc.extract.passes.prompt_cache import whole
from qloc.extract.tracing.states import Prompts, States, TracedSites, watched
from qloc.phase_plan import TracingPart


@torch.no_grad()
def restored_once(
    model: Any,
    traced: TracedSites,
    prompts: Prompts,
    clean: States,
    part: TracingPart,
    layers: range,
    place: tuple[int, int],
    target: int,
) -> Tensor:
    """Run corrupted prompts with one restoration.

    Parameters
    ----------
    model : transformers model
        The loaded model.
    traced : TracedSites
        Its modules.
    prompts : Prompts
        The corrupted prompts.
    clean : States
        States of the clean pass.
    part : {"residual", "mlp", "attention"}
        The part whose output is restored.
    layers : range
        The window of layers.
    place : tuple of (int, int)
        The position that is restored, and its number among the positions of ``clean``.
    target : int
        Position of the target.

    Returns
    -------
    Tensor, shape (prompt, hidden)
        Final hidden states at the target.
    """
    position, number = place

    def restore(_: nn.Module, layer: int, output: Tensor) -> Tensor | None:
        if layer not in layers:
            return None
        changed = output.clone()
        by_position = changed.view(len(prompts), -1, output.shape[-1])
        by_position[:, position] = clean.of_part[part][layer, number].to(output)
        return changed

    restoring: dict[str, Any] = {part: restore}
    with (
        prompts.noised(traced.embedding),
        watched(traced, **restoring),
        without_head(traced.sites.head) as finals,
    ):
        model(**whole(model, prompts.ids))
    return finals[0][:, target]
