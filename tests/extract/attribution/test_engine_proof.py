"""A model whose rows may not grow is found out; one whose rows may is not slowed down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from qloc.extract.attribution.engine_proof import _difference, _trials, proved
from qloc.extract.models.hooks import hooked


def test_a_model_that_breaks_the_rules_falls_back_to_the_oracle(
    engine_of: Any, caplog: pytest.LogCaptureFixture
) -> None:
    loaded, engine, targets = engine_of("gpt2", "float64")

    def mix(_: Any, args: Any, output: Any) -> Any:
        return output + output.mean(0, keepdim=True)  # rows see each other

    with hooked(forward={loaded.sites.blocks[1]: mix}):
        broken = proved(replace(engine, kind="after"), targets)
    assert broken.kind == "full"
    ours = [record.message for record in caplog.records if record.name.startswith("qloc")]
    assert ours == [
        "growing rows do not hold on gpt2: every row runs the whole model, which takes about ten times longer"
    ]


def test_the_oracle_agrees_in_half_precision(engine_of: Any) -> None:
    _, engine, _ = engine_of("llama", "bfloat16")
    assert engine.kind == "after"


def test_in_bfloat16_probabilities_may_differ_by_what_a_logits_rounding_makes(engine_of: Any) -> None:
    """P by a fifth, as of an eighth in a logit: not of gradients, nor in float32."""
    for dtype, allowed, holds in (("bfloat16", 0.1, True), ("float32", 1e-3, False)):
        _, engine, targets = engine_of("llama", dtype)
        plain = replace(engine, kind="full")
        oracle = _trials(plain, targets)[0][2]
        likelier = {layer: 1.2 * p for layer, p in oracle.row_probability.items()}
        steeper = {layer: 1.2 * gradient for layer, gradient in oracle.row_gradient.items()}
        assert _difference(plain, oracle, oracle, allowed) == 0
        off = _difference(plain, replace(oracle, row_probability=likelier), oracle, allowed)
        assert (off < allowed) is holds
        assert _difference(plain, replace(oracle, row_gradient=steeper), oracle, allowed) > allowed
