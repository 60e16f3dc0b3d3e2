"""Panels against brute force over the dense network."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from synthetic import Synthetic, write_store

from qloc.errors import InputError, ModelError
from qloc.neurons import threshold_rows
from qloc.store.reading.open_store import open_store
from qloc.store.schema.layout import Layout
from qloc.store.units.panel import bars, on_panel, panel, unit_arrays

FACT = np.array([0, 0, 2])  # fact 1 has no query
SHAPE = (2, len(FACT), 2, 4)  # attribution_method, query, layer, neuron


def brute_force_panel(attribution, fact, n_facts, floor):
    """The sets of store.md, neuron by neuron in Python floats."""
    panels: list[set[int]] = [set() for _ in range(n_facts)]
    for of_method in attribution.astype(np.float64):
        for f, scores in zip(fact, of_method.reshape(len(fact), -1), strict=True):
            top = max(scores)
            panels[f] |= {n for n, a in enumerate(scores) if a > 0 and a >= floor * top}
    return panels


def values(dtype):
    """Few different values, so that ties, zeros and exact multiples of the maximum are common."""
    common = st.sampled_from(
        [0.0, -0.0, 1.0, 0.05, 0.1, 0.2, 1 / 3, 0.7, 1e-45, 1e-30, -1.0, 3.0, 0.15000001]
    )
    anything = st.floats(-(2.0**100), 2.0**100, width=32)
    return hnp.arrays(
        dtype, SHAPE, elements=st.one_of(common, anything).map(lambda v: float(np.dtype(dtype).type(v)))
    )


scores = st.sampled_from([np.float32, np.float64]).flatmap(values)
shares = st.one_of(st.sampled_from([0.0, 0.05, 0.1, 0.2, 1 / 3, 0.5]), st.floats(0, 0.999))


@given(attribution=scores, floor=shares, extra=shares)
def test_panel_is_brute_force_and_exact_at_every_threshold_from_the_floor_up(attribution, floor, extra):
    made = panel(attribution, FACT, 3, floor, capacity=8)
    expected = brute_force_panel(attribution, FACT, 3, floor)
    assert [set(row[row >= 0]) for row in made.neuron] == expected
    np.testing.assert_array_equal(made.floor, [floor, np.nan, floor])
    whole = attribution.astype(np.float64).reshape(*SHAPE[:2], -1).max(axis=-1)[..., None, None]
    above = (attribution > 0) & (attribution.astype(np.float64) >= floor * whole)
    np.testing.assert_array_equal(made.count_above_floor, above.sum(axis=-1))
    np.testing.assert_array_equal(made.maximum, attribution.max(axis=-1))
    for t in {floor, min(floor + extra, 0.999)}:
        assert_same_sets(attribution, made, t)


@given(attribution=scores, floor=shares, extra=shares, capacity=st.integers(1, 5))
def test_panel_over_capacity_is_exact_from_its_own_floor_up(attribution, floor, extra, capacity):
    made = panel(attribution, FACT, 3, floor, capacity)
    assert made.neuron.shape[1] <= capacity
    whole = brute_force_panel(attribution, FACT, 3, floor)
    for fact in (0, 2):
        kept = {*made.neuron[fact][made.neuron[fact] >= 0].tolist()}
        assert kept <= whole[fact]
        if len(whole[fact]) <= capacity:
            assert kept == whole[fact]
            assert made.floor[fact] == floor
            continue
        # The largest attribution / maximum over methods and queries; ties by neuron number.
        rows = attribution[:, fact == FACT].astype(np.float64).reshape(-1, 8)
        rows = rows[rows.max(axis=1) > 0]
        ratio = (rows / rows.max(axis=1, keepdims=True)).max(axis=0)
        ranked = sorted(whole[fact], key=lambda n: (-ratio[n], n))
        assert kept == {*ranked[:capacity]}
        assert made.floor[fact] == pytest.approx(max(floor, ratio[ranked[capacity]]), rel=1e-15)
    t = min(float(np.nanmax(made.floor)) + extra, 1.0)
    for threshold in {float(np.nanmax(made.floor)), t} - {1.0}:
        assert_same_sets(attribution, made, threshold)


def assert_same_sets(attribution, made, t):
    """The sets of every query by every method, dense and from the panel, through the face's own rule."""
    if not 0 <= t < 1:
        return
    at_panel = on_panel(attribution, made.neuron, FACT)
    every = np.broadcast_to(np.arange(8), (len(FACT), 8))
    maximum = made.maximum.max(axis=-1)
    for method in range(2):
        dense = threshold_rows(attribution[method].reshape(-1, 8), every, maximum[method], t)
        slots = made.neuron[FACT]
        member = threshold_rows(at_panel[method], slots, maximum[method], t)
        assert [set(np.flatnonzero(row)) for row in dense] == [
            set(slot[row]) for slot, row in zip(slots, member, strict=True)
        ]


def first_where(rule):
    """The first of seeded numbers in [1, 2) for which ``rule`` holds."""
    return next(m for m in np.random.default_rng(0).uniform(1, 2, 100_000).tolist() if rule(m))


def test_floor_over_capacity_is_rounded_up_where_the_quotient_is_rounded_down():
    """Else the dropped neuron would be in the dense set at t = floor, and not in the panel's."""
    value = 0.7
    maximum = first_where(lambda m: value > (value / m) * m)
    made = panel(np.array([maximum, value]).reshape(1, 1, 1, 2), np.array([0]), 1, floor=0.05, capacity=1)
    assert made.neuron.tolist() == [[0]]
    assert made.floor[0] == np.nextafter(value / maximum, 1)


def test_floor_over_capacity_is_never_below_the_floor():
    floor = 0.05
    maximum = first_where(lambda m: (floor * m) / m < floor)
    scores = np.array([maximum, floor * maximum]).reshape(1, 1, 1, 2)
    assert panel(scores, np.array([0]), 1, floor=floor, capacity=1).floor[0] == floor


@given(maximum=st.floats(0, 2.0**120, width=32), floor=shares)
def test_bar_is_the_least_value_that_float64_lets_pass(maximum, floor):
    bar = bars(np.array([maximum], dtype=np.float32), floor)[0]
    if maximum == 0:
        assert bar == math.inf
        return
    below = np.nextafter(bar, np.float32(-np.inf))
    assert bar > 0
    assert float(bar) >= floor * float(np.float32(maximum))
    assert below <= 0 or float(below) < floor * float(np.float32(maximum))


def test_values_on_the_panel_are_those_of_all_queries_and_methods(study):
    block, layout = study.blocks()[0], layout_for(study)
    arrays = unit_arrays(block, layout)
    fact = block.queries["fact"]
    for q in range(block.unit.n_queries):
        neurons = arrays["signals/panel_neuron"][fact[q]]
        filled = neurons >= 0
        for name, dense in (("activation", block.activation), ("gradient", block.gradient)):
            expected = dense[q].astype(np.float32).reshape(-1)[neurons[filled]]
            np.testing.assert_array_equal(arrays[f"signals/{name}"][q, filled], expected)
        expected = block.attribution[:, q].astype(np.float32).reshape(2, -1)[:, neurons[filled]]
        np.testing.assert_array_equal(arrays["signals/attribution"][:, q, filled], expected)
        assert np.isnan(arrays["signals/attribution"][:, q, ~filled]).all()
    total = block.attribution.astype(np.float32).astype(np.float64).sum(axis=-1)
    np.testing.assert_allclose(arrays["signals/total"], total, rtol=1e-6)


def test_selection_is_on_stored_values_not_on_those_computed():
    """0.05 · 1 is above the float64 value 0.0499999999 and equal to nothing; stored as float32 it is 0.05."""
    study = Synthetic(n_facts=1, methods=("ig",), n_layers=1, n_neurons=3)
    block = dataclasses.replace(study.block(study.outline().units[0]))
    attribution = np.array([1.0, 0.05 - 1e-11, 0.04]).reshape(1, 1, 1, 3)
    block = dataclasses.replace(block, attribution=attribution)
    stored = {
        dtype: unit_arrays(block, layout_for(study, store_dtype=dtype)) for dtype in ("float32", "float64")
    }
    assert stored["float32"]["signals/panel_neuron"].tolist() == [[0, 1]]
    assert stored["float64"]["signals/panel_neuron"].tolist() == [[0]]
    assert stored["float64"]["signals/maximum"].dtype == np.float64


def test_dense_and_panel_tiers_lead_to_the_same_sets(tmp_path, study, finished):
    sets = {}
    for tier, store in (("panel", finished), ("dense", write_store(tmp_path / "dense", study, tier="dense"))):
        opened = open_store(store)
        assert opened.layout.tier == tier
        signals = opened.signals.load()
        n = len(signals["query"])
        attribution = signals["attribution"].to_numpy().reshape(2, n, -1)
        if tier == "panel":
            slots = signals["panel_neuron"].to_numpy()[signals["fact"].to_numpy()]
        else:
            slots = np.broadcast_to(np.arange(attribution.shape[-1]), attribution.shape[1:])
        maximum = signals["maximum"].max("layer").to_numpy()
        member = [threshold_rows(attribution[m], slots, maximum[m], 0.05) for m in range(2)]
        sets[tier] = [[set(s[r]) for s, r in zip(slots, rows, strict=True)] for rows in member]
        expected = np.where(np.isnan(signals["panel_floor"]), np.nan, 0.05 if tier == "panel" else 0)
        np.testing.assert_array_equal(opened.floors, expected)
    assert sets["panel"] == sets["dense"]
    assert any(sets["panel"][0])


def layout_for(study, **options):
    defaults: dict[str, Any] = {"tier": "panel", "floor": 0.05, "capacity": 1024, "store_dtype": "float32"}
    return Layout.of(study.outline(), **(defaults | options))


def test_attribution_that_is_not_finite_is_refused_naming_the_query(study):
    block = study.blocks()[1]
    attribution = block.attribution.copy()
    attribution[1, 2, 0, 7] = np.nan
    attribution[1, 3, 0, 7] = -np.inf
    broken = dataclasses.replace(block, attribution=attribution)
    with pytest.raises(ModelError) as caught:
        unit_arrays(broken, layout_for(study))
    assert str(caught.value) == (
        "attribution of query 8 by 'grad_x_act' is nan; expected finite numbers. At unit 1, prompt "
        "'Query 2 of fact 5 — “is” [Y].' (and 1 more). Extract with --dtype float32 or float64."
    )


def test_every_problem_of_a_block_is_told_at_once(study):
    block = study.blocks()[0]
    queries = {**block.queries, "colour": np.zeros(6), "fact": block.queries["fact"][::-1]}
    del queries["rank"]
    broken = dataclasses.replace(block, queries=queries, gradient=block.gradient[:, :2])
    with pytest.raises(InputError) as caught:
        unit_arrays(broken, layout_for(study))
    assert caught.value.problems == (
        "shape of queries/colour is (6,); expected no such array. At the block of unit 0. "
        "Make blocks as qloc.block says.",
        "shape of queries/rank is None; expected shape (6,). At the block of unit 0. "
        "Make blocks as qloc.block says.",
        "shape of signals/gradient is (6, 2, 40); expected shape (6, 3, 40). At the block of unit 0. "
        "Make blocks as qloc.block says.",
        "queries/fact is [2, 2, 2, 1, 1, 0]; expected ascending, from 0 to 2. At the block of unit 0. "
        "Keep queries in their facts' order.",
    )
