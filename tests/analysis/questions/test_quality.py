"""Completeness gaps and consistency by method, against the store's own numbers."""

from dataclasses import replace

import numpy as np
import pytest

from qloc.analysis.localization.consistency import consistency
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.questions.quality import (
    EVERY_LAYER,
    bound_frame,
    gap_frame,
    method_frame,
    node_frame,
    quadrature_notes,
    quality_question,
)


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
    assert [table.name for table in question.tables] == [
        "completeness",
        "completeness_by_layer",
        "error_bounds",
        "by_method",
    ]
    assert "layer" not in question.tables[0].columns


def test_gaps_that_are_not_defined_are_left_out(study, plan):
    gap = study.signals["completeness_gap"].copy(deep=True)
    gap.loc[{"attribution_method": "ig"}] = np.nan
    groups = {**study.datasets, "signals": study.datasets["signals"].assign(completeness_gap=gap)}
    context = AnalysisContext(replace(study, datasets=groups), plan)
    assert (gap_frame(context).set_index("method").loc["ig"].queries == 0).all()
    question = quality_question(context)
    assert question.answer.startswith("The completeness gap is not defined for ig.")


@pytest.fixture
def with_paths(study):
    """Return a function that gives the paths of ``ig`` other numbers; ``grad_x_act`` keeps to have none."""

    def change(n_nodes, error_bound, converged, **attributes):
        made = {}
        for name, values in (("n_nodes", n_nodes), ("error_bound", error_bound), ("converged", converged)):
            made[name] = study.datasets["signals"][name].copy(deep=True)
            made[name].loc[{"attribution_method": "ig"}] = values
        groups = {**study.datasets, "signals": study.datasets["signals"].assign(made)}
        return replace(study, datasets=groups, attrs={**study.attrs, **attributes})

    return change


def test_bounds_are_of_the_store(with_paths, study, plan):
    """Layer l takes 4 · (l + 1) gradients with a bound of (l + 1) / 1000; one path of one query failed."""
    shape = study.signals["maximum"].shape[1:]
    layers = np.arange(shape[1])
    converged = np.ones(shape, np.int8)
    converged[3, 1] = 0
    changed = with_paths(4 * (layers + 1), (layers + 1) / 1000, converged)
    context = AnalysisContext(changed, plan)
    row, plain = bound_frame(context, gap_frame(context)).to_dict("records")
    assert row["method"] == "ig"
    assert row["converged"] == pytest.approx(1 - 1 / shape[0])
    assert row["failed"] == 1
    assert row["largest_bound"] == pytest.approx(shape[1] / 1000)
    told = changed.neurons("ig", plan.threshold).uncertain
    assert row["uncertain"] == pytest.approx(told[told >= 0].mean())
    assert row["unknown"] == np.sum(told < 0)
    assert row["gap"] == gap_frame(context).query("method == 'ig' and layer == -1")["median"].iloc[0]
    assert (plain["uncertain"], plain["unknown"]) == (0.0, 0)
    assert np.isnan(plain["converged"])
    nodes = node_frame(context)
    assert nodes.layer.tolist() == layers[::-1][:5].tolist()
    assert nodes["mean"].tolist() == (4 * (layers[::-1][:5] + 1)).tolist()
    assert nodes.failed.tolist() == [int(layer == 1) for layer in nodes.layer]
    assert [table.name for table in quality_question(context).tables][2:4] == [
        "error_bounds",
        "nodes_by_layer",
    ]
    assert quadrature_notes(changed) == (
        f"The paths of 1 of {shape[0]} queries did not converge (ig): their sets may be wrong: "
        "docs/extraction.md#quadrature.",
    )


def test_a_rule_without_a_bound_is_noted(with_paths, study):
    fixed = with_paths(20, np.nan, -1, quadrature="midpoint", steps=20)
    assert quadrature_notes(fixed) == (
        "The quadrature of ig, midpoint 20, has no error bound: sets at fixed nodes may be wrong: "
        "docs/extraction.md#quadrature.",
    )
    assert quadrature_notes(with_paths(8, 0.001, 1)) == ()
    assert quadrature_notes(study) == ()


def test_a_norm_behind_the_mlp_is_noted(with_paths):
    assert quadrature_notes(with_paths(8, 0.001, 1, norm_behind_mlp=False)) == ()
    (note,) = quadrature_notes(with_paths(8, 0.001, 1, norm_behind_mlp=True))
    assert note.startswith("In this model a norm follows the MLP: ")
    assert note.endswith("Paths of ig_mean start elsewhere: docs/paths.md.")


def test_a_store_of_before_there_were_bounds_is_noted(study, plan):
    signals = study.datasets["signals"].drop_vars(["n_nodes", "error_bound", "converged"])
    older = replace(study, datasets={**study.datasets, "signals": signals})
    context = AnalysisContext(older, plan)
    assert quadrature_notes(older) == (
        "The quadrature of ig, a rule that the store does not name, has no error bound: sets at fixed nodes may "
        "be wrong: docs/extraction.md#quadrature.",
    )
    row = bound_frame(context, gap_frame(context)).iloc[0]
    assert row["unknown"] == row["queries"]
    assert np.isnan(row["uncertain"])
    assert not len(node_frame(context))
    quality_question(context)
