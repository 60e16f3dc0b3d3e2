"""Evaluate a fact's edits on what they entail: the inverse, synonyms, neighborhood, and continued texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from torch import Tensor

from qloc.arms import EntailedArms
from qloc.arrays import Array
from qloc.extract.edits.entailed_prompts import EntailedPrompt
from qloc.extract.edits.evaluation import EditTests
from qloc.extract.edits.fact_edits import EditKey, EditRun
from qloc.extract.passes.outcomes import OutcomeColumns
from qloc.extract.passes.weight_changes import Added, distinct_edits
from qloc.extract.prompts.tokenizing import TokenizedQuery
from qloc.facts import Query
from qloc.phase_plan import (
    GENERATED_LABELS,
    IN_CONTEXT,
    NEW_INVERSE,
    OLD_INVERSE,
    SYNONYM,
    SYNONYM_OF_STEM,
    EditPlan,
)
from qloc.vocabulary import NO_INDEX

_INVERSES: Final = (NEW_INVERSE, OLD_INVERSE)


@dataclass(frozen=True, kw_only=True)
class Together:
    """Two edits made at once.

    Attributes
    ----------
    first, second : Added
        The edits; what they add is summed.
    """

    first: Added
    second: Added

    @property
    def n_slots(self) -> int:
        """Number of rows of down-projections that they change, those of both counted twice."""
        return self.first.n_slots + self.second.n_slots

    def at(self, layer: int) -> Callable[[Tensor], Tensor] | None:
        """Return what both add to the output of a layer's down-projection.

        Parameters
        ----------
        layer : int
            The layer.

        Returns
        -------
        callable or None
            Takes the input of the down-projection; None where neither changes the layer.
        """
        added = [part for edit in (self.first, self.second) if (part := edit.at(layer)) is not None]
        if not added:
            return None
        return added[0] if len(added) == 1 else lambda activation: added[0](activation) + added[1](activation)


@dataclass(frozen=True, kw_only=True)
class EntailedColumns:
    """The arrays of group ``entailments`` for one unit.

    Attributes
    ----------
    arrays : dict of str to ndarray
        Each array under its name in the store.
    """

    arrays: dict[str, Array]

    @classmethod
    def empty(cls, part: EditPlan, arms: EntailedArms, n_entailed: int) -> EntailedColumns:
        """Fill the arrays with missing values, but for the partners.

        Parameters
        ----------
        part : EditPlan
            The phase's part of the plan.
        arms : EntailedArms
            What was chosen for each fact of the unit.
        n_entailed : int
            Length of the axis ``entailed``.

        Returns
        -------
        EntailedColumns
            Every array of the group.
        """
        n, edits = len(arms.partner), (len(part.operations), len(part.sets))
        arrays: dict[str, Array] = {
            "kind": np.full((n, n_entailed), "", dtype=object),
            "partner": arms.partner.astype(np.int32),
        }
        steps = len(GENERATED_LABELS), part.greedy_tokens
        for prefix, shape in (("", (*edits, n)), ("base_", (n,))):
            for name in ("log_probability", "new_log_probability"):
                arrays[prefix + name] = np.full((*shape, n_entailed), np.nan, dtype=np.float32)
            for name in ("rank", "new_rank"):
                arrays[prefix + name] = np.full((*shape, n_entailed), NO_INDEX, dtype=np.int32)
            arrays[f"{prefix}generated_token_id"] = np.full((*shape, *steps), NO_INDEX, dtype=np.int32)
        return cls(arrays=arrays)

    def keep(self, place: tuple[int, ...], at: Array, outcomes: OutcomeColumns, edit: int) -> None:
        """Keep the outcomes of some prompts under one edit, or with nothing edited.

        Parameters
        ----------
        place : tuple of int
            Operation, set and fact; the fact alone with nothing edited.
        at : int64 ndarray, shape (prompt,)
            Numbers of the prompts.
        outcomes : OutcomeColumns, shape (edit, 2 · prompt)
            Of the old answers, then of the new ones.
        edit : int
            The edit, as its number in ``outcomes``.
        """
        stored, n, prefix = outcomes.stored(), len(at), "base_" if len(place) == 1 else ""
        where: Any = (*place, at)
        for name in ("log_probability", "rank"):
            self.arrays[prefix + name][where] = stored[name][edit, :n]
            self.arrays[f"{prefix}new_{name}"][where] = stored[name][edit, n:]


@dataclass(frozen=True, kw_only=True)
class EntailmentRun:
    """Evaluates one fact's edits on the prompts of what they entail.

    Attributes
    ----------
    run : EditRun
        Made the edits of the fact.
    partner : EditRun or None
        Makes those of the fact that is edited along with it in the inverse prompts.
    prompts : sequence of EntailedPrompt
        The prompts.
    text : str
        Beginning of a text to be continued; empty where there is none.
    """

    run: EditRun
    partner: EditRun | None
    prompts: Sequence[EntailedPrompt]
    text: str

    def fill(self, columns: EntailedColumns, fact: int) -> None:
        """Evaluate every edit, and fill the fact's places of the columns.

        Parameters
        ----------
        columns : EntailedColumns
            The columns of the unit.
        fact : int
            The fact, as its number within the unit.
        """
        columns.arrays["kind"][fact, : len(self.prompts)] = [prompt.kind for prompt in self.prompts]
        inverse = np.array([prompt.kind in _INVERSES for prompt in self.prompts], dtype=bool)
        texts = dict(zip(GENERATED_LABELS, self._texts, strict=True))
        for at, edits, context, labels in (
            (np.flatnonzero(inverse), self._along, self._contexts(both=True), GENERATED_LABELS[:1]),
            (np.flatnonzero(~inverse), self.run.edits, self._contexts(both=False), GENERATED_LABELS[1:]),
        ):
            begun = {label: texts[label] for label in labels if texts[label]}
            if len(at) or begun:
                self._of_edits(columns, fact, at, edits, begun)
                self._of_context(columns, fact, at, context, begun)

    @cached_property
    def _along(self) -> Mapping[EditKey, Added]:
        """The edits in inverse prompts: with the partner's, where there is one; an erasure stays alone."""
        if self.partner is None:
            return self.run.edits
        theirs, erase = self.partner.edits, "erase"
        edits: dict[EditKey, Added] = {}
        for key, edit in self.run.edits.items():
            if self.run.part.operations[key[0]] == erase:
                edits[key] = edit
            elif key in theirs:
                edits[key] = Together(first=edit, second=theirs[key])
        return edits

    def _of_edits(
        self,
        columns: EntailedColumns,
        fact: int,
        at: Array,
        edits: Mapping[EditKey, Added],
        begun: Mapping[str, Sequence[int]],
    ) -> None:
        distinct, number_of = distinct_edits(list(edits.values()))
        tests = EditTests(engine=self.run.engine, edits=[None, *distinct])
        places = {(fact,): 0} | {(*key, fact): 1 + place for key, place in zip(edits, number_of, strict=True)}
        outcomes, _ = tests.answers(self._asked(at, ""))
        greedy = {label: self._greedy(tests, ids) for label, ids in begun.items()}
        for place, number in places.items():
            columns.keep(place, at, outcomes, number)
            self._keep_greedy(columns, place, greedy, number)

    def _of_context(
        self, columns: EntailedColumns, fact: int, at: Array, context: str, begun: Mapping[str, Sequence[int]]
    ) -> None:
        if not context:
            return
        part = self.run.part
        place = part.operations.index("update"), part.sets.index(IN_CONTEXT), fact
        tests = EditTests(engine=self.run.engine, edits=[None])
        outcomes, _ = tests.answers(self._asked(at, context))
        columns.keep(place, at, outcomes, 0)
        texts = dict(zip(GENERATED_LABELS, self._begun(context), strict=True))
        greedy = {label: self._greedy(tests, texts[label]) for label in begun if texts[label]}
        self._keep_greedy(columns, place, greedy, 0)

    def _keep_greedy(
        self, columns: EntailedColumns, place: tuple[int, ...], greedy: Mapping[str, Array], edit: int
    ) -> None:
        name = "base_generated_token_id" if len(place) == 1 else "generated_token_id"
        for label, tokens in greedy.items():
            columns.arrays[name][(*place, GENERATED_LABELS.index(label))] = tokens[edit]

    def _contexts(self, *, both: bool) -> str:
        """What stands before prompts in the in-context edit; with the partner's statement if ``both``."""
        statements = [self.run.statement]
        if both and self.partner is not None:
            statements.append(self.partner.statement)
        return "".join(statements) if all(statements) else ""

    def _asked(self, at: Array, context: str) -> list[TokenizedQuery | None]:
        """The prompts with their old answers, then with the new ones."""
        prompts = [self.prompts[number] for number in at]
        return [
            self._ask(prompt.query, context, answer)
            for answers in ([prompt.old for prompt in prompts], [prompt.new for prompt in prompts])
            for prompt, answer in zip(prompts, answers, strict=True)
        ]

    def _ask(self, query: Query, context: str, answer: str) -> TokenizedQuery | None:
        return self.run.ask(Query(template=query.template, text=context + query.text), answer)

    @cached_property
    def _texts(self) -> list[tuple[int, ...]]:
        return self._begun("")

    def _begun(self, context: str) -> list[tuple[int, ...]]:
        """Token ids of the beginnings that are continued, one for each label; empty where there is none."""
        if self.run.encoder.family == "masked" or not self.run.part.greedy_tokens:
            return [()] * len(GENERATED_LABELS)
        first = [self._first(kinds) for kinds in ((NEW_INVERSE,), (SYNONYM, SYNONYM_OF_STEM))]
        asked = [self._ask(p.query, context, p.new or p.old) if p else None for p in first]
        text = self.run.encoder.tokenizer(context + self.text)["input_ids"] if self.text else ()
        return [*(query.targets[0].ids if query else () for query in asked), tuple(text)]

    def _first(self, kinds: Sequence[str]) -> EntailedPrompt | None:
        return next((prompt for prompt in self.prompts if prompt.kind in kinds), None)

    def _greedy(self, tests: EditTests, ids: Sequence[int]) -> Array:
        return tests.greedy(ids, self.run.part.greedy_tokens, self.run.encoder.longest)
