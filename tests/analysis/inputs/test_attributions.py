"""From attributions to neuron sets: both tiers alike, read in pieces, and what a panel cannot answer."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qloc.analysis.inputs import attributions
from qloc.analysis.inputs.attributions import MethodAttributions, sets_at, sets_of
from qloc.analysis.inputs.study import Study
from qloc.errors import FloorError, InputError
from qloc.simulation.simulate import simulate


def same(a, b) -> bool:
    return a.n_queries == b.n_queries and same_members(a.member, b.member)


def same_members(a, b) -> bool:
    return a.shape == b.shape and (a != b).nnz == 0


@pytest.mark.parametrize("method", ["ig", "grad_x_act"])
@pytest.mark.parametrize("threshold", [0.05, 0.1, 0.2, 0.5])
def test_tiers_give_identical_sets(study, dense_study, method, threshold):
    assert same(study.neurons(method, threshold), dense_study.neurons(method, threshold))


def test_pieces_do_not_matter(study, monkeypatch):
    expected = study.neurons("ig", 0.1)
    monkeypatch.setattr(attributions, "PIECE_BYTES", 1)
    assert same(study.neurons("ig", 0.1), expected)


def test_pieces_follow_the_chunks_of_a_store(study, monkeypatch):
    expected = study.neurons("ig", 0.1)
    chunked = {
        name: group.chunk({"query": 7}) if "query" in group.dims else group
        for name, group in study.datasets.items()
    }
    lazy = Study(chunked, study.attrs)
    values = lazy.datasets["signals"]["attribution"].isel(attribution_method=0)
    runs = list(attributions.runs(values))
    assert runs[0][0] == 0
    assert runs[-1][1] == values.sizes["query"]
    assert all(first % 7 == 0 for first, _ in runs)
    assert same(lazy.neurons("ig", 0.1), expected)


def test_coordinates_may_be_cut_into_other_chunks_than_values(study):
    """As in every store of more than one shard: a shard of texts has more rows than one of attributions."""
    signals = study.datasets["signals"].chunk({"query": 7})
    other = signals["template"].variable.chunk({"query": 5})
    cut = Study(
        {**study.datasets, "signals": signals.assign_coords(template=("query", other.data))}, study.attrs
    )
    with pytest.raises(ValueError, match="inconsistent chunks"):
        _ = cut.datasets["signals"]["attribution"].chunksizes
    assert same(cut.neurons("ig", 0.1), study.neurons("ig", 0.1))


def test_budgets_are_filled_exactly_or_refused():
    planting: dict[str, Any] = {
        "facts": 12,
        "relations": 2,
        "templates": 3,
        "n_neurons": 64,
        "noise": 12.0,
        "seed": 4,
    }
    panel, dense = simulate(**planting), simulate(tier="dense", **planting)
    assert same(panel.neurons("ig", top=3), dense.neurons("ig", top=3))
    sizes = dense.neurons("ig", top=3).sizes()
    assert set(sizes.tolist()) <= {0, 3}
    with pytest.raises(FloorError) as caught:
        panel.neurons("ig", top=60)
    assert str(caught.value).startswith("top is 60; expected at most ")
    assert str(caught.value).endswith(
        "more queries). Ask for fewer, or extract with a lower --floor, a higher --capacity or --tier dense."
    )
    assert dense.neurons("ig", top=60).sizes().max() == 60


def test_overflown_panels_refuse_below_their_own_floor():
    planting: dict[str, Any] = {
        "facts": 8,
        "relations": 1,
        "templates": 4,
        "n_neurons": 64,
        "noise": 20.0,
        "seed": 5,
    }
    small, dense = simulate(capacity=12, **planting), simulate(tier="dense", **planting)
    floors = small.datasets["signals"]["panel_floor"].values
    highest, where = float(np.nanmax(floors)), int(np.nanargmax(floors))
    assert highest > 0.3
    assert same(small.neurons("ig", highest), dense.neurons("ig", highest))
    with pytest.raises(FloorError) as caught:
        small.neurons("ig", 0.2)
    named = float(str(caught.value).partition("≥ ")[2].partition(",")[0])
    assert highest <= named < highest * 1.001
    assert same(small.neurons("ig", named), dense.neurons("ig", named))  # what is asked for is granted
    assert str(caught.value) == (
        f"threshold is 0.2; expected a number ≥ {named}, the largest floor of the panels asked for. "
        f"At fact 'F{where:05d}' (and 7 more). "
        "Ask at or above the floor, or extract with a lower --floor or --tier dense."
    )
    with pytest.raises(FloorError, match="top is 12"):
        small.neurons("ig", top=12)


def test_unknown_methods_are_named_with_those_there_are(study, dense_study):
    with pytest.raises(InputError) as caught:
        study.neurons("sig")
    assert str(caught.value) == (
        "method is 'sig'; expected one of ig, grad_x_act. "
        "At store (tier panel; activation needs tier dense). Choose one, or extract it."
    )
    with pytest.raises(InputError) as caught:
        dense_study.neurons("sig")
    assert str(caught.value) == (
        "method is 'sig'; expected one of ig, grad_x_act, activation. At store. Choose one, or extract it."
    )


def test_activation_is_a_method_of_dense_stores(dense_study):
    sets = dense_study.neurons("activation", 0.5)
    values = dense_study.datasets["signals"]["activation"].values.reshape(sets.n_queries, -1).astype(float)
    assert (sets.member.toarray() == (values > 0.5 * values.max(axis=1, keepdims=True))).all()


def test_a_panel_without_its_width_says_so(study):
    signals = study.datasets["signals"].copy()
    signals.attrs = {}
    bare = replace(study, datasets={**study.datasets, "signals": signals}, attrs={})
    with pytest.raises(InputError) as caught:
        bare.neurons()
    assert str(caught.value) == (
        "n_neurons is None; expected the number of neurons of a layer. "
        "At attributes of /signals and of the study. Open the store with qloc.open."
    )
    told = replace(bare, attrs={"layout": {"sizes": {"neuron": 64}, "floor": 0.05}})
    assert same(told.neurons(), study.neurons())


def test_chosen_rows_are_those_of_all_pieces(study, dense_study):
    """Runs are read as slices, other choices one by one; empty slots of a panel have no neuron."""
    for kind in (study, dense_study):
        signals = kind.signals_of("ig")
        everything = np.concatenate([values for _, values in signals.pieces()])
        for queries in (np.arange(3, 9), np.array([2, 40, 7]), np.zeros(0, dtype=int)):
            rows, values, neurons = signals.rows(queries)
            assert rows is queries
            np.testing.assert_array_equal(values, everything[queries])
            assert neurons.shape == values.shape
            if kind is dense_study:
                assert (neurons == np.arange(values.shape[1])).all()
            else:
                assert signals.panel is not None
                np.testing.assert_array_equal(neurons, signals.panel[signals.fact[queries]])


def test_maxima_and_sizes_are_those_of_the_whole_network(study, dense_study):
    panel, dense = study.signals_of("ig"), dense_study.signals_of("ig")
    values = dense_study.attribution.values[0].reshape(dense.n_queries, -1).astype(float)
    np.testing.assert_array_equal(dense.maximum, values.max(axis=1))
    np.testing.assert_array_equal(panel.maximum, dense.maximum)
    assert (panel.n_queries, panel.n_layers, panel.n_neurons) == (
        dense.n_queries,
        dense.n_layers,
        dense.n_neurons,
    )
    assert (dense.panel, dense.floors, dense.n_above_floor, dense.floor) == (None, None, None, 0.0)
    above = (values >= panel.floor * values.max(axis=1, keepdims=True)).sum(axis=1)
    np.testing.assert_array_equal(panel.n_above_floor, above)


def test_several_thresholds_are_each_by_definition(study, dense_study):
    ids = study.column("facts", "id")
    signals = study.signals_of("ig")
    values = dense_study.attribution.values[0].reshape(signals.n_queries, -1).astype(float)
    for t, found in zip((0.3, 0.1), sets_at(signals, (0.3, 0.1), ids), strict=True):
        member = found.member
        expected = values > t * values.max(axis=1, keepdims=True)
        assert (member.toarray() == expected).all()
        assert same_members(sets_of(signals, t, None, ids).member, member)


def test_without_queries_there_are_no_sets(study):
    nothing = study.signals.isel(query=slice(0))
    fact = np.zeros(0, dtype=np.int64)
    signals = MethodAttributions.of(nothing, "ig", fact, study.attrs)
    assert list(signals.pieces()) == []
    for top in (None, 3):
        assert sets_of(signals, 0.2, top, study.column("facts", "id")).member.shape == (
            0,
            study.neurons().member.shape[1],
        )


def with_error(study, bound, nodes=8, converged=1):
    """Return the study with paths of one error bound, given for each layer."""
    shape = study.datasets["signals"]["maximum"].shape
    of_paths = {
        "n_nodes": np.full(shape, nodes, np.int32),
        "error_bound": np.broadcast_to(np.float32(bound), shape),
        "converged": np.full(shape, converged, np.int8),
    }
    dims = study.datasets["signals"]["maximum"].dims
    signals = study.datasets["signals"].assign({name: (dims, values) for name, values in of_paths.items()})
    return replace(study, datasets={**study.datasets, "signals": signals})


@pytest.mark.parametrize("t", [0.1, 0.3])
def test_neurons_within_the_error_are_those_of_the_formula_in_both_tiers(study, dense_study, t):
    """By brute force over the whole network, each layer with a bound of its own."""
    sets = dense_study.neurons("ig", t)
    values = dense_study.attribution.values[0].astype(float)
    bound = np.linspace(0.005, 0.03, values.shape[1]).astype(np.float32).astype(float)
    expected = []
    for scores in values:
        largest, of_layer = scores.max(), scores.max(axis=1)
        if largest <= 0:
            expected.append(-1)
            continue
        low = t * (of_layer - bound * largest).max() - bound * largest
        high = t * (of_layer + bound * largest).max() + bound * largest
        expected.append(int(((scores > low[:, None]) & (scores <= high[:, None])).sum()))
    assert sum(count > 0 for count in expected) >= 2
    for kind in (study, dense_study):
        found = with_error(kind, bound).neurons("ig", t)
        assert found.uncertain.tolist() == expected
        assert (found.converged == 1).all()
        assert same(found, sets)


def test_a_band_below_the_floor_is_unknown(study, dense_study):
    """At t = 0.1 and e = 0.05 the band begins at 0.1 − 1.1 · 0.05 = 0.045, and neurons are kept from 0.05."""
    for kind in (study, dense_study):
        positive = kind.signals_of("ig").maximum > 0
        assert (with_error(kind, 0.05).neurons("ig", 0.1).uncertain == -1).all()
        assert (with_error(kind, 0.04).neurons("ig", 0.1).uncertain[positive] >= 0).all()


def test_where_nothing_was_integrated_nothing_is_uncertain(study, dense_study):
    assert (study.neurons("ig", 0.2).uncertain == 0).all()  # planted: no path
    assert (dense_study.neurons("activation", 0.5).uncertain == 0).all()


def test_without_a_bound_the_number_is_unknown(study):
    fixed = with_error(study, np.nan, converged=-1)
    older = replace(
        study,
        datasets={
            **study.datasets,
            "signals": study.datasets["signals"].drop_vars(["n_nodes", "error_bound", "converged"]),
        },
    )
    for kind in (fixed, older):
        sets = kind.neurons("ig", 0.2)
        assert same(sets, study.neurons("ig", 0.2))
        assert (sets.uncertain == -1).all()
        assert (sets.converged == -1).all()
    assert (with_error(study, 0.001).neurons("ig", top=3).uncertain == -1).all()


def test_queries_that_did_not_converge_are_told_with_the_sets(study):
    sets = with_error(study, 0.01, converged=0).neurons("ig", 0.2)
    assert (sets.converged == 0).all()
    assert f"Of {sets.n_queries} queries paths did not converge: their sets may be wrong" in str(sets)
