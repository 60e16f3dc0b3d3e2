"""Refuse by name what extraction cannot do exactly, before any work or before any number is trusted.

A mixture of experts has no fixed vector of neurons: which experts a token meets changes along the path that
attribution integrates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from qloc.errors import InputError, message
from qloc.extract.models.architectures import ANOTHER_MODEL, DENSE_MLP
from qloc.extract.models.checkpoint_files import PLAIN_WEIGHTS, UNQUANTIZED
from qloc.extract.models.hooks import hooked

if TYPE_CHECKING:
    from qloc.extract.models.output_head import Head

_PLACE: Final = "qloc extract --model"
_EXPERT_COUNT: Final = re.compile(r"(moe_)?(num|n)_((local|routed)_)?experts|enable_moe_block")

MODEL_FAILURES: Final = (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError)
"""Errors that a model may raise when a quick way of running it does not suit its code.

Quick ways call blocks alone, with fewer rows or positions than a whole pass has. Code that was not written
for this may fail in any of these ways; the caller then falls back to a slower way. Check for
:func:`qloc.extract.models.out_of_memory.out_of_memory` first: a lack of memory says nothing about the model.
"""


def refuse_unsupported(config: Any) -> None:
    """Refuse, before any work, a model that extraction cannot handle exactly.

    Parameters
    ----------
    config : transformers.PretrainedConfig
        The model's configuration.

    Raises
    ------
    InputError
        If the model is an encoder–decoder, a mixture of experts, or quantized.
    """
    kind = getattr(config, "model_type", "unknown")
    if getattr(config, "is_encoder_decoder", False):
        rule = "a causal or masked language model, not both"
        raise InputError(message("model type", kind, rule, _PLACE, ANOTHER_MODEL))
    if quantized := getattr(config, "quantization_config", None):
        made = quantized if isinstance(quantized, Mapping) else quantized.to_dict()
        got = f"quantized ({made.get('quant_method', 'unnamed')})"
        raise InputError(message("checkpoint", got, PLAIN_WEIGHTS, _PLACE, UNQUANTIZED))
    described = config.get_text_config().to_dict()
    if described.get("is_moe", True) and (found := next(_experts(described), None)):
        raise InputError(
            message("model type", f"{kind} with {found[0]}={found[1]}", DENSE_MLP, _PLACE, ANOTHER_MODEL)
        )


def _experts(described: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Iterate over the settings, at any depth, that say that there are several experts to choose from."""
    for name, value in described.items():
        if isinstance(value, Mapping):
            yield from _experts(value)
        elif _EXPERT_COUNT.fullmatch(str(name)) and _several(value):
            yield str(name), value


def _several(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    counts = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(count, int) and count > 1 for count in counts)


def refuse_other_calls(model: Any, downs: tuple[nn.Module, ...], ids: Sequence[int]) -> None:
    """Refuse a model that does not call the down-projection of each layer once in a pass, in order.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        The model with its weights.
    downs : tuple of torch.nn.Module
        The down-projection of each layer.
    ids : sequence of int
        Token ids of a prompt.

    Raises
    ------
    InputError
        If they are called otherwise; the message says how often they were called.
    """
    called: list[nn.Module] = []
    with hooked(forward_pre={down: lambda down, _: called.append(down) for down in downs}), torch.no_grad():
        model(input_ids=_batch_of_one(model, ids))
    if called != list(downs):
        rule = f"one that calls each of its {len(downs)} down-projections once a pass, in order"
        got = f"{model.config.model_type} with {len(called)} calls"
        raise InputError(message("model type", got, rule, _PLACE, "Choose another model, or --down"))


def refuse_other_logits(model: Any, head: Head, ids: Sequence[int], allowed: float) -> None:
    """Refuse a model that does something unknown to logits after its output embedding.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        The model with its weights.
    head : Head
        Computes logits in the known ways.
    ids : sequence of int
        Token ids of a prompt.
    allowed : float
        Largest difference of log-probabilities, relative to the largest log-probability.

    Raises
    ------
    InputError
        If the log-probabilities differ by more than ``allowed``, or are not finite.
    """
    inputs: list[Tensor] = []
    with hooked(forward_pre={head.module: lambda _, args: inputs.append(args[0])}), torch.no_grad():
        logits = model(input_ids=_batch_of_one(model, ids)).logits[0]
        theirs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
        ours = head.logits(inputs[0].reshape(-1, inputs[0].shape[-1])).log_softmax(-1).to(theirs.device)
    if not bool(theirs.isfinite().all()):
        _refuse_not_finite(model)
    worst = (
        float((ours - theirs).abs().max() / theirs.abs().max()) if ours.shape == theirs.shape else torch.inf
    )
    if not worst <= allowed:
        rule = "one whose logits are its output embedding's, scaled or capped as in the families known"
        got = f"{model.config.model_type} with other logits (by {worst:.0e})"
        raise InputError(message("model type", got, rule, _PLACE, "Choose another model"))


def _refuse_not_finite(model: Any) -> None:
    """Refuse logits that are not finite, by the weight that makes them so, if it is one."""
    odd = [name for name, weight in model.named_parameters() if not bool(weight.isfinite().all())]
    if odd:
        got, action = f"with {odd[0]} that has NaN or inf", "Download it again, or give another checkpoint"
        raise InputError(message("checkpoint", got, "finite weights", _PLACE, action))
    rule, action = "finite log-probabilities of a prompt", "Give --dtype float32"
    raise InputError(
        message("model type", f"{model.config.model_type} with NaN or inf", rule, _PLACE, action)
    )


def _batch_of_one(model: Any, ids: Sequence[int]) -> Tensor:
    return torch.tensor([list(ids)], device=next(iter(model.parameters())).device)
