"""Facts, held-out text and a model are written so that they can be read again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from qloc.extract.embedded import facts_path, held_out_path
from qloc.extract.embedded.training import fit as fit_module
from qloc.extract.embedded.training import train as train_module
from qloc.extract.embedded.training.corpus import (
    lessons,
    training_sentences,
)
from qloc.extract.embedded.training.fit import Recipe
from qloc.extract.embedded.training.recall import load, recall_table
from qloc.extract.embedded.training.train import make, write_text


def test_text_is_that_of_the_package(tmp_path: Path) -> None:
    write_text(tmp_path)
    assert (tmp_path / "facts.jsonl").read_bytes() == facts_path().read_bytes()
    assert (tmp_path / "held_out.txt").read_bytes() == held_out_path().read_bytes()
    write_text(tmp_path, seed=1)
    assert (tmp_path / "facts.jsonl").read_bytes() != facts_path().read_bytes()


def test_a_model_is_stored_with_its_card_and_loaded_in_single_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model of another recipe, taught a few facts: what is stored and measured is the same code."""
    few = lessons()[:12]
    monkeypatch.setattr(train_module, "lessons", lambda seed: few)
    monkeypatch.setattr(
        train_module, "training_sentences", lambda taught, seed: training_sentences(taught, seed)[:60]
    )
    recipe = Recipe(epochs=1, rate=1e-3, width=32, n_layers=1, n_heads=2)
    monkeypatch.setattr(fit_module, "RECIPES", {"causal": recipe})
    threads = torch.get_num_threads()
    write_text(tmp_path)
    try:
        recall = make("causal", tmp_path)
    finally:
        torch.set_num_threads(threads)
    network, tokenizer = load("causal", tmp_path / "causal")
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert all(torch.equal(p, p.half().float()) for p in network.parameters())
    assert recall == recall_table(network, tokenizer, tmp_path / "facts.jsonl")
    text = (tmp_path / "causal" / "README.md").read_text(encoding="utf-8")
    assert "taught 12 facts" in text
    assert f"{network.num_parameters():,} parameters" in text
    settings = json.loads((tmp_path / "causal" / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
