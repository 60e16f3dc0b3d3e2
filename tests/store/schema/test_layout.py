"""Layouts: the shapes of arrays by hand, and their attributes there and back."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import synthetic_phase

from qloc.errors import InputError
from qloc.store.schema.layout import Layout
from qloc.store.schema.phase_layout import PhaseLayout


def layout_for(study, **options):
    defaults: dict[str, Any] = {"tier": "panel", "floor": 0.05, "capacity": 1024, "store_dtype": "float32"}
    return Layout.of(study.outline(), **(defaults | options))


@pytest.fixture(scope="module")
def layout(study):
    """Return the layout of 10 facts in 4 units, 16 queries, 2 methods, 3 layers of 40 neurons."""
    return layout_for(study)


@pytest.fixture(scope="module")
def with_phases(layout):
    phases = {
        phase: PhaseLayout.of(synthetic_phase.outline(phase), layout.sizes)
        for phase in ("interventions", "edits")
    }
    return dataclasses.replace(layout, phases=phases)


def test_every_wrong_parameter_is_told_at_once(study):
    with pytest.raises(InputError) as caught:
        layout_for(study, tier="thin", floor=1.0, capacity=0, store_dtype="float16")
    assert caught.value.problems == (
        "tier is 'thin'; expected panel or dense. At store layout. Give one of these.",
        "floor is 1.0; expected a number in [0, 1). At store layout. Give a share of the maximum.",
        "capacity is 0; expected a whole number ≥ 1. At store layout. Give a panel size.",
        "store dtype is 'float16'; expected float32 or float64. At store layout. Give one of these.",
    )


def by_path(layout):
    return {variable.path: variable for variable in layout.variables()}


def test_shapes_in_the_store_and_in_a_unit(layout):
    found, unit = by_path(layout), layout.units[1]
    assert (unit.n_facts, unit.n_queries) == (3, 5)
    shapes = {
        "signals/attribution": ((2, 16, 7), (2, 5, 7)),
        "signals/activation": ((16, 7), (5, 7)),
        "signals/maximum": ((2, 16, 3), (2, 5, 3)),
        "signals/panel_neuron": ((10, 7), (3, 7)),
        "signals/attribution_method": ((2,), (2,)),
        "queries/top_token_id": ((16, 4), (5, 4)),
        "grams/gram": ((2, 10, 3, 3), (2, 3, 3, 3)),
        "attention/column_mass": ((16, 3, 2, 5), (5, 3, 2, 5)),
        "statistics/activation_sum": ((2, 3, 40), (2, 3, 40)),
    }
    assert {
        path: (layout.shape(found[path], 7), layout.shape(found[path], 7, unit)) for path in shapes
    } == shapes


def test_shapes_of_phases(with_phases, layout):
    found = by_path(with_phases)
    assert with_phases.shape(found["interventions/rank"], 0) == (2, 3, 16)
    assert with_phases.shape(found["synapses/rank"], 0) == (1, 2, 16)
    assert with_phases.shape(found["edits/probe_kl"], 0, with_phases.units[1]) == (2, 3, 3, 2)
    assert "reprompts/rank" not in found
    assert with_phases.of_signals == layout


def test_dense_tier_has_the_whole_network(study):
    dense = layout_for(study, tier="dense")
    assert dense.shape(by_path(dense)["signals/gradient"], 0) == (16, 3, 40)
    assert dense.n_network == 120
    assert dense.signals_attrs() == {"n_neurons": 40, "tier": "dense", "floor": 0.05}


def test_dtypes(study, layout):
    found = by_path(layout)
    assert layout.dtype(found["signals/maximum"]) == "float32"
    assert layout_for(study, store_dtype="float64").dtype(found["signals/maximum"]) == "float64"
    assert layout.dtype(found["queries/rank"]) == "int32"


def test_labels_are_those_of_coordinates(with_phases):
    found = by_path(with_phases)
    labels = {path: with_phases.labels(variable) for path, variable in found.items()}
    assert {path: of for path, of in labels.items() if of is not None} == {
        "signals/attribution_method": ("ig", "grad_x_act"),
        "grams/attribution_method": ("ig", "grad_x_act"),
        "statistics/relation": ("P36", "P37"),
        "interventions/operation": ("suppress", "enhance"),
        "interventions/neuron_set": ("own", "neighbor", "my söt"),
        "synapses/synapse_operation": ("suppress",),
        "synapses/synapse_set": ("published", "knowledge"),
        "edits/edit_operation": ("erase", "update"),
        "edits/edit_set": ("own", "union", "cas"),
    }


def test_attributes_there_and_back(with_phases):
    attrs = json.loads(json.dumps(with_phases.attrs()))
    phases = {name: json.loads(json.dumps(phase.attrs())) for name, phase in with_phases.phases.items()}
    assert Layout.read(attrs, phases) == with_phases
    assert attrs["units"] == [[0, 3, 0, 6], [3, 6, 6, 11], [6, 9, 11, 15], [9, 10, 15, 16]]


def test_phases_of_the_future_are_left_out(layout):
    assert Layout.read(layout.attrs(), {"dreams": {"anything": 1}}) == layout


def test_layout_without_the_length_of_an_axis_is_an_error(layout):
    attrs = layout.attrs()
    del attrs["sizes"]["layer"]
    with pytest.raises(KeyError, match="layer"):
        Layout.read(attrs, {})


def test_a_layout_of_before_there_were_statistics_has_none(layout):
    attrs = layout.attrs()
    del attrs["relations"]
    old = Layout.read(attrs, {})
    assert old.relations == ()
    assert not [path for path in by_path(old) if path.startswith("statistics/")]


def test_a_layout_of_before_there_were_error_bounds_has_none(layout):
    attrs = layout.attrs()
    del attrs["error_bounds"]
    old = Layout.read(attrs, {})
    assert set(by_path(layout)) - set(by_path(old)) == {
        "signals/n_nodes", "signals/error_bound", "signals/converged",
    }  # fmt: skip


def test_a_layout_of_before_there_were_tokens_has_none(layout):
    attrs = layout.attrs()
    del attrs["vocabulary"]
    old = Layout.read(attrs, {})
    assert {path for path in by_path(layout) if path not in by_path(old)} == {
        "neurons/promoted_token_id", "neurons/suppressed_token_id", "neurons/token",
    }  # fmt: skip
    with pytest.raises(ValueError, match="vocabulary"):
        Layout.read({**attrs, "vocabulary": -1}, {})


def test_no_attention_without_heads(study):
    without = layout_for(dataclasses.replace(study, n_heads=0))
    assert not [path for path in by_path(without) if path.startswith("attention/")]


def test_relations_are_those_of_two_facts_that_are_asked_for(study):
    outline = study.outline()
    names = np.array(["A", "B", "A", "B", "C", "C", "D", "A", "E", "E"])  # facts 3 and 7 have no query
    changed = dataclasses.replace(outline, facts={**outline.facts, "relation": names})
    made = Layout.of(changed, tier="panel", floor=0.0, capacity=1, store_dtype="float32")
    assert made.relations == ("A", "C", "E")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sizes": {"query": "x"}}, "sizes {'query': 'x'}, which are no whole numbers from 0 to "),
        (
            {"sizes": {"layer": -1, "neuron": 2**60}},
            "sizes {'layer': -1, 'neuron': 1152921504606846976}, which",
        ),
        ({"sizes": {"fact": True}}, "sizes {'fact': True}, which are no whole numbers"),
        ({"sizes": {"fact": 11}}, "units up to fact 10 and query 16, which are not all of its sizes"),
        ({"methods": ["ig", 1]}, "methods and relations ['ig', 1, "),
        ({"units": {0: [0, 3, 0]}}, "unit 0 of [0, 3, 0], which does not follow fact 0 and query 0"),
        ({"units": {1: "abcd"}}, "unit 1 of 'abcd', which does not follow fact 3 and query "),
        ({"units": {1: [2, 6, 5, 10]}}, "unit 1 of [2, 6, 5, 10], which does not follow fact 3 and query "),
        ({"units": {2: [6, 6, 10, 10]}}, "unit 2 of [6, 6, 10, 10], which does not follow fact 6 and query "),
    ],
)
def test_what_is_no_layout_is_refused(layout, change, reason):
    attrs = json.loads(json.dumps(layout.attrs()))
    for name, value in change.items():
        if isinstance(value, dict):
            for key, part in value.items():
                attrs[name][key] = part
        else:
            attrs[name] = value
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (its words are compared)
        Layout.read(attrs, {})
    assert str(caught.value).startswith(reason)
