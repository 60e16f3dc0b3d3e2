"""Knowledge synapses: the columns of attention that a query leans on, and controls of equal mass.

Attention A[l, h, j, k] goes from token j to token k; a column's mass is c[l, h, k] = Σ_j A[l, h, j, k]. A set
of columns is a weight in [0, 1] for each (layer, head, token): the share of the column that an arm takes, so
that a control can remove exactly as much mass.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qloc.arrays import Floats

Mask = NDArray[np.bool_]


def published(mass: Floats, alpha: float) -> Mask:
    """Columns with c > τ, τ = α / (L · H · |Q|) · Σ c; rows sum to 1, so that τ is α.

    Early columns of a causal model are read by every later token: they pass for being early.

    Parameters
    ----------
    mass : float64, (layer, head, token)

    References
    ----------
    Chen et al. 2025 (arXiv 2405.14117), §3.
    """
    return np.asarray(mass > alpha * mass.mean())


def knowledge(mass: Floats, alpha: float, *, causal: bool) -> Mask:
    """Columns with more than α times the mass that even attention would give them, the first token left out.

    Even attention gives column k of a causal model Σ_{j ≥ k} 1/j (positions from 0, rows without the first
    token), of a masked one 1.

    Parameters
    ----------
    mass : float64, (layer, head, token), without the first token, rows renormalized; NaN there.

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
    """Other columns of the same layers, the first token's left out, of the same mass in each layer."""
    free = ~chosen
    free[:, :, 0] = False
    return _equal_mass(free, chosen, mass, rng)


def other_heads(chosen: Mask, mass: Floats, rng: np.random.Generator) -> Floats:
    """The same tokens' columns in heads that do not have them, of the same mass in each layer."""
    free = chosen.any(axis=1, keepdims=True) & ~chosen
    return _equal_mass(free, chosen, mass, rng)


def _equal_mass(free: Mask, chosen: Mask, mass: Floats, rng: np.random.Generator) -> Floats:
    weight = np.zeros(mass.shape)
    for layer, (here, wanted) in enumerate(zip(free, chosen, strict=True)):
        weight[layer] = cut_to_mass(here, mass[layer], float(mass[layer][wanted].sum()), rng)
    return weight


def cut_to_mass(free: Mask, mass: Floats, wanted: float, rng: np.random.Generator) -> Floats:
    """Columns in a drawn order until their mass is what is wanted, the last one in part.

    Returns
    -------
    float64, shape of ``mass``: a weight in [0, 1] for each column; all of them where they have less.

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
    weight[cells] = np.clip((wanted - before) / own, 0, 1)
    return weight.reshape(mass.shape)
