"""Arms: the neurons that analysis chose to be intervened on or edited, a unit at a time.

Plain arrays, so that extract knows no store and analysis knows no model. A neuron's number is
layer · n_neurons + index.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Numbers = NDArray[np.int64]
Values = NDArray[np.floating[Any]]


def differences(
    sets: tuple[Numbers, Numbers], strengths: tuple[Values, Values], n_neurons: int
) -> tuple[Numbers, Numbers]:
    """Take each of two sets without the other, cut to its strongest, as many in every layer.

    Parameters
    ----------
    sets : tuple of (Numbers, Numbers)
        Neuron numbers, ascending.
    strengths : tuple of (Values, Values)
        Float, (neuron,): by what each set's neurons are the strongest; ties go to the smaller number.
    n_neurons : int
        Neurons of a layer.

    Returns
    -------
    tuple of (Numbers, Numbers)
        Two arrays of ascending neuron numbers, as many of each layer in both.

    Examples
    --------
    >>> numbers = np.array([1, 2, 5]), np.array([2, 3, 7, 8])
    >>> [found.tolist() for found in differences(numbers, (np.ones(3), np.arange(4.0)), n_neurons=4)]
    [[1, 5], [3, 7]]
    """
    own = [np.isin(mine, theirs, invert=True) for mine, theirs in (sets, sets[::-1])]
    apart = [(neurons[kept], by[kept]) for neurons, by, kept in zip(sets, strengths, own, strict=True)]
    n_layers = 1 + max((int(neurons[-1]) // n_neurons for neurons in sets if len(neurons)), default=0)
    counts = [np.bincount(neurons // n_neurons, minlength=n_layers) for neurons, _ in apart]
    first, second = (_strongest(neurons, by, n_neurons, np.minimum(*counts)) for neurons, by in apart)
    return first, second


def _strongest(neurons: Numbers, strength: Values, n_neurons: int, counts: Numbers) -> Numbers:
    """The strongest of each layer, as many as ``counts``, (layer,), says; ascending."""
    order = np.lexsort((neurons, -strength))
    layer = neurons[order] // n_neurons
    kept = [order[layer == number][:count] for number, count in enumerate(counts)]
    return np.sort(neurons[np.concatenate(kept)])


def matrix(rows: Sequence[Numbers], width: int) -> sparse.csr_array:
    """Put rows of neuron numbers into one sparse matrix.

    Parameters
    ----------
    rows : sequence of Numbers
        Ascending neuron numbers of each row.
    width : int
        Neurons of the network, layer · neuron.

    Returns
    -------
    bool csr_array, shape (row, layer · neuron)
        True where a row has the neuron.
    """
    neuron = np.concatenate([np.zeros(0, dtype=np.int64), *rows])
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return sparse.csr_array((np.ones(len(neuron), dtype=bool), neuron, indptr), shape=(len(rows), width))


def row_of(member: sparse.csr_array, row: int) -> NDArray[np.int64]:
    """Return the neuron numbers of one row of sets.

    Parameters
    ----------
    member : bool csr_array, shape (row, layer · neuron)
        Ascending in each row.
    row : int
        Its place.

    Returns
    -------
    int64 ndarray, shape (neuron,)
        Numbers layer · n_neurons + index, as the matrix has them.
    """
    return member.indices[member.indptr[row] : member.indptr[row + 1]].astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Arms:
    """What is to be changed at each query of one unit.

    Attributes
    ----------
    sets : dict of str to sparse.csr_array
        By label of the ``neuron_set`` axis (or ``edit_set``), in its order; bool, CSR (query in the
        unit, layer · neuron). An empty row is an arm that the query does not have.
    neighbor : int64 ndarray, shape (query in the unit,)
        The study-wide query whose set is N_j; -1 where a fact has one query.
    other_fact : int64 ndarray, shape (query in the unit,)
        The study-wide query of another fact of the relation, asked with the same template, with another
        answer; seeded; -1 where there is none.
    again : sparse.csr_array or None
        Of the queries that are to be asked again, in another form, the attributions to N_i: float, CSR
        (query in the unit, layer · neuron), other rows empty; None where none is.
    views : int64 ndarray, shape (query in the unit, view), or None
        Neurons that are looked at one by one after synapses are suppressed, ascending, -1 behind the last;
        rows of -1 where none is. None where no query of the study is looked at.
    """

    sets: Mapping[str, sparse.csr_array]
    neighbor: NDArray[np.int64]
    other_fact: NDArray[np.int64]
    again: sparse.csr_array | None = None
    views: NDArray[np.int64] | None = None


@dataclass(frozen=True, kw_only=True)
class TracingArms:
    """Which queries of one unit are traced.

    Attributes
    ----------
    traced : bool ndarray, shape (query in the unit,)
        True where a query is.
    """

    traced: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class RelationSums:
    """Sums of activations over all queries of a relation, which means over *other* facts are taken from.

    Attributes
    ----------
    n_queries : dict of str to int
        By relation, how many queries were summed over.
    activation_sum : callable
        Reads a relation's sums: float64, (layer, neuron), of the activation at the target, mean over
        answer tokens.
    """

    n_queries: Mapping[str, int]
    activation_sum: Callable[[str], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class EntailedArms:
    """What is edited along with each fact of one unit, so that its inverse stays one to one.

    Attributes
    ----------
    asks_inverse : bool ndarray, shape (fact,)
        Whether the inverse is asked: the object has one subject, and o′ has none or a partner's.
    partner : int64 ndarray, shape (fact,)
        Study-wide fact whose object is o′, and which is edited to o; -1 where there is none.
    partner_query : int64 ndarray, shape (fact,)
        Study-wide query of the partner that is edited; -1 where there is none.
    partner_sets : dict of str to sparse.csr_array
        As :attr:`EditArms.sets`, of the partners.
    partner_held_out : int8 ndarray, shape (fact, query_of_fact)
        As :attr:`EditArms.held_out`, of the partners.
    """

    asks_inverse: NDArray[np.bool_]
    partner: NDArray[np.int64]
    partner_query: NDArray[np.int64]
    partner_sets: Mapping[str, sparse.csr_array]
    partner_held_out: NDArray[np.int8]


@dataclass(frozen=True, kw_only=True)
class EditArms:
    """What is to be edited for each fact of one unit, and what the edits are tested on.

    Attributes
    ----------
    sets : dict of str to sparse.csr_array
        By label of the ``edit_set`` axis, in its order; bool, CSR (fact in the unit, layer · neuron).
        An empty row is an edit that the fact does not have.
    edited_query, other_fact : int64 ndarray, shape (fact,)
        Study-wide queries; the one that is edited, and one of another fact with the same template; -1
        where there is none.
    held_out : int8 ndarray, shape (fact, query_of_fact)
        1 where a query's template was not used for the sets, 0 where it was, -1 where there is no
        query.
    new_object : tuple of str
        O′ of each fact; empty where there is none, and of minimal pairs, whose sentences have their own.
    probe_query : int64 ndarray, shape (fact, probe)
        Study-wide queries; -1 where there are fewer.
    probe_kind : str ndarray, shape (fact, probe)
        Such as ``other_answer_same_relation``; empty where there is none.
    entailed : EntailedArms or None
        What is edited along with facts; None where no fact says what it entails.
    """

    sets: Mapping[str, sparse.csr_array]
    edited_query: NDArray[np.int64]
    other_fact: NDArray[np.int64]
    held_out: NDArray[np.int8]
    new_object: tuple[str, ...]
    probe_query: NDArray[np.int64]
    probe_kind: NDArray[np.object_]
    entailed: EntailedArms | None = None
