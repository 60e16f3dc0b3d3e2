"""Measures of models by brute force, and the paired test of one of them."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from qloc.analysis.comparison.measures import MEASURE_SYMBOLS, Measures, few_models, rank_correlation
from qloc.analysis.comparison.studies import Studies
from qloc.analysis.inference.paired import THESE_ALONE, paired_p
from qloc.analysis.inference.skewed_interval import skewed_interval
from qloc.plan import AnalysisPlan

PLAN = AnalysisPlan(n_permutations=199, n_bootstrap=99)


@pytest.fixture(scope="module")
def measures(studies: Studies) -> Measures:
    return Measures(studies, PLAN)


def test_measures_are_those_of_the_common_queries(measures: Measures, studies: Studies) -> None:
    assert set(measures.values) == set(MEASURE_SYMBOLS)
    scores = studies.consistency()
    for model in studies.models:
        np.testing.assert_array_equal(measures.values["kappa"][model], scores["kappa"].sel(model=model))
        np.testing.assert_array_equal(measures.values["dice"][model], scores["D"].sel(model=model))


def test_share_known_is_counted_over_all_common_queries(measures: Measures, studies: Studies) -> None:
    for place, model in enumerate(studies.models):
        for fact in range(studies.facts.sizes["fact"]):
            here = studies.queries["fact"].values == fact
            share = studies.queries["known"].values[place, here].mean()
            expected = np.nan if studies.facts["leaks"].values[fact] else share
            assert measures.values["known"][model][fact] == pytest.approx(expected, nan_ok=True)


def test_inconsistent_share_by_enumeration(measures: Measures) -> None:
    """CS2 of every three queries of a fact: neurons in more than one set, over neurons in any."""
    for model, sets in measures.sets.items():
        member = sets.member.toarray()
        used = sets.queries["known"] & sets.member.toarray().any(axis=1) & (sets.queries["kind"] == "fact")
        for fact in range(0, sets.n_facts, 3):
            rows = np.flatnonzero(used & (sets.queries["fact"] == fact))
            below = [
                (member[list(three)].sum(axis=0) > 1).sum() / member[list(three)].any(axis=0).sum()
                < PLAN.consistency_threshold
                for three in combinations(rows, PLAN.k0)
            ]
            expected = np.mean(below) if below and not sets.facts["leaks"][fact] else np.nan
            assert measures.values["ki"][model][fact] == pytest.approx(expected, nan_ok=True)


def test_a_row_is_of_the_chosen_facts(measures: Measures) -> None:
    here = np.arange(len(measures.values["kappa"]["weak"])) % 2 == 0
    row = measures.row("weak", here, intervals=True)
    kappa = measures.values["kappa"]["weak"]
    interval = skewed_interval(np.where(here, kappa, np.nan), measures.clusters)
    assert interval is not None
    assert row["facts"] == np.sum(here & ~np.isnan(kappa))
    assert row["kappa"] == pytest.approx(np.nanmean(kappa[here]))
    assert (row["kappa_low"], row["kappa_high"]) == pytest.approx((interval.low, min(interval.high, 1.0)))
    for name in ("dice", "ki", "known"):
        assert 0 <= row[f"{name}_low"] <= row[name] <= row[f"{name}_high"] <= 1
    assert set(measures.row("weak", here, intervals=False)) == {"facts", *MEASURE_SYMBOLS}


def test_a_difference_is_paired_by_fact(measures: Measures) -> None:
    """The third measure draws from stream [seed, 45, 2]; four tests of two models share the level."""
    found = measures.test("ki", "weak", "strong")
    difference = measures.values["ki"]["strong"] - measures.values["ki"]["weak"]
    kept = ~np.isnan(difference)
    relation, answer = (way[kept] for way in measures.clusters)
    assert measures.n_tests == 4
    p, words = paired_p(
        difference[kept],
        (relation, answer),
        n_permutations=199,
        rng=np.random.default_rng([PLAN.seed, 45, 2]),
        alternative="two-sided",
        level=PLAN.alpha / 4,
    )
    assert (found.p, found.method) == (p, f"{words}, two-sided")
    assert found.name == "K_I(k₀), strong − weak"
    assert found.estimate == pytest.approx(difference[kept].mean())
    assert found.n == {"relations": 6, "facts": kept.sum()}
    assert (found.verdict, found.role) == ("undecided", "exploratory")
    assert found.checks == (few_models(2), THESE_ALONE)


def test_the_family_is_all_measures_of_all_pairs(pair) -> None:
    three = Studies({"a": pair[0], "b": pair[1], "c": pair[0]})
    assert Measures(three, PLAN).n_tests == 12


def test_nothing_to_compare_is_not_identified(pair) -> None:
    queries = pair[0].queries.assign(known=("query", np.zeros_like(pair[0].column("queries", "known"))))
    unknown = replace(pair[0], datasets={**pair[0].datasets, "queries": queries})
    found = Measures(Studies({"a": unknown, "b": pair[1]}), PLAN).test("kappa", "a", "b")
    assert (found.verdict, found.p, found.interval) == ("not identified", None, None)
    assert found.n == {"relations": 0, "facts": 0}


def test_rank_correlation_is_spearmans(rng) -> None:
    a, b = rng.normal(size=20), rng.normal(size=20)
    a[3], b[7] = np.nan, np.nan
    both = ~np.isnan(a + b)
    assert rank_correlation(a, b) == pytest.approx(stats.spearmanr(a[both], b[both]).statistic)
    assert np.isnan(rank_correlation(a, np.ones(20)))
    assert np.isnan(rank_correlation(a[:2], b[:2]))


def test_minimal_pairs_count_only_where_nothing_else_is_common(with_pairs) -> None:
    """The share known of a paradigm is none of facts; in a study of pairs alone it is theirs."""
    paradigm = ("R01", "R04")
    mixed = Measures(with_pairs(paradigm), PLAN)
    relation = mixed.studies.facts["relation"].values
    facts = ~np.isin(relation, paradigm)
    leaks = mixed.studies.facts["leaks"].values
    np.testing.assert_array_equal(mixed.of_facts, facts)
    for values in mixed.values["known"].values():
        np.testing.assert_array_equal(np.isnan(values), leaks | ~facts)
    assert mixed.test("known", "a", "b").n == {
        "relations": len(np.unique(relation[facts & ~leaks])),
        "facts": np.sum(facts & ~leaks),
    }
    alone = Measures(with_pairs(np.unique(relation).tolist()), PLAN)
    assert alone.test("known", "a", "b").n["facts"] == np.sum(~leaks)
