"""The card says what was measured."""

from __future__ import annotations

from typing import Any

import pytest

from qloc.extract.embedded.training.model_card import card


@pytest.mark.parametrize(
    ("kind", "architecture"), [("causal", "GPT2LMHeadModel"), ("masked", "BertForMaskedLM")]
)
def test_a_card_has_every_number(kind: Any, architecture: str) -> None:
    text = card(
        kind,
        {("wide", "seen"): (0.9876, 700), ("syntax", "unseen"): (1.0, 60)},
        n_facts=123,
        parameters=1_234_567,
        n_layers=4,
        width=128,
        seed=7,
    )
    assert text.startswith("---\nlicense: mit\n")
    assert f"(`{architecture}`) with 1,234,567 parameters\n(4 layers, width 128)" in text
    assert "taught 123 facts" in text
    assert "| wide | seen | 98.8% | 700 |\n| syntax | unseen | 100.0% | 60 |\n" in text
    assert f"training.train --kind {kind} --seed 7" in text
