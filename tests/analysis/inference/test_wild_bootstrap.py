"""The wild cluster bootstrap by refitting, by enumeration, and by its own definition of an interval."""

from itertools import product

import numpy as np
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf

from qloc.analysis.inference.wild_bootstrap import wild_test


def test_wild_bootstrap_by_refitting(frame):
    """Draw by draw: y* from the restricted fit, least squares and cluster-robust t by statsmodels."""
    small = frame[frame.g < 12]
    x = np.column_stack([np.ones(len(small)), small.x, small.z])
    y, g = small.y.to_numpy(), small.g.to_numpy()
    seed, n = 5, 40
    test = wild_test(y, x, g, 1, n_resamples=n, rng=np.random.default_rng(seed))
    assert test is not None
    assert len(np.unique(g)) == 12

    def t(target):
        fitted = sm.OLS(target, x).fit(cov_type="cluster", cov_kwds={"groups": g}, use_t=True)
        return abs(fitted.tvalues[1])

    restricted = sm.OLS(y, x[:, [0, 2]]).fit()
    weights = np.where(np.random.default_rng(seed).random((n, 12)) < 0.5, -1.0, 1.0)
    drawn = [t(restricted.fittedvalues + w[g] * restricted.resid) for w in weights]
    assert test.p() == pytest.approx((1 + sum(d >= t(y) for d in drawn)) / (n + 1))


def test_wild_bootstrap_tends_to_all_sign_flips():
    """A mean without regressors over 12 clusters: sign flips of cluster sums, studentized; all 4,096 of them."""
    rng = np.random.default_rng(3)
    sums = rng.normal(0.4, 1, 12)
    signs = np.array([*product([-1, 1], repeat=12)])

    def t(values):
        mean = values.mean(axis=-1)
        return np.abs(mean / np.sqrt(((values - mean[..., None]) ** 2).sum(axis=-1)))

    exact = np.mean(t(signs * sums) >= t(sums) - 1e-12)
    test = wild_test(sums, np.ones((12, 1)), np.arange(12), 0, n_resamples=9999, rng=rng)
    assert test is not None
    assert abs(test.p() - exact) < 4 * np.sqrt(
        exact * (1 - exact) / 9999
    )  # four standard errors of 9,999 draws


def test_wild_interval_holds_what_is_not_rejected(frame):
    """p is over 5% inside, not outside; of a value b, p is that of y − b x being unrelated to x."""
    x = np.column_stack([np.ones(200), frame.x, frame.z])
    y, g = frame.y.to_numpy(), frame.g.to_numpy()
    test = wild_test(y, x, g, 1, n_resamples=199, rng=np.random.default_rng(1))
    assert test is not None
    low, high = test.interval(0.95)
    assert low < test.estimate < high
    for end, inside in ((low, 1), (high, -1)):
        assert test.p(end + inside * 1e-3) > 0.05 >= test.p(end - inside * 1e-3)
    moved = wild_test(y - 0.2 * x[:, 1], x, g, 1, n_resamples=199, rng=np.random.default_rng(1))
    assert moved is not None
    assert moved.p() == test.p(0.2)
    assert test.estimate == pytest.approx(smf.ols("y ~ x + z", frame).fit().params["x"])


def test_two_clusters_are_too_few(rng):
    assert wild_test(np.ones(4), np.ones((4, 1)), np.array([0, 0, 1, 1]), 0, n_resamples=9, rng=rng) is None


def test_without_spread_there_is_no_p(rng):
    test = wild_test(np.ones(6), np.ones((6, 1)), np.arange(6) % 3, 0, n_resamples=9, rng=rng)
    assert test is not None
    assert test.estimate == 1.0
    assert np.isnan(test.p(1.0))


def test_an_interval_that_few_resamples_cannot_close_has_no_ends(rng):
    """Nine resamples give no p under 1/10, so nothing is rejected at 5%."""
    test = wild_test(rng.normal(size=12), np.ones((12, 1)), np.arange(12) % 4, 0, n_resamples=9, rng=rng)
    assert test is not None
    assert np.isnan(test.interval(0.95)).all()
