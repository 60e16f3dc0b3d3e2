"""Viewed facts: those that figures show are among them, others by relation; their strongest neurons."""

import numpy as np
import pytest

from qloc.analysis.interventions.viewed_facts import viewed_facts, viewed_neurons
from qloc.analysis.localization.shown_facts import ShownFacts
from qloc.simulation.simulate import simulate


@pytest.fixture(scope="module")
def study():
    return simulate(facts=60, relations=4, templates=6, seed=4)


def test_figures_facts_come_first_then_relations_in_turn(study):
    sets = study.neurons()
    shown = set(ShownFacts.of(sets, 0).by_role.values())
    assert set(viewed_facts(sets, 3, 0).tolist()) == shown
    assert len(viewed_facts(sets, 2, 0)) == 2
    some = viewed_facts(sets, 11, 0)
    assert (np.diff(some) > 0).all()
    assert shown < set(some.tolist())
    further = sets.facts["relation"][[*(set(some.tolist()) - shown)]]
    assert sorted(np.unique(further, return_counts=True)[1]) == [2, 2, 2, 2]
    every = viewed_facts(sets, 999, 0)
    usable = np.unique(sets.queries["fact"][sets.sizes() > 0])
    np.testing.assert_array_equal(every, usable[~sets.facts["leaks"][usable]])


def test_neurons_are_the_strongest_of_all_queries(study):
    signals = study.signals_of("ig")
    queries = np.flatnonzero(study.column("queries", "fact") == 7)
    chosen = viewed_neurons(signals, queries, 5)
    values = study.attribution.sel(attribution_method="ig").values[queries]
    panel = study.signals["panel_neuron"].values[7]
    mean = (values / signals.maximum[queries][:, None]).mean(axis=0)
    there = panel >= 0
    strongest = panel[there][np.argsort(-mean[there])[:5]]
    assert chosen.tolist() == sorted(strongest.tolist())
    many = viewed_neurons(signals, queries, 5000)
    n = int((mean[there] > 0).sum())
    assert (many[:n] >= 0).all()
    assert (np.diff(many[:n]) > 0).all()
    assert (many[n:] == -1).all()
