"""Choice of what is edited: slots of every edit, queries held out of that choice, and probes of locality.

Sets come from a fact's used queries alone; the held-out ones show how far an edit carries
(docs/methods.md#edits).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np

from qloc.analysis.editing.cas import Cas, cas
from qloc.analysis.inputs.attributions import MethodAttributions
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.choosing_neurons import (
    NeuronRows,
    certain_sets,
    drawn,
    other_fact,
    strata,
)
from qloc.analysis.localization.refined_neurons import Refined, refined_neurons
from qloc.arms import EditArms, EntailedArms, matrix, row_of
from qloc.arrays import Array
from qloc.block import Unit
from qloc.facts import TARGET_NEW, Entailments
from qloc.neurons import NeuronSets
from qloc.phase_plan import EditPlan
from qloc.random_streams import Stream
from qloc.vocabulary import PAIR

_NOTHING: Final = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class EditChooser:
    """Chooses the edits of a study.

    Attributes
    ----------
    study : Study
        Whose signals the slots are chosen from.
    part : EditPlan
        Method, threshold, budgets, sets and probes.
    right : sequence of collection of str, default ()
        Every right object of each fact's subject and relation, whether or not its own fact is in the study;
        none but the study's where empty.
    entailed : sequence of (Entailments or None), default ()
        What each fact entails; empty where that, and o′ of the facts' own, are not used.
    seed : int, default 0
        Of every draw.
    """

    study: Study
    part: EditPlan
    right: Sequence[Collection[str]] = ()
    entailed: Sequence[Entailments | None] = ()
    seed: int = 0

    @cached_property
    def sets(self) -> NeuronSets:
        """N_i of every query.

        Raises
        ------
        FloorError
            The threshold is below what the panels keep.
        """
        return certain_sets(self.study, self._signals.method, self.part.threshold)

    @cached_property
    def _signals(self) -> MethodAttributions:
        return self.study.signals_of(self.part.method or self.study.methods[0])

    @cached_property
    def edited(self) -> Array:
        """The query of each fact that is edited, known if any is: int64, (fact,); -1 where none is."""
        return self._within_budget(self._drawn)

    @cached_property
    def _drawn(self) -> Array:
        """The query of each fact that would be edited if there were no budget."""
        queries, chosen = self.sets.queries, np.full(self.sets.n_facts, -1, dtype=np.int64)
        for fact, numbers in enumerate(self._queries):
            if self._is_pair[fact] and not self.part.pairs:
                continue
            known = numbers[queries["known"][numbers]]
            chosen[fact] = drawn(known if len(known) else numbers, Stream.EDITED_QUERY, self.seed, fact)
        return chosen

    def _within_budget(self, edited: Array) -> Array:
        """Keep at most ``max_facts`` of a relation, drawn, those that are known first."""
        most = self.part.max_facts
        if most is None:
            return edited
        relation = np.asarray(self.sets.facts["relation"]).astype(str)
        kept = np.full_like(edited, -1)
        for number, name in enumerate(np.unique(relation)):
            facts = np.flatnonzero((relation == name) & (edited >= 0))
            facts = Stream.EDITED_FACTS.generator(self.seed, number).permutation(facts)
            known = self.sets.queries["known"][edited[facts]]
            chosen = facts[np.argsort(~known, kind="stable")][:most]
            kept[chosen] = edited[chosen]
        return kept

    @cached_property
    def used(self) -> Array:
        """Which queries sets are chosen from: bool, (query,). Half of a fact's other queries are held out."""
        kept = np.ones(self.sets.n_queries, dtype=bool)
        for fact in range(self.sets.n_facts):
            kept[self._held_out_of(fact, int(self.edited[fact]))] = False
        return kept

    def _held_out_of(self, fact: int, edited: int) -> Array:
        """Return the queries of a fact that its sets are not chosen from, where this one is edited."""
        others = self._queries[fact][self._queries[fact] != edited]
        rng = Stream.HELD_OUT_QUERIES.generator(self.seed, fact)
        return rng.permutation(others)[: len(others) // 2]

    @cached_property
    def _queries(self) -> list[Array]:
        """The queries of each fact."""
        fact = self.sets.queries["fact"]
        ends = np.searchsorted(fact, np.arange(self.sets.n_facts + 1))
        return [np.arange(a, b) for a, b in pairwise(ends)]

    @cached_property
    def _is_pair(self) -> Array:
        """Which facts are minimal pairs, or groups of them: bool, (fact,)."""
        pair = np.zeros(self.sets.n_facts, dtype=bool)
        pair[self.sets.queries["fact"][self.sets.queries["kind"] == PAIR]] = True
        return pair

    @cached_property
    def _refined(self) -> Refined:
        return refined_neurons(self.sets.select(self.used), self.part.refined)

    @cached_property
    def _strata(self) -> dict[tuple[str, str], Array]:
        return strata(self.sets)

    @cached_property
    def _known(self) -> Array:
        """The known queries of facts that do not leak, which locality is tested on."""
        queries = self.sets.queries
        return np.flatnonzero(queries["known"] & ~self.sets.facts["leaks"][queries["fact"]])

    def arms(self, unit: Unit) -> EditArms:
        """Choose the edits of a unit's facts.

        Parameters
        ----------
        unit : Unit
            Facts of the store that are chosen for; the choice does not depend on the unit.

        Returns
        -------
        EditArms
            Sets by name, edited and held-out queries, new objects and probes.
        """
        facts = range(unit.first_fact, unit.last_fact)
        chosen: dict[str, NeuronRows] = {name: [] for name in self.part.sets}
        other = np.full(len(facts), -1, dtype=np.int64)
        for place, fact in enumerate(facts):
            if self.edited[fact] >= 0:
                other[place] = self._other_fact(int(self.edited[fact]))
            slots = self._sets_of(fact, int(self.edited[fact])) if self.edited[fact] >= 0 else {}
            for name, rows in chosen.items():
                rows.append(slots.get(name, _NOTHING))
        width = self.sets.n_layers * self.sets.n_neurons
        probes = [self._probes(fact) for fact in facts]
        objects = tuple(self._new_object(fact) for fact in facts)
        return EditArms(
            sets={name: matrix(rows, width) for name, rows in chosen.items()},
            edited_query=self.edited[unit.first_fact : unit.last_fact],
            other_fact=other,
            held_out=self._held_out(unit),
            new_object=objects,
            probe_query=np.array([numbers for numbers, _ in probes], dtype=np.int64).reshape(len(facts), -1),
            probe_kind=np.array([kinds for _, kinds in probes], dtype=object).reshape(len(facts), -1),
            entailed=self._along(unit, objects) if any(self.entailed) else None,
        )

    def _along(self, unit: Unit, objects: Sequence[str]) -> EntailedArms:
        """Choose what is edited along with a unit's facts, so that their inverses stay one to one."""
        facts = range(unit.first_fact, unit.last_fact)
        asked = [self._is_one_to_one(fact) for fact in facts]
        partner = np.full(len(facts), -1, dtype=np.int64)
        held_out = np.full((len(facts), max(map(len, self._queries))), -1, dtype=np.int8)
        chosen: dict[str, NeuronRows] = {name: [] for name in self.part.sets}
        for place, fact in enumerate(facts):
            found = self._partners(fact, objects[place]) if asked[place] and objects[place] else []
            if len(found) > 1 or (found and not self._can_swap(found[0])):
                asked[place] = False
            elif found:
                partner[place] = found[0]
            slots: dict[str, Array] = {}
            if partner[place] >= 0:
                other, query = int(partner[place]), int(self._drawn[partner[place]])
                slots = self._sets_of(other, query) if self.edited[fact] >= 0 else {}
                numbers = self._queries[other]
                held_out[place, : len(numbers)] = np.isin(numbers, self._held_out_of(other, query))
            for name, rows in chosen.items():
                rows.append(slots.get(name, _NOTHING))
        width = self.sets.n_layers * self.sets.n_neurons
        return EntailedArms(
            asks_inverse=np.array(asked, dtype=bool),
            partner=partner,
            partner_query=np.where(partner >= 0, self._drawn[partner], -1),
            partner_sets={name: matrix(rows, width) for name, rows in chosen.items()},
            partner_held_out=held_out,
        )

    def _is_one_to_one(self, fact: int) -> bool:
        entailed = self.entailed[fact]
        return entailed is not None and entailed.inverse is not None and entailed.n_subjects == 1

    def _can_swap(self, partner: int) -> bool:
        return self._is_one_to_one(partner) and self._drawn[partner] >= 0

    def _partners(self, fact: int, new_object: str) -> list[int]:
        """Return the facts of the relation whose object is o′."""
        facts = self.sets.facts
        same = np.asarray(facts["relation"]) == facts["relation"][fact]
        return [int(row) for row in np.flatnonzero(same & (np.asarray(facts["object"]) == new_object))]

    def _held_out(self, unit: Unit) -> Array:
        most = max(map(len, self._queries))
        held_out = np.full((unit.n_facts, most), -1, dtype=np.int8)
        for place, fact in enumerate(range(unit.first_fact, unit.last_fact)):
            numbers = self._queries[fact]
            held_out[place, : len(numbers)] = ~self.used[numbers]
        return held_out

    def _other_fact(self, query: int) -> int:
        return drawn(other_fact(self.sets, self._strata, query), Stream.OTHER_FACT, self.seed, query)

    def _sets_of(self, fact: int, edited: int) -> dict[str, Array]:
        """Return the slots of a fact's edits where this query is edited, by name."""
        other, numbers = self._other_fact(edited), self._queries[fact]
        used = numbers[np.isin(numbers, self._held_out_of(fact, edited), invert=True)]
        _, values, panel = self._signals.rows(used)
        maximum = self._signals.maximum[used]
        own = np.flatnonzero(used == edited)
        union = np.unique(np.concatenate([_NOTHING, *(self.sets.of(int(q)) for q in used)]))
        part = self.part
        aware = cas(values, panel[0], maximum, part.beta1, part.beta2)
        mean = cas(values, panel[0], maximum, 1.0, 0.0)
        single = cas(values[own], panel[0], maximum[own], 1.0, 0.0)
        return {
            "own": self.sets.of(edited),
            "union": union,
            "refined": row_of(self._refined.member, fact),
            "cas": aware.members(part.cas_threshold),
            "cas_no_penalty": cas(values, panel[0], maximum, part.beta1, 0.0).members(part.cas_threshold),
            "own_top": self._above_floor(single, fact).strongest(part.top),
            "union_top": _among(mean, union).strongest(part.top),
            "cas_top": aware.strongest(part.top),
            "other_fact": self.sets.of(other) if other >= 0 else _NOTHING,
        }

    def _above_floor(self, scores: Cas, fact: int) -> Cas:
        """Keep only what the panel has exactly of a single query: its strongest b are then right."""
        if self._signals.floors is None:
            return scores
        return _among(scores, scores.neuron[scores.score >= self._signals.floors[fact]])

    def _new_object(self, fact: int) -> str:
        """Choose o′: the fact's own, or a drawn answer that is right for no fact of the subject.

        Empty of minimal pairs: o′ of each of their sentences is its own bad form.
        """
        if self._is_pair[fact]:
            return ""
        facts = self.sets.facts
        objects = np.asarray(facts["object"])
        same = np.asarray(facts["relation"]) == facts["relation"][fact]
        of_subject = np.flatnonzero(np.asarray(facts["subject"]) == facts["subject"][fact]).tolist()
        right = {str(objects[row]) for row in of_subject}
        right = right.union(*(self.right[row] for row in of_subject) if self.right else ())
        own = str(self._targets[fact]) if self._targets is not None else ""
        if own and own not in right:
            return own
        others = self._entailing(fact, np.setdiff1d(objects[same], sorted(right)))
        place = drawn(np.arange(len(others)), Stream.NEW_OBJECT, self.seed, fact)
        return str(others[place]) if place >= 0 else ""

    @cached_property
    def _targets(self) -> Array | None:
        """The facts' own o′; None where they have none, or it is not used."""
        own = self.part.entailments and TARGET_NEW in self.study.facts
        return self.study.column("facts", TARGET_NEW) if own else None

    def _entailing(self, fact: int, objects: Array) -> Array:
        """Keep the objects to which an edit entails something that can be asked, if there are any."""
        entailed = self.entailed[fact] if self.entailed else None
        if entailed is None:
            return objects
        kept = objects
        if self._is_one_to_one(fact):
            swapped = [len(rows := self._partners(fact, o)) == 1 and self._can_swap(rows[0]) for o in kept]
            kept = kept[np.array(swapped, dtype=bool)]
        if entailed.synonyms:
            restated = [any(self._has_synonyms(row) for row in self._partners(fact, o)) for o in kept]
            kept = kept[np.array(restated, dtype=bool)]
        return kept if len(kept) else objects

    def _has_synonyms(self, fact: int) -> bool:
        entailed = self.entailed[fact]
        return entailed is not None and bool(entailed.synonyms)

    def _probes(self, fact: int) -> tuple[list[int], list[str]]:
        """Draw known queries of other subjects, in turn with the same or another answer and relation.

        Minimal pairs share no subject: theirs are queries of other pairs or groups, and of facts.
        """
        queries, facts, n = self.sets.queries, self.sets.facts, self.part.n_probes
        known = self._known
        of = queries["fact"][known]
        others = np.asarray(facts["subject"])[of] != facts["subject"][fact]
        known = known[of != fact if self._is_pair[fact] else others]
        of = queries["fact"][known]
        answer = np.asarray(facts["object"])[of] == facts["object"][fact]
        relation = np.asarray(facts["relation"])[of] == facts["relation"][fact]
        rng = Stream.PROBES.generator(self.seed, fact)
        kinds = []
        for a, r in ((True, True), (False, True), (False, False), (True, False)):
            name = f"{'same' if a else 'other'}_answer_{'same' if r else 'other'}_relation"
            numbers = rng.permutation(known[(answer == a) & (relation == r)])[:n]
            kinds.append([(int(number), name) for number in numbers])
        chosen: list[tuple[int, str]] = []
        for turn in range(n):
            chosen += [kind[turn] for kind in kinds if turn < len(kind)]
        chosen = (chosen + [(-1, "")] * n)[:n]
        return [number for number, _ in chosen], [name for _, name in chosen]


def _among(scores: Cas, neurons: Array) -> Cas:
    keep = np.isin(scores.neuron, neurons)
    return Cas(neuron=scores.neuron[keep], score=scores.score[keep])
