"""Every architecture, exactly, or refused by name: tiny random models of each family against brute force."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from qloc.errors import InputError
from qloc.extract.attribution.engine import GradientEngine, proved
from qloc.extract.attribution.path_integrals import ScaledPath
from qloc.extract.attribution.quadrature import quadrature
from qloc.extract.edits.evaluation import EditTests
from qloc.extract.edits.knowledge_neurons import erasure
from qloc.extract.models.architectures import LISTED, Paths, down_weight, sites
from qloc.extract.models.loading import LoadedModel
from qloc.extract.models.unsupported import refuse_unsupported
from qloc.extract.passes.attention import recording, why_not_recorded
from qloc.extract.passes.late_join_proof import joining
from qloc.extract.passes.row_engine import Cells, RowEngine, sharing
from qloc.extract.prompts.tokenizing import Target, TokenizedQuery
from qloc.extract.signals.extraction import prepare
from qloc.facts import Query
from qloc.plan import Plan

VOCABULARY, HEADS = 300, 4
NAMED = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": HEADS,
    "max_position_embeddings": 64,
    "vocab_size": VOCABULARY,
}
ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
GROUPED = {**NAMED, **ENDS, "num_key_value_heads": 2}
WIDE = {**GROUPED, "head_dim": 8}
WINDOW = {"sliding_window": 4}  # shorter than the prompts
GPT = {
    "n_embd": 32,
    "n_layer": 3,
    "n_head": HEADS,
    "n_inner": 48,
    "n_positions": 64,
    "vocab_size": VOCABULARY,
}
FALCON = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": HEADS}
OPT = {**FALCON, "ffn_dim": 48, "max_position_embeddings": 64}
BLOOM = {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 3, "n_head": HEADS}
GEMMA3 = {**WIDE, **WINDOW, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}


@dataclass(frozen=True)
class Kind:
    """A family in one of its shapes: how its rows join, and whether attention goes through the registry."""

    config: Callable[[], Any]
    join: str = "after"
    attention: bool = True
    masked: bool = False
    paths: Paths | None = None


KINDS = {
    "gpt2": Kind(lambda: hf.GPT2Config(**GPT)),
    "gpt_bigcode": Kind(lambda: hf.GPTBigCodeConfig(**GPT), "full"),
    "gpt_neo local": Kind(
        lambda: hf.GPTNeoConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            num_heads=HEADS,
            intermediate_size=48,
            max_position_embeddings=64,
            num_layers=4,
            attention_types=[[["global", "local"], 2]],
            window_size=4,
        ),
        attention=False,
    ),
    "gptj": Kind(lambda: hf.GPTJConfig(**GPT, rotary_dim=4), attention=False),
    "codegen": Kind(lambda: hf.CodeGenConfig(**GPT, rotary_dim=4), attention=False),
    "gpt_neox": Kind(lambda: hf.GPTNeoXConfig(**NAMED)),
    "gpt_neox sequential": Kind(lambda: hf.GPTNeoXConfig(**NAMED, use_parallel_residual=False)),
    "llama": Kind(lambda: hf.LlamaConfig(**GROUPED)),
    "mistral window": Kind(lambda: hf.MistralConfig(**GROUPED, **WINDOW)),
    "ministral window": Kind(lambda: hf.MinistralConfig(**WIDE, **WINDOW)),
    "qwen2": Kind(lambda: hf.Qwen2Config(**GROUPED)),
    "qwen2 window": Kind(
        lambda: hf.Qwen2Config(**GROUPED, **WINDOW, use_sliding_window=True, max_window_layers=1)
    ),
    "qwen3": Kind(lambda: hf.Qwen3Config(**WIDE)),
    "qwen3_5_text linear": Kind(
        lambda: hf.Qwen3_5TextConfig(
            **WIDE,
            layer_types=["linear_attention", "full_attention", "linear_attention"],
            linear_num_key_heads=2,
            linear_num_value_heads=4,
            linear_key_head_dim=8,
            linear_value_head_dim=8,
        ),
        "full",
        attention=False,
    ),
    "gemma": Kind(lambda: hf.GemmaConfig(**WIDE)),
    "gemma2": Kind(lambda: hf.Gemma2Config(**WIDE, **WINDOW), "before"),
    "gemma3_text": Kind(lambda: hf.Gemma3TextConfig(**GEMMA3), "before"),
    "gemma3_text capped": Kind(lambda: hf.Gemma3TextConfig(**GEMMA3, final_logit_softcapping=5.0), "before"),
    "gemma3": Kind(
        lambda: hf.Gemma3Config(
            text_config=GEMMA3,
            vision_config={**NAMED, "num_hidden_layers": 1, "image_size": 28, "patch_size": 14},
        ),
        "before",
    ),
    "opt": Kind(lambda: hf.OPTConfig(**OPT, word_embed_proj_dim=32)),
    "opt 350m": Kind(
        lambda: hf.OPTConfig(**OPT, word_embed_proj_dim=24, do_layer_norm_before=False), "before"
    ),
    "phi": Kind(lambda: hf.PhiConfig(**GROUPED)),
    "phi3 window": Kind(lambda: hf.Phi3Config(**GROUPED, **WINDOW)),
    "falcon parallel": Kind(
        lambda: hf.FalconConfig(**FALCON, multi_query=True, parallel_attn=True, bias=False, alibi=False),
        attention=False,
    ),
    "falcon alibi": Kind(
        lambda: hf.FalconConfig(**FALCON, multi_query=False, parallel_attn=False, bias=True, alibi=True),
        attention=False,
    ),
    "falcon new": Kind(
        lambda: hf.FalconConfig(**FALCON, new_decoder_architecture=True, num_kv_heads=2, alibi=False),
        attention=False,
    ),
    "falcon 11b": Kind(
        lambda: hf.FalconConfig(
            **FALCON, new_decoder_architecture=True, num_kv_heads=2, num_ln_in_parallel_attn=1
        ),
        attention=False,
    ),
    "bloom": Kind(lambda: hf.BloomConfig(**BLOOM), attention=False),
    "bloom residual of norm": Kind(
        lambda: hf.BloomConfig(**BLOOM, apply_residual_connection_post_layernorm=True), attention=False
    ),
    "mpt": Kind(
        lambda: hf.MptConfig(
            d_model=32, n_heads=HEADS, n_layers=3, expansion_ratio=2, max_seq_len=64, vocab_size=VOCABULARY
        ),
        attention=False,
    ),
    "olmo": Kind(lambda: hf.OlmoConfig(**GROUPED)),
    "olmo2": Kind(lambda: hf.Olmo2Config(**GROUPED), "before"),
    "olmo3": Kind(lambda: hf.Olmo3Config(**GROUPED, **WINDOW), "before"),
    "granite": Kind(
        lambda: hf.GraniteConfig(
            **GROUPED,
            logits_scaling=2.0,
            residual_multiplier=0.5,
            embedding_multiplier=3.0,
            attention_multiplier=0.3,
        ),
        "before",
    ),
    "smollm3": Kind(lambda: hf.SmolLM3Config(**GROUPED)),
    "cohere": Kind(lambda: hf.CohereConfig(**GROUPED, logit_scale=0.25)),
    "cohere2 window": Kind(lambda: hf.Cohere2Config(**GROUPED, **WINDOW, logit_scale=0.25)),
    "stablelm": Kind(lambda: hf.StableLmConfig(**GROUPED)),
    "stablelm parallel": Kind(
        lambda: hf.StableLmConfig(**GROUPED, use_parallel_residual=True, qk_layernorm=True)
    ),
    "starcoder2": Kind(lambda: hf.Starcoder2Config(**GROUPED, **WINDOW)),
    "persimmon": Kind(lambda: hf.PersimmonConfig(**NAMED, **ENDS)),
    "glm": Kind(lambda: hf.GlmConfig(**WIDE)),
    "glm4": Kind(lambda: hf.Glm4Config(**WIDE), "before"),
    "biogpt": Kind(lambda: hf.BioGptConfig(**NAMED)),
    "lfm2 convolution": Kind(
        lambda: hf.Lfm2Config(**GROUPED, layer_types=["conv", "full_attention", "conv"]),
        "full",
        attention=False,
    ),
    "gpt_neox_japanese, named by the user": Kind(
        lambda: hf.GPTNeoXJapaneseConfig(**NAMED),
        attention=False,
        paths=Paths(blocks="gpt_neox_japanese.layers", down="mlp.dense_4h_to_h"),
    ),
    "bert": Kind(lambda: hf.BertConfig(**NAMED), "token", masked=True),
    "roberta": Kind(lambda: hf.RobertaConfig(**NAMED), "token", masked=True),
    "xlm-roberta": Kind(lambda: hf.XLMRobertaConfig(**NAMED), "token", masked=True),
    "camembert": Kind(lambda: hf.CamembertConfig(**NAMED), "token", masked=True),
    "roberta-prelayernorm": Kind(lambda: hf.RobertaPreLayerNormConfig(**NAMED), masked=True),
    "megatron-bert": Kind(lambda: hf.MegatronBertConfig(**NAMED), attention=False, masked=True),
    "distilbert": Kind(
        lambda: hf.DistilBertConfig(
            dim=32,
            hidden_dim=48,
            n_layers=3,
            n_heads=HEADS,
            max_position_embeddings=64,
            vocab_size=VOCABULARY,
        ),
        "token",
        masked=True,
    ),
    "electra": Kind(lambda: hf.ElectraConfig(**NAMED, embedding_size=24), "token", masked=True),
    "albert": Kind(lambda: hf.AlbertConfig(**NAMED, embedding_size=24), "token", masked=True),
    "albert groups": Kind(
        lambda: hf.AlbertConfig(**{**NAMED, "num_hidden_layers": 4}, embedding_size=24, num_hidden_groups=2),
        "token",
        masked=True,
    ),
    "ernie": Kind(lambda: hf.ErnieConfig(**NAMED), "token", masked=True),
    "mpnet": Kind(lambda: hf.MPNetConfig(**NAMED), "before", attention=False, masked=True),
    "deberta": Kind(lambda: hf.DebertaConfig(**NAMED), "before", attention=False, masked=True),
    "deberta-v2": Kind(lambda: hf.DebertaV2Config(**NAMED), "before", attention=False, masked=True),
    "modernbert": Kind(lambda: hf.ModernBertConfig(**NAMED, local_attention=4, pad_token_id=0), masked=True),
    "modernbert-decoder": Kind(lambda: hf.ModernBertDecoderConfig(**NAMED, **ENDS, local_attention=4)),
}

EXACT = 1e-9
"""float64 over three layers, where the two ways sum in other orders. RMSNorm and softmax compute in float32 in
many families, but on the same numbers in both ways, and so alike to the last bit."""

FLOAT32_SCORES = {
    **dict.fromkeys(("gpt_neo local", "gptj", "codegen", "mpt"), 1e-6),
    **dict.fromkeys(("qwen3_5_text linear", "lfm2 convolution"), 1e-6),
}
"""The first multiply queries and keys (MPT: softmax and bias) in float32 even in a float64 model: a product over
one token sums in another order than one over the prompt, which is 1e-7 there. The others, which every row runs
whole, normalize in float32: the gradient of log P, times P, rounds otherwise there than that of P."""


@functools.cache
def model_of(kind: str) -> LoadedModel:
    """A tiny random float64 model; weights scaled up, so that attributions are well above rounding."""
    family = KINDS[kind]
    auto = hf.AutoModelForMaskedLM if family.masked else hf.AutoModelForCausalLM
    torch.manual_seed(0)
    model = auto.from_config(family.config())
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight * 6.0 if weight.dim() > 1 else weight + 0.3 * torch.randn_like(weight))
    model = model.double().eval().requires_grad_(False)
    name = "masked" if family.masked else "causal"
    return LoadedModel(model=model, sites=sites(model, family.paths), family=name)


def targets_of(loaded: LoadedModel) -> list[Target]:
    """Six prompts of three lengths, as many of one length as there are heads: sizes alone tell nothing."""
    drawn, found = torch.Generator().manual_seed(1), []
    for length in (6, *[9] * HEADS, 13):
        *ids, token = torch.randint(5, VOCABULARY, (length + 1,), generator=drawn).tolist()
        position = length // 2 if loaded.family == "masked" else length - 1
        found.append(Target(ids=tuple(ids), position=position, token=token))
    return found


def engine_of(loaded: LoadedModel) -> GradientEngine:
    engine = GradientEngine(model=loaded.model, sites=loaded.sites, family=loaded.family, memory=10**9)
    return proved(engine, targets_of(loaded))


def close(ours: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    torch.testing.assert_close(ours, expected, rtol=0, atol=tolerance * float(expected.abs().max()))


@pytest.mark.parametrize("kind", KINDS)
def test_attribution_equals_brute_force(
    kind: str, scores_of: Any, brute_force: Any, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = model_of(kind)
    caplog.clear()  # what transformers says of a tiny configuration
    targets, engine = targets_of(loaded), engine_of(loaded)
    assert engine.kind == KINDS[kind].join
    assert engine.cut == (KINDS[kind].masked and KINDS[kind].attention)  # what is recorded can be cut
    assert bool(caplog.messages) == (engine.kind == "full")  # a fallback is said, nothing else is
    rule = quadrature("right", 2)  # its last node is the unpatched pass
    path = ScaledPath.of(rule)
    together, _ = scores_of(engine, targets, path)
    for n in (0, 3, 5):
        expected = brute_force(loaded, targets[n], rule.nodes.tolist())
        assert float(expected.abs().max()) > 1e-6  # far above rounding
        close(together[n], expected, FLOAT32_SCORES.get(kind, EXACT))
        close(scores_of(engine, [targets[n]], path)[0][0], together[n], EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_single_equals_batched_in_float32(kind: str, scores_of: Any) -> None:
    loaded = model_of(kind)
    targets, path = targets_of(loaded)[1:4], ScaledPath.of(quadrature("midpoint", 2))
    try:
        loaded.model.float()
        engine = engine_of(loaded)
        assert engine.kind == KINDS[kind].join
        together, _ = scores_of(engine, targets, path)
        alone, _ = scores_of(engine, targets[1:2], path)
    finally:
        loaded.model.double()
    close(alone[0], together[1], 1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_attention_is_recorded_or_left_out_with_the_reason(kind: str) -> None:
    loaded = model_of(kind)
    model, target, n_layers = loaded.model, targets_of(loaded)[1], loaded.sites.n_layers
    reason = why_not_recorded(model, target, n_layers)
    if not KINDS[kind].attention:
        told = r"[a-z0-9_-]+ called the registered attention function [01] times for [34] layers"
        assert re.fullmatch(told, reason)
        return
    assert reason == ""
    ids, before = torch.tensor([target.ids]), model.config._attn_implementation
    with torch.no_grad(), recording(model) as kept:
        model(input_ids=ids)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        expected = model(input_ids=ids, output_attentions=True).attentions
    model.set_attn_implementation(before)
    assert int(model.config.get_text_config().num_attention_heads) == HEADS
    for ours, theirs in zip(kept, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs.double(), rtol=0, atol=1e-5)  # softmax in float32


def test_every_listed_family_is_tested() -> None:
    tested = {model_of(kind).model.config.model_type for kind in KINDS if KINDS[kind].paths is None}
    assert set(LISTED) - tested == set()


def test_the_table_in_the_docs_is_what_is_tested() -> None:
    page = (Path(__file__).parents[3] / "docs" / "extraction.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (.*`.*?) \| (after|token|before|full) \| (recorded|left out) \|$", page, re.MULTILINE
    )
    told = {
        (name, join, attention) for names, join, attention in rows for name in re.findall("`([^`]+)`", names)
    }
    tested = {
        (model_of(name).model.config.model_type, kind.join, "recorded" if kind.attention else "left out")
        for name, kind in KINDS.items()
        if kind.paths is None
    }
    assert told == tested


# What is refused


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


def test_experts_that_the_configuration_does_not_tell_of_are_refused() -> None:
    model = hf.MixtralForCausalLM(hf.MixtralConfig(**GROUPED, num_local_experts=2))
    with pytest.raises(
        InputError, match=r"^model type is 'mixtral with Mixtral[A-Za-z]+'; expected a dense MLP"
    ):
        sites(model)


def refused(loaded: LoadedModel) -> str:
    with pytest.raises(InputError) as caught:
        engine_of(loaded)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in loaded.model.modules())
    return str(caught.value)


def test_a_family_that_does_something_unknown_to_logits_is_refused() -> None:
    config = hf.FalconH1Config(**GROUPED, mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8, mamba_d_state=8)
    config.lm_head_multiplier = 0.5
    torch.manual_seed(0)
    model = hf.FalconH1ForCausalLM(config).eval().requires_grad_(False)
    found = sites(model, Paths(blocks="model.layers", down="feed_forward.down_proj"))
    said = refused(LoadedModel(model=model, sites=found, family="causal"))
    assert re.fullmatch(
        r"model type is 'falcon_h1 with other logits \(by .e-..\)'; expected one whose logits are its output "
        r"embedding's, scaled or capped as in the families known\. At qloc extract --model\. Choose another "
        r"model\.",
        said,
    )


def test_a_down_projection_that_is_not_called_once_a_pass_is_refused() -> None:
    model = hf.BertForMaskedLM(hf.BertConfig(**NAMED, chunk_size_feed_forward=1)).eval()
    assert refused(LoadedModel(model=model, sites=sites(model), family="masked")) == (
        "model type is 'bert with 18 calls'; expected one that calls each of its 3 down-projections once a pass, "
        "in order. At qloc extract --model. Choose another model, or --down."
    )


def test_layers_of_different_width_are_refused() -> None:
    model = hf.GPT2LMHeadModel(hf.GPT2Config(**GPT))
    model.transformer.h[1].mlp.c_proj = torch.nn.Linear(24, 32)
    with pytest.raises(InputError) as caught:
        sites(model)
    assert str(caught.value) == (
        "model type is 'gpt2'; expected an output embedding, and blocks with one linear down-projection each, all "
        "of one width. At qloc extract --model. Choose another model, or --down."
    )


def test_paths_that_are_not_there_are_refused_with_what_to_do() -> None:
    model = hf.GPTNeoXJapaneseForCausalLM(hf.GPTNeoXJapaneseConfig(**NAMED))
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


# What the user names, and what the proof catches


def test_paths_named_in_the_plan_are_used_and_fingerprinted(
    tiny: Callable[[str], Any], tmp_path: Path
) -> None:
    facts = tmp_path / "facts.jsonl"
    facts.write_text(
        '{"id": "1", "relation": "capital", "subject": "France", "object": "Paris", '
        '"queries": ["The capital of [X] is [Y]."]}\n'
    )
    plain = Plan(model=str(tiny("gpt2").folder), facts=str(facts))
    named = Plan(**{**plain.model_dump(), "blocks": "transformer.h", "down": "mlp.c_fc"})
    without, given = prepare(plain), prepare(named)
    assert "blocks" not in without.fingerprint["parameters"]
    added = {"blocks": "transformer.h", "down": "mlp.c_fc"}
    assert given.fingerprint == {
        **without.fingerprint,
        "parameters": {**without.fingerprint["parameters"], **added},
    }
    assert (without.outline.sizes["neuron"], given.outline.sizes["neuron"]) == (72, 32)
    assert {name: given.outline.attrs[name] for name in added} == added


def test_one_path_without_the_other_is_refused() -> None:
    from qloc.plan import plan_from

    for flags, got in (({"blocks": "transformer.h"}, "None"), ({"down": "mlp.c_proj"}, "'mlp.c_proj'")):
        with pytest.raises(InputError) as caught:
            plan_from(None, flags)
        assert str(caught.value) == (
            f"down is {got}; expected both module paths, blocks and down, or neither. At flag --down. Correct it."
        )


@pytest.mark.parametrize("kind", ["mistral window", "gemma2", "gpt_neo local", "bloom"])
def test_prompts_longer_than_those_of_the_proof(kind: str, scores_of: Any, brute_force: Any) -> None:
    """Only then a window's mask is made, and given to blocks that were given none."""
    loaded = model_of(kind)
    *_, one, two, long = targets_of(loaded)
    short = [replace(one, ids=one.ids[-3:], position=2), replace(two, ids=two.ids[-3:], position=2)]
    longer = [long, replace(long, ids=long.ids[::-1])]
    unproved = GradientEngine(model=loaded.model, sites=loaded.sites, family="causal", memory=10**9)
    rule = quadrature("right", 2)
    found, _ = scores_of(proved(unproved, short), longer, ScaledPath.of(rule))
    for ours, target in zip(found, longer, strict=True):
        close(ours, brute_force(loaded, target, rule.nodes.tolist()), FLOAT32_SCORES.get(kind, EXACT))


def test_one_layer_that_differs_from_the_others_is_found() -> None:
    """Behind block 3 of five nothing is affine any more; rows that join behind it would be grossly wrong."""
    torch.manual_seed(0)
    model = hf.GPT2LMHeadModel(hf.GPT2Config(**{**GPT, "n_layer": 5})).double().eval().requires_grad_(False)
    loaded = LoadedModel(model=model, sites=sites(model), family="causal")
    assert engine_of(loaded).kind == "after"
    handle = loaded.sites.blocks[3].register_forward_hook(lambda _, args, out: torch.tanh(out))
    assert engine_of(loaded).kind == "before"
    handle.remove()


def test_numbers_that_are_not_finite_prove_nothing(caplog: pytest.LogCaptureFixture) -> None:
    loaded = model_of("gpt2")
    caplog.clear()
    handle = loaded.sites.blocks[1].register_forward_hook(
        lambda _, args, out: out * torch.nan if out.shape[1] == 1 else out  # in growing rows alone
    )
    assert engine_of(loaded).kind == "full"
    handle.remove()
    assert len(caplog.messages) == 1


# What the phases after signals do, on every family


def _alone(loaded: LoadedModel, target: Target, cells: Cells, row: int) -> torch.Tensor:
    """Final logits at the target of a pass of its own, some activations halved there."""
    own, width = cells.of_rows(np.array([row])), loaded.sites.n_neurons
    calls, handles = [0], []

    def halve(_: Any, args: Any) -> Any:
        layer, calls[0] = calls[0], calls[0] + 1
        given = args[0].reshape(1, -1, width).clone()
        for neuron in own.neuron[own.layer == layer]:
            given[0, target.position, neuron] *= 0.5
        return (given.reshape(args[0].shape), *args[1:])

    for down in dict.fromkeys(loaded.sites.downs):
        handles.append(down.register_forward_pre_hook(halve))
    logits = loaded.model(input_ids=torch.tensor([target.ids])).logits[0, target.position]
    for handle in handles:
        handle.remove()
    return logits


def _check_join(kind: str, engine: RowEngine) -> None:
    """Changed rows join as those of path gradients do; whole rows that cannot join as a token, before."""
    join = KINDS[kind].join
    if join != "full":
        assert engine.way is not None
        assert engine.way.join == {"token": "before"}.get(join, join)


@pytest.mark.parametrize("kind", KINDS)
def test_changed_rows_are_passes_of_their_own(kind: str) -> None:
    loaded = model_of(kind)
    targets, sites_ = targets_of(loaded), loaded.sites
    engine = RowEngine(model=loaded.model, sites=sites_, family=loaded.family, memory=10**9)
    engine = joining(sharing(engine, targets, 1e-5), targets, "cells")
    _check_join(kind, engine)
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(len(targets)), 2)
    row = np.repeat(np.arange(len(rows)), 5)
    cells = Cells(
        row=row,
        layer=np.tile(np.arange(5) % sites_.n_layers, len(rows)),
        neuron=np.concatenate([rng.choice(sites_.n_neurons, 5, replace=False) for _ in rows]),
        factor=np.full(len(row), 0.5),
        offset=np.zeros(len(row)),
    )
    for done in engine.passes(targets, rows, cells):
        for number, hidden in zip(done.rows.tolist(), done.hidden, strict=True):
            if number in (0, 3, 8):
                with torch.no_grad():
                    expected = _alone(loaded, targets[rows[number]], cells, number)
                    close(engine.head.logits(hidden[None])[0], expected, FLOAT32_SCORES.get(kind, 1e-5))


@pytest.mark.parametrize("kind", KINDS)
def test_edits_as_rows_are_edited_weights(kind: str) -> None:
    loaded = model_of(kind)
    if len(set(loaded.sites.downs)) < loaded.sites.n_layers:
        pytest.skip("layers share their weights: never edited")
    target, width = targets_of(loaded)[1], loaded.sites.n_neurons
    neurons = np.array([0, width + 1, 2 * width + 2, 2 * width + 3])
    engine = RowEngine(model=loaded.model, sites=loaded.sites, family=loaded.family, memory=10**9)
    engine = joining(engine, targets_of(loaded), "edits")
    _check_join(kind, engine)
    tests = EditTests(engine=engine, edits=[None, erasure(loaded.sites, neurons)])
    query = Query(template="t", text="[Y]")
    found, _ = tests.answers([TokenizedQuery(query=query, answer="", targets=(target,))])
    greedy = None if loaded.family == "masked" else tests.greedy(target.ids, 3, 64)
    weights = [down_weight(loaded.sites.downs[n // width]) for n in neurons.tolist()]
    kept = [weight[:, n % width].clone() for weight, n in zip(weights, neurons.tolist(), strict=True)]
    with torch.no_grad():
        for weight, n in zip(weights, neurons.tolist(), strict=True):
            weight[:, n % width] = 0
        logits = loaded.model(input_ids=torch.tensor([target.ids])).logits[0, target.position]
        following = list(target.ids)
        for _ in range(3 if greedy is not None else 0):
            ahead = loaded.model(input_ids=torch.tensor([following]), use_cache=False).logits[0, -1]
            following.append(int(ahead.argmax()))
        for weight, n, row in zip(weights, neurons.tolist(), kept, strict=True):
            weight[:, n % width] = row
    expected = float(logits.double().log_softmax(0)[target.token])
    assert found.log_probability[1] == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert abs(found.log_probability[1] - found.log_probability[0]) > 1e-4  # an edit that does something
    if greedy is not None:
        assert greedy[1].tolist() == following[-3:]
