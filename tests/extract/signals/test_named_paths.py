"""Module paths that the user names are used, and are part of the fingerprint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qloc.extract.signals.extraction import prepare
from qloc.plan import Plan


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
