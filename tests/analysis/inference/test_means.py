"""Means leave out what is not defined."""

import numpy as np

from qloc.analysis.inference.means import mean, mean_by


def test_a_mean_is_of_what_is_defined():
    assert mean(np.array([1.0, np.nan, 4.0])) == 2.5
    assert mean(np.array([1, 2], dtype=np.int32)) == 1.5
    assert np.isnan(mean(np.array([np.nan, np.nan])))
    assert np.isnan(mean(np.zeros(0)))


def test_means_by_group_are_those_of_each_group(rng):
    values, group = rng.normal(size=50), rng.integers(4, size=50)
    expected = [values[group == g].mean() for g in range(4)]
    np.testing.assert_allclose(mean_by(values, group, 5)[:4], expected)
    assert np.isnan(mean_by(values, group, 5)[4])


def test_a_nan_is_not_left_out_of_its_group():
    found = mean_by(np.array([1.0, np.nan, 3.0]), np.array([0, 0, 1]), 2)
    assert np.isnan(found[0])
    assert found[1] == 3.0
