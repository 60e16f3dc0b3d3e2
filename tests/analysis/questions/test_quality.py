"""Completeness gaps and consistency by method, against the store's own numbers."""

from dataclasses import replace

import numpy as np
import pytest

from qloc.analysis.localization.consistency import consistency
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.questions.quality import EVERY_LAYER, gap_frame, method_frame, quality_question


def test_gaps_are_of_the_store(context, study):
    table = gap_frame(context).set_index(["method", "layer"])
    gap = study.signals["completeness_gap"].sel(attribution_method="ig").values.astype(float)
    layer = gap[:, 1]
    assert table.loc[("ig", 1), "over"] == pytest.approx(np.mean(layer > 0.05))
    assert table.loc[("ig", 1), "percentile_95"] == pytest.approx(np.quantile(layer, 0.95))
    worst = gap.max(axis=1)
    row = table.xs("ig").loc[EVERY_LAYER]
    assert (row.over, row["median"], row.largest) == pytest.approx(
        (np.mean(worst > 0.05), np.median(worst), worst.max())
    )
    assert row.queries == len(gap)
    assert set(table.loc["ig"].index) == {EVERY_LAYER, *range(gap.shape[1])}


def test_consistency_by_method(context, study):
    table = method_frame(context).set_index("method")
    for method in ("ig", "grad_x_act"):
        sets = study.neurons(method, 0.2)
        scores, sizes = consistency(sets), sets.known().sizes()
        assert table.dice[method] == pytest.approx(float(scores["D"].mean()))
        assert table.kappa[method] == pytest.approx(float(scores["kappa"].mean()))
        assert table.facts[method] == int((scores["k"] >= 2).sum())
        assert table.set_size[method] == pytest.approx(sizes.mean())
        assert table["empty"][method] == np.sum(sizes == 0)


def test_the_answer_names_every_method(context):
    question = quality_question(context)
    kappa = method_frame(context).kappa
    assert question.answer.endswith(f" κ by method: ig {kappa[0]:.2f}, grad_x_act {kappa[1]:.2f}.")
    assert [table.name for table in question.tables] == ["completeness", "completeness_by_layer", "by_method"]
    assert "layer" not in question.tables[0].columns


def test_gaps_that_are_not_defined_are_left_out(study, plan):
    gap = study.signals["completeness_gap"].copy(deep=True)
    gap.loc[{"attribution_method": "ig"}] = np.nan
    groups = {**study.datasets, "signals": study.datasets["signals"].assign(completeness_gap=gap)}
    context = AnalysisContext(replace(study, datasets=groups), plan)
    assert (gap_frame(context).set_index("method").loc["ig"].queries == 0).all()
    question = quality_question(context)
    assert question.answer.startswith("The completeness gap is not defined for ig.")
