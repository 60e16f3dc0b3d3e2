"""Classes of neurons, of each of which a set keeps its number where margins predict overlaps.

Neurons that the same facts use more are of one class, or what these facts share would pass for their own.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import ArpackError, LinearOperator, svds

from qloc.analysis.inference.label_codes import codes, n_codes
from qloc.arrays import Floats, Ints

POPULARITY_RATIO: Final = 2.0
"""Factor between a class of popularity and the next: the share of all sets of the study with a neuron."""

FREQUENT: Final = 0.25
"""Share of a template's sets, or of an answer's, above which a neuron is frequent there."""

SEVERAL: Final = 3
SHARE_OF_FACTS: Final = 0.1
"""Facts that have a neuron, in number and as a share, from which on it may be a hub of a relation."""

_DIGITS: Final = 9
"""Digits after the point to which loadings are compared."""


def neuron_classes(member: sparse.csr_array, cell: Ints) -> Ints:
    """Return the classes of a study's neurons.

    A class is a span of popularity, the share of all sets that have a neuron (steps of a factor
    :data:`POPULARITY_RATIO`), and the side of the median on which the neuron loads on the first principal
    component of memberships, less their means over cells: generic hub neurons that the same facts use more
    are on one side of it, whatever their popularity.

    Parameters
    ----------
    member : float64 CSR array, shape (set, neuron)
        Ones where a set has a neuron.
    cell : int64 ndarray, shape (set,)
        Cell of each set: relation × template × answer, where several facts have that answer, so that neither
        templates nor answers take the component.

    Returns
    -------
    int64 ndarray, shape (neuron,)
        Codes from 0.
    """
    parted = 2 * popularity(member) + _above(member, codes(cell))
    return np.asarray(np.unique(parted, return_inverse=True)[1].astype(np.int64))


def popularity(member: sparse.csr_array) -> Ints:
    """Return the span of popularity of each neuron: the share of sets with it, in steps of a factor of two.

    Parameters
    ----------
    member : float64 CSR array, shape (set, neuron)
        Ones where a set has a neuron.

    Returns
    -------
    int64 ndarray, shape (neuron,)
        Codes from 0.
    """
    count = np.bincount(member.indices, minlength=member.shape[1])
    level = np.floor(np.log(np.maximum(count, 1) / max(member.shape[0], 1)) / np.log(POPULARITY_RATIO))
    return np.asarray(np.unique(level, return_inverse=True)[1].astype(np.int64))


def classes_of_relation(member: sparse.csr_array, cell: Ints, fact: Ints | None = None) -> Ints:
    """Return the classes of neurons by one relation's own sets.

    As :func:`neuron_classes`, by popularity in the relation and the side of its own first component. With
    ``fact``, the component is of neurons alone that three facts have at least, and a tenth of them: hubs
    are of many facts, and few facts' own neurons do not take it. All others are a third part.

    Parameters
    ----------
    member : float64 CSR array, shape (set, neuron)
        Sets of one relation: ones where a set has a neuron.
    cell : int64 ndarray, shape (set,)
        As for :func:`neuron_classes`.
    fact : int64 ndarray, shape (set,), optional
        Fact of each set.

    Returns
    -------
    int64 ndarray, shape (neuron,)
        Codes from 0.
    """
    part, where = np.zeros(member.shape[1], dtype=np.int64), np.arange(member.shape[1])
    if fact is not None:
        of_fact = codes(fact)
        places = (np.ones(len(of_fact)), (of_fact, np.arange(len(of_fact))))
        n_sets = sparse.csr_array(places, shape=(n_codes(of_fact), len(of_fact))) @ member
        n_facts = np.bincount(n_sets.indices[n_sets.data > 0], minlength=member.shape[1])
        where = np.flatnonzero(n_facts >= max(SEVERAL, SHARE_OF_FACTS * n_codes(of_fact)))
    part[where] = 1 + _above(sparse.csr_array(member[:, where]), codes(cell))
    return np.asarray(np.unique(3 * popularity(member) + part, return_inverse=True)[1].astype(np.int64))


def _above(member: sparse.csr_array, cell: Ints) -> NDArray[np.bool_]:
    """Return which neurons load above the median: neither signs of components nor last digits tell."""
    count = np.bincount(member.indices, minlength=member.shape[1])
    loading = _first_component(member, cell)
    largest = float(loading[np.argmax(np.abs(loading).round(_DIGITS))]) if len(loading) else 1.0
    loading = (loading / (largest or 1.0)).round(_DIGITS)
    return np.asarray(loading > (np.median(loading[count > 0]) if count.any() else 0.0))


def frequent_apart(member: sparse.csr_array, stratum: Ints, groups: list[Ints], classes: Ints) -> Ints:
    """Return classes of one relation's neurons, stratum by stratum: those frequent in a group of sets apart.

    How the odds of frequent and of rare neurons grow with the size of a set is not known: each of both
    keeps its number.

    Parameters
    ----------
    member : float64 CSR array, shape (set, neuron)
        Sets of one relation.
    stratum : int64 ndarray, shape (set,)
        Stratum of each set, from 0.
    groups : list of int64 ndarray, shape (set,) each
        Templates, and answers, that strata are part of.
    classes : int64 ndarray, shape (neuron,)
        The classes to part.

    Returns
    -------
    int64 ndarray, shape (stratum, neuron)
        Codes from 0.
    """
    parted = np.repeat(classes[None, :], n_codes(stratum), axis=0)
    of_stratum = np.unique(stratum, return_index=True)[1]
    for group in map(codes, groups):
        places = (1 / np.bincount(group)[group], (group, np.arange(len(group))))
        share = (sparse.csr_array(places, shape=(n_codes(group), len(group))) @ member).toarray()
        parted *= 2
        parted += (share > FREQUENT)[group[of_stratum]]
    present = np.zeros(int(parted.max(initial=0)) + 1, dtype=np.int64)
    present[parted] = 1  # few classes, many cells: no sort
    return np.asarray((present.cumsum() - 1)[parted])


def _first_component(member: sparse.csr_array, cell: Ints) -> Floats:
    """Return each neuron's loading on the first principal component of memberships within cells."""
    if min(member.shape) < 3:
        return np.zeros(member.shape[1])
    places = (np.ones(len(cell)), (cell, np.arange(len(cell))))
    of_cell = sparse.csr_array(places, shape=(n_codes(cell), len(cell)))
    size: Floats = np.asarray(of_cell.sum(axis=1))
    spread = sparse.csr_array(of_cell.T)

    def within(value: Floats) -> Floats:
        total: Floats = np.asarray(of_cell @ value)
        return np.asarray(value - np.asarray(spread @ (total / size)))

    def rows(vector: Floats) -> Floats:
        return within(np.asarray(member @ vector.ravel()))

    def columns(vector: Floats) -> Floats:
        return np.asarray(member.T @ within(vector.ravel()))

    centred = LinearOperator(member.shape, matvec=rows, rmatvec=columns, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(min(member.shape))
    try:
        return np.asarray(svds(centred, k=1, v0=start)[2][0])
    except ArpackError:  # no spread within cells: no component
        return np.zeros(member.shape[1])
