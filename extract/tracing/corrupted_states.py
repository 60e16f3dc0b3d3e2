"""The corrupted pass, with what every restoration makes of the first block that it touches.

In the block where a window begins, a restoration at position p changes the block's output at p alone: what
follows attention in a block treats every position by itself. So each corrupted prompt runs in three rows:
unchanged, with the MLP's output restored at *all* positions of interest, and with attention's. The block's
output at p is then what restoring p alone makes of it. Behind each block only the unchanged rows go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qloc.arrays import Ints
from qloc.extract.models.hooks import without_head
from qloc.extract.passes.block_arguments import ArgumentPath, BlockCall, EntriesPerQuery, for_rows
from qloc.extract.passes.prompt_cache import whole
from qloc.extract.tracing.states import PROJECTIONS, Prompts, States, TracedSites, watched
from qloc.phase_plan import TracingPart


@dataclass(frozen=True, kw_only=True)
class CorruptedStates:
    """What rows that restore something begin with.

    Attributes
    ----------
    blocks : Tensor, shape (layer, prompt, token, hidden)
        Outputs of the blocks with nothing restored.
    begun : dict of str to Tensor
        (layer, prompt, position, hidden): the block's output at a position where that position is restored
        from this layer on.
    final : Tensor, shape (prompt, hidden)
        Final hidden states at the target with nothing restored.
    """

    blocks: Tensor
    begun: Mapping[TracingPart, Tensor]
    final: Tensor


@torch.no_grad()
def corrupted_states(
    model: Any,
    traced: TracedSites,
    carried: EntriesPerQuery,
    prompts: Prompts,
    clean: States,
    positions: Ints,
    target: int,
) -> CorruptedStates:
    """Run corrupted prompts once.

    Parameters
    ----------
    model : transformers model
        The loaded model.
    traced : TracedSites
        Its modules.
    carried : EntriesPerQuery
        Which arguments of blocks have entries of each prompt.
    prompts : Prompts
        The corrupted prompts.
    clean : States
        States of the clean pass at these positions.
    positions : int64 ndarray, shape (position,)
        Positions that are restored.
    target : int
        Position of the target.

    Returns
    -------
    CorruptedStates
        Of every block.
    """
    n, device = len(prompts), prompts.ids.device
    query, at = torch.arange(3 * n, device=device) % n, torch.as_tensor(positions, device=device)
    blocks: list[Tensor] = []
    begun: dict[TracingPart, list[Tensor]] = {part: [] for part in PROJECTIONS}

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        call = BlockCall(args, kwargs)

        def by_row(place: ArgumentPath, value: Tensor) -> Tensor:
            return for_rows(value, carried.get((layers.now, *place)), n, query)

        call = call.changed(call.hidden.repeat(3, 1, 1), by_row)
        return call.args, call.kwargs

    def restore(part: TracingPart, first: int) -> Any:
        def hook(_: nn.Module, layer: int, output: Tensor) -> Tensor:
            changed = output.clone()
            rows = changed.view(3 * n, -1, output.shape[-1])[first : first + n]
            rows[:, at.to(output.device)] = clean.of_part[part][layer].to(output)
            return changed

        return hook

    def leave(_: nn.Module, layer: int, output: Tensor) -> Tensor:
        own: Tensor = output[:n]
        restored = output[n:].split(n)
        blocks.append(own.to(device))
        for part, rows in zip(PROJECTIONS, restored, strict=True):
            begun[part].append(rows[:, at.to(output.device)].to(device))
        return own

    watching = watched(
        traced,
        enter=enter,
        mlp=restore("mlp", n),
        attention=restore("attention", 2 * n),
        residual=leave,
    )
    with (
        prompts.noised(traced.embedding),
        watching as layers,
        without_head(traced.sites.head) as finals,
    ):
        model(**whole(model, prompts.ids))
    residual = clean.of_part["residual"][:, None].expand(-1, n, -1, -1)
    return CorruptedStates(
        blocks=torch.stack(blocks),
        begun={"residual": residual, **{part: torch.stack(values) for part, values in begun.items()}},
        final=finals[0][:, target],
    )
