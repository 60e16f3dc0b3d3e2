"""What extraction cannot do exactly is refused by name."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import transformers as hf

from qloc.errors import InputError
from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.engine_proof import proved
from qloc.extract.models.architectures import Paths, sites
from qloc.extract.models.loading import LoadedModel
from qloc.extract.models.out_of_memory import out_of_memory
from qloc.extract.models.unsupported import MODEL_FAILURES, refuse_unsupported

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "vocab_size": 300,
}


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        (hf.MixtralConfig, "num_local_experts=8"),
        (hf.OlmoeConfig, "num_experts=64"),
        (hf.Qwen2MoeConfig, "num_experts=60"),
        (hf.Qwen3MoeConfig, "num_local_experts=128"),
        (hf.Qwen3NextConfig, "num_experts=512"),
        (hf.DeepseekV2Config, "n_routed_experts=64"),
        (hf.DeepseekV3Config, "n_routed_experts=256"),
        (hf.GptOssConfig, "num_local_experts=128"),
        (hf.GraniteMoeConfig, "num_local_experts=8"),
        (hf.GraniteMoeSharedConfig, "num_local_experts=8"),
        (hf.PhimoeConfig, "num_local_experts=16"),
        (hf.DbrxConfig, "moe_num_experts=4"),
        (hf.JambaConfig, "num_experts=16"),
        (hf.JetMoeConfig, "num_local_experts=8"),
        (hf.Llama4Config, "num_local_experts=16"),
        (hf.Ernie4_5_MoeConfig, "moe_num_experts=64"),
    ],
)
def test_mixtures_of_experts_are_refused_by_their_configuration(config: Any, setting: str) -> None:
    with pytest.raises(InputError) as caught:
        refuse_unsupported(config())
    assert str(caught.value) == (
        f"model type is '{config.model_type} with {setting}'; expected a dense MLP: which experts a token meets "
        "changes along the path that attribution integrates. At qloc extract --model. Choose a decoder or a "
        "masked encoder with dense MLPs."
    )


@pytest.mark.parametrize("config", [hf.DogeConfig, hf.HunYuanMoEV1Config, hf.Gemma4TextConfig])
def test_dense_models_of_families_that_may_have_experts_are_not(config: Any) -> None:
    refuse_unsupported(config())


def test_an_encoder_decoder_is_refused_and_experts_are_found_at_any_depth() -> None:
    with pytest.raises(InputError) as caught:
        refuse_unsupported(hf.T5Config())
    assert str(caught.value) == (
        "model type is 't5'; expected a causal or masked language model, not both. At qloc extract --model. "
        "Choose a decoder or a masked encoder with dense MLPs."
    )
    deep: dict[str, Any] = {"part": {"inner": {"num_experts": [1, 4]}}}
    single: dict[str, Any] = {"num_experts": 1, "enable_moe_block": False}
    nested = hf.GPT2Config(**deep)
    with pytest.raises(InputError, match=r"^model type is 'gpt2 with num_experts=\[1, 4\]';"):
        refuse_unsupported(nested)
    refuse_unsupported(hf.GPT2Config(**single))  # one expert is no choice


def test_a_lack_of_memory_looks_like_a_failure_of_the_model() -> None:
    """So whoever catches these errors must ask `out_of_memory` first."""
    error = torch.OutOfMemoryError("CUDA out of memory.")
    assert isinstance(error, MODEL_FAILURES)
    assert out_of_memory(error)
    assert not any(
        issubclass(bug, MODEL_FAILURES) for bug in (AssertionError, KeyboardInterrupt, MemoryError)
    )


def refused(loaded: LoadedModel, families: dict[str, Any], like: str) -> str:
    engine = GradientEngine(model=loaded.model, sites=loaded.sites, family=loaded.family, memory=10**9)
    with pytest.raises(InputError) as caught:
        proved(engine, families[like].targets())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in loaded.model.modules())
    return str(caught.value)


def test_a_family_that_does_something_unknown_to_logits_is_refused(families: dict[str, Any]) -> None:
    config = hf.FalconH1Config(
        **SMALL,
        num_key_value_heads=2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        mamba_d_ssm=32,
        mamba_n_heads=4,
        mamba_d_head=8,
        mamba_d_state=8,
    )
    config.lm_head_multiplier = 0.5
    torch.manual_seed(0)
    model = hf.FalconH1ForCausalLM(config).eval().requires_grad_(False)
    found_sites = sites(model, Paths(blocks="model.layers", down="feed_forward.down_proj"))
    refusal = refused(LoadedModel(model=model, sites=found_sites, family="causal"), families, "gpt2")
    assert re.fullmatch(
        r"model type is 'falcon_h1 with other logits \(by .e-..\)'; expected one whose logits are its output "
        r"embedding's, scaled or capped as in the families known\. At qloc extract --model\. Choose another "
        r"model\.",
        refusal,
    )


@pytest.mark.parametrize("which", ["a weight", "all"])
def test_logits_that_are_not_finite_are_told_by_the_weight(families: dict[str, Any], which: str) -> None:
    model = hf.BertForMaskedLM(hf.BertConfig(**SMALL)).eval().requires_grad_(False)
    if which == "a weight":
        model.bert.encoder.layer[1].output.dense.weight[3, 5] = torch.nan
        told = (
            "checkpoint is 'with bert.encoder.layer.1.output.dense.weight that has NaN or inf'; expected finite "
            "weights. At qloc extract --model. Download it again, or give another checkpoint."
        )
    else:
        model.cls.predictions.bias.fill_(torch.finfo(torch.float32).max)
        model.cls.predictions.transform.LayerNorm.weight.fill_(torch.finfo(torch.float32).max)
        told = (
            "model type is 'bert with NaN or inf'; expected finite log-probabilities of a prompt. At qloc extract "
            "--model. Give --dtype float32."
        )
    assert refused(LoadedModel(model=model, sites=sites(model), family="masked"), families, "bert") == told


def test_a_down_projection_that_is_not_called_once_a_pass_is_refused(families: dict[str, Any]) -> None:
    model = hf.BertForMaskedLM(hf.BertConfig(**SMALL, chunk_size_feed_forward=1)).eval()
    assert refused(LoadedModel(model=model, sites=sites(model), family="masked"), families, "bert") == (
        "model type is 'bert with 18 calls'; expected one that calls each of its 3 down-projections once a pass, "
        "in order. At qloc extract --model. Choose another model, or --down."
    )
