"""Where each architecture keeps its blocks and its MLP down-projection, as two module paths.

A **neuron** is one coordinate of the down-projection's input. The paths ``model.layers`` and
``mlp.down_proj`` hold for most decoders; the others are listed, and users may name the paths of an unlisted
model. No path is trusted: :mod:`qloc.extract.attribution.engine_proof` proves a model's paths before they are
used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from qloc.errors import InputError, message

_PLACE: Final = "qloc extract --model"


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Module paths of an architecture.

    Attributes
    ----------
    blocks : str
        Path of the list of blocks, from the model.
    down : str
        Path of the down-projection, from a block.
    """

    blocks: str
    down: str


DEFAULT: Final = Paths(blocks="model.layers", down="mlp.down_proj")

LISTED: Final[Mapping[str, Paths]] = {
    "gpt2": Paths(blocks="transformer.h", down="mlp.c_proj"),
    "gpt_bigcode": Paths(blocks="transformer.h", down="mlp.c_proj"),
    "gpt_neo": Paths(blocks="transformer.h", down="mlp.c_proj"),
    "gptj": Paths(blocks="transformer.h", down="mlp.fc_out"),
    "codegen": Paths(blocks="transformer.h", down="mlp.fc_out"),
    "gpt_neox": Paths(blocks="gpt_neox.layers", down="mlp.dense_4h_to_h"),
    "bloom": Paths(blocks="transformer.h", down="mlp.dense_4h_to_h"),
    "falcon": Paths(blocks="transformer.h", down="mlp.dense_4h_to_h"),
    "mpt": Paths(blocks="transformer.blocks", down="ffn.down_proj"),
    "opt": Paths(blocks="model.decoder.layers", down="fc2"),
    "phi": Paths(blocks="model.layers", down="mlp.fc2"),
    "persimmon": Paths(blocks="model.layers", down="mlp.dense_4h_to_h"),
    "biogpt": Paths(blocks="biogpt.layers", down="fc2"),
    "lfm2": Paths(blocks="model.layers", down="feed_forward.w2"),
    "modernbert-decoder": Paths(blocks="model.layers", down="mlp.Wo"),
    "starcoder2": Paths(blocks="model.layers", down="mlp.c_proj"),
    "gemma3": Paths(blocks="model.language_model.layers", down="mlp.down_proj"),
    "bert": Paths(blocks="bert.encoder.layer", down="output.dense"),
    "roberta": Paths(blocks="roberta.encoder.layer", down="output.dense"),
    "xlm-roberta": Paths(blocks="roberta.encoder.layer", down="output.dense"),
    "camembert": Paths(blocks="roberta.encoder.layer", down="output.dense"),
    "roberta-prelayernorm": Paths(blocks="roberta_prelayernorm.encoder.layer", down="output.dense"),
    "megatron-bert": Paths(blocks="bert.encoder.layer", down="output.dense"),
    "ernie": Paths(blocks="ernie.encoder.layer", down="output.dense"),
    "mpnet": Paths(blocks="mpnet.encoder.layer", down="output.dense"),
    "deberta": Paths(blocks="deberta.encoder.layer", down="output.dense"),
    "deberta-v2": Paths(blocks="deberta.encoder.layer", down="output.dense"),
    "distilbert": Paths(blocks="distilbert.transformer.layer", down="ffn.lin2"),
    "electra": Paths(blocks="electra.encoder.layer", down="output.dense"),
    "albert": Paths(blocks="albert.encoder.albert_layer_groups", down="ffn_output"),
    "modernbert": Paths(blocks="model.layers", down="mlp.Wo"),
}


@dataclass(frozen=True, kw_only=True)
class Sites:
    """The modules of one loaded model that extraction reads and changes.

    Attributes
    ----------
    blocks : tuple of torch.nn.Module
        One module for each layer, in order. Where layers share their weights (ALBERT), a module occurs
        repeatedly.
    downs : tuple of torch.nn.Module
        The down-projection of each block.
    head : torch.nn.Module
        The output embedding. Its input is the final hidden state.
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
        """Number of neurons in a layer: the width of the down-projection's input."""
        return int(down_weight(self.downs[0]).shape[1])

    @property
    def device(self) -> torch.device:
        """Device of the output embedding, to which numbers of all layers are brought."""
        return next(self.head.parameters()).device


def sites(model: Any, named: Paths | None = None) -> Sites:
    """Find an architecture's modules, all of them before any hook is registered.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        The model, with or without weights.
    named : Paths or None
        Paths that the user named; if None, those of the model's type.

    Returns
    -------
    Sites
        The modules.

    Raises
    ------
    InputError
        If the model has no module at a path (the message names the model type and the lists that it has),
        holds a mixture of experts, or its blocks do not have one down-projection each, all of one width.
    """
    kind, head = model.config.model_type, model.get_output_embeddings()
    paths = named or LISTED.get(kind, DEFAULT)
    try:
        blocks = _in_order(model.config, model.get_submodule(paths.blocks))
        refuse_experts_within(kind, blocks)
        downs = tuple(block.get_submodule(paths.down) for block in blocks)
    except (AttributeError, TypeError) as error:
        rule = f"one whose blocks are at {paths.blocks} and down-projections at {paths.down} ({error})"
        raise InputError(message("model type", kind, rule, _PLACE, _name_them(model))) from None
    shapes = {tuple(getattr(getattr(down, "weight", None), "shape", ())) for down in downs}
    if head is None or len(shapes) != 1 or len(next(iter(shapes))) != 2:
        rule = "an output embedding, and blocks with one linear down-projection each, all of one width"
        raise InputError(message("model type", kind, rule, _PLACE, "Choose another model, or --down"))
    return Sites(blocks=blocks, downs=downs, head=head)


def _in_order(config: Any, listed: nn.Module) -> tuple[nn.Module, ...]:
    """Return the blocks in the order in which they are called, one for each layer."""
    if not isinstance(listed, nn.ModuleList):
        raise TypeError(f"{type(listed).__name__} is no list of blocks")
    if config.model_type != "albert":
        return tuple(listed)
    layers_a_group = config.num_hidden_layers / config.num_hidden_groups
    groups = [listed[int(layer / layers_a_group)] for layer in range(config.num_hidden_layers)]
    return tuple(block for group in groups for block in group.get_submodule("albert_layers").children())


def _name_them(model: Any) -> str:
    """Return what to do if the paths are unknown, with the lists of modules that the model has."""
    lists = [name for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    there = f", of {', '.join(lists[:3])}" if lists else ""
    return f"Name both: --blocks with the path of the list of blocks{there}; --down, within a block"


def down_weight(down: nn.Module) -> Tensor:
    """Return a down-projection's weight in one orientation, whichever way the module stores it.

    Parameters
    ----------
    down : torch.nn.Module
        A linear layer, or transformers' ``Conv1D``, whose weight is transposed.

    Returns
    -------
    Tensor, shape (n_out, n_neurons)
        A view of the weight.

    Raises
    ------
    TypeError
        If the module has no weight tensor.
    """
    weight = down.weight
    if not isinstance(weight, Tensor):
        raise TypeError(f"{type(down).__name__} has no weight tensor")
    return weight.T if type(down).__name__ == "Conv1D" else weight


AFTER_HEAD: Final = ("logit_scale", "logits_scaling", "final_logit_softcapping")
"""Settings of what some families do to logits after the output embedding."""


def logits_of(model: Any, head: nn.Module, hidden: Tensor) -> Tensor:
    """Return the logits of final hidden states, with what some families do after the output embedding.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        The model; its configuration holds the scale and the cap of logits, if any.
    head : torch.nn.Module
        The model's output embedding.
    hidden : Tensor, shape (row, hidden)
        Inputs of the output embedding.

    Returns
    -------
    Tensor, shape (row, vocabulary)
        The logits, at least float32.
    """
    logits: Tensor = head.forward(hidden)
    config = model.config.get_text_config()
    if scale := getattr(config, "logit_scale", None):
        logits = logits * scale
    if divisor := getattr(config, "logits_scaling", None):
        logits = logits / divisor
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if cap := getattr(config, "final_logit_softcapping", None):
        logits = torch.tanh(logits / cap) * cap
    return logits


_EXPERT_MODULE: Final = re.compile(r"(Experts|Router|MoE|Moe|MoeBlock|MoELayer|MoeMLP)$")


def refuse_experts_within(kind: str, blocks: Iterable[nn.Module]) -> None:
    """Refuse a model that holds experts although its configuration does not mention them.

    Parameters
    ----------
    kind : str
        The model's type, for the message.
    blocks : iterable of torch.nn.Module
        The model's blocks.

    Raises
    ------
    InputError
        If a block holds a router or experts; the message names the module's class.
    """
    classes = (type(module).__name__ for block in blocks for module in block.modules() if module is not block)
    if found := next((name for name in classes if _EXPERT_MODULE.search(name)), None):
        raise InputError(message("model type", f"{kind} with {found}", DENSE_MLP, _PLACE, ANOTHER_MODEL))


ANOTHER_MODEL: Final = "Choose a decoder or a masked encoder with dense MLPs"


DENSE_MLP: Final = (
    "a dense MLP: which experts a token meets changes along the path that attribution integrates"
)
