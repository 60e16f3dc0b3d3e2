"""Layer profiles against counting neurons of each layer."""

import numpy as np
import pytest

from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.questions.layers import layers_question, profile_groups
from qloc.simulation.simulate import simulate


@pytest.fixture(scope="module")
def question(context):
    return layers_question(context)


def test_profiles_are_shares(question, frame):
    profile = frame(question, "layer_profile")
    assert profile.groupby("group").share.sum().tolist() == pytest.approx([1, 1])
    assert (profile.low <= profile.share).all()
    assert set(profile.group) == {"facts", "minimal pairs"}


def test_shares_by_counting(context, question, frame):
    table = frame(question, "layer_profile")
    sets = profile_groups(context)["facts"]
    shares: dict[int, list[list[float]]] = {}
    for query in range(sets.n_queries):
        layer = sets.of(query) // sets.n_neurons
        if len(layer):
            count = np.bincount(layer, minlength=sets.n_layers) / len(layer)
            shares.setdefault(int(sets.queries["fact"][query]), []).append(count.tolist())
    expected = np.mean([np.mean(of_fact, axis=0) for of_fact in shares.values()], axis=0)
    here = table[table.group == "facts"]
    assert here.share.tolist() == pytest.approx(expected.tolist())
    assert set(here.facts) == {len(shares)}
    best = int(np.argmax(expected))
    assert question.answer.startswith(f"For facts, layer {best} of 0–{sets.n_layers - 1} holds the most, ")


def test_groups_are_known_facts_and_preferred_pairs(context):
    groups, queries = profile_groups(context), context.sets.queries
    leaks = context.sets.facts["leaks"][queries["fact"]]
    pair = queries["kind"] == "minimal_pair"
    assert groups["facts"].n_queries == np.sum(queries["known"] & ~pair & ~leaks)
    assert groups["minimal pairs"].n_queries == np.sum(queries["preferred"] & pair)


def test_no_neurons_no_profile(plan):
    empty = simulate(facts=4, relations=1, templates=3, empty=1.0, seed=1)
    question = layers_question(AnalysisContext(empty, plan))
    assert question.answer == "No known query has knowledge neurons, so there is no profile."
    assert question.tables[0].columns == dict.fromkeys(question.tables[0].columns, ())
