"""Erase and update knowledge neurons by editing rows of down-projections (Dai et al. 2022, §5.2)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from qloc.arrays import Ints
from qloc.extract.models.architectures import Sites, down_weight
from qloc.extract.passes.weight_changes import Edit


def erasure(sites: Sites, neurons: Ints) -> Edit:
    """Make the edit that sets neurons' rows of the down-projections to 0, ΔW = −W.

    Parameters
    ----------
    sites : Sites
        The model's down-projections.
    neurons : int64 ndarray, shape (slot,)
        Numbers of the neurons, layer · n_neurons + index.

    Returns
    -------
    Edit
        The change of each row.
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
    """Make the edit that replaces answer o by o′ in neurons' rows, ΔW = −λ1 E(o) + λ2 E(o′).

    Parameters
    ----------
    sites : Sites
        The model's down-projections.
    neurons : int64 ndarray, shape (slot,)
        Numbers of the neurons, layer · n_neurons + index.
    old, new : torch.Tensor, shape (n_out,)
        E(o) and E(o′), embeddings of the answers.
    lambda1, lambda2 : float
        λ1 and λ2.
    slot_norm : bool
        Whether to scale E(o) and E(o′) to the norm of each neuron's own row, by ‖W‖ / ‖E‖.
    sign : torch.Tensor, shape (slot,), optional
        Sign of each neuron's mean activation, which multiplies ΔW. Gated activations are signed; where they
        are negative, an update as published would promote o. None: as published.

    Returns
    -------
    Edit
        The change of each row.

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
    """Return rows of the down-projections, (slot, n_out), on the device of the first one."""
    weights = [down_weight(down) for down in sites.downs]
    first, slots = weights[0], zip(layer.tolist(), neuron.tolist(), strict=True)
    rows = [weights[at][:, int(place)].to(first.device) for at, place in slots]
    return torch.stack(rows) if rows else first.new_zeros(0, first.shape[0])
