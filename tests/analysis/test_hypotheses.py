"""H2, H3, H4, H9 and H10 against definitions written out, and what they say where nothing can be said."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import qloc
from qloc.analysis.inference.draws import Draws
from qloc.analysis.localization.across_methods import across_methods, method_pairs
from qloc.analysis.localization.behaviour import OUTCOMES, behaviour_test
from qloc.analysis.localization.consistency import considered, consistency, filled
from qloc.analysis.localization.fact_columns import behaviour, fact_columns, same_answer, same_candidate
from qloc.analysis.localization.kinds_of_facts import (
    GRID,
    Counts,
    bootstrapped,
    counts_of,
    deconvolved,
    likelihood_ratio,
    log_likelihoods,
    spread_of,
)
from qloc.analysis.localization.method_agreement import agreement, agreement_test
from qloc.analysis.localization.multiverse import cell_of, multiverse, sample_of
from qloc.analysis.localization.pairwise_dice import dice_of_rows
from qloc.analysis.localization.query_subsets import subset_scores
from qloc.analysis.localization.reliability import Halves, halves_of, reliability, split_p
from qloc.simulation.planted import plant
from qloc.simulation.simulate import simulate

DRAWS = Draws(n_permutations=99, n_bootstrap=99)


def dice(a, b):
    return 2 * len(a & b) / (len(a) + len(b))


def as_sets(sets):
    return [set(sets.of(query).tolist()) for query in range(sets.n_queries)]


@pytest.fixture(scope="module")
def deep():
    """Facts that differ in how consistent they are, and many with the same relation, answer and k."""
    return plant(
        facts=120, relations=3, templates=6, answers_per_relation=2, n_neurons=64, one_to_one=0, known=0.95,
        missing=0.03, fact_strength=0.3, fact_spread=1.0, seed=5,
    ).sets()  # fmt: skip


# H2 --------------------------------------------------------------------------------------------------------


def test_share_of_inconsistent_subsets_is_a_mean_over_facts(planted):
    used = filled(considered(planted))
    share = subset_scores(used.member, used.queries["fact"].astype(int), used.n_facts, [3], 0.2).below_cs2
    found = qloc.hypotheses.inconsistent_share(planted, cut=0.2)
    assert found.estimate == pytest.approx(np.nanmean(share))
    assert found.n["facts"] == int(np.sum(~np.isnan(share)))
    assert (found.verdict, found.p) == ("descriptive", None)
    assert found.interval.low <= found.estimate <= found.interval.high


def test_all_and_any_method_by_hand():
    """Two relations; k alike: expected shares are products within each."""
    scores = {"a": np.array([0.0, 0.0, 0.9, 0.9, 0.0, np.nan]), "b": np.array([0.0, 0.9, 0.0, 0.9, 0.0, 0.0])}
    relation, answer = np.array([0, 0, 0, 0, 1, 1]), np.arange(6)
    found = across_methods(scores, 0.5, np.full(6, 4), (relation, answer)).set_index("called")
    assert found.facts.tolist() == [5, 5]
    # Relation 0: one of four by both, a half by each; relation 1: its one fact by both.
    assert found.ki["under all methods"] == pytest.approx(2 / 5)
    assert found.expected["under all methods"] == pytest.approx((4 * 0.25 + 1) / 5)
    assert found.ki["under any method"] == pytest.approx(4 / 5)
    assert found.expected["under any method"] == pytest.approx((4 * 0.75 + 1) / 5)
    assert found.excess.tolist() == pytest.approx([0, 0])


def test_excess_is_centred_in_its_interval(rng):
    relation, answer = np.repeat(np.arange(10), 20), rng.integers(50, size=200)
    a = rng.random(200)
    scores = {"a": a, "b": np.where(rng.random(200) < 0.5, a, rng.random(200))}
    found = across_methods(scores, 0.4, np.full(200, 5), (relation, answer))
    assert ((found.low + found.high) / 2).tolist() == pytest.approx(found.excess.tolist())
    assert found.low[0] > 0 > found.high[1]


def test_odds_ratio_of_methods_by_hand():
    scores = {"a": np.array([0.0, 0.0, 0.9, 0.9, 0.9]), "b": np.array([0.0, 0.9, 0.9, 0.9, 0.9])}
    found = method_pairs(scores, 0.5, (np.arange(5), np.arange(5)))
    assert found.odds_ratio.tolist() == pytest.approx([(1.5 * 3.5) / (1.5 * 0.5)])
    assert found.methods.tolist() == ["a and b"]


# H3 --------------------------------------------------------------------------------------------------------


def test_halves_by_definition(deep):
    """Each half's κ, written out: pairs of queries within the half, less their cell's mean, over 1 − D₀."""
    used = filled(considered(deep))
    halves = halves_of(used, n_splits=1, seed=3)
    d0 = consistency(deep).D0
    sets, q = as_sets(used), used.queries
    pairs = [
        (i, j)
        for f in range(used.n_facts)
        for i, j in combinations(np.flatnonzero(q["fact"] == f), 2)
        if q["template"][i] != q["template"][j]
    ]
    cell = {}
    for i, j in pairs:
        cell.setdefault(frozenset([q["template"][i], q["template"][j]]), []).append(dice(sets[i], sets[j]))
    possible = []
    for fact in halves.facts[halves.stratum == halves.stratum[0]][:2]:
        own = np.flatnonzero(q["fact"] == fact)
        chance = float(d0.sel(relation=used.facts["relation"][fact]))
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
    """With one split and equal spread of both halves, 2r/(1 + r) of Pearson's r."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=200)
    y = 0.5 * x + rng.normal(size=200)
    x, y = ((v - v.mean()) / v.std() for v in (x, y))
    halves = Halves(
        facts=np.arange(200), stratum=np.zeros(200, dtype=int), first=x[None], second=y[None], n_alone=0
    )
    r = np.corrcoef(x, y)[0, 1]
    value, parts = reliability(halves)
    assert value == pytest.approx(2 * r / (1 + r))
    assert parts.mean() == pytest.approx(value)


def test_split_p_is_the_mean_of_the_splits_own():
    rng = np.random.default_rng(2)
    stratum = np.repeat(np.arange(4), 3)
    first, second = rng.normal(size=(2, 2, 12))
    given = {"facts": np.arange(12), "stratum": stratum, "n_alone": 0}
    both = split_p(Halves(first=first, second=second, **given), n_permutations=199, seed=1)
    single = [
        split_p(Halves(first=first[s : s + 1], second=second[s : s + 1], **given), n_permutations=199, seed=1)
        for s in range(2)
    ]
    assert both == pytest.approx(np.mean(single))


def test_split_p_against_every_permutation():
    """Two strata of three: all 36 permutations; 999 drawn ones come within Monte Carlo error (4 s.e.)."""
    rng = np.random.default_rng(4)
    first, second = rng.normal(size=(2, 1, 6))
    halves = Halves(facts=np.arange(6), stratum=np.repeat([0, 1], 3), first=first, second=second, n_alone=0)
    from itertools import permutations

    orders = [[*a, *(3 + i for i in b)] for a in permutations(range(3)) for b in permutations(range(3))]
    exact = np.mean([first[0] @ second[0, o] >= first[0] @ second[0] - 1e-12 for o in orders])
    p = split_p(halves, n_permutations=999)
    assert abs(p - exact) < 4 * np.sqrt(exact * (1 - exact) / 999) + 2e-3


def test_stable_consistency_finds_facts_that_differ(deep):
    found = qloc.hypotheses.stable_consistency(deep, n_permutations=99, n_splits=5)
    assert found.verdict == "holds"
    assert 0 < found.interval.low < found.estimate < 1
    assert found == qloc.hypotheses.stable_consistency(deep, n_permutations=99, n_splits=5)


def test_stability_needs_facts_to_compare(make_sets):
    rows = [(f, f"t{t}", f"a{f}", [f, t]) for f in range(3) for t in range(5)]
    found = qloc.hypotheses.stable_consistency(make_sets(rows))
    assert (found.verdict, found.p, found.n["facts"]) == ("not identified", None, 0)
    assert found.checks[1].startswith("3 facts with four queries or more have no other")


# H4 --------------------------------------------------------------------------------------------------------


def test_counts_and_likelihood_by_definition(deep):
    used = filled(considered(deep))
    counts = counts_of(used)
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
        found = spread_of(deconvolved(drawn(rng.normal(0, spread, 800), rng)))
        assert found == pytest.approx(spread, rel=0.15)


def test_two_kinds_far_apart_are_told_from_one(rng):
    two = drawn(np.where(rng.random(400) < 0.5, -0.6, 0.6), rng)
    ratio, weights = likelihood_ratio(two)
    assert ratio > max(bootstrapped(two, weights, 19, rng))
    one = drawn(rng.normal(0, 0.4, 400), rng)
    ratio, weights = likelihood_ratio(one)
    assert ratio <= max(bootstrapped(one, weights, 19, rng))


def test_kinds_give_no_verdict(deep):
    found = qloc.hypotheses.kinds_of_facts(deep, n_bootstrap=19)
    assert (found.role, found.verdict, found.p) == ("descriptive", "descriptive", None)
    assert "No verdict" in found.checks[0]


# H9 --------------------------------------------------------------------------------------------------------


def test_agreement_by_definition(planted):
    other = replace(planted, member=planted.member[::-1], method="other")
    found = agreement([planted, other])
    first, second = considered(planted), considered(other)
    keep = (first.sizes() > 0) & (second.sizes() > 0)
    used = [first.select(keep), second.select(keep)]
    a, b = map(as_sets, used)
    q = used[0].queries
    for fact in range(0, planted.n_facts, 7):
        own = np.flatnonzero(q["fact"] == fact)
        if len(own) < 2:
            continue
        pairs = [*combinations(own, 2)]
        between = np.mean([dice(a[i], b[i]) for i in own])
        across = np.mean([np.mean([dice(s[i], s[j]) for i, j in pairs]) for s in (a, b)])
        assert found.difference[fact] == pytest.approx(between - across)


def test_methods_that_are_the_same_agree(study):
    found = qloc.hypotheses.methods_agree(study, n_permutations=99)
    assert found.estimate > 0.5
    assert found.n["relations"] == 4
    assert found.verdict == "holds"  # of these four relations, in which answers are flipped
    assert found.checks[1].startswith("With so few relations, p holds for these relations only")
    budget = qloc.hypotheses.methods_agree(study, top=5, n_permutations=99)
    assert "5.0" in budget.checks[0]


def test_one_method_is_not_identified(study):
    found = qloc.hypotheses.methods_agree(study, methods=["ig"])
    assert (found.verdict, found.p) == ("not identified", None)


def test_equivalence_is_a_verdict_of_its_own(planted):
    """Of each query another's set of its fact: they agree as paraphrases do, and a wide margin shows it."""
    fact = planted.queries["fact"]
    following = np.append(np.arange(1, len(fact)), 0)
    following = np.where(fact[following] == fact, following, np.searchsorted(fact, fact))
    other = replace(planted, member=planted.member[following], method="other")
    wide = agreement_test([planted, other], margin=0.99, draws=DRAWS)
    assert wide.p_equivalence < 0.05 < wide.p
    assert wide.verdict == "does not hold"
    assert "within ±0.99" in wide.sentence()


# H10 -------------------------------------------------------------------------------------------------------


def test_answers_alike_by_definition(study):
    found = behaviour(study)
    fact, said = study.column("queries", "fact"), study.column("queries", "argmax")
    log_p = study.column("queries", "candidate_log_probability").astype(float)
    for f in range(0, 40, 9):
        own = np.flatnonzero(fact == f)
        pairs = [*combinations(own, 2)]
        assert found["agreement"][f] == pytest.approx(np.mean([said[i] == said[j] for i, j in pairs]))
        p = np.nan_to_num(np.exp(log_p[own]))
        p /= p.sum(axis=1, keepdims=True)
        alike = np.mean([p[i] @ p[j] for i, j in combinations(range(len(own)), 2)])
        assert found["candidate_agreement"][f] == pytest.approx(alike)
    assert np.isnan(found["agreement"][40:]).all()  # minimal pairs have one query


def test_answers_are_read_some_facts_at_a_time(rng, monkeypatch):
    """By brute force, in pieces of a few queries, lazy or not, in any order; a query without candidates is NaN."""
    fact = np.sort(rng.integers(12, size=60))
    log_p = np.where(rng.random((60, 5)) < 0.3, np.nan, rng.standard_normal((60, 5)))
    log_p[7] = np.nan
    p = np.nan_to_num(np.exp(log_p))
    with np.errstate(invalid="ignore"):
        p /= p.sum(axis=1, keepdims=True)
    expected = [
        np.mean([p[i] @ p[j] for i, j in combinations(own, 2)]) if len(own) > 1 else np.nan
        for own in (np.flatnonzero(fact == f) for f in range(14))
    ]
    assert np.isnan(expected).any()
    shuffled = rng.permutation(60)
    for piece in (1, 40, 10**6):
        monkeypatch.setattr("qloc.analysis.localization.fact_columns._PIECE", piece)
        for given in (log_p, xr.DataArray(log_p).chunk(16)):
            assert same_candidate(fact, given, 14) == pytest.approx(expected, nan_ok=True)
        found = same_candidate(fact[shuffled], log_p[shuffled], 14)
        assert found == pytest.approx(expected, nan_ok=True)


def test_answers_without_candidates():
    fact = np.array([0, 0])
    assert np.isnan(same_candidate(fact, np.zeros((2, 0)), 1)).all()
    assert same_answer(fact, np.array([3, 3]), 1).tolist() == [1]


def test_columns_of_facts(study):
    frame = fact_columns(study, known=False)
    assert len(frame) == 46 - int(study.neurons().facts["leaks"].sum())
    assert frame.log_frequency.to_numpy() == pytest.approx(np.log(frame.frequency))
    assert {"class", "answer_count", "log_mean_size", "known_share"} <= set(frame)
    assert "log_agreement" not in frame
    counts = frame.groupby(["relation", "object"]).size()
    leaking = study.neurons().facts["leaks"].any()
    assert (
        leaking
        or (
            frame.answer_count.to_numpy() == counts.loc[[*zip(frame.relation, frame.object, strict=True)]]
        ).all()
    )


def test_behaviour_is_least_squares_with_relation_dummies(study):
    import statsmodels.formula.api as smf

    frame = fact_columns(study, known=False).rename(columns={"class": "kind"})
    found = behaviour_test(frame, "agreement", draws=DRAWS)
    rows = frame.dropna(subset=["kappa", "agreement"])
    formula = "agreement ~ kappa + log_probability + log_mean_size + log_answer_count + C(relation)"
    fit = smf.ols(formula, rows).fit()
    assert found.estimate == pytest.approx(fit.params["kappa"], rel=1e-8)
    assert (
        found.checks[0] == "Covariates, within relations: log_probability, log_mean_size, log_answer_count."
    )
    assert found.checks[1] == "Left out, constant within relations: n_tokens."


def test_behaviour_finds_a_planted_slope():
    study = simulate(facts=150, relations=10, templates=4, n_neurons=64, n_heads=0, seed=1)
    frame = fact_columns(study, known=False)
    frame["agreement"] += 2 * frame["kappa"]
    found = behaviour_test(frame, "agreement", draws=DRAWS)
    assert (found.name, found.verdict) == ("H10a", "holds")
    assert found.interval.low < 2 < found.interval.high
    assert found.effect.interval.low > 0


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_behaviour_needs_three_relations_and_variation(outcome):
    frame = pd.DataFrame({"relation": ["a", "a", "b"], "kappa": [0.1, 0.2, 0.3], outcome: [1.0, 2.0, 3.0]})
    found = behaviour_test(frame, outcome)
    assert (found.verdict, found.p) == ("not identified", None)


# Choices ---------------------------------------------------------------------------------------------------


def test_a_multiverse_is_its_cells(study):
    sets = [study.neurons(method, t) for method in study.methods for t in (0.2, 0.4)]
    frame = multiverse([(s.method, t, s) for s, t in zip(sets, (0.2, 0.4, 0.2, 0.4), strict=True)], cut=0.3)
    assert len(frame) == 4 * 2 * 4
    row = frame[(frame.threshold == 0.4) & (frame.queries == "all") & (frame.method == "ig")].set_index(
        "measure"
    )
    scores = consistency(study.neurons("ig", 0.4), known=False)
    assert row.value["kappa"] == pytest.approx(np.nanmean(scores.kappa))
    h1a = qloc.hypotheses.beyond_template(study, threshold=0.4, known=False, n_permutations=99)
    assert row.value["beyond_template"] == pytest.approx(h1a.estimate)
    assert (row.low["beyond_template"], row.high["beyond_template"]) == pytest.approx(
        (h1a.interval.low, h1a.interval.high)
    )


def test_large_studies_are_sampled_by_relation(planted, monkeypatch):
    monkeypatch.setattr("qloc.analysis.localization.multiverse.MOST_FACTS", 20)
    part = sample_of(planted, 0)
    kept = np.unique(part.queries["fact"])
    assert len(kept) == 20
    assert np.unique(planted.facts["relation"][kept], return_counts=True)[1].tolist() == [5, 5, 5, 5]
    whole, sampled = (cell_of(s, known=True, k0=3, cut=0.1) for s in (planted, part))
    both = ~np.isnan(whole[kept, 1])
    assert sampled[kept, 1][both] == pytest.approx(whole[kept, 1][both])


def test_dice_of_rows(planted):
    rows, columns = np.array([0, 3, 5]), np.array([1, 3, 9])
    sets = as_sets(planted)
    found = dice_of_rows(planted.member, planted.member, rows, columns)
    assert found.tolist() == pytest.approx(
        [dice(sets[i], sets[j]) for i, j in zip(rows, columns, strict=True)]
    )
