"""H3: halves by definition, reliability against Spearman–Brown, p against every permutation."""

from dataclasses import replace
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.label_codes import codes
from qloc.analysis.inference.means import mean_by
from qloc.analysis.localization.consistency import (
    answer_codes,
    considered,
    consistency,
    filled,
    relation_codes,
)
from qloc.analysis.localization.reliability import (
    SPEARMAN_BROWN,
    Halves,
    _scores,
    correlation_interval,
    halves_of,
    kappa_error,
    reliability,
    reliability_interval,
    reliability_test,
    spearman_brown,
    split_p,
    stable_consistency,
)
from qloc.simulation.planted import plant

DRAWS = Draws(n_permutations=99)


def dice(a, b):
    return 2 * len(a & b) / (len(a) + len(b))


def as_sets(sets):
    return [set(sets.of(query).tolist()) for query in range(sets.n_queries)]


def test_halves_by_definition(deep):
    """Each half's κ, written out: pairs of queries within the half, less their cell's mean, over 1 − D₀."""
    used = filled(considered(deep))
    halves = halves_of(used, n_splits=1, seed=3)
    d0 = consistency(deep).D0.values
    sets, q = as_sets(used), used.queries
    pairs = [
        (i, j)
        for f in range(used.n_facts)
        for i, j in combinations(np.flatnonzero(q["fact"] == f), 2)
        if q["template"][i] != q["template"][j]
    ]
    cell: dict[frozenset[str], list[float]] = {}
    for i, j in pairs:
        cell.setdefault(frozenset([q["template"][i], q["template"][j]]), []).append(dice(sets[i], sets[j]))
    possible = []
    for fact in halves.facts[halves.stratum == halves.stratum[0]][:2]:
        own = np.flatnonzero(q["fact"] == fact)
        chance = d0[fact]
        score = {
            (i, j): (dice(sets[i], sets[j]) - np.mean(cell[frozenset([q["template"][i], q["template"][j]])]))
            / (1 - chance)
            for i, j in combinations(own, 2)
        }
        possible.append(
            [
                [
                    np.mean([score[p] for p in combinations(sorted(side), 2)])
                    for side in (half, {*own} - {*half})
                ]
                for half in combinations(own, len(own) // 2)
            ]
        )
    # Which half a query is in is drawn; the two facts' halves differ as those of some two splits do.
    places = np.flatnonzero(halves.stratum == halves.stratum[0])[:2]
    ours = np.array([halves.first[0, places], halves.second[0, places]])
    differences = np.array(possible[0])[:, None] - np.array(possible[1])[None]
    assert np.abs(differences - (ours[:, 0] - ours[:, 1])).max(axis=2).min() < 1e-12


def test_strata_are_relation_answer_and_number_of_queries(deep):
    used = filled(considered(deep))
    halves = halves_of(used, n_splits=2)
    k = np.bincount(used.queries["fact"], minlength=used.n_facts)
    label = [(used.facts["relation"][f], used.facts["object"][f], int(k[f])) for f in halves.facts]
    assert len(set(label)) == len(np.unique(halves.stratum))
    assert all(
        len({label[m] for m in np.flatnonzero(halves.stratum == s)}) == 1 for s in np.unique(halves.stratum)
    )
    assert min(k[halves.facts]) >= 4
    assert min(np.bincount(halves.stratum)) >= 2


def test_reliability_is_spearman_brown_of_the_correlation():
    """With one split and equal spread of both halves, Pearson's r; its reliability 2r/(1 + r)."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=200)
    y = 0.5 * x + rng.normal(size=200)
    x, y = ((v - v.mean()) / v.std() for v in (x, y))
    halves = Halves(
        facts=np.arange(200), stratum=np.zeros(200, dtype=int), first=x[None], second=y[None], n_alone=0
    )
    r = np.corrcoef(x, y)[0, 1]
    value, parts = reliability(halves)
    assert value == pytest.approx(r)
    assert parts.mean() == pytest.approx(value)
    assert spearman_brown(value) == pytest.approx(2 * r / (1 + r))
    ends = correlation_interval(value, parts, (np.arange(200),), 0.95)
    assert ends is not None
    # Of independent facts, near the textbook's artanh r ± 1.96/√(n − 3).
    assert np.arctanh([ends.low, ends.high]) == pytest.approx(
        np.arctanh(r) + np.array([-1, 1]) * 1.96 / np.sqrt(197), rel=0.25
    )


@pytest.mark.parametrize("r", [-0.99, -0.4, 0.0, 0.4, 0.97])
def test_reliabilities_and_their_intervals_stay_within_their_range(r):
    """A few facts whose halves agree, or contradict each other, as strongly as they can."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1, 8))
    y = r * x + np.sqrt(1 - r**2) * rng.normal(size=(1, 8)) * 0.3
    halves = Halves(facts=np.arange(8), stratum=np.zeros(8, dtype=int), first=x, second=y, n_alone=0)
    value, parts = reliability(halves)
    ends = reliability_interval(correlation_interval(value, parts, (np.arange(8),), 0.95))
    assert ends is not None
    assert -1 < ends.low < spearman_brown(value) < ends.high < 1


def test_split_p_is_the_mean_of_the_splits_own():
    rng = np.random.default_rng(2)
    stratum = np.repeat(np.arange(4), 3)
    first, second = rng.normal(size=(2, 2, 12))
    same: dict[str, Any] = {"facts": np.arange(12), "stratum": stratum, "n_alone": 0}
    both = split_p(Halves(first=first, second=second, **same), n_permutations=199, seed=1)[0]
    single = [
        split_p(Halves(first=first[s : s + 1], second=second[s : s + 1], **same), n_permutations=199, seed=1)[
            0
        ]
        for s in range(2)
    ]
    assert both == pytest.approx(np.mean(single))


def test_split_p_against_every_permutation():
    """Two strata of three: all 36 permutations; 999 drawn ones come within Monte Carlo error (4 s.e.)."""
    rng = np.random.default_rng(4)
    first, second = rng.normal(size=(2, 1, 6))
    halves = Halves(facts=np.arange(6), stratum=np.repeat([0, 1], 3), first=first, second=second, n_alone=0)
    orders = [[*a, *(3 + i for i in b)] for a in permutations(range(3)) for b in permutations(range(3))]
    exact = np.mean([first[0] @ second[0, o] >= first[0] @ second[0] - 1e-12 for o in orders])
    p, opposite = split_p(halves, n_permutations=999)
    assert opposite == min(1.0, 2 * split_p(replace(halves, first=-halves.first), n_permutations=999)[0])
    assert abs(p - exact) < 4 * np.sqrt(exact * (1 - exact) / 999) + 2e-3


def test_without_facts_or_spread_there_is_no_reliability():
    none = Halves(
        facts=np.zeros(0, dtype=int), stratum=np.zeros(0, dtype=int), first=np.zeros((2, 0)),
        second=np.zeros((2, 0)), n_alone=0,
    )  # fmt: skip
    assert np.isnan(reliability(none)[0])
    assert np.isnan(split_p(none, n_permutations=9)).all()
    flat = Halves(facts=np.arange(3), stratum=np.zeros(3, dtype=int), first=np.zeros((1, 3)),
                  second=np.zeros((1, 3)), n_alone=0)  # fmt: skip
    value, parts = reliability(flat)
    assert np.isnan([value, *parts]).all()


def test_stable_consistency_finds_facts_that_differ(deep):
    result = stable_consistency(deep, draws=DRAWS, n_splits=5)
    assert result.verdict == "holds"
    assert result.interval is not None
    assert 0 < result.interval.low < result.estimate < 1
    assert result == stable_consistency(deep, draws=DRAWS, n_splits=5)


def test_stability_needs_facts_to_compare(make_sets):
    rows = [(f, f"t{t}", f"a{f}", [f, t]) for f in range(3) for t in range(5)]
    result = stable_consistency(make_sets(rows))
    assert (result.verdict, result.p, result.n["facts"]) == ("not identified", None, 0)
    assert result.checks[1].startswith("3 facts with four queries or more have no other")


def test_sizes_and_hubs_are_no_stable_consistency_but_own_neurons_are(make_sets):
    """60 facts of 3 answers, sets drawn anew for each query: facts' sets differ in size, or have own neurons."""
    rng = np.random.default_rng(2)
    size, some = rng.uniform(0.05, 0.5, 60), rng.random(60) < 0.5
    chance = {
        "sizes": np.repeat(size[:, None], 32, axis=1),
        "own": np.where(some[:, None] & (rng.random((60, 32)) < 0.2), 0.7, 0.15),
    }
    larger = {}
    for name, share in chance.items():
        rows = [
            (
                f,
                f"t{t}",
                f"a{f % 3}",
                np.flatnonzero((rng.random(32) < share[f]) | (np.arange(32) == rng.integers(32))),
            )
            for f in range(60)
            for t in range(6)
        ]
        sets = make_sets(rows)
        kappa, net = (
            split_p(halves_of(sets, n_splits=4, net=net), n_permutations=99)[0] for net in (False, True)
        )
        larger[name] = max(kappa, net)
        assert reliability_test(sets, n_splits=4, draws=DRAWS).p == larger[name]
        assert kappa < 0.05
    assert larger["sizes"] > 0.1
    assert larger["own"] < 0.05


def test_the_result_says_what_was_drawn(deep):
    result = reliability_test(filled(considered(deep)), n_splits=3, draws=Draws(n_permutations=19, seed=7))
    assert result.method == (
        "halves permuted within relation × answer × k, one-sided, 19 permutations; p is the mean over 3 splits, "
        "of κ or of κ net of set sizes and popularity: the larger p"
    )
    assert (result.name, result.seed, result.checks[0]) == ("H3", 7, SPEARMAN_BROWN)
    assert result.checks[-1] == "3 relations: the interval speaks for few clusters."
    assert result.effect is not None
    assert result.effect.value == pytest.approx(result.estimate / (2 - result.estimate))


@pytest.mark.parametrize("templates", [4, 5, 8])
@pytest.mark.parametrize("strength", [0.0, 0.3])
def test_the_error_of_kappa_is_its_variance_between_facts_that_are_alike(templates, strength):
    """Facts of one relation, answer and templates that share neurons with the same probability: κ varies by error.

    A variance of 500 facts has a standard error of 6%, more with the long tails of κ, which is a ratio of sums
    besides, and not the mean over pairs.
    """
    planting: dict[str, Any] = {"facts": 600, "relations": 3, "answers_per_relation": 2, "one_to_one": 0}
    planting |= {"template_strength": strength, "fact_strength": strength, "n_neurons": 128, "seed": 1}
    sets = plant(templates=templates, known=1.0, missing=0.0, **planting).sets()
    kappa, error = consistency(sets).kappa.values, kappa_error(filled(considered(sets)))
    there = np.isfinite(error) & np.isfinite(kappa)
    assert there.sum() > 400
    kappa, stratum = kappa[there], codes(relation_codes(sets)[1], answer_codes(sets))[there]
    spread = np.sum((kappa - mean_by(kappa, stratum, len(kappa))[stratum]) ** 2) / (len(kappa) - 6)
    assert error[there].mean() / spread == pytest.approx(1, abs=0.25)


def test_the_error_of_kappa_by_definition(deep):
    """U² less the mean of products of pairs that have no query in common, whatever the order of queries."""
    used = filled(considered(deep))
    pairs, score = _scores(used, net=False)
    error = kappa_error(used)
    for fact in np.unique(pairs.fact)[:5]:
        own = np.flatnonzero(pairs.fact == fact)
        products = [
            score[p] * score[q]
            for p in own
            for q in own
            if not {pairs.first[p], pairs.second[p]} & {pairs.first[q], pairs.second[q]}
        ]
        expected = score[own].mean() ** 2 - np.mean(products) if products else np.nan
        np.testing.assert_allclose(error[fact], expected, rtol=1e-9, atol=1e-12)
    order = np.random.default_rng(0).permutation(used.n_queries)
    queries = {name: column[order] for name, column in used.queries.items()}
    shuffled = replace(used, member=used.member[order], queries=queries)
    np.testing.assert_allclose(kappa_error(shuffled), error, rtol=1e-9, atol=1e-12)


def test_facts_of_few_queries_have_no_error_of_kappa():
    assert np.isnan(kappa_error(plant(facts=20, relations=2, templates=3, seed=1).sets())).all()
