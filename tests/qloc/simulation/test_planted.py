"""Planted studies: the same by seed, another network is asked the same."""

from typing import Any

import numpy as np
import pytest

from qloc.errors import InputError
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


def test_relations_of_given_sizes():
    planted = plant(facts_by_relation=(9, 4, 1), templates=3, seed=1)
    assert np.unique(planted.columns.relation_of_fact, return_counts=True)[1].tolist() == [9, 4, 1]
    same, even = (plant(facts=12, relations=3, facts_by_relation=sizes, seed=1) for sizes in ((4, 4, 4), ()))
    assert np.array_equal(same.member.toarray(), even.member.toarray())
    with pytest.raises(InputError, match="expected 2 numbers that add up to 7 facts"):
        plant(facts=7, relations=2, facts_by_relation=(9, 4, 1))


def sizes_by_fact(**planting: Any) -> np.ndarray:
    planted = plant(facts=400, relations=4, templates=8, noise=8.0, missing=0.0, empty=0.0, **planting)
    size = np.diff(planted.member.indptr)
    return np.bincount(planted.columns.fact, size) / np.bincount(planted.columns.fact)


def test_facts_differ_in_set_size_where_that_is_planted():
    """The spread of the mean of eight sizes over facts, less what chance makes of it."""
    alike, apart = sizes_by_fact(seed=1), sizes_by_fact(size_spread=0.34, seed=1)
    spread = np.sqrt(np.var(np.log(apart)) - np.var(np.log(alike)))
    assert spread == pytest.approx(0.34, abs=0.06)


def test_hubs_are_used_unequally_and_sets_stay_as_large():
    plain, hubs = (sizes_by_fact(hubs=n, n_neurons=512, seed=1) for n in (0.0, 6.0))
    assert hubs.mean() - plain.mean() == pytest.approx(6, abs=0.7)
    planted = plant(hubs=6.0, facts=200, relations=4, seed=1)
    popular = np.argsort(-np.asarray(planted.member.sum(axis=0)).ravel())[:20]
    use = np.bincount(planted.columns.fact, np.asarray(planted.member[:, popular].sum(axis=1)).ravel())
    of_none = plant(facts=200, relations=4, seed=1)
    popular = np.argsort(-np.asarray(of_none.member.sum(axis=0)).ravel())[:20]
    other = np.bincount(of_none.columns.fact, np.asarray(of_none.member[:, popular].sum(axis=1)).ravel())
    assert use.std() > 1.4 * other.std()  # some facts take hubs, others do not


def test_templates_of_all_relations_are_the_same():
    c = plant(facts=40, relations=4, templates=3, shared_templates=True, noise=0.0, pairs=2, seed=1).columns
    assert set(c.template[c.kind == "fact"]) == {"T-1", "T-2", "T-3"}
    assert len(np.unique(c.shared_template[c.kind == "fact"])) == 3
    alone = plant(facts=40, relations=4, templates=3, pairs=2, seed=1).columns
    assert np.array_equal(alone.shared_template, alone.template_code)


def test_some_facts_have_few_templates():
    n = np.bincount(plant(facts=300, relations=3, missing=0.0, few_templates=0.4, seed=1).columns.fact)
    assert np.mean(n < 8) == pytest.approx(0.4, abs=0.1)
    assert n[n < 8].mean() == pytest.approx(4, abs=0.5)
