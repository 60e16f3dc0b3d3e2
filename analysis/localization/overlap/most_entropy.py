"""Memberships of most entropy with given margins: what sets share if only sizes and counts are kept.

A *block* is a matrix of sets × neurons of which every row sum r_a and every column sum c_k is given. The
distribution of most entropy over all 0/1 matrices whose sums have these means has independent cells with
odds that are a product, p_ak/(1 − p_ak) = exp(α_a + β_k) (the Rasch model), whose parameters are those of
maximum likelihood::

    Σ_k p_ak = r_a        Σ_a p_ak = c_k

Rows with one sum have one α, columns with one sum one β: a block is as large as it has different sums.

Where no finite odds exist, some cells are 0 or 1 in every matrix with these margins. Exactly these are, by
Gale and Ryser: with rows and columns in falling order of their sums, the first i rows A and the first j
columns B are *tight* where Σ_B c_k = |A||B| + Σ_{not A} r_a; cells in both are then 1, and cells in neither
are 0. What is left of the margins is inside of what is possible, and has one solution, which Newton's method
finds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qloc.arrays import Floats, Ints

CLOSE: Final = 1e-9
"""Largest error of a sum, as a share of the block's largest, with which a fit is at an end."""

_STEPS: Final = 100
_HALVINGS: Final = 40
_RIDGE: Final = 1e-12
"""Share of its diagonal that is added to a matrix which is singular along α + t, β − t."""
_PIECE: Final = 2**22
"""Cells in memory at a time."""


@dataclass(frozen=True, kw_only=True)
class MarginBlocks:
    """Rows and columns of many blocks, grouped by their sums.

    Attributes
    ----------
    row_block, column_block : int64 ndarray, shape (row,) and (column,)
        Block of each group of rows, and of columns; ascending.
    row_sum, column_sum : float64 ndarray, shape (row,) and (column,)
        What each row, and each column, of a group adds up to: whole numbers. Within a block falling, and
        each once.
    n_rows, n_columns : float64 ndarray, shape (row,) and (column,)
        Rows, and columns, of each group.
    """

    row_block: Ints
    column_block: Ints
    row_sum: Floats
    column_sum: Floats
    n_rows: Floats
    n_columns: Floats


def most_entropy(blocks: MarginBlocks) -> tuple[Floats, Ints]:
    """Return the cells of the distributions of most entropy with given margins.

    Parameters
    ----------
    blocks : MarginBlocks
        The margins; those of each block are of some 0/1 matrix.

    Returns
    -------
    cells : float64 ndarray, shape (cell,)
        Probabilities, block by block, row by row.
    first : int64 ndarray, shape (row,)
        Where each row's cells begin.

    References
    ----------
    Rasch 1960, *Probabilistic models for some intelligence and attainment tests*; Fischer 1981, "On the
    existence and uniqueness of maximum-likelihood estimates in the Rasch model", Psychometrika 46; Gale 1957,
    "A theorem on flows in networks", Pacific Journal of Mathematics 7.

    Examples
    --------
    Rows of 2 and 1 and columns of 2 and 1 leave one matrix; two rows of 1 leave one half each.

    >>> one, half = np.array([0, 0]), np.array([1])
    >>> blocks = MarginBlocks(
    ...     row_block=np.append(one, half), row_sum=np.array([2.0, 1, 1]), n_rows=np.array([1.0, 1, 2]),
    ...     column_block=np.append(one, half), column_sum=np.array([2.0, 1, 1]),
    ...     n_columns=np.array([1.0, 1, 2]),
    ... )
    >>> most_entropy(blocks)[0].round(6).tolist()
    [1.0, 1.0, 1.0, 0.0, 0.5]
    """
    n_blocks = int(blocks.row_block.max(initial=-1)) + 1
    high, wide = (np.bincount(of, minlength=n_blocks) for of in (blocks.row_block, blocks.column_block))
    start_row, start_column = np.cumsum(high) - high, np.cumsum(wide) - wide
    start = np.cumsum(high * wide) - high * wide
    cells = np.zeros(int(np.sum(high * wide)))
    shape = np.stack([_rounded_up(high), _rounded_up(wide)])
    for height, width in np.unique(shape[:, (high > 0) & (wide > 0)], axis=1).T:
        alike = np.flatnonzero((shape[0] == height) & (shape[1] == width) & (high > 0) & (wide > 0))
        step = max(1, _PIECE // int((height + width) * width))
        for some in np.split(alike, range(step, len(alike), step)):
            row, column = np.arange(height), np.arange(width)
            rows, columns = start_row[some, None] + row, start_column[some, None] + column
            inside = row < high[some, None], column < wide[some, None]
            sums = (
                np.where(own, total[np.minimum(place, len(total) - 1)], 0.0)
                for own, place, total in (
                    (inside[0], rows, blocks.row_sum),
                    (inside[1], columns, blocks.column_sum),
                    (inside[0], rows, blocks.n_rows),
                    (inside[1], columns, blocks.n_columns),
                )
            )
            found = _fitted(*sums)
            both = inside[0][:, :, None] & inside[1][:, None, :]
            place = start[some, None, None] + row[:, None] * wide[some, None, None] + column
            cells[place[both]] = found[both]
    first = (
        start[blocks.row_block]
        + (np.arange(len(blocks.row_block)) - start_row[blocks.row_block]) * (wide[blocks.row_block])
    )
    return cells, first


def _rounded_up(n: Ints) -> Ints:
    """Return the next power of two, so that blocks of a like shape are fitted together."""
    return np.asarray(2 ** np.ceil(np.log2(np.maximum(n, 1))), dtype=np.int64)


def _fitted(r: Floats, c: Floats, m: Floats, n: Floats) -> Floats:
    """Return the cells, (block, row, column), from sums and numbers of rows, (block, row), and columns."""
    sure = _tight(r, c, m, n)
    there = (m > 0)[:, :, None] & (n > 0)[:, None, :]
    free = there & ~sure[0] & ~sure[1]
    r = r - np.einsum("bak,bk->ba", sure[0], n)
    c = c - np.einsum("bak,ba->bk", sure[0], m)
    p = _newton(r, c, free * m[:, :, None] * n[:, None, :], m, n)
    return np.where(sure[0], 1.0, np.where(free, p, 0.0))


def _tight(r: Floats, c: Floats, m: Floats, n: Floats) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which cells are 1, and which 0, in every matrix with these margins: (block, row, column)."""

    def before(values: Floats) -> Floats:
        return np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)

    rows, columns, of_rows, of_columns = before(m), before(n), before(m * r), before(n * c)
    room = rows[:, :, None] * columns[:, None, :] + (of_rows[:, -1:] - of_rows)[:, :, None]
    tight = np.abs(room - of_columns[:, None, :]) < 0.5  # whole numbers
    below = np.maximum.accumulate(np.maximum.accumulate(tight, axis=1), axis=2)
    beyond = np.maximum.accumulate(np.maximum.accumulate(tight[:, ::-1, ::-1], axis=1), axis=2)[:, ::-1, ::-1]
    return beyond[:, 1:, 1:], below[:, :-1, :-1]


def _newton(r: Floats, c: Floats, weight: Floats, m: Floats, n: Floats) -> Floats:
    """Return exp(α + β)/(1 + exp(α + β)) where cells of a weight above 0 have the sums r and c.

    α and β are the minimum of the convex Σ w log(1 + exp(α + β)) − Σ m r α − Σ n c β. Of Newton's equations,
    those of rows are eliminated: their part is diagonal.
    """
    of_row, target = weight.sum(axis=2), (m * r, n * c)
    alpha = _log_odds(np.divide(target[0], of_row, out=np.full(r.shape, 0.5), where=of_row > 0))
    beta = np.zeros(c.shape)
    size = np.maximum(np.maximum(target[0].max(axis=1), target[1].max(axis=1)), 1.0)
    left = np.arange(len(r))
    for _ in range(_STEPS):
        w, goal = weight[left], (target[0][left], target[1][left])
        p = _probability(alpha[left], beta[left])
        g = goal[0] - (w * p).sum(axis=2), goal[1] - (w * p).sum(axis=1)
        open_ = np.maximum(np.abs(g[0]).max(axis=1), np.abs(g[1]).max(axis=1)) > CLOSE * size[left]
        left, w, p = left[open_], w[open_], p[open_]
        if not len(left):
            break
        g, goal = (g[0][open_], g[1][open_]), (goal[0][open_], goal[1][open_])
        step = _step(w * p * (1 - p), g)
        slope = (g[0] * step[0]).sum(axis=1) + (g[1] * step[1]).sum(axis=1)
        share, base = np.ones(len(left)), _loss(alpha[left], beta[left], w, goal)
        for _ in range(_HALVINGS):
            moved = alpha[left] + share[:, None] * step[0], beta[left] + share[:, None] * step[1]
            worse = _loss(*moved, w, goal) > base - 1e-4 * share * slope + 1e-12 * np.abs(base)
            if not worse.any():
                break
            share = np.where(worse, share / 2, share)
        alpha[left], beta[left] = moved
    return _probability(alpha, beta)


def _step(h: Floats, g: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Return Newton's step of rows and columns, from w p (1 − p) and what sums lack."""
    tiny = np.finfo(np.float64).tiny
    of_row, of_column = (np.maximum(h.sum(axis=axis), tiny) for axis in (2, 1))
    scaled = h / of_row[:, :, None]
    matrix = -np.einsum("bak,bal->bkl", h, scaled)
    diagonal = np.arange(h.shape[2])
    matrix[:, diagonal, diagonal] += of_column * (1 + _RIDGE) + (of_column <= tiny)
    columns = np.linalg.solve(matrix, (g[1] - np.einsum("bak,ba->bk", scaled, g[0]))[:, :, None])[:, :, 0]
    rows = np.where(of_row > tiny, (g[0] - np.einsum("bak,bk->ba", h, columns)) / of_row, 0.0)
    return rows, columns


def _probability(alpha: Floats, beta: Floats) -> Floats:
    odds = np.exp(np.clip(alpha[:, :, None] + beta[:, None, :], -700.0, 700.0))
    return np.asarray(odds / (1 + odds))


def _log_odds(share: Floats) -> Floats:
    share = np.clip(share, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(share / (1 - share)))


def _loss(alpha: Floats, beta: Floats, w: Floats, goal: tuple[Floats, Floats]) -> Floats:
    """Return the function whose minimum has the margins: (block,)."""
    sure = (w * np.logaddexp(0.0, alpha[:, :, None] + beta[:, None, :])).sum(axis=(1, 2))
    return np.asarray(sure - (goal[0] * alpha).sum(axis=1) - (goal[1] * beta).sum(axis=1))
