"""Matched controls: other neurons of the same layers that write as strongly (docs/methods.md#neuron-sets)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy import sparse

from qloc.arms import matrix, row_of
from qloc.arrays import Floats, Ints
from qloc.extract.models.architectures import Sites, down_weight
from qloc.phase_plan import Matching

_DECILES: Final = 10
_NEAREST: Final = 2
"""Neurons nearest in strength that one is drawn from: two, so that seeds give other controls."""


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


def matched(
    own: sparse.csr_array, strength: Floats, seeds: Sequence[Sequence[int]], matching: Matching = "total"
) -> sparse.csr_array:
    """Draw for each set a disjoint set of the same size, from the same layers and of the same strength.

    ``total`` goes through a set from its strongest neuron to its weakest. Each gets one of the two free
    neurons of its layer that are nearest to its strength and what earlier ones lack, at random; the last gets
    the nearest. So total strengths agree as far as the layers have neurons that are strong enough.

    ``decile`` draws any free neuron of the same decile of strength; those next in strength where it has none.
    Sets of knowledge neurons lie in the top decile, and are nearly twice as strong as such controls.

    Parameters
    ----------
    own : bool CSR array, shape (query, layer · neuron)
        The sets.
    strength : float64 ndarray, shape (query, layer, neuron)
        |activation| · ‖W_out row‖.
    seeds : sequence of sequence of int
        Seed of each query's draw.
    matching : {"total", "decile"}
        How strengths are matched.

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
    draw = {"total": _of_total_strength, "decile": _of_deciles}[matching]
    rows = [
        np.sort(draw(row_of(own, query), strength[query], np.random.default_rng(list(seed))))
        for query, seed in enumerate(seeds)
    ]
    return matrix(rows, own.shape[1])


def total_strength(sets: sparse.csr_array, strength: Floats) -> Floats:
    """Return the summed strength of each set.

    Parameters
    ----------
    sets : bool CSR array, shape (query, layer · neuron)
        The sets.
    strength : float64 ndarray, shape (query, layer, neuron)
        |activation| · ‖W_out row‖.

    Returns
    -------
    float64 ndarray, shape (query,)
        0 of an empty set.
    """
    return np.array([of.ravel()[row_of(sets, query)].sum() for query, of in enumerate(strength)])


def _of_total_strength(members: Ints, strength: Floats, rng: np.random.Generator) -> Ints:
    n_neurons = strength.shape[1]
    layers, neurons = np.divmod(members, n_neurons)
    own = strength[layers, neurons]
    free = np.ones(strength.shape, dtype=bool)
    free[layers, neurons] = False
    drawn, lacking = [], 0.0
    for number, place in enumerate(np.lexsort((members, -own)), start=1):
        layer, wanted = layers[place], own[place] + lacking
        left = np.flatnonzero(free[layer])
        if not len(left):
            continue
        near = left[np.argsort(np.abs(strength[layer, left] - wanted), kind="stable")]
        choice = int(rng.choice(near[: _NEAREST if number < len(members) else 1]))
        free[layer, choice] = False
        lacking = wanted - strength[layer, choice]
        drawn.append(layer * n_neurons + choice)
    return np.array(drawn, dtype=np.int64)


def _of_deciles(members: Ints, strength: Floats, rng: np.random.Generator) -> Ints:
    n_neurons = strength.shape[1]
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
    return np.array(drawn, dtype=np.int64)
