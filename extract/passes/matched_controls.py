"""Matched controls: other neurons of the same layers that write as strongly (docs/methods.md#neuron-sets)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy import sparse

from qloc.arms import matrix, row_of
from qloc.arrays import Floats, Ints
from qloc.extract.models.architectures import Sites, down_weight

_DECILES: Final = 10


def output_norms(sites: Sites) -> Floats:
    """Return ‖W_out row‖ of every neuron: the length of what one unit of its activation writes.

    Parameters
    ----------
    sites : Sites
        Down-projections of the model.

    Returns
    -------
    float64 ndarray, shape (layer, neuron)
        The norms.
    """
    return np.stack([down_weight(down).double().norm(dim=0).cpu().numpy() for down in sites.downs])


def matched(own: sparse.csr_array, strength: Floats, seeds: Sequence[Sequence[int]]) -> sparse.csr_array:
    """Draw for each set a disjoint set of the same size, from the same layers and deciles of strength.

    Where a decile has too few other neurons, those next in strength serve.

    Parameters
    ----------
    own : bool CSR array, shape (query, layer · neuron)
        The sets.
    strength : float64 ndarray, shape (query, layer, neuron)
        |activation| · ‖W_out row‖.
    seeds : sequence of sequence of int
        Seed of each query's draw.

    Returns
    -------
    bool CSR array, shape (query, layer · neuron)
        The controls. A layer all of whose neurons are in the set gives fewer.

    Examples
    --------
    >>> own = sparse.csr_array(np.array([[1, 0, 0, 0]], dtype=bool))
    >>> matched(own, np.array([[[1.0, 9.0, 1.1, 5.0]]]), [[0]]).indices.tolist()
    [2]
    """
    n_neurons = strength.shape[2]
    rows = [
        _drawn(row_of(own, query), strength[query], n_neurons, np.random.default_rng(list(seed)))
        for query, seed in enumerate(seeds)
    ]
    return matrix(rows, own.shape[1])


def _drawn(members: Ints, strength: Floats, n_neurons: int, rng: np.random.Generator) -> Ints:
    layers, neurons = np.divmod(members, n_neurons)
    drawn = []
    for layer in np.unique(layers):
        inside = neurons[layers == layer]
        place = np.empty(n_neurons, dtype=np.int64)  # of each neuron in the order of strength
        place[np.argsort(strength[layer], kind="stable")] = np.arange(n_neurons)
        decile = place * _DECILES // n_neurons
        free = np.ones(n_neurons, dtype=bool)
        free[inside] = False
        for neuron in inside:
            left = np.flatnonzero(free)
            if not len(left):
                break
            same = left[decile[left] == decile[neuron]]
            near = np.abs(place[left] - place[neuron])
            choice = int(rng.choice(same)) if len(same) else int(left[np.argmin(near)])
            free[choice] = False
            drawn.append(layer * n_neurons + choice)
    return np.sort(np.array(drawn, dtype=np.int64))
