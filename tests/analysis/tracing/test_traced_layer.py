"""The layer that tracing names: the greatest mean over facts, none where nothing was traced."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qloc.analysis.inputs.study import Study
from qloc.analysis.tracing.traced_layer import strongest_layer, traced_layer

NAN = np.nan


def test_a_planted_profile_rises_to_its_last_layer(traced_study: Study) -> None:
    assert traced_layer(traced_study) == traced_study.signals.sizes["layer"] - 1
    mlp = traced_study.tracing["tracing_part"].values == "mlp"
    lower = traced_study.tracing.assign(
        log_odds=traced_study.tracing["log_odds"].isel(layer=slice(None, None, -1))
    )
    assert traced_layer(replace(traced_study, datasets={**traced_study.datasets, "tracing": lower})) == 0
    without = traced_study.tracing.isel(tracing_part=~mlp)
    assert traced_layer(replace(traced_study, datasets={**traced_study.datasets, "tracing": without})) == -1


def test_facts_count_alike_and_the_first_of_equals_is_named() -> None:
    assert strongest_layer(np.array([[3.0, 0.0], [0.0, 2.0], [0.0, 2.0]])) == 1
    assert strongest_layer(np.array([[1.0, 1.0], [NAN, NAN]])) == 0
    assert strongest_layer(np.full((2, 3), NAN)) == -1
