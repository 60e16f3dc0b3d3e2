"""Neuron sets: thresholds compared in float64, budgets, floors."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from qloc.errors import FloorError, InputError
from qloc.neurons import NeuronSets, check_floor, exceeds, threshold_rows, top_rows

FLOAT32 = st.floats(-1, 1, width=32)


@pytest.fixture
def sets():
    member = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 1, 1]], dtype=bool)
    return NeuronSets(
        member=sparse.csr_array(member),
        n_layers=2,
        n_neurons=2,
        method="ig",
        rule="threshold 0.2",
        queries={"fact": np.array([0, 0, 1]), "known": np.array([True, False, True])},
        facts={"id": np.array(["a", "b"]), "leaks": np.array([False, True])},
    )


def test_sizes_members_and_selection(sets):
    assert (sets.n_queries, sets.n_facts) == (3, 2)
    assert sets.sizes().tolist() == [2, 0, 3]
    assert [sets.of(query).tolist() for query in range(3)] == [[0, 2], [], [1, 2, 3]]
    chosen = sets.select(np.array([False, True, True]))
    assert (chosen.n_queries, chosen.n_facts, chosen.queries["fact"].tolist()) == (2, 2, [0, 1])


def test_headline_sets_are_known_and_do_not_leak(sets):
    assert sets.known().queries["fact"].tolist() == [0]


@given(arrays(np.float32, (3, 5), elements=FLOAT32), st.floats(0, 0.99))
def test_exceeding_is_compared_in_float64(values, t):
    maximum = values.max(axis=1).astype(np.float64)
    wide = values.astype(np.float64)
    bar = np.maximum(t * maximum, 0.0)[:, None]
    assert exceeds(values, maximum, t).tolist() == (wide > bar).tolist()


def test_empty_slots_and_nan_are_in_no_set():
    values, panel = np.array([[1.0, np.nan, 0.9]]), np.array([[4, 5, -1]])
    assert threshold_rows(values, panel, np.array([1.0]), 0.2).tolist() == [[True, False, False]]
    assert top_rows(values, panel, 2).tolist() == [[True, False, False]]


@given(arrays(np.float64, (2, 6), elements=st.floats(-1, 1)), st.integers(1, 7))
def test_a_budget_takes_the_largest_positive_ones(values, b):
    panel = np.tile(np.arange(6), (2, 1))
    chosen = top_rows(values, panel, b)
    for row, mask in zip(values, chosen, strict=True):
        expected = sorted((-value, place) for place, value in enumerate(row) if value > 0)[:b]
        assert sorted(np.flatnonzero(mask).tolist()) == sorted(place for _, place in expected)


@pytest.mark.parametrize("t", [-0.1, 1.0, 2.0])
def test_a_threshold_is_a_share_of_the_maximum(t):
    with pytest.raises(InputError) as caught:
        exceeds(np.ones((1, 1)), np.ones(1), t)
    assert str(caught.value) == (
        f"threshold is {t!r}; expected a number in [0, 1). At neuron sets. Give a share of the maximum."
    )


def test_a_budget_is_at_least_one():
    with pytest.raises(InputError, match=r"^top is 0; expected a whole number ≥ 1\. At neuron sets\. "):
        top_rows(np.ones((1, 1)), np.zeros((1, 1), dtype=np.int64), 0)


def test_a_threshold_below_a_panels_floor_names_the_worst_fact():
    floors, ids = np.array([0.05, np.nan, 0.3, 0.1]), np.array(["a", "b", "c", "d"])
    check_floor(0.3, floors, ids)
    with pytest.raises(FloorError) as caught:
        check_floor(0.07, floors, ids)
    assert str(caught.value) == (
        "threshold is 0.07; expected a number ≥ 0.3, the largest floor of the panels asked for. "
        "At fact 'c' (and 1 more). Ask at or above the floor, or extract with a lower --floor or --tier dense."
    )


def test_hand_made_sets_do_not_know_their_error(sets):
    assert sets.uncertain.tolist() == sets.converged.tolist() == [-1, -1, -1]
    assert str(sets) == (
        "Neuron sets of 3 queries by ig, threshold 0.2: 1.67 neurons a query. "
        "Within the error of the threshold: unknown."
    )


def test_the_error_of_sets_is_told_and_selected_with_them(sets):
    told = {"uncertain": np.array([1, 0, -1]), "converged": np.array([1, 0, 0])}
    known = replace(sets, queries={**sets.queries, **told})
    assert known.certainty() == (
        "Within the error of the threshold: 1 neuron in 1 of 2 queries, unknown in 1. "
        "Of 2 queries paths did not converge: their sets may be wrong (docs/extraction.md#quadrature)."
    )
    kept = known.select(np.array([True, False, False]))
    assert kept.certainty() == "Within the error of the threshold: 1 neuron in 1 of 1 queries."
    assert (kept.uncertain.tolist(), kept.converged.tolist()) == ([1], [1])


def test_a_table_has_a_row_for_each_query(sets):
    frame = sets.to_frame()
    assert frame["n_neurons"].tolist() == sets.sizes().tolist()
    for query, names in enumerate(frame["neurons"]):
        numbers = [f"L{neuron // sets.n_neurons}.N{neuron % sets.n_neurons}" for neuron in sets.of(query)]
        assert names == numbers
    assert frame["id"].tolist() == sets.facts["id"][sets.queries["fact"]].tolist()


def test_sets_show_themselves_in_a_line(sets):
    assert repr(sets) == f"<NeuronSets: {sets}>"
    assert len(repr(sets)) < 300
