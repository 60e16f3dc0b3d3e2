"""Facts that figures show: extremes of one half of their queries, a typical one, and others in turn."""

import numpy as np
import pytest

from qloc.analysis.localization.shown_facts import ShownFacts, choose, halves, in_turn
from qloc.simulation.simulate import simulate


@pytest.fixture(scope="module")
def sets():
    return simulate(facts=60, relations=4, templates=6, seed=4).neurons()


def test_extremes_need_three_facts():
    d = np.array([0.1, np.nan, 0.4, 0.2])
    assert choose(d, d, 0) == {"most consistent": 2, "typical": 3, "least consistent": 0}
    assert choose(d[:2], d[:2], 0) == {"typical": 0}
    assert choose(np.array([np.nan]), np.array([np.nan]), 0) == {}


def test_the_typical_fact_is_of_the_middle_fifth():
    d = np.linspace(0.0, 0.99, 100)[::-1].copy()
    for seed in range(20):
        assert 40 <= choose(d, d, seed)["typical"] < 60
    assert choose(d, d, 1) == choose(d, d, 1)


def test_halves_of_a_fact_are_as_large_or_one_less(sets):
    used = sets.known().select(sets.known().sizes() > 0)
    first, second = halves(used, 3)
    fact = used.queries["fact"]
    for number in np.unique(fact):
        k = np.sum(fact == number)
        assert first[fact == number].sum() == k // 2
    np.testing.assert_array_equal(second, ~first)
    assert (halves(used, 4)[0] != first).any()


def test_facts_are_shown_on_queries_that_they_were_not_chosen_on(sets):
    shown = ShownFacts.of(sets, 5)
    assert list(shown.by_role) == ["most consistent", "typical", "least consistent"]
    most, typical, least = (shown.chosen_on[fact] for fact in shown.by_role.values())
    assert least <= typical <= most
    for fact in shown.by_role.values():
        here = shown.of_fact(sets, fact)
        of_fact = (sets.queries["fact"] == fact) & sets.queries["known"] & (sets.sizes() > 0)
        assert set(here) < set(np.flatnonzero(of_fact))
        assert len(here) == of_fact.sum() - of_fact.sum() // 2
    assert not sets.facts["leaks"][sets.queries["fact"][shown.queries]].any()


def test_relations_take_turns(sets):
    relation = sets.facts["relation"]
    able = np.flatnonzero(~sets.facts["leaks"])
    drawn = in_turn(relation, able, 10, 0)
    assert len(set(drawn.tolist())) == 10
    assert set(drawn.tolist()) <= set(able.tolist())
    for start in (0, 4):
        assert sorted(relation[drawn[start : start + 4]]) == sorted(set(relation))
    assert in_turn(relation, able, 10, 1).tolist() != drawn.tolist()
    assert sorted(in_turn(relation, able, 999, 0)) == sorted(able)
