"""Where each family keeps its modules, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from transformers.pytorch_utils import Conv1D

from qloc.errors import InputError
from qloc.extract.models.architectures import LISTED, Paths, down_weight, logits_of, sites

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "vocab_size": 300,
}


def test_sites_of_every_family(family: Any) -> None:
    model, found = family.loaded.model, family.loaded.sites
    config = model.config.get_text_config()
    assert found.n_layers == config.num_hidden_layers == len(found.downs)
    assert all(down in set(block.modules()) for block, down in zip(found.blocks, found.downs, strict=True))
    assert {tuple(down_weight(down).shape) for down in found.downs} == {(config.hidden_size, found.n_neurons)}
    assert found.head is model.get_output_embeddings()
    assert found.device == torch.device("cpu")


def test_every_listed_family_is_tested(families: dict[str, Any]) -> None:
    tested = {family.config().model_type for family in families.values() if family.paths is None}
    assert set(LISTED) - tested == set()


def test_the_table_in_the_docs_is_what_is_tested(families: dict[str, Any]) -> None:
    page = (Path(__file__).parents[3] / "docs" / "extraction.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (.*`.*?) \| (after|token|before|full) \| (recorded|left out) \|$", page, re.MULTILINE
    )
    documented = {
        (name, join, attention) for names, join, attention in rows for name in re.findall("`([^`]+)`", names)
    }
    tested = {
        (family.config().model_type, family.join, "recorded" if family.attention else "left out")
        for family in families.values()
        if family.paths is None
    }
    assert documented == tested


def test_layers_that_share_their_weights_are_listed_as_they_are_called() -> None:
    config = hf.AlbertConfig(**{**SMALL, "num_hidden_layers": 4}, embedding_size=24, num_hidden_groups=2)
    first, second, third, fourth = sites(hf.AlbertForMaskedLM(config)).blocks
    assert first is second
    assert third is fourth
    assert first is not third


def test_experts_that_the_configuration_does_not_tell_of_are_refused() -> None:
    model = hf.MixtralForCausalLM(hf.MixtralConfig(**SMALL, num_key_value_heads=2, num_local_experts=2))
    with pytest.raises(
        InputError, match=r"^model type is 'mixtral with Mixtral[A-Za-z]+'; expected a dense MLP"
    ):
        sites(model)


def test_layers_of_different_width_are_refused() -> None:
    model = hf.GPT2LMHeadModel(hf.GPT2Config(n_embd=32, n_layer=3, n_head=4, n_inner=48, vocab_size=300))
    model.get_submodule("transformer.h.1.mlp").c_proj = torch.nn.Linear(24, 32)
    with pytest.raises(InputError) as caught:
        sites(model)
    assert str(caught.value) == (
        "model type is 'gpt2'; expected an output embedding, and blocks with one linear down-projection each, all "
        "of one width. At qloc extract --model. Choose another model, or --down."
    )


def test_paths_that_are_not_there_are_refused_with_what_to_do() -> None:
    model = hf.GPTNeoXJapaneseForCausalLM(hf.GPTNeoXJapaneseConfig(**SMALL))
    place = (
        "At qloc extract --model. Name both: --blocks with the path of the list of blocks, of "
        "gpt_neox_japanese.layers; --down, within a block."
    )
    for paths, rule in {
        None: "model.layers and down-projections at mlp.down_proj (GPTNeoXJapaneseForCausalLM has no attribute "
        "`model`)",
        ("gpt_neox_japanese.layers", "mlp.fc2"): "gpt_neox_japanese.layers and down-projections at mlp.fc2 "
        "(GPTNeoXJapaneseMLP has no attribute `fc2`)",
        (
            "gpt_neox_japanese",
            "mlp",
        ): "gpt_neox_japanese and down-projections at mlp (GPTNeoXJapaneseModel is no list of blocks)",
    }.items():
        with pytest.raises(InputError) as caught:
            sites(model, paths and Paths(blocks=paths[0], down=paths[1]))
        assert str(caught.value) == (
            f"model type is 'gpt_neox_japanese'; expected one whose blocks are at {rule}. {place}"
        )


def test_a_weight_has_one_orientation() -> None:
    linear, conv = torch.nn.Linear(3, 2), Conv1D(2, 3)
    assert down_weight(linear) is linear.weight
    assert down_weight(linear).shape == down_weight(conv).shape == (2, 3)
    assert down_weight(conv).data_ptr() == conv.weight.data_ptr()  # a view: edits reach the model
    with pytest.raises(TypeError, match=r"^LayerNorm has no weight tensor$"):
        down_weight(torch.nn.LayerNorm(3, elementwise_affine=False))


def test_logits_are_scaled_divided_and_capped() -> None:
    head = torch.nn.Linear(1, 1, bias=False, dtype=torch.bfloat16)
    torch.nn.init.constant_(head.weight, 6.0)
    model = hf.GPT2LMHeadModel(hf.GPT2Config(n_embd=4, n_layer=1, n_head=1, vocab_size=5))
    hidden = torch.ones(1, 1, dtype=torch.bfloat16)
    logits = logits_of(model, head, hidden)
    assert (logits.item(), logits.dtype) == (6.0, torch.float32)
    model.config.update({"logit_scale": 0.5, "logits_scaling": 3.0, "final_logit_softcapping": 2.0})
    assert logits_of(model, head, hidden).item() == pytest.approx(2 * np.tanh(6 * 0.5 / 3 / 2), rel=1e-6)
