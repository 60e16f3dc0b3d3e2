"""Classes of neurons, of each of which a set keeps its number where margins predict overlaps.

Neurons that the same facts use more are of one class, or what these facts share would pass for their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import ArpackError, LinearOperator, svds

from qloc.analysis.inference.label_codes import codes, n_codes
from qloc.arrays import Floats, Ints

POPULARITY_RATIO: Final = 2.0
"""Factor between a span of popularity and the next: the share of all sets with a neuron."""

FREQUENT: Final = 0.25
"""Share of a template's sets, or of an answer's, above which a neuron is frequent there."""

COMPONENTS: Final = 4
"""Ways that are held in which a relation's facts may use its hubs unequally."""

_DIGITS: Final = 9
"""Digits after the point to which loadings are compared."""

_APART: Final = 1e-6
"""Share of the first singular value by which one is apart from the next; or its component is any of many."""

_DENSE: Final = 200
"""Sets, or neurons, up to which all components are computed, not the first alone."""


@dataclass(frozen=True)
class StudyClasses:
    """What is known of a study's neurons from all of its sets.

    Attributes
    ----------
    span : int64 ndarray, shape (neuron,)
        Span of popularity (:func:`popularity`).
    side : int64 ndarray, shape (neuron,)
        Side of the first principal component of memberships (:func:`sides`).
    """

    span: Ints
    side: Ints

    @property
    def both(self) -> Ints:
        """Codes of span × side: int64 ndarray, shape (neuron,)."""
        return codes(self.span, self.side)

    @classmethod
    def of(cls, member: sparse.csr_array, cell: Ints) -> StudyClasses:
        """From all sets of a study.

        Parameters
        ----------
        member : float64 CSR array, shape (set, neuron)
            Ones where a set has a neuron.
        cell : int64 ndarray, shape (set,)
            As for :func:`sides`.

        Returns
        -------
        StudyClasses
            Of each neuron.
        """
        return cls(popularity(member), sides(member, cell, 1))


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


def classes_of_relation(study: StudyClasses, member: sparse.csr_array, cell: Ints, fact: Ints) -> Ints:
    """Return the classes of neurons of one relation's sets.

    A class is a span of popularity in the study and one in the relation. Of neurons in more of the
    relation's sets than any fact of it has queries, it is besides a side of the study's first component and
    one of each of the relation's first :data:`COMPONENTS`, which are of these neurons alone: so hubs that the
    same facts use more are of one class, and neurons that one fact has alone take no component. No class
    depends on how many *facts* have a neuron: that would choose neurons by whether their sets are of one
    fact, and take chance for facts' own.

    Parameters
    ----------
    study : StudyClasses
        Of all sets.
    member : float64 CSR array, shape (set, neuron)
        Sets of one relation: ones where a set has a neuron.
    cell : int64 ndarray, shape (set,)
        As for :func:`sides`.
    fact : int64 ndarray, shape (set,)
        Fact of each set.

    Returns
    -------
    int64 ndarray, shape (neuron,)
        Codes from 0.
    """
    part = np.zeros(member.shape[1], dtype=np.int64)
    count = np.bincount(member.indices, minlength=member.shape[1])
    of_many = np.flatnonzero(count > np.bincount(codes(fact)).max(initial=0))
    own = sides(sparse.csr_array(member[:, of_many]), cell, COMPONENTS)
    part[of_many] = 1 + codes(study.side[of_many], own)
    return codes(study.span, popularity(member), part)


def sides(member: sparse.csr_array, cell: Ints, n: int) -> Ints:
    """Return on which sides of the medians neurons load on the first principal components of memberships.

    Parameters
    ----------
    member : float64 CSR array, shape (set, neuron)
        Ones where a set has a neuron.
    cell : int64 ndarray, shape (set,)
        Cell of each set, whose mean is taken off: relation × template × answer, where several facts have
        that answer, so that neither templates nor answers take a component.
    n : int
        Number of components.

    Returns
    -------
    int64 ndarray, shape (neuron,)
        One bit for each component that is told from others: neither its sign nor its last digits decide.
    """
    count = np.bincount(member.indices, minlength=member.shape[1])
    found = np.zeros(member.shape[1], dtype=np.int64)
    for loading in _components(member, codes(cell), n):
        largest = float(loading[np.argmax(np.abs(loading).round(_DIGITS))])
        loading = (loading / (largest or 1.0)).round(_DIGITS)
        found = 2 * found + (loading > np.median(loading[count > 0]))
    return found


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


def _components(member: sparse.csr_array, cell: Ints, n: int) -> Floats:
    """Return neurons' loadings on the first components of memberships within cells, up to the first tie."""
    n = min(n, min(member.shape) - 2)
    if n < 1:
        return np.zeros((0, member.shape[1]))
    places = (np.ones(len(cell)), (cell, np.arange(len(cell))))
    of_cell = sparse.csr_array(places, shape=(n_codes(cell), len(cell)))
    size: Floats = np.asarray(of_cell.sum(axis=1))
    spread = sparse.csr_array(of_cell.T)

    def within(value: Floats) -> Floats:
        total: Floats = np.asarray(of_cell @ value)
        return np.asarray(value - np.asarray(spread @ (total.T / size).T))

    if min(member.shape) <= _DENSE:
        value, loading = np.linalg.svd(within(member.toarray()), full_matrices=False)[1:]
    else:
        value, loading = _first_singular(member, within, n + 1)
    apart = value[:n] - value[1 : n + 1] > _APART * value[0]
    return np.asarray(loading[: n if apart.all() else int(np.argmin(apart))])


def _first_singular(
    member: sparse.csr_array, within: Callable[[Floats], Floats], n: int
) -> tuple[Floats, Floats]:
    """Return the first singular values, falling, and right vectors; memberships within cells stay sparse."""

    def rows(vector: Floats) -> Floats:
        return within(np.asarray(member @ vector.ravel()))

    def columns(vector: Floats) -> Floats:
        return np.asarray(member.T @ within(vector.ravel()))

    centred = LinearOperator(member.shape, matvec=rows, rmatvec=columns, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(min(member.shape))
    try:
        _, value, loading = svds(centred, k=n, v0=start)
    except ArpackError:  # no spread within cells
        return np.zeros(n), np.zeros((n, member.shape[1]))
    return np.asarray(value[::-1]), np.asarray(loading[::-1])
