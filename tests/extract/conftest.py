"""Tiny models of each architecture, built from config: six with a tokenizer, and every family without."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    BertConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.integrated_gradients import ScaledPath, completeness_gap, integrals
from qloc.extract.models.architectures import Paths, sites
from qloc.extract.models.fetch import MODELS, cache_folder, fetched
from qloc.extract.models.loading import LoadedModel
from qloc.extract.prompts.tokenizing import Target
from qloc.facts import Fact, FactSet, Query, fill

WORDS = (
    "The capital of France is Paris.",
    "Kenya's capital, Nairobi",
    "Peru's capital city is Lima .",
    "A cat sits",
)
SEVERAL_TOKENS = "Ur"
"""An answer of three tokens, " ", "U" and "r". Each token of an answer is attributed: a longer one adds time alone."""
FACTS = (
    (
        "f0",
        "capital",
        "France",
        "Paris",
        ("The capital of [X] is [Y].", "[X]'s capital, [Y]", "[X]'s capital city is [Y] ."),
    ),
    ("f1", "capital", "Kenya", "Nairobi", ("The capital of [X] is [Y].", "[X]'s capital, [Y]")),
    ("f2", "capital", "Peru", SEVERAL_TOKENS, ("The capital of [X] is [Y].", "[Y] is the capital of [X].")),
)


def _tokenizer(masked: bool) -> PreTrainedTokenizerFast:
    cut = Tokenizer(models.BPE())
    cut.pre_tokenizer, cut.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    cut.train_from_iterator(list(WORDS) * 20, trainer)
    if not masked:
        return PreTrainedTokenizerFast(tokenizer_object=cut, pad_token="<pad>", eos_token="</s>")
    ends = [(name, cut.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    cut.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=cut, pad_token="<pad>", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]"
    )


def _config(kind: str, vocabulary: int) -> Any:
    small: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 72,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "vocab_size": vocabulary,
    }
    grouped = {**small, "num_key_value_heads": 2}
    return {
        "gpt2": lambda: GPT2Config(
            n_embd=32, n_layer=3, n_head=4, n_inner=72, n_positions=64, vocab_size=vocabulary
        ),
        "llama": lambda: LlamaConfig(**grouped),
        "qwen2": lambda: Qwen2Config(**grouped),
        "mistral": lambda: MistralConfig(**grouped, sliding_window=4),
        "gpt_neox": lambda: GPTNeoXConfig(**small),
        "bert": lambda: BertConfig(**small),
    }[kind]()


@dataclass(frozen=True)
class Tiny:
    """A tiny model's folder, and what is asked of it."""

    kind: str
    folder: Path
    facts: FactSet

    @property
    def masked(self) -> bool:
        return self.kind == "bert"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Tiny]:
    """Build (once) a tiny random model of an architecture."""
    built: dict[str, Tiny] = {}

    def build(kind: str) -> Tiny:
        if kind not in built:
            folder = tmp_path_factory.mktemp(kind)
            tokenizer = _tokenizer(kind == "bert")
            auto = AutoModelForMaskedLM if kind == "bert" else AutoModelForCausalLM
            torch.manual_seed(0)
            model = auto.from_config(_config(kind, len(tokenizer)))
            with torch.no_grad():
                for weight in model.parameters():
                    if weight.dim() > 1:
                        weight.mul_(6.0)  # attributions well above rounding
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            built[kind] = Tiny(kind, folder, fact_set())
        return built[kind]

    return build


@pytest.fixture(scope="session")
def brute_force() -> Callable[[LoadedModel, Target, list[float]], torch.Tensor]:
    """w̄ ⊙ mean of ∇P, (layer, neuron), one node at a time, whole model, logits at every position."""
    return _brute_force


def _brute_force(loaded: LoadedModel, target: Target, alphas: list[float]) -> torch.Tensor:
    ids, rows, downs = torch.tensor([target.ids]), [], loaded.sites.downs
    for layer, down in enumerate(downs):
        kept: dict[str, Any] = {}
        turn = sum(other is down for other in downs[:layer])  # of a module that layers share

        def patch(_: Any, args: Any, kept: dict[str, Any] = kept, turn: int = turn) -> Any:
            kept["calls"] = kept.get("calls", -1) + 1
            if kept["calls"] != turn:
                return None
            given = args[0].view(1, -1, args[0].shape[-1])  # OPT's are flat
            if "activation" not in kept:
                kept["activation"] = given[0, target.position].detach().clone()
                return None
            changed = given.clone()
            changed[0, target.position] = kept["leaf"]
            return (changed.view(args[0].shape), *args[1:])

        handle = down.register_forward_pre_hook(patch)
        with torch.no_grad():
            loaded.model(input_ids=ids)
        total = torch.zeros_like(kept["activation"])
        for alpha in alphas:
            kept |= {"leaf": (alpha * kept["activation"]).requires_grad_(True), "calls": -1}
            probability = loaded.model(input_ids=ids).logits[0, target.position].softmax(-1)[target.token]
            total += torch.autograd.grad(probability, kept["leaf"])[0]
        handle.remove()
        rows.append(kept["activation"] * total / len(alphas))
    return torch.stack(rows)


@pytest.fixture(scope="session")
def scores_of() -> Callable[[GradientEngine, list[Target], ScaledPath], tuple[torch.Tensor, torch.Tensor]]:
    """Integrated gradients, (target, layer, neuron), and their gaps, targets in the order given."""
    return _scores


def _scores(
    engine: GradientEngine, targets: list[Target], path: ScaledPath
) -> tuple[torch.Tensor, torch.Tensor]:
    rows: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    for indices, found in integrals(engine, targets, path):
        attribution = found.activation * found.mean_gradient
        gap = completeness_gap(attribution, found.change)
        rows |= {index: (attribution[n], gap[n]) for n, index in enumerate(indices)}
    every = [rows[index] for index in range(len(targets))]
    return torch.stack([scores for scores, _ in every]), torch.stack([gap for _, gap in every])


def fact_set() -> FactSet:
    """Three facts, eight queries, one answer of several tokens."""
    return FactSet(
        source="test",
        facts=tuple(
            Fact(
                id=name,
                relation=relation,
                subject=subject,
                object=answer,
                objects=(answer,),
                queries=tuple(Query(template=text, text=fill(text, subject)) for text in templates),
            )
            for name, relation, subject, answer, templates in FACTS
        ),
    )


# Every family

VOCABULARY, HEADS = 300, 4
NAMED: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": HEADS,
    "max_position_embeddings": 64,
    "vocab_size": VOCABULARY,
}
ENDS: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
GROUPED: dict[str, Any] = {**NAMED, **ENDS, "num_key_value_heads": 2}
WIDE: dict[str, Any] = {**GROUPED, "head_dim": 8}
WINDOW: dict[str, Any] = {"sliding_window": 4}  # shorter than the prompts
GPT: dict[str, Any] = {
    "n_embd": 32,
    "n_layer": 3,
    "n_head": HEADS,
    "n_inner": 48,
    "n_positions": 64,
    "vocab_size": VOCABULARY,
}
FALCON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": HEADS,
}
OPT: dict[str, Any] = {**FALCON, "ffn_dim": 48, "max_position_embeddings": 64}
BLOOM: dict[str, Any] = {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 3, "n_head": HEADS}
GEMMA3: dict[str, Any] = {
    **WIDE,
    **WINDOW,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
}


@dataclass(frozen=True)
class Family:
    """A family of models in one of its shapes, and what extraction finds out about it.

    `join` is how rows of path gradients join; `attention`, whether attention weights can be recorded; `rounding`, the
    largest difference of scores, relative to the largest, where a family computes in float32 even in a float64 model.
    """

    config: Callable[[], Any]
    join: str = "after"
    attention: bool = True
    masked: bool = False
    paths: Paths | None = None
    rounding: float | None = None

    @functools.cached_property
    def loaded(self) -> LoadedModel:
        """A tiny random float64 model; weights scaled up, so that attributions are well above rounding."""
        auto = hf.AutoModelForMaskedLM if self.masked else hf.AutoModelForCausalLM
        torch.manual_seed(0)
        model = auto.from_config(self.config())
        with torch.no_grad():
            for weight in model.parameters():
                weight.copy_(weight * 6.0 if weight.dim() > 1 else weight + 0.3 * torch.randn_like(weight))
        model = model.double().eval().requires_grad_(False)
        family: Any = "masked" if self.masked else "causal"
        return LoadedModel(model=model, sites=sites(model, self.paths), family=family)

    def targets(self) -> list[Target]:
        """Six prompts of three lengths, as many of one length as there are heads: sizes alone tell nothing."""
        drawn, targets = torch.Generator().manual_seed(1), []
        for length in (6, *[9] * HEADS, 13):
            *ids, token = torch.randint(5, VOCABULARY, (length + 1,), generator=drawn).tolist()
            position = length // 2 if self.masked else length - 1
            targets.append(Target(ids=tuple(ids), position=position, token=token))
        return targets

    @property
    def join_of_rows(self) -> str:
        """How changed rows join: as rows of path gradients, but whole rows cannot join as a token."""
        return {"token": "before"}.get(self.join, self.join)


# rounding: GPT-Neo, GPT-J and CodeGen multiply queries and keys (MPT: softmax and bias) in float32 even in a float64
# model: a product over one token sums in another order than one over the prompt, which is 1e-7 there. Qwen 3.5 and
# LFM2, which every row runs whole, normalize in float32: the gradient of log P, times P, rounds otherwise there than
# that of P. Gemma 2 normalizes in float32 too, behind the down-projection: on some processors the sums of its few rows
# and of a whole batch differ in the last bit, 2e-7 of the largest attribution.
FAMILIES = {
    "gpt2": Family(lambda: hf.GPT2Config(**GPT)),
    "gpt_bigcode": Family(lambda: hf.GPTBigCodeConfig(**GPT), "full"),
    "gpt_neo local": Family(
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
        rounding=1e-6,
    ),
    "gptj": Family(lambda: hf.GPTJConfig(**GPT, rotary_dim=4), attention=False, rounding=1e-6),
    "codegen": Family(lambda: hf.CodeGenConfig(**GPT, rotary_dim=4), attention=False, rounding=1e-6),
    "gpt_neox": Family(lambda: hf.GPTNeoXConfig(**NAMED)),
    "gpt_neox sequential": Family(lambda: hf.GPTNeoXConfig(**NAMED, use_parallel_residual=False)),
    "llama": Family(lambda: hf.LlamaConfig(**GROUPED)),
    "mistral window": Family(lambda: hf.MistralConfig(**GROUPED, **WINDOW)),
    "ministral window": Family(lambda: hf.MinistralConfig(**WIDE, **WINDOW)),
    "qwen2": Family(lambda: hf.Qwen2Config(**GROUPED)),
    "qwen2 window": Family(
        lambda: hf.Qwen2Config(**GROUPED, **WINDOW, use_sliding_window=True, max_window_layers=1)
    ),
    "qwen3": Family(lambda: hf.Qwen3Config(**WIDE)),
    "qwen3_5_text linear": Family(
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
        rounding=1e-6,
    ),
    "gemma": Family(lambda: hf.GemmaConfig(**WIDE)),
    "gemma2": Family(lambda: hf.Gemma2Config(**WIDE, **WINDOW), "before", rounding=1e-6),
    "gemma3_text": Family(lambda: hf.Gemma3TextConfig(**GEMMA3), "before"),
    "gemma3_text capped": Family(
        lambda: hf.Gemma3TextConfig(**GEMMA3, final_logit_softcapping=5.0), "before"
    ),
    "gemma3": Family(
        lambda: hf.Gemma3Config(
            text_config=GEMMA3,
            vision_config={**NAMED, "num_hidden_layers": 1, "image_size": 28, "patch_size": 14},
        ),
        "before",
    ),
    "opt": Family(lambda: hf.OPTConfig(**OPT, word_embed_proj_dim=32)),
    "opt 350m": Family(
        lambda: hf.OPTConfig(**OPT, word_embed_proj_dim=24, do_layer_norm_before=False), "before"
    ),
    "phi": Family(lambda: hf.PhiConfig(**GROUPED)),
    "phi3 window": Family(lambda: hf.Phi3Config(**GROUPED, **WINDOW)),
    "falcon parallel": Family(
        lambda: hf.FalconConfig(**FALCON, multi_query=True, parallel_attn=True, bias=False, alibi=False),
        attention=False,
    ),
    "falcon alibi": Family(
        lambda: hf.FalconConfig(**FALCON, multi_query=False, parallel_attn=False, bias=True, alibi=True),
        attention=False,
    ),
    "falcon new": Family(
        lambda: hf.FalconConfig(**FALCON, new_decoder_architecture=True, num_kv_heads=2, alibi=False),
        attention=False,
    ),
    "falcon 11b": Family(
        lambda: hf.FalconConfig(
            **FALCON, new_decoder_architecture=True, num_kv_heads=2, num_ln_in_parallel_attn=1
        ),
        attention=False,
    ),
    "bloom": Family(lambda: hf.BloomConfig(**BLOOM), attention=False),
    "bloom residual of norm": Family(
        lambda: hf.BloomConfig(**BLOOM, apply_residual_connection_post_layernorm=True), attention=False
    ),
    "mpt": Family(
        lambda: hf.MptConfig(
            d_model=32, n_heads=HEADS, n_layers=3, expansion_ratio=2, max_seq_len=64, vocab_size=VOCABULARY
        ),
        attention=False,
        rounding=1e-6,
    ),
    "olmo": Family(lambda: hf.OlmoConfig(**GROUPED)),
    "olmo2": Family(lambda: hf.Olmo2Config(**GROUPED), "before"),
    "olmo3": Family(lambda: hf.Olmo3Config(**GROUPED, **WINDOW), "before"),
    "granite": Family(
        lambda: hf.GraniteConfig(
            **GROUPED,
            logits_scaling=2.0,
            residual_multiplier=0.5,
            embedding_multiplier=3.0,
            attention_multiplier=0.3,
        ),
        "before",
    ),
    "smollm3": Family(lambda: hf.SmolLM3Config(**GROUPED)),
    "cohere": Family(lambda: hf.CohereConfig(**GROUPED, logit_scale=0.25)),
    "cohere2 window": Family(lambda: hf.Cohere2Config(**GROUPED, **WINDOW, logit_scale=0.25)),
    "stablelm": Family(lambda: hf.StableLmConfig(**GROUPED)),
    "stablelm parallel": Family(
        lambda: hf.StableLmConfig(**GROUPED, use_parallel_residual=True, qk_layernorm=True)
    ),
    "starcoder2": Family(lambda: hf.Starcoder2Config(**GROUPED, **WINDOW)),
    "persimmon": Family(lambda: hf.PersimmonConfig(**NAMED, **ENDS)),
    "glm": Family(lambda: hf.GlmConfig(**WIDE)),
    "glm4": Family(lambda: hf.Glm4Config(**WIDE), "before"),
    "biogpt": Family(lambda: hf.BioGptConfig(**NAMED)),
    "lfm2 convolution": Family(
        lambda: hf.Lfm2Config(**GROUPED, layer_types=["conv", "full_attention", "conv"]),
        "full",
        attention=False,
        rounding=1e-6,
    ),
    "gpt_neox_japanese, named by the user": Family(
        lambda: hf.GPTNeoXJapaneseConfig(**NAMED),
        attention=False,
        paths=Paths(blocks="gpt_neox_japanese.layers", down="mlp.dense_4h_to_h"),
    ),
    "bert": Family(lambda: hf.BertConfig(**NAMED), "token", masked=True),
    "roberta": Family(lambda: hf.RobertaConfig(**NAMED), "token", masked=True),
    "xlm-roberta": Family(lambda: hf.XLMRobertaConfig(**NAMED), "token", masked=True),
    "camembert": Family(lambda: hf.CamembertConfig(**NAMED), "token", masked=True),
    "roberta-prelayernorm": Family(lambda: hf.RobertaPreLayerNormConfig(**NAMED), masked=True),
    "megatron-bert": Family(lambda: hf.MegatronBertConfig(**NAMED), attention=False, masked=True),
    "distilbert": Family(
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
    "electra": Family(lambda: hf.ElectraConfig(**NAMED, embedding_size=24), "token", masked=True),
    "albert": Family(lambda: hf.AlbertConfig(**NAMED, embedding_size=24), "token", masked=True),
    "albert groups": Family(
        lambda: hf.AlbertConfig(**{**NAMED, "num_hidden_layers": 4}, embedding_size=24, num_hidden_groups=2),
        "token",
        masked=True,
    ),
    "ernie": Family(lambda: hf.ErnieConfig(**NAMED), "token", masked=True),
    "mpnet": Family(lambda: hf.MPNetConfig(**NAMED), "before", attention=False, masked=True),
    "deberta": Family(lambda: hf.DebertaConfig(**NAMED), "before", attention=False, masked=True),
    "deberta-v2": Family(lambda: hf.DebertaV2Config(**NAMED), "before", attention=False, masked=True),
    "modernbert": Family(
        lambda: hf.ModernBertConfig(**NAMED, local_attention=4, pad_token_id=0), masked=True
    ),
    "modernbert-decoder": Family(lambda: hf.ModernBertDecoderConfig(**NAMED, **ENDS, local_attention=4)),
}


@pytest.fixture(params=list(FAMILIES.values()), ids=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> Family:
    """Run a test on every family."""
    chosen: Family = request.param
    return chosen


@pytest.fixture(scope="session")
def families() -> dict[str, Family]:
    """Every family by the name of its shape."""
    return FAMILIES


@pytest.fixture(scope="session")
def real_model() -> Callable[[str], Path]:
    """Give the file of a small real model by its name, or skip the test where it was not fetched."""

    def find(name: str) -> Path:
        path = fetched(name)
        if path is None:
            pytest.skip(
                f"no {MODELS[name].file} in {cache_folder()}: python -m qloc.extract.models.fetch {name}"
            )
        return path

    return find
