"""Edits as rows: hundreds of changed down-projections in one forward pass of one unmodified model.

Slot (l, p) is row p of layer l's down-projection. Editing it adds act[row, token, p] · ΔW[row, p] to the
down-projection's output at every token: that is what an edited weight would give, bias and all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qloc.extract.architectures import Sites, down_weight
from qloc.extract.hooks import hooked, in_turn

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Edit:
    """What one edit adds to a model's down-projections.

    Attributes
    ----------
    layer, neuron : int64, (slot,), which rows.
    change : (slot, n_out), ΔW of each.
    """

    layer: Ints
    neuron: Ints
    change: Tensor


def erasure(sites: Sites, neurons: Ints) -> Edit:
    """ΔW = −W: the slots' rows become 0.

    Parameters
    ----------
    neurons : int64, (slot,), numbers layer · n_neurons + index.
    """
    layer, neuron = np.divmod(neurons, sites.n_neurons)
    return Edit(layer=layer, neuron=neuron, change=-_rows(sites, layer, neuron))


def update(
    sites: Sites,
    neurons: Ints,
    old: Tensor,
    new: Tensor,
    *,
    lambda1: float,
    lambda2: float,
    slot_norm: bool,
    sign: Tensor | None = None,
) -> Edit:
    """W ← W + ΔW, ΔW = −λ1 E(o) + λ2 E(o′), of each slot.

    Parameters
    ----------
    neurons : int64, (slot,), numbers layer · n_neurons + index.
    old, new : (n_out,), E(o) and E(o′).
    slot_norm : E(o) and E(o′) are scaled to the length of the slot's own row, ‖W‖ / ‖E‖.
    sign : (slot,), of the slots' mean activation: gated activations are signed, and where they are negative
        an update as published promotes o. None: as published.

    References
    ----------
    Dai et al. 2022 (arXiv 2104.08696), §5.2.
    """
    layer, neuron = np.divmod(neurons, sites.n_neurons)
    if slot_norm:
        length = _rows(sites, layer, neuron).norm(dim=1, keepdim=True).to(old.device)
        change = length * (lambda2 * new / new.norm() - lambda1 * old / old.norm())
    else:
        change = (lambda2 * new - lambda1 * old).expand(len(neurons), -1)
    return Edit(layer=layer, neuron=neuron, change=change if sign is None else sign[:, None] * change)


def _rows(sites: Sites, layer: Ints, neuron: Ints) -> Tensor:
    """(slot, n_out), rows of the down-projections, on the first one's device."""
    weights = [down_weight(down) for down in sites.downs]
    first, slots = weights[0], zip(layer.tolist(), neuron.tolist(), strict=True)
    rows = [weights[at][:, int(place)].to(first.device) for at, place in slots]
    return torch.stack(rows) if rows else first.new_zeros(0, first.shape[0])


@contextmanager
def edited(sites: Sites, edits: Sequence[Edit | None], of_row: Sequence[int]) -> Iterator[None]:
    """Every forward pass inside runs row n of its batch on the model as ``edits[of_row[n]]`` edits it.

    Parameters
    ----------
    edits : None leaves the model as it is.
    of_row : the edit of each row of the batches that run inside.
    """
    rows_of = [np.flatnonzero(np.asarray(of_row) == number) for number in range(len(edits))]

    def hook(layer: int) -> Callable[..., Any]:
        here = []
        for rows, edit in zip(rows_of, edits, strict=True):
            slots = np.flatnonzero(edit.layer == layer) if edit is not None and len(rows) else ()
            if edit is not None and len(slots):
                here.append((torch.as_tensor(rows), torch.as_tensor(edit.neuron[slots]), edit.change[slots]))

        def add(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            if not here:
                return None
            given = args[0].view(len(of_row), -1, args[0].shape[-1])
            changed = output.view(len(of_row), -1, output.shape[-1]).clone()
            for rows, neurons, change in here:
                rows, neurons = rows.to(given.device), neurons.to(given.device)
                changed[rows] += given[rows][:, :, neurons] @ change.to(changed)
            return changed.view(output.shape)

        return add

    with hooked(forward=in_turn((down, hook(layer)) for layer, down in enumerate(sites.downs))):
        yield
