"""Memberships of most entropy: margins to rounding, forced cells by enumeration, and another solver."""

from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
from scipy import optimize

from qloc.analysis.localization.overlap.most_entropy import MarginBlocks, most_entropy


def blocks_of(matrices):
    """Margins of 0/1 matrices, one block each, and what undoes the grouping of rows and columns by sums."""
    parts, back = [], []
    for number, matrix in enumerate(matrices):
        (r, row, n_rows), (c, column, n_columns) = (
            np.unique(-matrix.sum(axis=axis), return_inverse=True, return_counts=True) for axis in (1, 0)
        )
        parts.append((np.full(len(r), number), -r, n_rows, np.full(len(c), number), -c, n_columns))
        back.append((row, column))
    joined = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    names = ("row_block", "row_sum", "n_rows", "column_block", "column_sum", "n_columns")
    whole: dict[str, Any] = {
        name: values.astype(np.int64 if name.endswith("block") else np.float64)
        for name, values in zip(names, joined, strict=True)
    }
    return MarginBlocks(**whole), back


def fitted(matrices):
    """Return the probabilities of each matrix, ungrouped."""
    blocks, back = blocks_of(matrices)
    cells, first = most_entropy(blocks)
    found = []
    for number, (row, column) in enumerate(back):
        start = first[blocks.row_block == number]
        found.append(cells[start[row][:, None] + column[None, :]])
    return found


def random_matrices(rng, n):
    """Rows and columns of all kinds: even, steep, nested (which leaves no choice), and nested but for one."""
    for trial in range(n):
        shape = rng.integers(1, 12), rng.integers(1, 14)
        a, b = rng.standard_normal((shape[0], 1)), rng.standard_normal((1, shape[1]))
        steep = (0.3, 3.0, 50.0, 50.0)[trial % 4]
        matrix = rng.random(shape) < 1 / (1 + np.exp(-np.clip(steep * (a + b), -700, 700)))
        if trial % 4 == 3:
            matrix[rng.integers(shape[0]), rng.integers(shape[1])] ^= True
        yield matrix


def test_all_margins_are_kept_to_rounding(rng):
    matrices = list(random_matrices(rng, 200))
    for matrix, p in zip(matrices, fitted(matrices), strict=True):
        np.testing.assert_allclose(p.sum(axis=1), matrix.sum(axis=1), atol=1e-7)
        np.testing.assert_allclose(p.sum(axis=0), matrix.sum(axis=0), atol=1e-7)


def test_blocks_are_fitted_as_each_by_itself(rng):
    matrices = list(random_matrices(rng, 20))
    for matrix, p in zip(matrices, fitted(matrices), strict=True):
        np.testing.assert_allclose(fitted([matrix])[0], p, atol=1e-7)


@pytest.mark.parametrize("seed", range(8))
def test_cells_are_sure_where_every_matrix_has_them_or_none(seed):
    """All 0/1 matrices with the margins, by enumeration: cells that never differ are exactly 0 or 1."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((4, 1)), rng.standard_normal((1, 5))
    matrix = rng.random((4, 5)) < 1 / (1 + np.exp(-8 * (a + b)))
    rows = [[np.isin(np.arange(5), c) for c in combinations(range(5), int(k))] for k in matrix.sum(axis=1)]
    every = np.array([m for m in map(np.array, product(*rows)) if (m.sum(0) == matrix.sum(0)).all()])
    p = fitted([matrix])[0]
    sure = every.all(axis=0) | ~every.any(axis=0)
    np.testing.assert_array_equal((p == 0) | (p == 1), sure)
    np.testing.assert_array_equal(p[sure], every[0][sure])


def test_odds_are_a_product_and_the_likelihood_is_at_its_most(rng):
    """Against scipy's minimum of the Rasch model's log-likelihood, cell by cell, without groups."""
    matrix = rng.random((7, 9)) < rng.random((7, 1))
    matrix[:, :3] = np.eye(7, 3, dtype=bool) | (rng.random((7, 3)) < 0.4)
    matrix[0], matrix[-1] = np.arange(9) % 2, (np.arange(9) + 1) % 2
    r, c = matrix.sum(axis=1), matrix.sum(axis=0)

    def loss(x):
        odds = x[:7, None] + x[7:]
        p = 1 / (1 + np.exp(-odds))
        gradient = np.concatenate([p.sum(axis=1) - r, p.sum(axis=0) - c])
        return np.logaddexp(0, odds).sum() - x[:7] @ r - x[7:] @ c, gradient

    x = optimize.minimize(loss, np.zeros(16), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    p = fitted([matrix])[0]
    assert 0 < p.min() < p.max() < 1
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-(x[:7, None] + x[7:]))), atol=1e-6)
    odds = p / (1 - p)
    np.testing.assert_allclose(odds[1:, 1:] * odds[0, 0], odds[1:, :1] * odds[:1, 1:], rtol=1e-5)


def test_large_and_steep_blocks_come_to_an_end(rng):
    a, b = rng.standard_normal((300, 1)), rng.standard_normal((1, 500))
    matrices = [rng.random((300, 500)) < 1 / (1 + np.exp(-(s * (a + b) - 3))) for s in (0.5, 2.0, 8.0)]
    for matrix, p in zip(matrices, fitted(matrices), strict=True):
        np.testing.assert_allclose(p.sum(axis=1), matrix.sum(axis=1), atol=1e-5)
        np.testing.assert_allclose(p.sum(axis=0), matrix.sum(axis=0), atol=1e-5)


def test_nothing_has_no_cells():
    none, nothing = np.zeros(0, dtype=np.int64), np.zeros(0)
    empty = MarginBlocks(
        row_block=none,
        column_block=none,
        row_sum=nothing,
        column_sum=nothing,
        n_rows=nothing,
        n_columns=nothing,
    )
    assert [len(part) for part in most_entropy(empty)] == [0, 0]
