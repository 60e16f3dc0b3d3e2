"""A negative control: a model whose weights are permuted: of the same sizes, it has learned nothing.

``permuted:MODEL`` names it. Whatever is found in it too, knowledge has not made.
"""

from __future__ import annotations

from typing import Any

import torch

from qloc.random_streams import Stream


def permute_weights(model: Any) -> None:
    """Permute the entries of each weight tensor of a model, in place.

    W' = W∘π with π drawn for each tensor, from one stream in the order of ``named_parameters``: scale and
    distribution of a layer's weights stay, what they compute does not. Tied tensors are one and stay tied.
    Equal for equal models, whatever the device.

    Parameters
    ----------
    model : torch.nn.Module
        With its weights in memory.

    References
    ----------
    Adebayo et al. 2018, *Sanity checks for saliency maps*, NeurIPS, §3 (model parameter randomization).
    """
    rng = Stream.PERMUTED_WEIGHTS.generator(0)
    for weight in model.parameters():
        order = torch.from_numpy(rng.permutation(weight.numel())).to(weight.device)
        weight.data = weight.data.flatten()[order].reshape(weight.shape)
