"""Arms: neuron numbers as rows of sparse matrices, and differences of two sets at equal count and layers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qloc.arms import differences, matrix, row_of

N_NEURONS = 4
SETS = st.sets(st.integers(0, 3 * N_NEURONS - 1)).map(lambda chosen: np.array(sorted(chosen), dtype=np.int64))


def test_a_matrix_gives_its_rows_back():
    rows = [np.array([0, 5]), np.array([], dtype=np.int64), np.array([2])]
    made = matrix(rows, width=6)
    assert made.toarray().tolist() == [[1, 0, 0, 0, 0, 1], [0] * 6, [0, 0, 1, 0, 0, 0]]
    assert [row_of(made, row).tolist() for row in range(3)] == [[0, 5], [], [2]]


def test_no_rows_make_an_empty_matrix():
    assert matrix([], width=6).shape == (0, 6)


@given(SETS, SETS)
def test_differences_are_apart_and_as_many_in_every_layer(mine, theirs):
    first, second = differences(
        (mine, theirs), (np.ones(len(mine)), np.ones(len(theirs))), n_neurons=N_NEURONS
    )
    assert set(first) <= set(mine) - set(theirs)
    assert set(second) <= set(theirs) - set(mine)
    layers = [np.bincount(numbers // N_NEURONS, minlength=3) for numbers in (first, second)]
    only = [np.bincount(np.array(sorted(one), dtype=np.int64) // N_NEURONS, minlength=3)
            for one in (set(mine) - set(theirs), set(theirs) - set(mine))]  # fmt: skip
    assert layers[0].tolist() == layers[1].tolist() == np.minimum(*only).tolist()


def test_the_strongest_stay_and_ties_go_to_the_smaller_number():
    mine, theirs = np.array([0, 1, 2]), np.array([3])
    for strength, kept in (([1.0, 3.0, 2.0], 1), ([2.0, 2.0, 2.0], 0)):
        first, _ = differences((mine, theirs), (np.array(strength), np.ones(1)), n_neurons=N_NEURONS)
        assert first.tolist() == [kept]
