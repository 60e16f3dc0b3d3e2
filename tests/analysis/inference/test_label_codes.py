"""Codes of labels: hand-computed cases, and that codes tell apart just what labels do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qloc.analysis.inference.label_codes import codes, crossed, n_codes, sizes_of


@given(st.lists(st.tuples(st.integers(-3, 3), st.sampled_from("abc")), min_size=1, max_size=30))
def test_codes_are_equal_where_all_labels_are(rows):
    numbers, letters = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    code = codes(numbers, letters)
    order = sorted(set(rows))
    assert code.tolist() == [order.index(row) for row in rows]
    assert n_codes(code) == len(order)
    assert sizes_of(code).tolist() == [rows.count(row) for row in rows]


@given(st.lists(st.integers(-2, 5), min_size=1, max_size=12))
def test_codes_of_codes_are_the_same(numbers):
    """Integers that are codes already are taken as they are; others, with gaps or below 0, are numbered."""
    code = codes(np.array(numbers))
    assert code.tolist() == [sorted(set(numbers)).index(number) for number in numbers]
    assert codes(code).tolist() == code.tolist()


def test_no_labels_have_no_codes():
    nothing = np.zeros(0, dtype=np.int64)
    assert codes(nothing).tolist() == []
    assert codes(nothing, nothing.astype(str)).tolist() == []
    assert n_codes(nothing) == 0
    assert sizes_of(nothing).tolist() == []


def test_codes_are_int64_of_any_labels():
    assert codes(np.array([True, False])).dtype == np.int64
    assert codes(np.array(["P36", "P19", "P36"])).tolist() == [1, 0, 1]


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
