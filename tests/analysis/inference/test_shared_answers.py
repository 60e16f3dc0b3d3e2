"""Answers that relations share: when they cross."""

import numpy as np
import pytest

from qloc.analysis.inference.shared_answers import crossed


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
