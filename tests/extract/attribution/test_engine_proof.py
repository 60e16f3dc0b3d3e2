"""A model whose rows may not grow is found out; one whose rows may is not slowed down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from qloc.extract.attribution.engine_proof import proved
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
