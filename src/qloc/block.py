"""What travels from extract to store: an Outline before the model runs, then a Block a unit.

Plain arrays with fixed axes, so that extract knows no Zarr and store knows no model. A **unit** is a fixed
run of whole facts: the grain of resuming, of distribution and of batches. Phases after ``signals`` have
outlines and blocks of their own, over the same units.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np

from qloc.arrays import Array
from qloc.errors import InputError, message

_SHARD: Final = re.compile(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,8})", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A run of whole facts and their queries; half-open ranges into the study's facts and queries.

    Attributes
    ----------
    number : int
        Place among the units, from 0.
    first_fact : int
        First fact of the unit.
    last_fact : int
        First fact behind the unit.
    first_query : int
        First query of the unit.
    last_query : int
        First query behind the unit.
    """

    number: int
    first_fact: int
    last_fact: int
    first_query: int
    last_query: int

    @property
    def n_facts(self) -> int:
        """Number of facts in the unit."""
        return self.last_fact - self.first_fact

    @property
    def n_queries(self) -> int:
        """Number of queries in the unit; may be 0."""
        return self.last_query - self.first_query


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One part of a plan's units, which one job of several extracts into a store of its own.

    Attributes
    ----------
    number : int
        Place among the shards, from 1.
    of : int
        Number of shards.

    Examples
    --------
    >>> str(Shard.read("3/16"))
    '3/16'
    """

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def read(cls, text: str) -> Self:
        """Read ``K/N``.

        Parameters
        ----------
        text : str
            Such as ``3/16``: the third of sixteen.

        Returns
        -------
        Shard
            The shard.

        Raises
        ------
        InputError
            The text is not of that form, or K is greater than N.
        """
        match = _SHARD.fullmatch(text)
        if match is None or int(match[1]) > int(match[2]):
            rule = "K/N with 1 ≤ K ≤ N, such as 3/16"
            raise InputError(message("shard", text, rule, "--shard", "Correct it"))
        return cls(number=int(match[1]), of=int(match[2]))

    def units(self, units: Sequence[Unit]) -> tuple[Unit, ...]:
        """Return the units of this shard: each N-th, so that no shard has a whole relation to itself.

        Parameters
        ----------
        units : sequence of Unit
            All units of the study.

        Returns
        -------
        tuple of Unit
            Those whose number leaves the remainder K − 1 when divided by N.

        Examples
        --------
        >>> units = units_of(np.ones(7, dtype=int), 1)
        >>> [unit.number for unit in Shard(number=2, of=3).units(units)]
        [1, 4]
        """
        return tuple(unit for unit in units if unit.number % self.of == self.number - 1)


@dataclass(frozen=True, kw_only=True)
class Outline:
    """All that is known of an extraction before the model has run.

    Attributes
    ----------
    facts : dict of str to ndarray
        Columns of ``/facts``, each of length n_facts, in input order: ``id, subject, relation, object,
        feature`` (str), ``first_query, n_queries, n_objects`` (int32, -1 missing), ``leaks`` (int8),
        and one column for each attribute of the facts.
    candidates : dict of str to tuple of str
        The candidate answers of each relation, in the order of the ``candidate`` axis.
    methods : tuple of str
        Attribution methods, in the order of the ``attribution_method`` axis.
    sizes : dict of str to int
        Length of every axis but slot: ``fact, query, layer, neuron, head, token, answer_token, top,
        candidate, query_of_fact``; ``head`` is 0 where attention cannot be recorded.
    units : tuple of Unit
        A partition of facts and queries, in order.
    attrs : dict of str to Any
        What describes the study, JSON only: model, site, parameters, excluded queries by reason ….
    vocabulary : int
        Rows of the output embedding; 0 where the tokens that neurons promote are not kept.
    """

    facts: Mapping[str, Array]
    candidates: Mapping[str, tuple[str, ...]]
    methods: tuple[str, ...]
    sizes: Mapping[str, int]
    units: tuple[Unit, ...]
    attrs: Mapping[str, Any]
    vocabulary: int = 0


@dataclass(frozen=True, kw_only=True)
class Block:
    """What extraction learned about one unit; axes are local to the unit.

    Attributes
    ----------
    unit : Unit
        The run of facts that the arrays are of.
    queries : dict of str to ndarray
        Columns of ``/queries``, leading axis query, under the names, dims and dtypes of docs/store.md:
        ``fact`` (int32, index into the study's facts), ``template, relation, prompt, answer, kind``
        (str), ``answer_token_id, target_position, token_log_probability, token_rank`` (query,
        answer_token), ``log_probability, rank, argmax, known``, ``bad_log_probability`` (NaN but for
        pairs), ``top_token_id, top_log_probability`` (query, top), ``candidate_log_probability``
        (query, candidate). ``answer_token`` and ``candidate`` are as long as the outline says.
    attribution : ndarray
        float32 or float64, (attribution_method, query, layer, neuron).
    activation, gradient : ndarray
        float32 or float64, (query, layer, neuron); gradient of the answer token's probability at the
        activation itself (α = 1), mean over answer tokens.
    completeness_gap : float32 ndarray, shape (attribution_method, query, layer)
        NaN where not defined.
    n_nodes : int32 ndarray, shape (attribution_method, query, layer)
        Gradients along the layer's paths, besides those at α = 1, of all answer tokens.
    error_bound : float32 ndarray, shape (attribution_method, query, layer)
        Bound of the error of an attribution of the layer, relative to the query's largest in the network;
        NaN where the quadrature gives none.
    converged : int8 ndarray, shape (attribution_method, query, layer)
        Whether the paths were integrated as exactly as was asked; -1 where the quadrature does not say.
    gram, null_gram : float64 ndarray, shape (attribution_method, fact, query_of_fact, query_of_fact)
        NaN padded.
    attention : dict of str to ndarray
        ``target_row, column_mass, column_mass_no_sink`` float16 (query, layer, head, token), ``length``
        int32 (query); empty where attention cannot be recorded.
    tokens : dict of str to ndarray
        ``number`` int32 (neuron,), neurons of the network, ascending; ``promoted_token_id`` and
        ``suppressed_token_id`` int32 (neuron, place), -1 behind the last; ``token_id`` int32 (token,) and
        ``token`` str (token,), the text of tokens; empty where the outline's vocabulary is 0.
    notes : dict of str to Any
        What a reader should know of the unit, JSON only, such as that batches were shrunk for memory.
    """

    unit: Unit
    queries: Mapping[str, Array]
    attribution: Array
    activation: Array
    gradient: Array
    completeness_gap: Array
    n_nodes: Array
    error_bound: Array
    converged: Array
    gram: Array
    null_gram: Array
    attention: Mapping[str, Array] = field(default_factory=dict)
    tokens: Mapping[str, Array] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PhaseOutline:
    """All that is known of a phase after ``signals`` before the model has run for it.

    Attributes
    ----------
    phase : str
        ``interventions``, ``edits`` or ``tracing``.
    labels : dict of str to tuple of str
        The labels along each labelled axis, in order: ``{"operation": ("suppress", …), …}``.
    sizes : dict of str to int
        Lengths of the phase's other own axes, such as ``probe`` and ``step``; ``query``, ``fact``,
        ``query_of_fact`` and the like are the store's.
    attrs : dict of str to Any
        What describes the phase, JSON only; written as the attributes of its groups.
    absent : tuple of str
        Groups of the phase that are left out, such as ``synapses`` where attention cannot be edited;
        why is in ``attrs``.
    added : tuple of str
        Groups that are there only where they are named, such as ``reprompts`` where queries are asked
        again.
    """

    phase: str
    labels: Mapping[str, tuple[str, ...]]
    sizes: Mapping[str, int]
    attrs: Mapping[str, Any]
    absent: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PhaseBlock:
    """What a phase learned about one unit.

    Attributes
    ----------
    unit : Unit
        The run of facts that the arrays are of.
    arrays : dict of str to ndarray
        By path, such as ``interventions/log_probability``, every variable of the phase's groups under
        the dims and dtypes of docs/store.md, but for coordinates; the row axis (query or fact) is local
        to the unit.
    notes : dict of str to Any
        As of :class:`Block`.
    """

    unit: Unit
    arrays: Mapping[str, Array]
    notes: Mapping[str, Any] = field(default_factory=dict)


def units_of(n_queries: Array, unit_facts: int) -> tuple[Unit, ...]:
    """Cut facts with ``n_queries`` queries each into units of ``unit_facts`` facts.

    Parameters
    ----------
    n_queries : int ndarray, shape (fact,)
        Int, (fact,).
    unit_facts : int
        Facts a unit; the last unit may be shorter.

    Returns
    -------
    tuple of Unit
        In order; they part facts and queries without gap or overlap.

    Examples
    --------
    >>> [(u.first_fact, u.last_fact, u.first_query, u.last_query) for u in units_of(np.array([3, 0, 2]), 2)]
    [(0, 2, 0, 3), (2, 3, 3, 5)]
    """
    ends = np.concatenate([[0], np.cumsum(n_queries)])
    starts = range(0, len(n_queries), unit_facts)
    return tuple(
        Unit(
            number=number,
            first_fact=first,
            last_fact=min(first + unit_facts, len(n_queries)),
            first_query=int(ends[first]),
            last_query=int(ends[min(first + unit_facts, len(n_queries))]),
        )
        for number, first in enumerate(starts)
    )
