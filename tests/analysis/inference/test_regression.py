"""Clustered slopes and design matrices against statsmodels and by hand."""

import numpy as np
import pytest
import statsmodels.formula.api as smf
from scipy import stats

from qloc.analysis.inference.cluster_error import slope_error, t_words
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.regression import clustered_slopes, few_answers_in_words, independent, within
from qloc.analysis.inference.relation_effects import unskewed
from qloc.analysis.inference.skewed_interval import farther
from qloc.analysis.inference.wild_bootstrap import wild_test


def test_within_is_least_squares_on_dummies(frame):
    y, x = frame.y.to_numpy(), frame[["x", "z"]].to_numpy()
    inside = within(np.column_stack([y, x]), frame.g.to_numpy())
    slope = clustered_slopes(inside[:, 0], inside[:, 1:], (frame.g.to_numpy(),), [0], Draws(n_bootstrap=99))[
        0
    ]
    assert slope.estimate == pytest.approx(smf.ols("y ~ x + z + C(g)", frame).fit().params["x"])


def test_independent_columns():
    x = np.array([[1.0, 0, 1, 0], [0, 1, 1, 0], [1, 1, 2, 0]])
    assert independent(x) == [0, 1]


@pytest.mark.parametrize("n_clusters", [15, 50])
def test_slopes_take_the_larger_p_of_t_and_bootstrap_whatever_the_number_of_clusters(frame, n_clusters):
    """The bootstrap of one column is drawn from a stream of its own: [seed, 60, column]."""
    x = np.column_stack([np.ones(200), frame.x, frame.z])
    y, g = frame.y.to_numpy(), np.arange(200) % n_clusters
    for slope, place in zip(
        clustered_slopes(y, x, (g,), [2, 1], Draws(n_bootstrap=99, seed=8)), (2, 1), strict=True
    ):
        fit = smf.ols("y ~ x + z", frame).fit()
        carrier = smf.ols(("x ~ z", "z ~ x")[place - 1], frame).fit().resid.to_numpy()
        error, freedom = slope_error(fit.resid.to_numpy(), carrier, (g,))
        wild = wild_test(y, x, g, place, n_resamples=99, rng=np.random.default_rng([8, 60, place]))
        assert wild is not None
        assert slope.interval is not None
        assert (slope.error, slope.freedom) == pytest.approx((error, freedom))
        by_t = 2 * stats.t.sf(abs(fit.params.iloc[place]) / error, freedom)
        sums = np.bincount(g, fit.resid.to_numpy() * carrier)
        leverage = np.bincount(g, carrier**2)
        a = stats.skew(sums, bias=False) * np.sqrt((leverage**2).sum()) / leverage.sum()
        t = fit.params.iloc[place] / error
        hall = [2 * stats.t.sf(unskewed(side * t, min(0.0, side * a)), freedom) for side in (1, -1)]
        assert slope.p == pytest.approx(max(wild.p(), by_t, min(1.0, *hall)))
        quantile = stats.t.ppf(0.975, freedom)
        low, high = wild.interval(0.95)
        below, above = (farther(quantile, min(0.0, side * a)) * error for side in (1, -1))
        assert slope.interval.low == pytest.approx(min(low, slope.estimate - below))
        assert slope.interval.high == pytest.approx(max(high, slope.estimate + above))
        assert slope.method == (
            f"least squares, cluster-robust over {n_clusters} clusters, {t_words(freedom)}, and wild cluster "
            "bootstrap, 99 resamples: the wider of both"
        )


def test_a_slope_that_one_cluster_decides_has_no_p(rng):
    """The column varies in one of five clusters alone."""
    group, x = np.repeat(np.arange(5), 4), np.zeros(20)
    x[:4] = [1.0, 2.0, 3.0, 5.0]
    inside = within(np.column_stack([rng.normal(size=20), x]), group)
    slope = clustered_slopes(inside[:, 0], inside[:, 1:], (group,), [0], Draws(n_bootstrap=9))[0]
    assert np.isnan([slope.p, slope.error, slope.freedom]).all()
    assert slope.interval is None
    assert slope.effect is not None
    assert slope.effect.interval is None
    assert slope.method.endswith("one cluster decides alone")


def test_few_answers_that_relations_share_carry_no_slope_by_themselves():
    """x and y vary by 4 answers that 10 relations share: over relations alone a slope seems sure."""
    relation, answer, found, alone = np.repeat(np.arange(10), 8), np.tile(np.arange(4), 20), 0, 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        y, x = rng.normal(size=4)[answer], rng.normal(size=4)[answer]
        both = within(np.column_stack([y + 0.3 * rng.normal(size=80), x]), relation)
        draws = Draws(n_bootstrap=99)
        slopes = [
            clustered_slopes(both[:, 0], both[:, 1:], ways, [0], draws)[0]
            for ways in ((relation, answer), (relation,))
        ]
        found, alone = found + (slopes[0].p <= 0.05), alone + (slopes[1].p <= 0.05)
    assert found <= 8 < 30 < alone  # 5%, and three standard errors


def test_answers_count_also_where_relations_leave_no_finite_interval():
    """Three relations, one of nearly all facts: the bootstrap over them has no interval, that over answers p."""
    relation, found = np.repeat(np.arange(3), [40, 3, 3]), 0
    for seed in range(40, 64):
        rng = np.random.default_rng(seed)
        answer, x = rng.integers(6, size=46), rng.normal(size=46)
        x = x + rng.normal(size=6)[answer]
        y = 0.8 * x + 1.5 * rng.normal(size=6)[answer] * x + rng.normal(size=46)
        both, draws = within(np.column_stack([y, x]), relation), Draws(n_bootstrap=199)
        slope = clustered_slopes(both[:, 0], both[:, 1:], (relation, answer), [0], draws)[0]
        assert len(slope.wild) == 2
        assert slope.p >= max(wild.p() for wild in slope.wild)
        found += slope.interval is None and slope.wild[1].p() > slope.wild[0].p()
    assert found


def test_an_intercept_has_no_standardized_slope(frame):
    x = np.column_stack([np.ones(200), frame.x])
    intercept, slope = clustered_slopes(
        frame.y.to_numpy(), x, (frame.g.to_numpy(),), [0, 1], Draws(n_bootstrap=19)
    )
    assert intercept.effect is None
    assert slope.effect is not None
    assert slope.effect.value == pytest.approx(np.corrcoef(frame.x, frame.y)[0, 1])


def test_within_leaves_no_mean_in_any_group(rng):
    group = np.array([0, 0, 1, 1, 1, 2])
    left = within(rng.normal(size=(6, 2)), group)
    sums = [left[group == g].sum(axis=0) for g in range(3)]
    np.testing.assert_allclose(sums, 0, atol=1e-12)
    assert (left[5] == 0).all()


def test_few_answers_that_relations_share_are_told():
    relation = np.repeat(np.arange(10), 6)

    def told(answer):
        return few_answers_in_words({"relation": relation, "object": answer})

    common = "Facts are effectively of 2.6 values of object, which cross relation: p and interval are rough."
    assert told(np.tile([0, 0, 0, 1, 1, 2], 10)) == (common,)
    assert told(np.arange(60)) == ()  # answers within relations
    assert told(np.tile(np.arange(6), 10)) == ()
    assert few_answers_in_words({"relation": relation}) == ()
