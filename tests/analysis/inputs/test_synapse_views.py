"""What was viewed under suppressed synapses, beside what signals and attention have of the same queries."""

import numpy as np
import pytest
from viewed_study import viewed

from qloc.analysis.inputs.synapse_views import N_HEADS, SynapseViews
from qloc.simulation.simulate import simulate

FACTS = [2, 9]


@pytest.fixture(scope="module")
def plain():
    return simulate(facts=20, relations=2, templates=4, seed=6)


@pytest.fixture(scope="module")
def study(plain):
    return viewed(plain, FACTS)


def queries_of(study, fact):
    return np.flatnonzero(study.column("queries", "fact") == fact)


def test_only_viewed_facts_can_be_asked_for(plain, study):
    views = SynapseViews(study)
    assert [views.has(queries_of(study, fact)) for fact in (2, 3, 9)] == [True, False, True]
    assert not views.has(np.concatenate([queries_of(study, 2), queries_of(study, 3)]))
    assert not views.has(np.zeros(0, dtype=np.int64))
    assert not SynapseViews(plain).has(queries_of(plain, 2))


def test_values_are_those_of_both_groups(study):
    """Halved activations and doubled gradients have the product of before; the largest of a query is 1."""
    queries = queries_of(study, 2)
    panel = study.signals["panel_neuron"].values[2]
    n = min(int((panel >= 0).sum()), 40)
    values = SynapseViews(study).values(queries, panel[:n].astype(np.int64))
    before, after = values["activation"]
    np.testing.assert_allclose(before, study.signals["activation"].values[queries][:, :n], rtol=1e-6)
    np.testing.assert_allclose(after, before / 2, rtol=1e-6)
    shares = values["attribution"]
    np.testing.assert_allclose(shares[1], shares[0], rtol=1e-5)
    largest = shares[0].max(axis=1)
    np.testing.assert_allclose(largest[~np.isnan(largest)], 1.0)


def test_neurons_that_were_not_viewed_are_missing(study):
    queries = queries_of(study, 9)
    panel = study.signals["panel_neuron"].values[9]
    elsewhere = np.setdiff1d(np.arange(10_000), panel)[:1]
    for both in SynapseViews(study).values(queries, elsewhere).values():
        assert all(np.isnan(values).all() for values in both)


def test_attention_is_of_the_heads_that_give_most_to_synapses(study):
    query = int(queries_of(study, 9)[0])
    found = SynapseViews(study).attended(query)
    assert found is not None
    n = int(study.attention["length"].values[query])
    assert found.tokens == tuple(f" token{place}" for place in range(n))
    assert found.attention.shape == found.synapse.shape == (len(found.heads), n)
    row = study.attention["target_row"].values[query].astype(float)
    synapse = study.synapse_views["synapse"].values[query] == 1
    given = np.where(synapse, row, 0)[:, :, :n].sum(axis=2)
    assert len(found.heads) == min(N_HEADS, int((given > 0).sum()))
    for place, head in enumerate(found.heads):
        np.testing.assert_array_equal(found.attention[place], row[head][:n])
        np.testing.assert_array_equal(found.synapse[place], synapse[head][:n])
    least = min(given[head] for head in found.heads)
    others = [given[head] for head in np.ndindex(given.shape) if head not in found.heads]
    assert max(others, default=0) <= least
