"""H4: counts and likelihood by definition, deconvolution of planted spreads, two kinds against one."""

import numpy as np
import pytest

from qloc.analysis.inference.draws import Draws
from qloc.analysis.localization.consistency import considered, filled
from qloc.analysis.localization.kinds_of_facts import (
    GRID,
    Counts,
    bootstrapped,
    components_p,
    deconvolved,
    kinds_of_facts,
    kinds_test,
    likelihood_ratio,
    log_likelihoods,
    recurrence_counts,
    sampled,
    spread_of,
)


def as_sets(sets):
    return [set(sets.of(query).tolist()) for query in range(sets.n_queries)]


def test_counts_and_likelihood_by_definition(deep):
    used = filled(considered(deep))
    counts = recurrence_counts(used)
    sets = as_sets(used)
    for place in range(0, len(counts.facts), 25):
        own = [sets[i] for i in np.flatnonzero(used.queries["fact"] == counts.facts[place])]
        c = [sum(n in s for s in own) for n in set.union(*own)]
        assert np.bincount(c, minlength=7)[1:].tolist() == counts.histogram[place].tolist()
        usual = counts.usual()[counts.stratum[place]]
        by_hand = [
            sum(
                np.log(usual[m - 1] * np.exp(t * (m - 1)) / (usual * np.exp(t * np.arange(6))).sum())
                for m in c
            )
            for t in GRID
        ]
        ours = log_likelihoods(counts)[place]
        assert ours == pytest.approx(np.array(by_hand) - max(by_hand), abs=1e-8)
    assert np.bincount(counts.stratum).min() >= 10


def drawn(theta, rng):
    """Facts of 25 neurons each, in one stratum, with these tilts."""
    usual = np.array([0.6, 0.2, 0.1, 0.06, 0.04])
    tilted = usual * np.exp(theta[:, None] * np.arange(5))
    histogram = rng.multinomial(25, tilted / tilted.sum(axis=1, keepdims=True))
    return Counts(facts=np.arange(len(theta)), stratum=np.zeros(len(theta), dtype=int), histogram=histogram)


def test_deconvolution_recovers_the_spread(rng):
    """Sampling error of the spread over 800 facts is below 0.02; smoothing flattens a little: 15%."""
    for spread in (0.3, 0.5):
        estimate = spread_of(deconvolved(drawn(rng.normal(0, spread, 800), rng)))
        assert estimate == pytest.approx(spread, rel=0.15)


def test_two_kinds_far_apart_are_told_from_one(rng):
    two = drawn(np.where(rng.random(400) < 0.5, -0.6, 0.6), rng)
    ratio, weights = likelihood_ratio(two)
    assert ratio > max(bootstrapped(two, weights, 19, rng))
    one = drawn(rng.normal(0, 0.4, 400), rng)
    ratio, weights = likelihood_ratio(one)
    assert ratio <= max(bootstrapped(one, weights, 19, rng))


def test_spread_by_hand():
    two = np.zeros(len(GRID))
    two[[np.abs(GRID - theta).argmin() for theta in (-1.0, 1.0)]] = 0.5
    assert spread_of(two) == pytest.approx(1)
    one = np.zeros(len(GRID))
    one[7] = 1
    assert spread_of(one) == pytest.approx(0, abs=1e-6)


def test_usual_counts_are_smoothed_up_to_the_largest_one_seen():
    """Half a neuron for each count up to 2, the largest of the stratum; none for 3."""
    histogram = np.array([[3, 1, 0], [2, 0, 0]])
    counts = Counts(facts=np.arange(2), stratum=np.zeros(2, dtype=int), histogram=histogram)
    assert counts.usual().tolist() == [pytest.approx([5.5 / 7, 1.5 / 7, 0])]


def test_p_is_that_of_the_bootstrap(rng):
    counts = drawn(rng.normal(0, 0.3, 60), rng)
    ratio, p = components_p(counts, Draws(n_bootstrap=9, seed=3))
    assert ratio == likelihood_ratio(counts)[0]
    assert p in [pytest.approx(n / 10) for n in range(1, 11)]
    assert (ratio, p) == components_p(counts, Draws(n_bootstrap=9, seed=3))


def test_many_facts_are_sampled(rng, monkeypatch):
    counts = drawn(np.zeros(30), rng)
    assert sampled(counts, 0) is counts
    monkeypatch.setattr("qloc.analysis.localization.kinds_of_facts.MOST_BOOTSTRAPPED_FACTS", 12)
    part = sampled(counts, 1)
    assert len(np.unique(part.facts)) == 12
    assert part.histogram.tolist() == counts.histogram[part.facts].tolist()
    assert part.facts.tolist() == sampled(counts, 1).facts.tolist() != sampled(counts, 2).facts.tolist()


def test_kinds_give_no_verdict(deep):
    result = kinds_of_facts(deep, draws=Draws(n_bootstrap=19))
    assert (result.role, result.verdict, result.p) == ("descriptive", "descriptive", None)
    assert result.checks[0].startswith(
        "Two components against one, by parametric bootstrap of 19 samples; p-value: "
    )
    assert "No verdict" in result.checks[0]


def test_too_few_facts_of_one_k_are_not_defined(make_sets):
    result = kinds_test(make_sets([(f, t, "a", [f]) for f in range(9) for t in "st"]))
    assert result.checks == ("No relation has 10 facts of the same number of queries: not defined.",)
    assert np.isnan(result.estimate)
    assert (result.n["facts"], result.effect) == (0, None)
