"""Tiny models of each architecture, built from config, with a tokenizer of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
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
from qloc.extract.attribution.path_integrals import ScaledPath, completeness_gap, integrals
from qloc.extract.models.loading import LoadedModel
from qloc.extract.prompts.tokenizing import Target
from qloc.facts import Fact, FactSet, Query, fill

torch.set_num_threads(1)  # tiny models: a second thread only waits, and may spin on a shared core

WORDS = (
    "The capital of France is Paris.",
    "Kenya's capital, Nairobi",
    "Peru's capital city is Lima .",
    "A cat sits",
)
FACTS = (
    (
        "f0",
        "capital",
        "France",
        "Paris",
        ("The capital of [X] is [Y].", "[X]'s capital, [Y]", "[X]'s capital city is [Y] ."),
    ),
    ("f1", "capital", "Kenya", "Nairobi", ("The capital of [X] is [Y].", "[X]'s capital, [Y]")),
    ("f2", "capital", "Peru", "Ouagadougou", ("The capital of [X] is [Y].", "[Y] is the capital of [X].")),
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
    small = {
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
