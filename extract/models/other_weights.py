"""Refuse checkpoints whose weights are not those that run: adapters, missing weights, unused ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from qloc.errors import InputError, message
from qloc.extract.models.torch_settings import quiet

_OF_OTHER_TASKS: Final = re.compile(
    r"(^|\.)(pooler|seq_relationship|sop_classifier|classifier|qa_outputs|score|summary|v_head|value_head|mtp"
    r"|discriminator_predictions|mask_predictions|lm_predictions|visual|vision_\w+|audio_\w+"
    r"|multi_modal_projector|position_ids|inv_freq|masked_bias|attn\.bias|attention\.bias)(\.|$)"
)
"""Heads of other tasks, towers of other modalities, and buffers: no part of a language model's pass."""


def refuse_adapter(name: str, place: str, revision: str | None) -> None:
    """Refuse a checkpoint with an adapter, such as LoRA's, beside its weights.

    transformers applies an adapter if peft is installed, and else ignores it without a word: two models of
    one name.

    Parameters
    ----------
    name : str
        The model as the user named it.
    place : str
        Id or folder.
    revision : str or None
        Branch, tag or commit of an id.

    Raises
    ------
    InputError
        If there is an ``adapter_config.json``.
    """
    from transformers.utils.peft_utils import find_adapter_config_file

    with quiet():
        try:
            found = find_adapter_config_file(place, revision=revision)
        except (OSError, ValueError):  # no such checkpoint: the configuration's message says so
            return
    if found:
        rule = "whole weights, since an adapter is applied only where peft is installed"
        action = "Merge it with peft's merge_and_unload, save the merged model, and give its folder"
        raise InputError(message("checkpoint", "with adapter_config.json", rule, name, action))


def refuse_missing(keys: Iterable[str], model: Any, name: str) -> None:
    """Refuse a checkpoint without some of the model's weights.

    Parameters
    ----------
    keys : iterable of str
        Names of the missing weights.
    model : transformers.PreTrainedModel
        The model.
    name : str
        The model as the user named it.

    Raises
    ------
    InputError
        If any is missing.
    """
    if missing := sorted(keys):
        rule = f"every weight of {type(model).__name__}; the missing ones would be random"
        action = "Give a checkpoint trained with its language-model head"
        raise InputError(message("checkpoint", f"without {_few(missing)}", rule, name, action))


def refuse_mismatched(
    found: Iterable[tuple[str, Sequence[int], Sequence[int]]], model: Any, name: str
) -> None:
    """Refuse a checkpoint with weights of other shapes than its configuration says.

    Parameters
    ----------
    found : iterable of (str, sequence of int, sequence of int)
        Name of each such weight, its shape, and that of the model.
    model : transformers.PreTrainedModel
        The model.
    name : str
        The model as the user named it.

    Raises
    ------
    InputError
        If there is one.
    """
    shapes = [
        f"{key} of {'×'.join(map(str, theirs))} for {'×'.join(map(str, ours))}"
        for key, theirs, ours in sorted(found)
    ]
    if shapes:
        rule = f"weights of the shapes that config.json gives {type(model).__name__}"
        action = "Put the configuration beside the weights that belongs to them"
        raise InputError(message("checkpoint", f"with {_few(shapes)}", rule, name, action))


def refuse_unexpected(keys: Iterable[str], model: Any, name: str) -> None:
    """Refuse a checkpoint with weights that the model does not use, except those of other tasks.

    Parameters
    ----------
    keys : iterable of str
        Names of the weights that were not used.
    model : transformers.PreTrainedModel
        The model.
    name : str
        The model as the user named it.

    Raises
    ------
    InputError
        If any is no head of another task, tower of another modality or buffer.

    Examples
    --------
    >>> refuse_unexpected(["bert.pooler.dense.weight", "cls.seq_relationship.bias"], None, "bert")
    """
    if unused := sorted(key for key in keys if not _OF_OTHER_TASKS.search(key)):
        rule = f"weights of {type(model).__name__} alone; the others would be ignored"
        action = "Give a checkpoint of that architecture, its adapters merged (merge_and_unload)"
        raise InputError(message("checkpoint", f"with {_few(unused)}", rule, name, action))


def _few(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
