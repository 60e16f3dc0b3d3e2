"""Erase and update edits of knowledge neurons: rows of down-projections (Dai et al. 2022, §5.2)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from qloc.arrays import Ints
from qloc.extract.models.architectures import Sites, down_weight
from qloc.extract.passes.weight_changes import Edit


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
