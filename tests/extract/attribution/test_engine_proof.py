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


@pytest.mark.parametrize("where", ["probability", "row_probability"])
def test_in_bfloat16_probabilities_may_differ_by_what_rounded_logits_make(engine_of: Any, where: str) -> None:
    """P by a fifth, as of an eighth in a logit, not by two: nor gradients, nor either in float32."""
    for dtype, allowed, most in (("bfloat16", 0.1, 1.3), ("float32", 1e-3, 1.001)):
        _, engine, targets = engine_of("llama", dtype)
        plain = replace(engine, kind="full")
        oracle = _trials(plain, targets)[0][2]
        assert _difference(plain, oracle, oracle, allowed) == 0
        for times in (1.0005, 1.2, 1.4):
            off = replace(oracle, **{where: _times(getattr(oracle, where), times)})
            assert (_difference(plain, off, oracle, allowed) < 1) is (times < most)
        steeper = replace(oracle, row_gradient=_times(oracle.row_gradient, 1.2))
        assert _difference(plain, steeper, oracle, allowed) > 1


def _times(values: Any, factor: float) -> Any:
    if isinstance(values, dict):
        return {layer: factor * value for layer, value in values.items()}
    return factor * values
