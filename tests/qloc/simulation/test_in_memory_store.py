"""The Datasets of a store, from Blocks, against plain loops over neurons."""

from __future__ import annotations

import numpy as np
import pytest

from qloc.simulation.in_memory_store import datasets_of
from qloc.simulation.planted import Planted, plant

FLOOR, CAPACITY = 0.1, 6


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant(facts=10, relations=2, templates=3, n_layers=2, n_neurons=16, unit_facts=4, seed=1)


def test_dense_keeps_every_number(planted: Planted) -> None:
    groups = datasets_of(planted.outline, planted.blocks(), tier="dense")
    assert set(groups) == {"queries", "facts", "signals", "grams", "attention", "statistics"}
    attribution = np.concatenate([block.attribution for block in planted.blocks()], axis=1)
    signals = groups["signals"]
    np.testing.assert_array_equal(signals["attribution"].values, attribution)
    np.testing.assert_array_equal(signals["maximum"].values, attribution.max(3))
    assert signals["attribution"].dims == ("attribution_method", "query", "layer", "neuron")


def test_panels_hold_each_facts_strongest_neurons(planted: Planted) -> None:
    groups = datasets_of(planted.outline, planted.blocks(), floor=FLOOR, capacity=CAPACITY)
    attribution = np.concatenate([block.attribution for block in planted.blocks()], axis=1)[0]
    flat = attribution.reshape(len(attribution), -1)
    fact = groups["queries"]["fact"].values
    panel, floors = (groups["signals"][name].values for name in ("panel_neuron", "panel_floor"))
    n_dropped = 0
    for number in range(planted.columns.n_facts):
        best: dict[int, float] = {}
        for row in flat[fact == number]:
            top = float(row.max())
            for neuron in np.flatnonzero((row > 0) & (row >= FLOOR * top)):
                best[int(neuron)] = max(best.get(int(neuron), 0.0), float(row[neuron]) / top)
        order = sorted(best, key=lambda neuron: (-best[neuron], neuron))
        assert [n for n in panel[number].tolist() if n >= 0] == sorted(order[:CAPACITY])
        dropped = [best[neuron] for neuron in order[CAPACITY:]]
        n_dropped += len(dropped)
        assert floors[number] == pytest.approx(max([FLOOR, *dropped]), rel=1e-12)
    assert n_dropped
    for query, row in enumerate(flat):
        here = panel[fact[query]]
        expected = np.where(here >= 0, row[np.maximum(here, 0)], np.nan)
        np.testing.assert_array_equal(groups["signals"]["attribution"].values[0, query], expected)


def test_statistics_are_sums_over_a_relations_queries(planted: Planted) -> None:
    statistics = datasets_of(planted.outline, planted.blocks())["statistics"]
    activation = np.concatenate([block.activation for block in planted.blocks()]).astype(float)
    for relation in statistics["relation"].values:
        rows = activation[planted.columns.relation == relation]
        here = statistics.sel(relation=relation)
        np.testing.assert_allclose(
            here["activation_sum"], rows.sum(0), rtol=1e-5, atol=1e-6
        )  # kept as float32
        np.testing.assert_allclose(here["activation_square_sum"], (rows**2).sum(0), rtol=1e-6)
        assert here["n_queries"] == len(rows)


def test_groups_that_would_be_empty_are_left_out() -> None:
    alone = plant(facts=2, relations=2, templates=2, n_neurons=16, n_heads=0, missing=0.0, seed=1)
    assert set(datasets_of(alone.outline, alone.blocks())) == {"queries", "facts", "signals", "grams"}
