"""Tests of one slope: means, slopes within relations, directions, and what cannot be tested."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats

from qloc.analysis.inference.cluster_error import mean_error
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.slope_test import LEAST_RESIDUAL_FREEDOM, slope_test
from qloc.text.rounding import number

MARGIN = "Smallest effect of interest: ±0.1 standard deviations."
TEXT: dict[str, Any] = {"name": "T", "question": "?", "estimand": "slope", "draws": Draws(n_bootstrap=99)}


def test_a_coefficient_on_ones_is_the_mean(rng):
    """And where answers cross relations, p and interval are no less than those of the two-way error."""
    y, relation, answer = rng.normal(1, 1, 60), np.repeat(np.arange(6), 10), np.tile(np.arange(12), 5)
    y += np.array([1.0, 0.0, -1.0])[answer % 3]
    ones = {"intercept": np.ones(60)}
    found = slope_test(y, ones, (relation, answer), **TEXT, inside=False, direction="above")
    error, freedom = mean_error(y, (relation, answer))
    assert found.estimate == pytest.approx(y.mean())
    by_t = stats.t.sf(y.mean() / error, freedom)
    assert found.p is not None
    assert by_t <= found.p <= 0.05  # with six relations the bootstrap says less
    assert found.interval is not None
    assert found.interval.low < y.mean() - stats.t.ppf(0.975, freedom) * error + 1e-9
    one_way = slope_test(y, ones, (relation, np.arange(60)), **TEXT, inside=False)
    assert one_way.interval is not None
    assert one_way.p is not None
    assert found.interval.low < one_way.interval.low
    below = slope_test(y, ones, (relation, np.arange(60)), **TEXT, inside=False, direction="below")
    assert below.p == pytest.approx(1 - one_way.p / 2)
    gone = slope_test(y, ones, (np.zeros(60, dtype=int), answer), **TEXT, inside=False)
    assert (gone.verdict, gone.p) == ("not identified", None)


def test_slopes_within_relations_are_those_of_relation_dummies(rng):
    relation = np.repeat(np.arange(50), 3)
    x, z = rng.normal(size=150) + relation, rng.normal(size=150)
    y = 0.5 * x - z + rng.normal(size=50)[relation] + rng.normal(size=150)
    y[7] = np.nan
    found = slope_test(y, {"x": x, "z": z}, (relation, np.arange(150)), **TEXT)
    frame = pd.DataFrame({"y": y, "x": x, "z": z, "g": relation})
    expected = smf.ols("y ~ x + z + C(g)", frame).fit().params["x"]
    assert found.estimate == pytest.approx(expected)
    assert found.n == {"relations": 50, "facts": 149}
    others = [smf.ols("y ~ x + z + C(g)", frame[frame.g != g]).fit().params["x"] for g in range(50)]
    without = f"Without any one of the 50 relations: {number(min(others))} to {number(max(others))}."
    assert found.checks == ("Held, within relations: z.", without, MARGIN)
    assert found.method == (
        "least squares, cluster-robust over 50 clusters, t(28), and wild cluster bootstrap, 99 resamples: the wider of both; two-sided"
    )
    above = slope_test(y, {"x": x, "z": z}, (relation, np.arange(150)), **TEXT, direction="above")
    assert found.p is not None
    assert above.p == pytest.approx(found.p / 2)
    assert above.method.endswith("; one-sided (above 0)")


def test_columns_without_spread_of_their_own_are_left_out_and_named(rng):
    relation = np.repeat(np.arange(6), 5)
    x = rng.normal(size=30)
    columns = {"x": x, "double": 2 * x, "by_relation": relation.astype(float)}
    found = slope_test(rng.normal(size=30), columns, (relation, np.arange(30)), **TEXT)
    assert found.checks == (
        "Held, within relations: nothing.",
        "Left out, without spread of their own: double, by_relation.",
        found.checks[2],
        MARGIN,
    )
    assert found.checks[2].startswith("Without any one of the 6 relations: ")
    constant = slope_test(rng.normal(size=30), {"r": relation.astype(float)}, (relation, relation), **TEXT)
    assert (constant.verdict, constant.interval, constant.effect) == ("not identified", None, None)
    assert constant.method == "least squares, cluster-robust: not possible"


def test_too_few_facts_are_not_tested(rng):
    """A slope and an intercept for each of three relations are four coefficients."""
    for n, verdict in (
        (4 + LEAST_RESIDUAL_FREEDOM, "tested"),
        (3 + LEAST_RESIDUAL_FREEDOM, "not identified"),
    ):
        relation = np.arange(n) % 3
        found = slope_test(rng.normal(size=n), {"x": rng.normal(size=n)}, (relation, np.arange(n)), **TEXT)
        assert (found.p is None) == (verdict == "not identified")
    nothing = slope_test(np.full(9, np.nan), {"x": np.ones(9)}, (np.arange(9), np.arange(9)), **TEXT)
    assert (nothing.verdict, nothing.n) == ("not identified", {"relations": 0, "facts": 0})
