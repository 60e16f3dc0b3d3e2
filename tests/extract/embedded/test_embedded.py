"""The files of the package: small, and what they say they are."""

from __future__ import annotations

import json
import math
import re
from typing import Any, get_args

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from qloc.errors import InputError
from qloc.extract.embedded import Kind, checkpoint, held_out_path
from qloc.extract.embedded.training.recall import load
from qloc.extract.embedded.training.world import templates

LARGEST = 5_000_000
KINDS = get_args(Kind)
Loaded = tuple[PreTrainedModel, PreTrainedTokenizerFast]


def test_unknown_kind_is_refused() -> None:
    expected = "embedded model is 'gpt5'; expected causal or masked. At embedded:KIND. Use embedded:causal."
    with pytest.raises(InputError, match=f"^{re.escape(expected)}$"):
        checkpoint("gpt5")  # type: ignore[arg-type]  # what a user may type


@pytest.mark.parametrize("kind", KINDS)
def test_checkpoint_is_small_and_says_what_it_is(kind: Kind) -> None:
    files = [path for path in checkpoint(kind).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= LARGEST
    config = json.loads((checkpoint(kind) / "config.json").read_text())
    assert config["dtype"] == "float32"
    assert "Synthetic, for demonstration" in (checkpoint(kind) / "README.md").read_text()


def test_weights_are_stored_in_half_and_loaded_in_single_precision(model: Loaded) -> None:
    network, _ = model
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    for parameter in network.parameters():
        assert torch.equal(parameter, parameter.half().float())
        assert parameter.isfinite().all()


def test_every_query_can_be_asked_of_a_causal_model(facts: list[dict[str, Any]]) -> None:
    texts = {t: text for of_relation in templates().values() for t, text in of_relation.items()}
    assert len(texts) == len(set(texts.values())) == 72
    for fact in facts:
        for query in fact["queries"]:
            assert query["text"].count("[Y]") == query["text"].count("[X]") == 1
            if "object" in fact:
                assert query["text"] == texts[query["template"]]
                assert not any(c.isalnum() for c in query["text"].split("[Y]")[1])


def test_held_out_text_is_likelier_than_chance() -> None:
    """A causal model's perplexity on text not seen is far below that of a uniform guess."""
    network, tokenizer = load("causal")
    lines = held_out_path().read_text(encoding="utf-8").splitlines()[::6]
    losses = []
    for line in lines:
        ids = tokenizer(line, return_tensors="pt").input_ids
        losses.append(float(network(ids, labels=ids).loss))
    assert math.exp(np.mean(losses)) < 0.1 * len(tokenizer)
