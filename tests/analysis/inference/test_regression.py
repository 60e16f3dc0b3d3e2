"""Clustered slopes and design matrices against statsmodels and by hand."""

import numpy as np
import pytest
import statsmodels.formula.api as smf

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.regression import clustered_slopes, independent, within
from qloc.analysis.inference.wild_bootstrap import wild_test


def test_within_is_least_squares_on_dummies(frame):
    y, x = frame.y.to_numpy(), frame[["x", "z"]].to_numpy()
    inside = within(np.column_stack([y, x]), frame.g.to_numpy())
    slope = clustered_slopes(inside[:, 0], inside[:, 1:], frame.g.to_numpy(), [0], Draws(n_bootstrap=99))[0]
    assert slope.estimate == pytest.approx(smf.ols("y ~ x + z + C(g)", frame).fit().params["x"])


def test_independent_columns():
    x = np.array([[1.0, 0, 1, 0], [0, 1, 1, 0], [1, 1, 2, 0]])
    assert independent(x) == [0, 1]


def test_few_clusters_take_the_larger_p_of_both(frame):
    """The bootstrap of one column is drawn from a stream of its own: [seed, 60, column]."""
    x = np.column_stack([np.ones(200), frame.x, frame.z])
    y, g = frame.y.to_numpy(), frame.g.to_numpy()
    for slope, place in zip(
        clustered_slopes(y, x, g, [2, 1], Draws(n_bootstrap=99, seed=8)), (2, 1), strict=True
    ):
        fit = smf.ols("y ~ x + z", frame).fit(cov_type="cluster", cov_kwds={"groups": g}, use_t=True)
        wild = wild_test(y, x, g, place, n_resamples=99, rng=np.random.default_rng([8, 60, place]))
        assert wild is not None
        assert slope.p == pytest.approx(max(wild.p(), fit.pvalues.iloc[place]))
        assert (slope.interval.low, slope.interval.high) == wild.interval(0.95)
        assert slope.error == pytest.approx(fit.bse.iloc[place])
        assert slope.freedom == 14
        assert slope.method == (
            "least squares; wild cluster bootstrap over 15 clusters, 99 resamples; p no less than of t(14)"
        )


def test_an_intercept_has_no_standardized_slope(frame):
    x = np.column_stack([np.ones(200), frame.x])
    intercept, slope = clustered_slopes(
        frame.y.to_numpy(), x, frame.g.to_numpy(), [0, 1], Draws(n_bootstrap=19)
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
