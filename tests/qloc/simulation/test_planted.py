"""Planted studies: the same by seed, another network is asked the same."""

from typing import Any

import numpy as np
import pytest

from qloc.simulation.planted import plant

PLANTING: dict[str, Any] = {
    "facts": 30,
    "relations": 3,
    "templates": 4,
    "one_to_one": 1,
    "n_neurons": 32,
    "pairs": 5,
}


def test_same_seed_same_study():
    first, again, other = (plant(**PLANTING, seed=s) for s in (1, 1, 2))
    assert np.array_equal(first.member.toarray(), again.member.toarray())
    assert not np.array_equal(first.member.toarray(), other.member.toarray())  # nor where shapes differ
    for a, b in zip(first.blocks(), again.blocks(), strict=True):
        assert a.attribution.tobytes() == b.attribution.tobytes()


def test_a_unit_does_not_depend_on_others():
    planted = plant(**PLANTING, unit_facts=8, seed=1)
    last = planted.outline.units[-1]
    assert planted.block(last).attribution.tobytes() == list(planted.blocks())[-1].attribution.tobytes()


def test_another_network_is_asked_the_same():
    """Facts, queries and who answers what are shared; sets and what is known are not."""
    one, other = (plant(**PLANTING, network=network, seed=1) for network in (0, 3))
    for name in ("fact", "template", "prompt", "answer", "answer_code"):
        assert np.array_equal(getattr(one.columns, name), getattr(other.columns, name)), name
    for name, column in one.outline.facts.items():
        assert np.array_equal(column, other.outline.facts[name]), name
    assert 0 < np.mean(one.columns.known != other.columns.known) < 0.5
    sizes = [np.diff(network.member.indptr).mean() for network in (one, other)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.15)  # of one structure
    shared = one.member.astype(int).multiply(other.member.astype(int)).sum() / one.member.sum()
    assert shared < 0.3  # and with other neurons, of 128
    drawn, anew = (next(network.blocks()).activation for network in (one, other))
    assert not np.array_equal(drawn, anew)
    assert one.outline.attrs["model"] != other.outline.attrs["model"]
