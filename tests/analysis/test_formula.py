"""Formulas against statsmodels; problems of a formula, all at once."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

import qloc
from qloc.analysis.formula import fit_frame
from qloc.errors import InputError

QUICK = qloc.Draws(n_bootstrap=99)


@pytest.fixture
def frame(rng):
    g = rng.integers(15, size=200)
    x = rng.normal(size=200) + rng.normal(size=15)[g]
    y = 0.3 * x + rng.normal(size=15)[g] + rng.normal(size=200)
    return pd.DataFrame({"y": y, "x": x, "z": rng.normal(size=200), "g": g, "w": rng.choice(["a", "b"], 200)})


def test_formulas_are_those_of_statsmodels(frame):
    frame.loc[3, "x"] = np.nan
    ours = fit_frame(frame, "y ~ x + z + C(w)", "g", draws=QUICK)
    kept = frame.dropna()
    theirs = smf.ols("y ~ x + z + C(w)", kept).fit(
        cov_type="cluster", cov_kwds={"groups": kept["g"]}, use_t=True
    )
    assert [test.name for test in ours.tests] == list(theirs.params.index)
    assert [test.estimate for test in ours.tests] == pytest.approx(theirs.params.tolist())
    assert ours.r_squared == pytest.approx(theirs.rsquared)
    assert (ours.n, ours.left_out) == (199, 1)
    interval = ours["x"].interval
    assert interval is not None
    assert interval.method.startswith("least squares, cluster-robust over 15 clusters, t(")
    assert interval.method.endswith("and wild cluster bootstrap, 99 resamples: the wider of both")
    assert str(ours).startswith("y ~ x + z + C(w), 199 facts, clustered by g, R² ")
    assert len(ours.to_frame()) == 4


def test_the_bootstrap_has_no_last_cluster(rng):
    """With 41 clusters, too, p is no less than the bootstrap's: a multiple of 1/100, if that is larger."""
    x, g = rng.normal(size=205), np.repeat(np.arange(41), 5)
    frame = pd.DataFrame({"y": x + rng.normal(size=205), "x": x, "g": g})
    ours = fit_frame(frame, "y ~ x", "g", draws=QUICK)["x"]
    assert ours.p == pytest.approx(0.01)
    assert ours.method.endswith("and wild cluster bootstrap, 99 resamples: the wider of both")


def test_standardized_slope_of_one_regressor_is_the_correlation(frame):
    effect = fit_frame(frame, "y ~ x", "g", draws=QUICK)["x"].effect
    assert effect is not None
    assert effect.value == pytest.approx(np.corrcoef(frame.x, frame.y)[0, 1])


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
    found = fit_frame(frame, "y ~ x + double", "g", draws=QUICK)
    assert [test.name for test in found.tests] == ["Intercept", "x"]
    assert found.tests[0].checks == ("A combination of other terms, left out: double.",)
    with pytest.raises(InputError, match="term is 'double'; expected one of Intercept, x"):
        found["double"]


def test_public_fit_of_a_study():
    study = qloc.simulate(facts=60, relations=6, templates=4, n_neurons=64, n_heads=0, seed=1)
    found = qloc.fit(study, "kappa ~ log_frequency + Q('class')", cluster="object", draws=QUICK)
    assert found.tests[0].store == study.fingerprint
    assert found["log_frequency"].n["clusters"] > 6


def test_a_column_of_few_values_cannot_cluster(frame):
    with pytest.raises(InputError, match="cluster is 'w'; expected a column with at least three values"):
        fit_frame(frame, "y ~ x", "w")


def test_a_fit_prints_rounded_numbers(frame):
    """Without noise: R² is 1, and three significant digits of everything else."""
    frame["y"] = 1234.5678 * frame.x - 0.00321
    head, intercept, slope = str(fit_frame(frame, "y ~ x", "g", draws=QUICK)).split("\n")
    assert head == "y ~ x, 200 facts, clustered by g, R² 1"
    assert intercept.startswith(
        "Intercept: y where all other terms are 0 is −0.00321 (95% interval −0.00321 to"
    )
    assert slope.startswith(
        "x: slope of y on x, other terms of the formula held is 1,235 (95% interval 1,235 to"
    )
