"""Checkpoints with other weights than those that run are refused, each in words of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from qloc.errors import InputError
from qloc.extract.models.loading import source
from qloc.extract.models.other_weights import refuse_unexpected


def test_an_adapter_beside_base_weights_is_refused(tiny: Callable[[str], Any], tmp_path: Path) -> None:
    """With peft and without it would be two models, of one fingerprint."""
    folder = tmp_path / "lora"
    shutil.copytree(tiny("gpt2").folder, folder)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    with pytest.raises(InputError) as caught:
        source(str(folder))
    assert str(caught.value) == (
        "checkpoint is 'with adapter_config.json'; expected whole weights, since an adapter is applied only where "
        f"peft is installed. At {folder}. Merge it with peft's merge_and_unload, save the merged model, and give "
        "its folder."
    )


def test_weights_that_would_be_ignored_are_refused(tiny: Callable[[str], Any], tmp_path: Path) -> None:
    folder = tmp_path / "more"
    shutil.copytree(tiny("llama").folder, folder)
    weights = load_file(folder / "model.safetensors")
    unused = [f"model.layers.3.mlp.{name}.weight" for name in ("down_proj", "gate_proj", "lora_A", "up_proj")]
    weights |= {name: torch.zeros(2, 2) for name in (*unused, "score.weight")}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError) as caught:
        source(str(folder)).load(dtype="float32", device="cpu")
    assert str(caught.value) == (
        f"checkpoint is 'with {', '.join(unused[:3])} and 1 more'; expected weights of LlamaForCausalLM alone; the "
        f"others would be ignored. At {folder}. Give a checkpoint of that architecture, its adapters merged "
        "(merge_and_unload)."
    )


def test_weights_of_other_shapes_are_told(tiny: Callable[[str], Any], tmp_path: Path) -> None:
    folder = tmp_path / "narrow"
    shutil.copytree(tiny("llama").folder, folder)
    weights = load_file(folder / "model.safetensors")
    names = [f"model.layers.{layer}.mlp.down_proj.weight" for layer in (0, 1)]
    n_hidden, n_neurons = weights[names[0]].shape
    weights |= {name: weights[name][:, 1:].contiguous() for name in names}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError) as caught:
        source(str(folder)).load(dtype="float32", device="cpu")
    shapes = [f"{name} of {n_hidden}×{n_neurons - 1} for {n_hidden}×{n_neurons}" for name in names]
    assert str(caught.value) == (
        f"checkpoint is 'with {', '.join(shapes)}'; expected weights of the shapes that config.json gives "
        f"LlamaForCausalLM. At {folder}. Put the configuration beside the weights that belongs to them."
    )


@pytest.mark.parametrize(
    ("key", "is_refused"),
    [
        ("bert.pooler.dense.weight", False),
        ("cls.seq_relationship.bias", False),
        ("transformer.h.0.attn.masked_bias", False),
        ("transformer.h.0.attn.bias", False),
        ("model.visual.blocks.0.mlp.fc1.weight", False),
        ("mtp.layers.0.mlp.down_proj.weight", False),
        ("model.layers.0.self_attn.q_proj.bias", True),
        ("model.norm.bias", True),
        ("transformer.wpe.weight", True),
        ("base_model.model.model.layers.0.mlp.down_proj.lora_B.weight", True),
    ],
)
def test_heads_of_other_tasks_and_buffers_are_no_part_of_a_pass(key: str, is_refused: bool) -> None:
    if is_refused:
        with pytest.raises(InputError, match=f"with {key}"):
            refuse_unexpected([key], None, "m")
    else:
        refuse_unexpected([key], None, "m")
