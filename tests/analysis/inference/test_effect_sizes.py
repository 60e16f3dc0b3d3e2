"""Effect sizes and their intervals against scipy, statsmodels, golden values and simulations."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import Table2x2

from qloc.analysis.inference.effect_sizes import hedges_g, hedges_g_interval, odds_ratio, rank_biserial


def test_rank_biserial_is_that_of_wilcoxon(rng):
    x = rng.normal(0.4, 1, 30)
    ranks = stats.rankdata(np.abs(x))
    expected = (ranks[x > 0].sum() - ranks[x < 0].sum()) / ranks.sum()
    found = rank_biserial(x, (np.arange(30),))
    assert found.value == pytest.approx(expected, rel=1e-12)
    w = stats.wilcoxon(x, alternative="greater").statistic
    assert found.value == pytest.approx(2 * w / ranks.sum() - 1, rel=1e-12)
    assert found.interval is not None
    assert -1 <= found.interval.low < found.value < found.interval.high <= 1


def test_effects_of_nothing():
    assert np.isnan(rank_biserial(np.array([np.nan, 0.0]), (np.arange(2),)).value)
    assert np.isnan(hedges_g(np.array([1.0]), np.array([2.0, 3.0])))
    assert np.isnan(hedges_g(np.ones(3), np.ones(3)))


def test_hedges_g_golden():
    # By hand: means 2 and 4, pooled variance (2·1 + 2·4)/4 = 2.5, J = 1 − 3/15.
    assert hedges_g(np.array([1.0, 2, 3]), np.array([2.0, 4, 6])) == pytest.approx(-2 / np.sqrt(2.5) * 0.8)


def test_odds_ratio_is_that_of_statsmodels(rng):
    """One fact a cluster: Woolf's interval, but for t and G/(G − 1); 400 facts leave 1% between them."""
    a = rng.random(400) < 0.4
    b = np.where(a, rng.random(400) < 0.6, rng.random(400) < 0.3)
    table = np.array([[np.sum(a & b), np.sum(a & ~b)], [np.sum(~a & b), np.sum(~a & ~b)]]) + 0.5
    theirs = Table2x2(table)
    ours = odds_ratio(a, b, (np.arange(400),))
    assert ours.value == pytest.approx(theirs.oddsratio)
    assert ours.interval is not None
    low, high = theirs.oddsratio_confint()
    assert np.log([ours.interval.low, ours.interval.high]) == pytest.approx(np.log([low, high]), rel=0.01)


def test_interval_of_hedges_g_covers(rng):
    """400 simulations of 25 and 35 values half a deviation apart; 95% nominal, 99% binomial bound."""
    hits = 0
    for _ in range(400):
        first, second = rng.normal(0.5, 1, 25), rng.normal(0, 1, 35)
        ends = hedges_g_interval(first, second)
        assert ends is not None
        assert ends.low < hedges_g(first, second) < ends.high
        hits += ends.low <= 0.5 <= ends.high
    assert stats.binomtest(hits, 400, 0.95).pvalue > 0.01
    assert hedges_g_interval(np.ones(3), np.ones(3)) is None


def test_an_odds_ratio_without_facts_is_one_without_interval():
    nothing = np.zeros(0, dtype=bool)
    found = odds_ratio(nothing, nothing, (np.zeros(0, dtype=int),))
    assert (found.value, found.interval) == (1.0, None)
