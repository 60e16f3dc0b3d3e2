"""Knowledge synapses: choose the columns of attention with the most mass, and controls of equal mass.

Attention A[l, h, j, k] goes from token j to token k. A column's mass is c[l, h, k] = Σ_j A[l, h, j, k].
A control has a weight in [0, 1] for each (layer, head, token): the share of the column that an arm takes.
With a share of its last column it removes exactly as much mass as the columns that it is compared with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qloc.arrays import Floats

Mask = NDArray[np.bool_]


def published(mass: Floats, alpha: float) -> Mask:
    """Choose the columns with c > τ, τ = α / (L · H · |Q|) · Σ c. Rows sum to 1, so that τ is α.

    In a causal model every later token reads an early column: such columns are chosen because they are early.

    Parameters
    ----------
    mass : float64 ndarray, shape (layer, head, token)
        Mass of each column.
    alpha : float
        α.

    Returns
    -------
    bool ndarray, shape (layer, head, token)
        Whether each column is chosen.

    References
    ----------
    Chen et al. 2025 (arXiv 2405.14117), §3.
    """
    return np.asarray(mass > alpha * mass.mean())


def knowledge(mass: Floats, alpha: float, *, causal: bool) -> Mask:
    """Choose the columns with more than α times the mass that even attention would give them.

    The first token is left out. Even attention then gives column k of a causal model Σ_{j ≥ k} 1/j (positions
    from 0), and a column of a masked model 1.

    Parameters
    ----------
    mass : float64 ndarray, shape (layer, head, token)
        Mass of each column without the first token, rows renormalized; NaN at the first token.
    alpha : float
        α.
    causal : bool
        Whether tokens read earlier tokens only.

    Returns
    -------
    bool ndarray, shape (layer, head, token)
        Whether each column is chosen.

    Examples
    --------
    >>> even = np.array([[[np.nan, 1 + 1 / 2, 1 / 2]]])
    >>> knowledge(even, 1.01, causal=True).any(), knowledge(2 * even, 1.9, causal=True).tolist()
    (np.False_, [[[False, True, True]]])
    """
    n = mass.shape[-1]
    even = np.ones(n)
    if causal:
        shares = np.zeros(n)
        shares[1:] = 1 / np.arange(1, n)
        even = np.cumsum(shares[::-1])[::-1]
    with np.errstate(invalid="ignore"):
        return np.asarray(mass > alpha * even)


def random_columns(chosen: Mask, mass: Floats, rng: np.random.Generator) -> Floats:
    """Draw a control: other columns, except the first token's, of the same mass in each layer.

    Parameters
    ----------
    chosen : bool ndarray, shape (layer, head, token)
        The columns that the control is for.
    mass : float64 ndarray, shape (layer, head, token)
        Mass of each column.
    rng : numpy.random.Generator
        The generator to draw from.

    Returns
    -------
    float64 ndarray, shape (layer, head, token)
        A weight in [0, 1] for each column.
    """
    free = ~chosen
    free[:, :, 0] = False
    return _equal_mass(free, chosen, mass, rng)


def other_heads(chosen: Mask, mass: Floats, rng: np.random.Generator) -> Floats:
    """Draw a control: the same tokens' columns in other heads, of the same mass in each layer.

    Parameters
    ----------
    chosen : bool ndarray, shape (layer, head, token)
        The columns that the control is for.
    mass : float64 ndarray, shape (layer, head, token)
        Mass of each column.
    rng : numpy.random.Generator
        The generator to draw from.

    Returns
    -------
    float64 ndarray, shape (layer, head, token)
        A weight in [0, 1] for each column.
    """
    free = chosen.any(axis=1, keepdims=True) & ~chosen
    return _equal_mass(free, chosen, mass, rng)


def _equal_mass(free: Mask, chosen: Mask, mass: Floats, rng: np.random.Generator) -> Floats:
    weight = np.zeros(mass.shape)
    for layer, (here, target) in enumerate(zip(free, chosen, strict=True)):
        weight[layer] = cut_to_mass(here, mass[layer], float(mass[layer][target].sum()), rng)
    return weight


def cut_to_mass(free: Mask, mass: Floats, total: float, rng: np.random.Generator) -> Floats:
    """Take columns in a random order until they have a given mass, the last column in part.

    Parameters
    ----------
    free : bool ndarray
        The columns that may be taken.
    mass : float64 ndarray
        Mass of each column, of the same shape.
    total : float
        The mass to take.
    rng : numpy.random.Generator
        The generator of the order.

    Returns
    -------
    float64 ndarray
        A weight in [0, 1] for each column, of the same shape; 1 for every free column where they have less
        mass.

    Examples
    --------
    >>> mass = np.array([2.0, 2.0, 2.0])
    >>> weight = cut_to_mass(np.array([True, True, False]), mass, 3.0, np.random.default_rng(0))
    >>> sorted(weight.tolist()), float((weight * mass).sum())
    ([0.0, 0.5, 1.0], 3.0)
    """
    cells = np.flatnonzero(free.ravel() & (mass.ravel() > 0))
    rng.shuffle(cells)
    own = mass.ravel()[cells]
    before = np.concatenate([[0.0], np.cumsum(own)[:-1]]) if len(cells) else own
    weight = np.zeros(mass.size)
    weight[cells] = np.clip((total - before) / own, 0, 1)
    return weight.reshape(mass.shape)
