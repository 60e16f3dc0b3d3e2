"""Clustered regression, wild bootstrap, formulas and equivalence against statsmodels, scipy and brute force."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.stats.contingency_tables import Table2x2

import qloc
from qloc.analysis.formula import fit_frame
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.effect_sizes import hedges_g, hedges_g_interval, odds_ratio
from qloc.analysis.inference.equivalence import mean_tost_p, tost_p
from qloc.analysis.inference.multiplicity import correct
from qloc.analysis.inference.regression import clustered_slopes, independent, within
from qloc.analysis.inference.wild_bootstrap import wild_test
from qloc.analysis.results import TestResult
from qloc.errors import InputError
from qloc.simulation.simulate import simulate


@pytest.fixture
def frame(rng):
    g = rng.integers(15, size=200)
    x = rng.normal(size=200) + rng.normal(size=15)[g]
    y = 0.3 * x + rng.normal(size=15)[g] + rng.normal(size=200)
    return pd.DataFrame({"y": y, "x": x, "z": rng.normal(size=200), "g": g, "w": rng.choice(["a", "b"], 200)})


def test_formulas_are_those_of_statsmodels(frame):
    frame.loc[3, "x"] = np.nan
    ours = fit_frame(frame, "y ~ x + z + C(w)", "g", draws=Draws(n_bootstrap=99))
    kept = frame.dropna()
    theirs = smf.ols("y ~ x + z + C(w)", kept).fit(
        cov_type="cluster", cov_kwds={"groups": kept["g"]}, use_t=True
    )
    assert [test.name for test in ours.tests] == list(theirs.params.index)
    assert [test.estimate for test in ours.tests] == pytest.approx(theirs.params.tolist())
    assert ours.r_squared == pytest.approx(theirs.rsquared)
    assert (ours.n, ours.left_out) == (199, 1)
    assert ours["x"].interval.method == "least squares; wild cluster bootstrap over 15 clusters, 99 resamples"
    assert str(ours).startswith("y ~ x + z + C(w), 199 facts, clustered by g, R² ")
    assert len(ours.to_frame()) == 4


def test_forty_clusters_need_no_bootstrap(rng):
    x, g = rng.normal(size=200), np.repeat(np.arange(40), 5)
    frame = pd.DataFrame({"y": x + rng.normal(size=200), "x": x, "g": g})
    ours = fit_frame(frame, "y ~ x", "g")["x"]
    theirs = smf.ols("y ~ x", frame).fit(cov_type="cluster", cov_kwds={"groups": g}, use_t=True)
    assert ours.p == pytest.approx(theirs.pvalues["x"])
    assert (ours.interval.low, ours.interval.high) == pytest.approx(tuple(theirs.conf_int().loc["x"]))
    assert ours.interval.method == "least squares, cluster-robust over 40 clusters, t(39)"


def test_standardized_slope_of_one_regressor_is_the_correlation(frame):
    effect = fit_frame(frame, "y ~ x", "g", draws=Draws(n_bootstrap=99))["x"].effect
    assert effect.value == pytest.approx(np.corrcoef(frame.x, frame.y)[0, 1])


def test_wild_bootstrap_by_refitting(frame):
    """Draw by draw: y* from the restricted fit, least squares and cluster-robust t by statsmodels."""
    import statsmodels.api as sm

    small = frame[frame.g < 12]
    x = np.column_stack([np.ones(len(small)), small.x, small.z])
    y, g = small.y.to_numpy(), small.g.to_numpy()
    seed, n = 5, 40
    p = wild_test(y, x, g, 1, n_resamples=n, rng=np.random.default_rng(seed)).p()
    assert len(np.unique(g)) == 12

    def t(target):
        fitted = sm.OLS(target, x).fit(cov_type="cluster", cov_kwds={"groups": g}, use_t=True)
        return abs(fitted.tvalues[1])

    restricted = sm.OLS(y, x[:, [0, 2]]).fit()
    weights = np.where(np.random.default_rng(seed).random((n, 12)) < 0.5, -1.0, 1.0)
    drawn = [t(restricted.fittedvalues + w[g] * restricted.resid) for w in weights]
    assert p == pytest.approx((1 + sum(d >= t(y) for d in drawn)) / (n + 1))


def test_wild_bootstrap_tends_to_all_sign_flips():
    """A mean without regressors over 12 clusters: sign flips of cluster sums, studentized; all 4,096 of them."""
    rng = np.random.default_rng(3)
    sums = rng.normal(0.4, 1, 12)
    signs = np.array([*product([-1, 1], repeat=12)])

    def t(values):
        mean = values.mean(axis=-1)
        return np.abs(mean / np.sqrt(((values - mean[..., None]) ** 2).sum(axis=-1)))

    exact = np.mean(t(signs * sums) >= t(sums) - 1e-12)
    p = wild_test(sums, np.ones((12, 1)), np.arange(12), 0, n_resamples=9999, rng=rng).p()
    assert abs(p - exact) < 4 * np.sqrt(exact * (1 - exact) / 9999)  # four standard errors of 9,999 draws


def test_wild_interval_holds_what_is_not_rejected(frame):
    """p is over 5% inside, not outside; of a value b, p is that of y − b x being unrelated to x."""
    x = np.column_stack([np.ones(200), frame.x, frame.z])
    y, g = frame.y.to_numpy(), frame.g.to_numpy()
    given = {"n_resamples": 199, "rng": np.random.default_rng(1)}
    test = wild_test(y, x, g, 1, **given)
    low, high = test.interval(0.95)
    assert low < test.estimate < high
    for end, inside in ((low, 1), (high, -1)):
        assert test.p(end + inside * 1e-3) > 0.05 >= test.p(end - inside * 1e-3)
    moved = wild_test(y - 0.2 * x[:, 1], x, g, 1, n_resamples=199, rng=np.random.default_rng(1))
    assert moved.p() == test.p(0.2)
    assert test.estimate == pytest.approx(smf.ols("y ~ x + z", frame).fit().params["x"])


def test_two_clusters_are_too_few(frame, rng):
    assert wild_test(np.ones(4), np.ones((4, 1)), np.array([0, 0, 1, 1]), 0, n_resamples=9, rng=rng) is None
    with pytest.raises(InputError, match="cluster is 'w'; expected a column with at least three values"):
        fit_frame(frame, "y ~ x", "w")


def test_formula_problems_are_told_all_at_once(frame):
    with pytest.raises(InputError) as caught:
        fit_frame(frame, "y ~ q + np.log(r)", "nope")
    assert [problem.split(";")[0] for problem in caught.value.problems] == [
        "column is 'q'", "column is 'r'", "column is 'nope'",
    ]  # fmt: skip
    assert caught.value.problems[0] == (
        "column is 'q'; expected one of y, x, z, g, w. At qloc.fit. Correct the name."
    )
    with pytest.raises(InputError, match=r"formula is 'y ~ \(x'; expected a formula over y, x, z, g, w"):
        fit_frame(frame, "y ~ (x", "g")


def test_collinear_terms_are_left_out_and_said_so(frame):
    frame["double"] = 2 * frame.x
    found = fit_frame(frame, "y ~ x + double", "g", draws=Draws(n_bootstrap=99))
    assert [test.name for test in found.tests] == ["Intercept", "x"]
    assert found.tests[0].checks == ("A combination of other terms, left out: double.",)
    with pytest.raises(InputError, match="term is 'double'; expected one of Intercept, x"):
        found["double"]


def test_public_fit_of_a_study():
    study = simulate(facts=60, relations=6, templates=4, n_neurons=64, n_heads=0, seed=1)
    found = qloc.fit(study, "kappa ~ log_frequency + Q('class')", cluster="object", n_bootstrap=99)
    assert found.tests[0].store == study.fingerprint
    assert found["log_frequency"].n["clusters"] > 6


def test_within_is_least_squares_on_dummies(frame):
    y, x = frame.y.to_numpy(), frame[["x", "z"]].to_numpy()
    inside = within(np.column_stack([y, x]), frame.g.to_numpy())
    slope = clustered_slopes(inside[:, 0], inside[:, 1:], frame.g.to_numpy(), [0], Draws(n_bootstrap=99))[0]
    assert slope.estimate == pytest.approx(smf.ols("y ~ x + z + C(g)", frame).fit().params["x"])


def test_independent_columns():
    x = np.array([[1.0, 0, 1, 0], [0, 1, 1, 0], [1, 1, 2, 0]])
    assert independent(x) == [0, 1]


def test_equivalence_is_that_of_two_t_tests(rng):
    x = rng.normal(0.02, 0.1, 30)
    lower = stats.ttest_1samp(x, -0.05, alternative="greater").pvalue
    upper = stats.ttest_1samp(x, 0.05, alternative="less").pvalue
    assert mean_tost_p(x, (np.arange(30),), 0.05) == pytest.approx(max(lower, upper))
    assert np.isnan(mean_tost_p(x, (np.zeros(30, dtype=int),), 0.05))
    assert np.isnan(tost_p(0.0, 0.0, 5, 0.1))


def result(p, p_equivalence):
    return TestResult(
        name="x", question="?", estimand="x", unit="fact", n={}, estimate=0.0, interval=None, effect=None,
        method="", p=p, role="exploratory", verdict="undecided", margin=0.1, p_equivalence=p_equivalence,
    )  # fmt: skip


def test_families_correct_equivalence_like_p():
    tests = [result(0.9, 0.02), result(0.8, 0.04), result(0.01, None)]
    found = correct(tests, family="f")
    assert [t.p_equivalence for t in found] == [pytest.approx(0.06), pytest.approx(0.08), None]
    assert [t.verdict for t in found] == ["undecided", "undecided", "holds"]
    found = correct([result(0.9, 0.02)], family="f")
    assert found[0].verdict == "does not hold"
    assert "within ±0.1, p = 0.02" in found[0].sentence()


def test_odds_ratio_is_that_of_statsmodels(rng):
    """One fact a cluster: Woolf's interval, but for t and G/(G − 1); 400 facts leave 1% between them."""
    a = rng.random(400) < 0.4
    b = np.where(a, rng.random(400) < 0.6, rng.random(400) < 0.3)
    table = np.array([[np.sum(a & b), np.sum(a & ~b)], [np.sum(~a & b), np.sum(~a & ~b)]]) + 0.5
    theirs = Table2x2(table)
    ours = odds_ratio(a, b, (np.arange(400),))
    assert ours.value == pytest.approx(theirs.oddsratio)
    low, high = theirs.oddsratio_confint()
    assert np.log([ours.interval.low, ours.interval.high]) == pytest.approx(np.log([low, high]), rel=0.01)


def test_interval_of_hedges_g_covers(rng):
    """400 simulations of 25 and 35 values half a deviation apart; 95% nominal, 99% binomial bound."""
    hits = 0
    for _ in range(400):
        first, second = rng.normal(0.5, 1, 25), rng.normal(0, 1, 35)
        ends = hedges_g_interval(first, second)
        assert ends.low < hedges_g(first, second) < ends.high
        hits += ends.low <= 0.5 <= ends.high
    assert stats.binomtest(hits, 400, 0.95).pvalue > 0.01
    assert hedges_g_interval(np.ones(3), np.ones(3)) is None
