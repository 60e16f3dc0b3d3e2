"""Study: panel and dense tiers give identical sets; what a panel cannot answer is refused."""

from dataclasses import replace

import numpy as np
import pytest

from qloc.analysis.inputs import attributions
from qloc.analysis.inputs.study import Study
from qloc.errors import FloorError, InputError
from qloc.simulation.planted import plant
from qloc.simulation.simulate import simulate


def same(a, b) -> bool:
    return a.member.shape == b.member.shape and (a.member != b.member).nnz == 0


@pytest.mark.parametrize("method", ["ig", "grad_x_act"])
@pytest.mark.parametrize("threshold", [0.05, 0.1, 0.2, 0.5])
def test_tiers_give_identical_sets(study, dense_study, method, threshold):
    assert same(study.neurons(method, threshold), dense_study.neurons(method, threshold))


def test_sets_are_those_planted():
    planting = {"facts": 20, "relations": 2, "templates": 3, "n_neurons": 64, "pairs": 4, "seed": 3}
    expected, found = plant(**planting).sets(), simulate(**planting).neurons()
    assert same(expected, found)
    for name in ("fact", "template", "relation", "answer", "kind", "known"):
        assert found.queries[name].tolist() == expected.queries[name].tolist()
    for name in ("id", "subject", "relation", "object", "leaks", "class"):
        assert found.facts[name].tolist() == expected.facts[name].tolist()
    assert found.rule == "threshold 0.2"


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
    planting = {"facts": 12, "relations": 2, "templates": 3, "n_neurons": 64, "noise": 12.0, "seed": 4}
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
    planting = {"facts": 8, "relations": 1, "templates": 4, "n_neurons": 64, "noise": 20.0, "seed": 5}
    small, dense = simulate(capacity=12, **planting), simulate(tier="dense", **planting)
    floors = small.datasets["signals"]["panel_floor"].values
    highest, where = float(np.nanmax(floors)), int(np.nanargmax(floors))
    assert highest > 0.3
    assert same(small.neurons("ig", highest), dense.neurons("ig", highest))
    with pytest.raises(FloorError) as caught:
        small.neurons("ig", 0.2)
    assert str(caught.value) == (
        f"threshold is 0.2; expected a number ≥ {highest:g}, the largest floor of the panels asked for. "
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


def test_threshold_and_budget_exclude_each_other(study):
    with pytest.raises(InputError) as caught:
        study.neurons("ig", 0.2, top=5)
    assert str(caught.value) == (
        "neurons is 'threshold=0.2, top=5'; expected a threshold or a budget. At Study. Drop one."
    )


def test_missing_groups_are_named(study):
    bare = Study({"facts": study.facts})
    with pytest.raises(InputError) as caught:
        _ = bare.queries
    assert str(caught.value) == "group is 'queries'; expected one of facts. At study. Extract it first."
    assert not bare.attention
    assert not bare.grams


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


def test_selection_by_relation_and_template(study):
    relation = study.attribution.sel(relation="R01")
    assert relation.sizes["query"] == int(np.sum(study.queries["relation"].values == "R01"))
    assert set(study.signals.sel(template="R02-3")["relation"].values) == {"R02"}


def test_a_user_can_bring_datasets_of_any_make(study):
    """Strings as objects, as a store gives them."""
    queries = study.queries.assign(
        {name: study.queries[name].astype(object) for name in ("template", "relation", "answer")}
    )
    found = Study({**study.datasets, "queries": queries}, study.attrs).neurons()
    assert found.queries["relation"].dtype.kind == "U"
    assert study.fingerprint == study.attrs["fingerprint"]
    assert Study({}, {"fingerprint": {"signals": "abc"}}).fingerprint == "abc"
