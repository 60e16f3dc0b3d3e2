"""Answers that relations share: when they cross, and the error that counts them."""

import numpy as np
import pytest

from qloc.analysis.inference.cluster_intervals import cluster_variance
from qloc.analysis.inference.shared_answers import crossed, crossed_error


@pytest.mark.parametrize(
    ("relation", "answer", "expected"),
    [
        ([], [], False),
        ([0, 0, 0], [0, 1, 1], False),  # one relation
        ([0, 0, 1, 1], [0, 0, 1, 1], False),
        ([0, 0, 1, 1], [0, 1, 1, 2], True),
        ([5, 5, 9], [7, 8, 8], True),  # codes need not count from 0
    ],
)
def test_crossed_by_definition(relation, answer, expected):
    assert crossed(np.array(relation, dtype=int), np.array(answer, dtype=int)) is expected


def test_equal_clusters_count_each(rng):
    """Six relations × four answers, one fact each: G* is 4, the fewer."""
    relation, answer = np.repeat(np.arange(6), 4), np.tile(np.arange(4), 6)
    x = rng.normal(size=24)
    error, freedom = crossed_error(x, relation, answer)
    assert freedom == pytest.approx(3)
    assert error == pytest.approx(np.sqrt(cluster_variance(x, (relation, answer)) * 4 / 3))


def test_unequal_clusters_count_less(rng):
    """Shares 8/10, 1/10, 1/10: G* = 1/(0.64 + 0.01 + 0.01)."""
    relation, answer = np.array([0] * 8 + [1, 2]), np.arange(10)
    assert crossed_error(rng.normal(size=10), relation, answer)[1] == pytest.approx(1 / 0.66 - 1)
