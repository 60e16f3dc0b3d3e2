"""Training is seeded, and leaves embeddings, values and outputs of attention at their start."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch

from qloc.extract.embedded import Kind
from qloc.extract.embedded.training.corpus import (
    fill,
    lessons,
    training_sentences,
)
from qloc.extract.embedded.training.fit import Recipe, build, encode, train
from qloc.extract.embedded.training.tokenizer import make_tokenizer

KINDS = get_args(Kind)


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_seeded_and_leaves_embeddings_and_values_alone(kind: Kind) -> None:
    recipe = Recipe(epochs=2, rate=1e-3, width=32, n_layers=1, n_heads=2)
    sentences = training_sentences(lessons())[:200]
    tokenizer = make_tokenizer(kind, sentences)
    start = build(kind, tokenizer, recipe).state_dict()
    one, same = (train(kind, tokenizer, sentences, recipe).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    other = train(kind, tokenizer, sentences, recipe, seed=1).state_dict()
    assert not all(torch.equal(one[name], other[name]) for name in one)
    fixed = {
        "causal": ["transformer.wte.weight", "transformer.h.0.attn.c_proj.weight"],
        "masked": [
            "bert.embeddings.word_embeddings.weight",
            "bert.encoder.layer.0.attention.self.value.weight",
        ],
    }[kind]
    assert all(torch.equal(start[name], one[name]) for name in fixed)
    if kind == "causal":
        joint = "transformer.h.0.attn.c_attn.weight"
        assert torch.equal(start[joint][:, 64:], one[joint][:, 64:])
        assert not torch.equal(start[joint][:, :64], one[joint][:, :64])


def test_a_token_that_touches_the_answer_belongs_to_it() -> None:
    sentences = [fill("The capital of [X] is [Y].", "Peru", "Lima"), fill("[Y]!", "", "Lima")]
    tokenizer = make_tokenizer("masked", sentences)
    encoded = encode(tokenizer, sentences)
    assert encoded.ids.shape == encoded.real.shape == encoded.answer.shape == encoded.special.shape
    assert [
        str(tokenizer.decode(ids[answer])).strip()
        for ids, answer in zip(encoded.ids, encoded.answer, strict=True)
    ] == [
        "Lima",
        "Lima",
    ]
    assert encoded.real.sum(1).tolist() == [len(tokenizer(s.text)["input_ids"]) for s in sentences]
    assert not (encoded.answer & encoded.special).any()
    assert (encoded.special & encoded.real).sum(1).tolist() == [2, 2]


def test_training_lowers_the_loss(caplog: pytest.LogCaptureFixture) -> None:
    facts_alone = [replace(lesson, teaches_entailed=False) for lesson in lessons()]
    sentences = training_sentences(facts_alone)[:64]
    tokenizer = make_tokenizer("causal", sentences)
    recipe = Recipe(epochs=6, rate=1e-2, width=32, n_layers=1, n_heads=2, batch=16)
    with caplog.at_level("INFO"):
        trained = train("causal", tokenizer, sentences, recipe)
    assert not trained.training
    losses = [float(message.rpartition(" ")[2]) for message in caplog.messages if "epoch" in message]
    assert len(losses) == 6
    assert losses[-1] < 0.7 * losses[0]
