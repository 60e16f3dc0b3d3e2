"""Where an architecture keeps its blocks and its MLP down-projection: two module paths each.

A **neuron** is one coordinate of the down-projection's input. ``model.layers`` + ``mlp.down_proj`` serves
most decoders; the others are listed. Nothing here is trusted: :mod:`qloc.extract.gradients` proves a
model's paths on one query before they are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from qloc.errors import InputError, message


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Module paths: the list of blocks, and the down-projection within a block."""

    blocks: str
    down: str


DEFAULT: Final = Paths(blocks="model.layers", down="mlp.down_proj")

LISTED: Final[Mapping[str, Paths]] = {
    "gpt2": Paths(blocks="transformer.h", down="mlp.c_proj"),
    "gpt_neo": Paths(blocks="transformer.h", down="mlp.c_proj"),
    "gptj": Paths(blocks="transformer.h", down="mlp.fc_out"),
    "gpt_neox": Paths(blocks="gpt_neox.layers", down="mlp.dense_4h_to_h"),
    "opt": Paths(blocks="model.decoder.layers", down="fc2"),
    "phi": Paths(blocks="model.layers", down="mlp.fc2"),
    "falcon": Paths(blocks="transformer.h", down="mlp.dense_4h_to_h"),
    "bert": Paths(blocks="bert.encoder.layer", down="output.dense"),
    "roberta": Paths(blocks="roberta.encoder.layer", down="output.dense"),
    "distilbert": Paths(blocks="distilbert.transformer.layer", down="ffn.lin2"),
    "electra": Paths(blocks="electra.encoder.layer", down="output.dense"),
}

_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")


@dataclass(frozen=True, kw_only=True)
class Sites:
    """The modules of one loaded model that extraction reads and changes.

    Attributes
    ----------
    blocks : one a layer, in order.
    downs : their down-projections.
    head : the output embedding; what it is given is the final hidden state.
    """

    blocks: tuple[nn.Module, ...]
    downs: tuple[nn.Module, ...]
    head: nn.Module

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def n_neurons(self) -> int:
        """Width of the down-projection's input."""
        return int(down_weight(self.downs[0]).shape[1])


def refuse_unsupported(config: Any) -> None:
    """Refuse, before any work, what extraction cannot do exactly.

    Raises
    ------
    InputError : an encoder–decoder, or a mixture of experts.
    """
    kind = getattr(config, "model_type", "unknown")
    place, action = "qloc extract --model", "Choose a decoder or a masked encoder with dense MLPs"
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(
            message("model type", kind, "a causal or masked language model, not both", place, action)
        )
    experts = next((name for name in _EXPERTS if (getattr(config, name, None) or 0) > 1), None)
    if experts:
        got = f"{kind} with {experts}={getattr(config, experts)}"
        rule = "a dense MLP: which experts a token meets changes along the path that attribution integrates"
        raise InputError(message("model type", got, rule, place, action))


def sites(model: Any) -> Sites:
    """Resolve an architecture's modules, all before any hook is placed.

    Raises
    ------
    InputError : a path that the model does not have, naming the model type.
    """
    kind = model.config.model_type
    paths = LISTED.get(kind, DEFAULT)
    head = model.get_output_embeddings()
    try:
        blocks = tuple(model.get_submodule(paths.blocks))
        downs = tuple(block.get_submodule(paths.down) for block in blocks)
    except AttributeError as error:
        rule = f"one whose blocks are at {paths.blocks} and down-projections at {paths.down} ({error})"
        raise InputError(
            message(
                "model type",
                kind,
                rule,
                "qloc extract --model",
                f"Choose one of {', '.join(LISTED)}, or a LLaMA kind",
            )
        ) from None
    if not blocks or head is None or any(not hasattr(down, "weight") for down in downs):
        rule = "blocks, linear down-projections and an output embedding"
        raise InputError(message("model type", kind, rule, "qloc extract --model", "Choose a language model"))
    return Sites(blocks=blocks, downs=downs, head=head)


def down_weight(down: nn.Module) -> Tensor:
    """A down-projection's weight as (n_out, n_neurons), whichever way the module stores it."""
    weight = down.weight
    if not isinstance(weight, Tensor):
        raise TypeError(f"{type(down).__name__} has no weight tensor")
    return weight.T if type(down).__name__ == "Conv1D" else weight


AFTER_HEAD: Final = ("logit_scale", "logits_scaling", "final_logit_softcapping")
"""Settings of what some families do to logits behind the output embedding."""


def logits_of(model: Any, head: nn.Module, hidden: Tensor) -> Tensor:
    """Logits of final hidden states, with what some families do behind the output embedding.

    Parameters
    ----------
    hidden : (row, hidden), what the model gives its output embedding.

    Returns
    -------
    (row, vocabulary), float32 at least.
    """
    logits: Tensor = head.forward(hidden)
    config = model.config
    if scale := getattr(config, "logit_scale", None):
        logits = logits * scale
    if divisor := getattr(config, "logits_scaling", None):
        logits = logits / divisor
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if cap := getattr(config, "final_logit_softcapping", None):
        logits = torch.tanh(logits / cap) * cap
    return logits
