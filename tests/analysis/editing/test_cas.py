"""Consistency-aware scores against a plain computation, and what their sets are made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qloc.analysis.editing.cas import Cas, cas


def test_scores_are_weighted_mean_less_spread_of_relative_attributions() -> None:
    """Two queries with maxima 2 and 4: ratios (1, 0.5) and (0.25, 1); a third without a maximum is left out."""
    values = np.array([[2.0, 1.0], [1.0, 4.0], [9.0, 9.0]])
    scores = cas(values, np.array([8, 3]), np.array([2.0, 4.0, 0.0]), beta1=0.6, beta2=0.2)
    expected = {8: 0.6 * 0.625 - 0.2 * 0.375, 3: 0.6 * 0.75 - 0.2 * 0.25}
    assert scores.neuron.tolist() == [3, 8]
    assert scores.score.tolist() == pytest.approx([expected[3], expected[8]])
    mean = cas(values, np.array([8, 3]), np.array([2.0, 4.0, 0.0]), beta1=1.0, beta2=0.0)
    assert mean.score.tolist() == pytest.approx([0.75, 0.625])


def test_empty_slots_and_missing_attributions() -> None:
    """A slot without a neuron is none; what a query's panel does not hold counts as 0."""
    values = np.array([[1.0, np.nan, 5.0], [1.0, 1.0, 5.0]])
    scores = cas(values, np.array([4, 2, -1]), np.ones(2), beta1=1.0, beta2=0.0)
    assert dict(zip(scores.neuron.tolist(), scores.score.tolist(), strict=True)) == {2: 0.5, 4: 1.0}


def test_members_are_strictly_above_the_threshold_and_ties_go_to_the_smaller_number() -> None:
    scores = Cas(neuron=np.array([1, 5, 7, 9]), score=np.array([0.5, 1.0, 0.5, -0.2]))
    assert scores.members(0.5).tolist() == [5]
    assert scores.members(0.49).tolist() == [1, 5, 7]
    assert scores.strongest(2).tolist() == [1, 5]
    assert scores.strongest(9).tolist() == [1, 5, 7]  # none that is negative
    assert scores.strongest(0).tolist() == []


def test_a_set_is_certified_down_to_the_floor() -> None:
    scores = Cas(neuron=np.array([1]), score=np.array([0.4]))
    assert scores.certified(0.5, 0.7, 0.0)
    assert scores.certified(0.5, 0.5, 0.4)  # 0.5 · 0.4 = 0.5 · 0.4
    assert not scores.certified(0.5, 0.5, 0.41)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.05, 0.1, 0.2]))
def test_a_certified_set_is_that_of_the_whole_network(seed: int, floor: float) -> None:
    """Scores over the panel alone and over all neurons give one set, wherever it says so."""
    rng = np.random.default_rng(seed)
    values = rng.standard_gamma(0.15, size=(4, 60)) * np.exp(rng.normal(size=60))
    maximum = values.max(1)
    kept = np.flatnonzero((values >= floor * maximum[:, None]).any(0))
    panel = cas(values[:, kept], kept, maximum)
    whole = cas(values, np.arange(60), maximum)
    if panel.certified(0.3, 0.7, floor):
        np.testing.assert_array_equal(panel.members(0.3), whole.members(0.3))


def test_nothing_positive_gives_no_set() -> None:
    found = cas(np.array([[-1.0, -2.0]]), np.array([0, 1]), np.array([-1.0]))
    assert len(found.members(0.3)) == len(found.strongest(5)) == 0
    assert not found.certified(0.3, 0.7, 0.05)
    uneven = cas(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1]), np.ones(2), 0.1, 0.9)
    assert len(uneven.members(0.3)) == 0
