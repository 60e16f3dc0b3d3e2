"""Choice of what is intervened on: the neuron sets of every arm, from the stored signals, unit by unit.

Sets are chosen here, offline, and go back to extraction once (docs/methods.md#interventions); only the
control that is matched in strength needs whole layers, and is drawn during extraction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from qloc.accuracy.path_accuracy import UNKNOWN
from qloc.analysis.inputs.attributions import MethodAttributions, sets_of
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.viewed_facts import viewed_facts, viewed_neurons
from qloc.analysis.localization.refined_neurons import Refined, refined_neurons
from qloc.arms import Arms, differences, matrix, row_of
from qloc.arrays import Array
from qloc.block import Unit
from qloc.neurons import NeuronSets, top_rows
from qloc.phase_plan import InterventionPlan
from qloc.random_streams import Stream
from qloc.vocabulary import NO_INDEX

NeuronRows = list[Array]
"""One set for each query: ascending neuron numbers."""


@dataclass(frozen=True, kw_only=True)
class Chooser:
    """Chooses the arms of a study.

    Attributes
    ----------
    study : Study
        Whose signals the sets are chosen from.
    method : str
        Attribution method of all sets.
    threshold : float, default 0.2
        Of the sets N_i.
    top : int, default 20
        Budget of the set ``top``.
    share : float, default 0.7
        Share of a fact's queries that refining begins with.
    reprompted : int, default 0
        How many queries of a fact are asked again, at most.
    viewed : tuple of (int, int), default (0, 0)
        How many facts are looked at neuron by neuron, and how many neurons of each, at most.
    own_sets : mapping of str to mapping of str to int64 ndarray
        Users' sets: name → fact id → neurons; the empty id stands for every fact.
    seed : int, default 0
        Of every draw.
    """

    study: Study
    method: str
    threshold: float = 0.2
    top: int = 20
    share: float = 0.7
    reprompted: int = 0
    viewed: tuple[int, int] = (0, 0)
    own_sets: Mapping[str, Mapping[str, Array]]
    seed: int = 0

    @cached_property
    def sets(self) -> NeuronSets:
        """N_i of every query.

        Raises
        ------
        FloorError
            The threshold is below what the panels keep.
        """
        return certain_sets(self.study, self.method, self.threshold)

    @cached_property
    def refined(self) -> Refined:
        """The refined neurons of every fact."""
        return refined_neurons(self.sets, self.share)

    @cached_property
    def _signals(self) -> MethodAttributions:
        return self.study.signals_of(self.method)

    @cached_property
    def _strata(self) -> dict[tuple[str, str], Array]:
        return strata(self.sets)

    @classmethod
    def of(
        cls, study: Study, part: InterventionPlan, *, seed: int, own: Mapping[str, Mapping[str, Array]]
    ) -> Chooser:
        """Return the chooser of a plan's part.

        Parameters
        ----------
        study : Study
            Whose signals the sets are chosen from.
        part : InterventionPlan
            Method, threshold and budgets.
        seed : int
            Of every draw.
        own : mapping of str to mapping of str to int64 ndarray
            Users' sets, as :func:`qloc.neuron_set_files.read_own_sets` gives them.

        Returns
        -------
        Chooser
            By the plan's method, or the study's first where the plan names none.
        """
        return cls(
            study=study,
            method=part.method or study.methods[0],
            threshold=part.threshold,
            top=part.top,
            share=part.refined,
            reprompted=part.reprompted if part.reprompts else 0,
            viewed=(part.viewed_facts, part.viewed_neurons),
            own_sets=own,
            seed=seed,
        )

    def arms(self, unit: Unit) -> Arms:
        """Choose the sets of a unit's queries, their neighbors, the other facts, and what to ask again.

        Parameters
        ----------
        unit : Unit
            Facts and queries of the store that are chosen for; the choice does not depend on the unit.

        Returns
        -------
        Arms
            Sets by name, in the order of the store.
        """
        numbers = np.arange(unit.first_query, unit.last_query)
        own = [self.sets.of(query) for query in range(unit.first_query, unit.last_query)]
        neighbor = np.array([self._neighbor(query) for query in numbers.tolist()], dtype=np.int64)
        other = np.array([self._other_fact(query) for query in numbers.tolist()], dtype=np.int64)
        fact = self.sets.queries["fact"][numbers]
        nothing = np.zeros(0, dtype=np.int64)
        near = [self.sets.of(query) if query >= 0 else nothing for query in neighbor]
        _, values, panel = self._signals.rows(numbers)
        stored = _Stored(values=values, panel=panel)
        row = np.where(neighbor < 0, -1, neighbor - unit.first_query)
        only_own, only_near = self._differences(stored, row, own, near)
        shared, union = self._shared(fact, own)
        chosen: dict[str, NeuronRows] = {
            "own": own,
            "neighbor": near,
            "own_minus_neighbor": only_own,
            "neighbor_minus_own": only_near,
            "intersection": shared,
            "union": union,
            "refined": [row_of(self.refined.member, number) for number in fact],
            "top": self._strongest(numbers, stored),
            "other_fact": [self.sets.of(query) if query >= 0 else nothing for query in other],
        }
        ids = self.sets.facts["id"]
        for name, of_fact in self.own_sets.items():
            everywhere = of_fact.get("", nothing)
            chosen[name] = [np.unique(of_fact.get(str(ids[number]), everywhere)) for number in fact]
        width = self.sets.n_layers * self.sets.n_neurons
        return Arms(
            sets={name: matrix(rows, width) for name, rows in chosen.items()},
            neighbor=neighbor,
            other_fact=other,
            again=self._again(unit, own, stored, width) if self.reprompted else None,
            views=self._views(unit) if self.viewed[0] else None,
        )

    @cached_property
    def _viewed(self) -> dict[int, Array]:
        return viewed_facts(self.sets, self.viewed[0], self.seed)

    def _views(self, unit: Unit) -> Array:
        """Return the neurons of each query that is looked at: (query in the unit, view)."""
        views = np.full((unit.n_queries, self.viewed[1]), NO_INDEX, dtype=np.int64)
        fact = self.sets.queries["fact"]
        for number in self._viewed.keys() & range(unit.first_fact, unit.last_fact):
            first, last = np.searchsorted(fact, [number, number + 1])
            here = slice(first - unit.first_query, last - unit.first_query)
            queries, shown = np.arange(first, last), self._viewed[number]
            views[here] = viewed_neurons(self._signals, queries, shown, self.viewed[1])
        return views

    def _again(self, unit: Unit, own: NeuronRows, stored: _Stored, width: int) -> sparse.csr_array:
        """Return the attributions to N_i of the queries that are asked again; other rows are empty."""
        chosen = np.concatenate(
            [np.zeros(0, np.int64), *map(self._asked_again, range(unit.first_fact, unit.last_fact))]
        )
        rows: NeuronRows = [np.zeros(0, np.int64)] * unit.n_queries
        strength = [np.zeros(0)]
        for row in (chosen - unit.first_query).tolist():
            rows[row] = own[row]
            strength.append(stored.strength(row, own[row]))
        member = matrix(rows, width)
        return sparse.csr_array((np.concatenate(strength), member.indices, member.indptr), shape=member.shape)

    def _asked_again(self, fact: int) -> Array:
        """Draw a fact's queries to be asked again, of those known with a set and a neighbor; ascending."""
        queries = self.sets.queries
        here = np.arange(*np.searchsorted(queries["fact"], [fact, fact + 1]))
        here = here[self._sizes[here] > 0]
        usable = here[queries["known"][here] & (queries["kind"][here] == "fact")]
        none = len(here) < 2 or self.sets.facts["leaks"][fact]
        rng = Stream.ASKED_AGAIN.generator(self.seed, fact)
        few: Array = np.sort(rng.permutation(usable)[: 0 if none else self.reprompted])
        return few

    def _neighbor(self, query: int) -> int:
        """Draw another query of the same fact with a set of its own."""
        fact = self.sets.queries["fact"]
        first, last = np.searchsorted(fact, [fact[query], fact[query] + 1])
        others = np.arange(first, last)
        others = others[(others != query) & (self._sizes[first:last] > 0)]
        return drawn(others, Stream.NEIGHBOR, self.seed, query)

    def _other_fact(self, query: int) -> int:
        return drawn(other_fact(self.sets, self._strata, query), Stream.OTHER_FACT, self.seed, query)

    @cached_property
    def _sizes(self) -> Array:
        return self.sets.sizes()

    def _differences(
        self, stored: _Stored, neighbor: Array, own: NeuronRows, near: NeuronRows
    ) -> tuple[NeuronRows, NeuronRows]:
        """Return N_i without N_j and N_j without N_i at equal count and layers.

        ``neighbor`` are rows of ``stored``; -1 where there is none.
        """
        nothing = np.zeros(0, dtype=np.int64)
        first, second = [], []
        for query, (other, mine, theirs) in enumerate(zip(neighbor.tolist(), own, near, strict=True)):
            here, there = nothing, nothing
            if other >= 0:
                strengths = stored.strength(query, mine), stored.strength(other, theirs)
                here, there = differences((mine, theirs), strengths, self.sets.n_neurons)
            first.append(here)
            second.append(there)
        return first, second

    def _shared(self, fact: Array, own: NeuronRows) -> tuple[NeuronRows, NeuronRows]:
        """Return intersection and union of the non-empty sets of each query's fact."""
        shared: dict[int, Array] = {}
        union: dict[int, Array] = {}
        for number in np.unique(fact):
            filled = [own[query] for query in np.flatnonzero(fact == number) if len(own[query])]
            neuron, count = np.unique(np.concatenate([np.zeros(0, np.int64), *filled]), return_counts=True)
            union[int(number)], shared[int(number)] = neuron, neuron[count == len(filled)]
        return [shared[int(number)] for number in fact], [union[int(number)] for number in fact]

    def _strongest(self, numbers: Array, stored: _Stored) -> NeuronRows:
        """Return the ``top`` strongest of those that the panels keep exactly: fewer where they keep fewer."""
        chosen = top_rows(stored.values, stored.panel, self.top)
        if self._signals.floors is not None:
            floor = self._signals.floors[self._signals.fact[numbers]] * self._signals.maximum[numbers]
            chosen &= np.asarray(stored.values, dtype=np.float64) >= floor[:, None]
        return [np.sort(stored.panel[row][chosen[row]]) for row in range(len(numbers))]


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """Attributions of a unit's queries and the neurons they belong to, (query, slot)."""

    values: Array
    panel: Array

    def strength(self, query: int, neurons: Array) -> Array:
        """Return the attributions of one query's answer to these neurons: float64, (neuron,)."""
        panel = self.panel[query]
        order = np.argsort(panel, kind="stable")
        at = order[np.searchsorted(panel[order], neurons)]
        return np.asarray(self.values[query][at], dtype=np.float64)


def certain_sets(study: Study, method: str, threshold: float) -> NeuronSets:
    """Return N_i of every query, empty where a fact's panel overflowed above the threshold.

    No set is approximate.

    Parameters
    ----------
    study : Study
        Dense, or of panels.
    method : str
        Attribution method.
    threshold : float
        Of the sets.

    Returns
    -------
    NeuronSets
        Of all queries.

    Raises
    ------
    FloorError
        Every panel keeps less than the threshold asks for.
    """
    signals = study.signals_of(method)
    floors = signals.floors if signals.floors is not None else np.zeros(1)
    with np.errstate(invalid="ignore"):
        above = floors > threshold
    if not above.any() or above[~np.isnan(floors)].all():
        return study.neurons(method=method, threshold=threshold)
    below = sets_of(replace(signals, floors=None), threshold, None, study.column("facts", "id"))
    member, uncertain = below.member, np.where(above[signals.fact], UNKNOWN, below.uncertain)
    member.data &= ~np.repeat(above[signals.fact], np.diff(member.indptr))
    member.eliminate_zeros()
    shown = study.neurons(method=method, threshold=float(np.nanmax(floors)))
    queries = {**shown.queries, "uncertain": uncertain}
    return replace(shown, member=member, rule=f"threshold {threshold:g}", queries=queries)


def strata(sets: NeuronSets) -> dict[tuple[str, str], Array]:
    """Return the queries with a set, by relation and template.

    Parameters
    ----------
    sets : NeuronSets
        Of all queries.

    Returns
    -------
    dict of (str, str) to int64 ndarray
        Relation and template → query numbers, ascending.
    """
    names = zip(sets.queries["relation"].tolist(), sets.queries["template"].tolist(), strict=True)
    members: dict[tuple[str, str], list[int]] = {}
    for number, (key, size) in enumerate(zip(names, sets.sizes().tolist(), strict=True)):
        if size:
            members.setdefault(key, []).append(number)
    return {key: np.array(numbers) for key, numbers in members.items()}


def other_fact(sets: NeuronSets, of: Mapping[tuple[str, str], Array], query: int) -> Array:
    """Return queries of other subjects' facts with the query's template and another answer.

    Two facts of one subject, with other objects, have the same prompts: neither is a control for the other. A
    sentence of a group of minimal pairs whose template no other group has is compared with all sentences of
    its paradigm that have another feature.

    Parameters
    ----------
    sets : NeuronSets
        Of all queries.
    of : mapping of (str, str) to int64 ndarray
        As :func:`strata` gives it.
    query : int
        The query whose subject is left out.

    Returns
    -------
    int64 ndarray
        Query numbers: known ones alone, if any is known.
    """
    queries = sets.queries
    none = np.zeros(0, dtype=np.int64)
    same = _others(sets, of.get((queries["relation"][query], queries["template"][query]), none), query)
    if not len(same) and sets.facts["object"][queries["fact"][query]] != queries["answer"][query]:
        relation = [rows for (name, _), rows in of.items() if name == queries["relation"][query]]
        same = _others(sets, np.sort(np.concatenate([none, *relation])), query)
    known = same[queries["known"][same]]
    candidates: Array = known if len(known) else same
    return candidates


def _others(sets: NeuronSets, among: Array, query: int) -> Array:
    """Keep queries of facts with another subject and another answer (of groups: another feature)."""
    fact = sets.queries["fact"]
    mine, theirs = fact[query], fact[among]
    subject, answer = sets.facts["subject"], sets.facts["object"]
    kept: Array = among[(subject[theirs] != subject[mine]) & (answer[theirs] != answer[mine])]
    return kept


def drawn(among: Array, stream: Stream, seed: int, item: int) -> int:
    """Draw one of some numbers, for one query or fact.

    Parameters
    ----------
    among : int64 ndarray
        What is drawn from.
    stream : Stream
        Of the kind of draw.
    seed : int
        Of the plan.
    item : int
        The query or fact: no other bears on its draw.

    Returns
    -------
    int
        -1 where there is none to draw.
    """
    return int(stream.generator(seed, item).choice(among)) if len(among) else -1
