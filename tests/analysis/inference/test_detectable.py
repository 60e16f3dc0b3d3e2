"""The minimal detectable effect, against how often tests of such an effect reject."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from qloc.analysis.hypothesis_test import Interval, TestResult
from qloc.analysis.inference.detectable import POWER, detectable_effect

TEST = TestResult(
    name="H5a", question="?", estimand="e", unit="fact", n={}, estimate=0.1, effect=None, method="m",
    interval=Interval(low=-2.1, high=2.3, confidence=0.95, method="t", freedom=9.0), p=0.4, role="exploratory",
)  # fmt: skip


@pytest.mark.parametrize("direction", ["more", "two-sided"])
def test_a_study_finds_it_four_times_of_five(rng, direction):
    test = replace(TEST, direction=direction)
    effect = detectable_effect(test, 0.05)
    assert effect is not None
    # Means of ten values, whose standard error the interval has.
    error = 2.2 / stats.t(9).ppf(0.975)
    values = effect + error * np.sqrt(10) * rng.normal(size=(20_000, 10))
    t = values.mean(axis=1) / values.std(axis=1, ddof=1) * np.sqrt(10)
    p = 2 * stats.t(9).sf(np.abs(t)) if direction == "two-sided" else stats.t(9).sf(t)
    # Bloom's sum of two t quantiles is not exact with nine degrees of freedom: within 3 points.
    assert np.mean(p <= 0.05) == pytest.approx(POWER, abs=0.03)


def test_without_a_width_there_is_none():
    assert detectable_effect(replace(TEST, interval=None), 0.05) is None
    point = Interval(low=1.0, high=1.0, confidence=0.95, method="t")
    assert detectable_effect(replace(TEST, interval=point), 0.05) is None


def test_a_stricter_level_needs_more():
    strict, usual = detectable_effect(TEST, 0.01), detectable_effect(TEST, 0.05)
    assert strict is not None
    assert usual is not None
    assert strict > usual
