"""Viewed facts: those that figures show are among them, others by relation; their strongest neurons."""

import numpy as np
import pytest

from qloc.analysis.interventions.viewed_facts import viewed_facts, viewed_neurons
from qloc.analysis.localization.shown_facts import ShownFacts
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.questions.single_facts import heatmap_question
from qloc.plan import AnalysisPlan
from qloc.simulation.simulate import simulate


@pytest.fixture(scope="module")
def study():
    return simulate(facts=60, relations=4, templates=6, seed=4)


def test_figures_facts_come_first_then_relations_in_turn(study):
    sets = study.neurons()
    shown = set(ShownFacts.of(sets, 0).by_role.values())
    assert set(viewed_facts(sets, 3, 0)) == shown
    assert len(viewed_facts(sets, 2, 0)) == 2
    some = viewed_facts(sets, 11, 0)
    assert list(some) == sorted(some)
    assert shown < set(some)
    assert all((len(queries) > 0) == (fact in shown) for fact, queries in some.items())
    further = sets.facts["relation"][[*(set(some) - shown)]]
    assert sorted(np.unique(further, return_counts=True)[1]) == [2, 2, 2, 2]
    every = viewed_facts(sets, 999, 0)
    usable = np.unique(sets.queries["fact"][sets.sizes() > 0])
    np.testing.assert_array_equal(list(every), usable[~sets.facts["leaks"][usable]])


def test_neurons_are_the_strongest_of_all_queries(study):
    signals = study.signals_of("ig")
    queries = np.flatnonzero(study.column("queries", "fact") == 7)
    chosen = viewed_neurons(signals, queries, queries[:0], 5)
    values = study.attribution.sel(attribution_method="ig").values[queries]
    panel = study.signals["panel_neuron"].values[7]
    mean = (values / signals.maximum[queries][:, None]).mean(axis=0)
    there = panel >= 0
    strongest = panel[there][np.argsort(-mean[there])[:5]]
    assert chosen.tolist() == sorted(strongest.tolist())
    many = viewed_neurons(signals, queries, queries[:0], 5000)
    np.testing.assert_array_equal(many[: there.sum()], panel[there])
    assert (many[there.sum() :] == -1).all()


def test_neurons_of_figures_are_among_them(study):
    """Those of the largest mean over the queries shown, whatever the other queries say."""
    context = AnalysisContext(study, AnalysisPlan())
    sets, signals = study.neurons(), study.signals_of("ig")
    tables = {table.name: table.to_frame() for table in heatmap_question(context).tables}
    for role, fact in ShownFacts.of(sets, 0).by_role.items():
        drawn = tables[f"heatmap_{role.replace(' ', '_')}"]
        queries = np.flatnonzero(sets.queries["fact"] == fact)
        shown = viewed_facts(sets, 3, 0)[fact]
        assert set(drawn["query"]) == set(shown)
        neurons = set(drawn["layer"] * sets.n_neurons + drawn["index"])
        assert neurons <= set(viewed_neurons(signals, queries, shown, 20).tolist())
        assert neurons == set(viewed_neurons(signals, queries, shown, len(neurons)).tolist())
