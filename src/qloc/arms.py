"""Arms: the neurons that analysis chose to be intervened on or edited, a unit at a time.

Plain arrays, so that extract knows no store and analysis knows no model. A neuron's number is
layer · n_neurons + index.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


@dataclass(frozen=True, kw_only=True)
class Arms:
    """What is to be changed at each query of one unit.

    Attributes
    ----------
    sets : by label of the ``neuron_set`` axis (or ``edit_set``), in its order; bool, CSR
        (query in the unit, layer · neuron). An empty row is an arm that the query does not have.
    neighbor : int64, (query in the unit,): the study-wide query whose set is N_j; -1 where a fact has one
        query.
    other_fact : int64, (query in the unit,): the study-wide query of another fact of the relation, asked with
        the same template, with another answer; seeded; -1 where there is none.
    """

    sets: Mapping[str, sparse.csr_array]
    neighbor: NDArray[np.int64]
    other_fact: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class RelationSums:
    """Sums of activations over all queries of a relation, which means over *other* facts are taken from.

    Attributes
    ----------
    n_queries : by relation, how many queries were summed over.
    activation_sum : reads a relation's sums: float64, (layer, neuron), of the activation at the target, mean
        over answer tokens.
    """

    n_queries: Mapping[str, int]
    activation_sum: Callable[[str], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class EditArms:
    """What is to be edited for each fact of one unit, and what the edits are tested on.

    Attributes
    ----------
    sets : by label of the ``edit_set`` axis, in its order; bool, CSR (fact in the unit, layer · neuron). An
        empty row is an edit that the fact does not have.
    edited_query, other_fact : int64, (fact,): study-wide queries; the one that is edited, and one of another
        fact with the same template; -1 where there is none.
    held_out : int8, (fact, query_of_fact): 1 where a query's template was not used for the sets, 0 where it
        was, -1 where there is no query.
    new_object : o′ of each fact; empty where there is none.
    probe_query : int64, (fact, probe): study-wide queries; -1 where there are fewer.
    probe_kind : str, (fact, probe), such as ``other_answer_same_relation``; empty where there is none.
    """

    sets: Mapping[str, sparse.csr_array]
    edited_query: NDArray[np.int64]
    other_fact: NDArray[np.int64]
    held_out: NDArray[np.int8]
    new_object: tuple[str, ...]
    probe_query: NDArray[np.int64]
    probe_kind: NDArray[np.object_]
