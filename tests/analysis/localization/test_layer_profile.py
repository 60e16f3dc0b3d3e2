"""Shares of neurons by layer, by hand and by brute force."""

import numpy as np
import pytest

from qloc.analysis.localization.consistency import considered
from qloc.analysis.localization.layer_profile import layer_profile, layer_shares


def test_shares_by_hand(make_sets):
    """Layers of eight neurons: a fact's queries count alike, whatever the size of their sets."""
    sets = make_sets(
        [
            (0, "s", "a", [0, 1, 9]),
            (0, "t", "a", [31]),
            (0, "u", "a", []),
            (1, "s", "b", []),
            (2, "s", "b", [8]),
        ]
    )
    shares = layer_shares(sets)
    assert shares[0].tolist() == pytest.approx([1 / 3, 1 / 6, 0, 1 / 2])
    assert np.isnan(shares[1]).all()
    assert shares[2].tolist() == [0, 1, 0, 0]
    profile = layer_profile(sets)
    assert profile.layer.tolist() == [0, 1, 2, 3]
    assert profile.share.tolist() == pytest.approx([1 / 6, 7 / 12, 0, 1 / 4])
    assert profile.neurons.tolist() == pytest.approx([2 / 3, 2 / 3, 0, 1 / 3])  # five neurons of three sets
    assert profile.facts.tolist() == [2] * 4


def test_shares_are_means_over_queries(planted):
    sets = considered(planted)
    shares = layer_shares(sets)
    for fact in range(0, sets.n_facts, 9):
        layers = [sets.of(int(q)) // sets.n_neurons for q in np.flatnonzero(sets.queries["fact"] == fact)]
        own = [np.bincount(layer, minlength=sets.n_layers) / len(layer) for layer in layers if len(layer)]
        expected = np.mean(own, axis=0) if own else np.full(sets.n_layers, np.nan)
        assert shares[fact] == pytest.approx(expected, nan_ok=True)


def test_intervals_hold_the_mean_and_stay_within_0_and_1(planted):
    profile = layer_profile(considered(planted), confidence=0.9)
    assert profile.share.sum() == pytest.approx(1)
    assert ((profile.low >= 0) & (profile.low <= profile.share)).all()
    assert ((profile.share <= profile.high) & (profile.high <= 1)).all()
    wide = layer_profile(considered(planted), confidence=0.99)
    assert (wide.high - wide.low >= profile.high - profile.low).all()


def test_no_sets_no_profile(make_sets):
    empty = layer_profile(make_sets([(0, "s", "a", []), (0, "t", "a", [])]))
    assert (len(empty), list(empty)) == (0, ["layer", "share", "low", "high", "neurons", "facts"])
