"""The edits of one fact: apply and evaluate each of them, and write the fact's columns of ``/edits``.

Edits are additions to the outputs of down-projections, made by hooks, so that the model's weights never
change. :class:`EditRun` makes the edits and runs the evaluations, :class:`EditEffect` is what one edit does,
and :class:`EditColumns` are the arrays of a unit, which every fact fills its own places of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from qloc.arms import EditArms
from qloc.arrays import Array, Floats
from qloc.extract.edits.erase_and_update import erasure, update
from qloc.extract.edits.evaluation import EditTests
from qloc.extract.edits.rome import Rome, RomeEdit
from qloc.extract.passes.matched_controls import matched
from qloc.extract.passes.outcomes import OutcomeColumns, unchanged
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.passes.weight_changes import Added, Edit, distinct_edits
from qloc.extract.prompts.probe_words import Answers, ProbeWords
from qloc.extract.prompts.tokenizing import Encoder, Target, TokenizedQuery
from qloc.facts import ANSWER_MARK, Query
from qloc.phase_plan import IN_CONTEXT, MATCHED, ROME_SETS, EditPlan
from qloc.vocabulary import NO_INDEX

_OF_ONE_QUERY: Final = ("own", "own_top", MATCHED, "other_fact")
"""Sets of the edited query alone. The sign of their activations is that at this query."""

_OF_QUERIES: Final = ("log_probability", "rank", "argmax", "new_log_probability", "new_rank")
_OF_PROBES: Final = ("probe_log_probability", "probe_argmax")

_HALVES: Final = ("text_nats_first", "text_nats_second")
_NO_TEXT: Final = np.zeros(0)

EditKey = tuple[int, int]
"""(operation, set) of an edit."""


@dataclass(frozen=True, kw_only=True)
class EditEffect:
    """What one edit does to one fact.

    Attributes
    ----------
    queries : mapping of str to ndarray, shape (query_of_fact,)
        Outcomes of the fact's queries, by column.
    probes : mapping of str to ndarray, shape (probe,)
        Outcomes of its probes, by column.
    further : float32 ndarray, shape (query_of_fact, further answer)
        Log P of further answers to the fact's queries, in nats.
    kl : float64 ndarray, shape (probe,), optional
        KL of each probe's next token from what it was before, in nats.
    nats : float64 ndarray, shape (token,)
        −log P of the tokens of held-out text; empty where it was not measured.
    greedy : int64 ndarray, shape (step,), optional
        Greedy continuation of the edited query.
    """

    queries: Mapping[str, Array]
    probes: Mapping[str, Array]
    further: Array
    kl: Array | None = None
    nats: Floats = field(default_factory=lambda: _NO_TEXT)
    greedy: Array | None = None


@dataclass(frozen=True, kw_only=True)
class EditColumns:
    """The arrays of group ``edits`` for one unit.

    Attributes
    ----------
    arrays : dict of str to ndarray
        Each array under its name in the store.
    probe_words : ProbeWords
        Which further answers are kept.
    """

    arrays: dict[str, Array]
    probe_words: ProbeWords

    @classmethod
    def empty(cls, part: EditPlan, arms: EditArms, n_queries: int, probe_words: ProbeWords) -> EditColumns:
        """Fill the arrays of what was chosen; outcomes get missing values.

        Parameters
        ----------
        part : EditPlan
            The phase's part of the plan.
        arms : EditArms
            What was chosen for each fact of the unit.
        n_queries : int
            Length of the axis ``query_of_fact``.
        probe_words : ProbeWords
            Which further answers are kept.

        Returns
        -------
        EditColumns
            Every array of the group.
        """
        n = len(arms.edited_query)
        edits = (len(part.operations), len(part.sets), n)
        held_out = np.full((n, n_queries), NO_INDEX, dtype=np.int8)
        width = min(n_queries, arms.held_out.shape[1])
        held_out[:, :width] = arms.held_out[:, :width]
        arrays: dict[str, Array] = {
            "edited_query": arms.edited_query.astype(np.int32),
            "new_object": np.array([*arms.new_object, None], dtype=object)[:-1],
            "held_out": held_out,
            "n_slots": np.zeros((len(part.sets), n), dtype=np.int32),
            "probe_query": arms.probe_query.astype(np.int32),
            "probe_kind": arms.probe_kind,
            "text_nats": _missing("text_nats", *edits),
            "base_text_nats": _missing("text_nats", n),
            "greedy_token_id": _missing("greedy_argmax", *edits, part.greedy_tokens),
            "probe_kl": _missing("probe_kl", *edits, part.n_probes),
        }
        for name, told in (("strength", part.tells_strength), ("value_loss", part.tells_loss)):
            if told:
                arrays[name] = _missing(name, len(part.sets), n)
        if part.tells_halves:
            arrays |= {name: _missing(name, *edits) for name in _HALVES}
        for names, size in ((_OF_QUERIES, n_queries), (_OF_PROBES, part.n_probes)):
            for name in names:
                arrays[name] = _missing(name, *edits, size)
                arrays[f"base_{name}"] = _missing(name, n, size)
        for base, before in (("", edits), ("base_", (n,))):
            nothing = _missing("further", *before, n_queries, probe_words.width)
            arrays |= {f"{base}{name}": values for name, values in probe_words.stored(nothing).items()}
        return cls(arrays=arrays, probe_words=probe_words)

    def base(self, fact: int, effect: EditEffect) -> None:
        """Keep what holds with nothing edited.

        Parameters
        ----------
        fact : int
            The fact, as its number within the unit.
        effect : EditEffect
            Outcomes of the unchanged model.
        """
        for name, values in self._of(effect).items():
            self.arrays[f"base_{name}"][fact, : len(values)] = values
        self.arrays["base_text_nats"][fact] = _mean(effect.nats)

    def keep(self, operation: int, name: int, fact: int, effect: EditEffect, before: Floats) -> None:
        """Keep what one edit does. ``text_nats`` is the change, after less before.

        Parameters
        ----------
        operation : int
            The edit's operation, as its place on the axis.
        name : int
            The edited set, as its place on the axis.
        fact : int
            The fact, as its number within the unit.
        effect : EditEffect
            Outcomes of the edited model.
        before : float64 ndarray, shape (token,)
            ``nats`` of the unchanged model; empty where the edit's were not measured.
        """
        place = operation, name, fact
        for column, values in self._of(effect).items():
            self.arrays[column][(*place, slice(len(values)))] = values
        if effect.kl is not None:
            self.arrays["probe_kl"][place] = effect.kl
        self.arrays["text_nats"][place] = _mean(effect.nats) - self.arrays["base_text_nats"][fact]
        if _HALVES[0] in self.arrays:
            change = effect.nats - before
            parts = change[: len(change) // 2], change[len(change) // 2 :]
            for half, part in zip(_HALVES, parts, strict=True):
                self.arrays[half][place] = _mean(part)
        if effect.greedy is not None:
            self.arrays["greedy_token_id"][place] = effect.greedy

    def _of(self, effect: EditEffect) -> dict[str, Array]:
        return {**effect.queries, **effect.probes, **self.probe_words.stored(effect.further)}


def _missing(name: str, *shape: int) -> Array:
    """Return an array of missing values: int32 -1 for ranks and tokens, else float32 NaN."""
    if name.endswith(("rank", "argmax")):
        return np.full(shape, NO_INDEX, dtype=np.int32)
    return np.full(shape, np.nan, dtype=np.float32)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _made(rome: Mapping[EditKey, RomeEdit]) -> dict[EditKey, Added]:
    """Return the edits that change something: one that changes nothing is none, and stays missing."""
    return {key: made.edit for key, made in rome.items() if made.edit is not None}


@dataclass(frozen=True, kw_only=True)
class EditRun:
    """Everything that is needed to run the edits of one fact; :meth:`run` runs them.

    Attributes
    ----------
    queries : sequence of TokenizedQuery
        The fact's queries.
    edited : int
        The query that is edited, as its place among them.
    chose_sets : bool ndarray, shape (query,)
        Which queries the sets were chosen from; the others are held out.
    new_answers : sequence of str
        o′ of each query: the fact's, or, of minimal pairs, each sentence's own bad form; empty where there is
        none.
    probes : sequence of (TokenizedQuery or None)
        Queries of other subjects. None where there are fewer.
    slots : dict of str to int64 ndarray
        Set → neuron numbers. Empty sets have no edit. :data:`qloc.phase_plan.MATCHED` is drawn here.
    part : EditPlan
        The phase's part of the plan.
    embedding : torch.Tensor, shape (token, hidden)
        E.
    norms : float64 ndarray, shape (layer, neuron)
        ‖row of W_out‖ of each neuron.
    windows : sequence of sequence of Target
        Held-out text.
    encoder : Encoder
        Tokenizes prompts with answers.
    engine : RowEngine
        Runs the rows.
    seed : tuple of int
        Key of the draw of the matched control.
    subject : str
        The fact's subject.
    rome : Rome
        Makes the edits of rank one.
    further : sequence of sequence of (TokenizedQuery or None), shape (query, further answer)
        The fact's queries with further answers, equally many of each.
    """

    queries: Sequence[TokenizedQuery]
    edited: int
    chose_sets: NDArray[np.bool_]
    new_answers: Sequence[str]
    probes: Sequence[TokenizedQuery | None]
    slots: dict[str, NDArray[np.int64]]
    part: EditPlan
    embedding: Tensor
    norms: NDArray[np.float64]
    windows: Sequence[Sequence[Target]]
    encoder: Encoder
    engine: RowEngine
    seed: tuple[int, ...]
    subject: str
    rome: Rome
    further: Sequence[Answers] = ()

    def run(self, columns: EditColumns, fact: int) -> None:
        """Apply and evaluate every edit, and fill the fact's places of the columns.

        Parameters
        ----------
        columns : EditColumns
            The columns of the unit.
        fact : int
            The fact, as its number within the unit.
        """
        edits = self.edits
        distinct, number_of = distinct_edits(list(edits.values()))
        tests = EditTests(engine=self.engine, edits=[None, *distinct])
        n, m = len(self.queries), len(self.queries) + len(self._new)
        pairs = [(m + place, m + place) for place in range(len(self.probes))]
        further = [answer for answers in self.further for answer in answers]
        questions = [*self.queries, *self._new, *self.probes]
        outcomes, kl = tests.answers(questions, pairs, further=further)
        nats = tests.nats(self.windows)
        greedy = self._greedy(tests, self.queries[self.edited])
        columns.base(fact, self._effect(outcomes, 0, nats=nats[0]))
        columns.arrays["new_object"][fact] = self.new_object
        for ((operation, name), edit), place in zip(edits.items(), number_of, strict=True):
            number = 1 + place  # the first is no edit
            columns.arrays["n_slots"][name, fact] = edit.n_slots
            tokens = None if greedy is None else greedy[number]
            effect = self._effect(outcomes, number, kl=kl[number], nats=nats[number], greedy=tokens)
            columns.keep(operation, name, fact, effect, nats[0])
        for (_, name), made in self._rome.items() if self.part.tells_loss else ():
            columns.arrays["value_loss"][name, fact] = made.loss
        for place, label in enumerate(self.part.sets if self.part.tells_strength else ()):
            if len(self._slots.get(label, ())):
                columns.arrays["strength"][place, fact] = self._strength_of(label)
        self._in_context(columns, fact, n)

    @cached_property
    def edits(self) -> dict[EditKey, Added]:
        """Every edit of the fact that changes weights, by operation and set."""
        return {**self._of_slots(), **_made(self._rome)}

    @property
    def new_object(self) -> str:
        """O′ of the edited query; empty where there is none."""
        return self.new_answers[self.edited]

    @property
    def statement(self) -> str:
        """What the in-context edit puts before a prompt; empty where there is no such edit."""
        if IN_CONTEXT not in self.part.sets or "update" not in self.part.operations or not self.new_object:
            return ""
        statement = self.queries[self.edited].query.text.replace(ANSWER_MARK, self.new_object)
        return statement.rstrip(" .") + ". "

    @cached_property
    def _new(self) -> list[TokenizedQuery | None]:
        """The queries with o′ in place of o."""
        of = zip(self.queries, self.new_answers, strict=True)
        return [self.ask(query.query, answer, ignore_tail=True) for query, answer in of]

    def ask(self, query: Query, answer: str, *, ignore_tail: bool = False) -> TokenizedQuery | None:
        """Ask a query with an answer.

        Parameters
        ----------
        query : Query
            The query.
        answer : str
            The answer.
        ignore_tail : bool, default False
            Whether a causal model may be asked although words follow the answer, as in minimal pairs.

        Returns
        -------
        TokenizedQuery or None
            None where there is no answer, or the model cannot be asked it.
        """
        asked = self.encoder.ask(query, answer, ignore_tail=ignore_tail) if answer else ""
        return asked if isinstance(asked, TokenizedQuery) else None

    def _effect(
        self,
        outcomes: OutcomeColumns,
        edit: int,
        *,
        kl: Array | None = None,
        nats: Floats = _NO_TEXT,
        greedy: Array | None = None,
    ) -> EditEffect:
        """Take one edit's outcomes apart: the fact's queries with o, with o′, probes, further answers."""
        n, stored = len(self.queries), outcomes.stored()
        old, new, rest = slice(n), slice(n, 2 * n), slice(2 * n, 2 * n + len(self.probes))
        queries = {name: stored[name][edit, old] for name in ("log_probability", "rank", "argmax")}
        queries |= {f"new_{name}": stored[name][edit, new] for name in ("log_probability", "rank")}
        probes = {f"probe_{name}": stored[name][edit, rest] for name in ("log_probability", "argmax")}
        width = len(self.further[0]) if self.further else 0
        behind = stored["log_probability"][edit, outcomes.shape[1] - n * width :].reshape(n, width)
        return EditEffect(queries=queries, probes=probes, further=behind, kl=kl, nats=nats, greedy=greedy)

    def _greedy(self, tests: EditTests, query: TokenizedQuery) -> Array | None:
        if self.encoder.family == "masked" or not self.part.greedy_tokens:
            return None
        return tests.greedy(query.targets[0].ids, self.part.greedy_tokens, self.encoder.longest)

    def _in_context(self, columns: EditColumns, fact: int, n: int) -> None:
        """Run the positive control: the edited query, answered with o′, is put before every prompt."""
        context = self.statement
        if not context:
            return
        behind = [self._behind(context, query) for query in (*self.queries, *self._new, *self.probes)]
        pairs = [(2 * n + place, len(behind) + place) for place in range(len(self.probes))]
        tests = EditTests(engine=self.engine, edits=[None])
        further = [self._behind(context, answer) for answers in self.further for answer in answers]
        outcomes, kl = tests.answers([*behind, *self.probes], pairs, further=further)
        edited = behind[self.edited]
        greedy = None if edited is None else self._greedy(tests, edited)
        key = self.part.operations.index("update"), self.part.sets.index(IN_CONTEXT)
        effect = self._effect(outcomes, 0, kl=kl[0], greedy=None if greedy is None else greedy[0])
        columns.keep(*key, fact, effect, _NO_TEXT)

    def _behind(self, context: str, query: TokenizedQuery | None) -> TokenizedQuery | None:
        if query is None:
            return None
        text = context + query.query.text
        return self.ask(Query(template=query.query.template, text=text), query.answer, ignore_tail=True)

    @cached_property
    def _activation(self) -> Array:
        """Activations at the targets of the fact's queries: (query, layer · neuron)."""
        return unchanged(self.engine, self.queries).reshape(len(self.queries), -1)

    @cached_property
    def _slots(self) -> dict[str, NDArray[np.int64]]:
        slots = dict(self.slots)
        own = slots.get("own", np.zeros(0, dtype=np.int64))
        if MATCHED in self.part.sets and len(own):
            strength = np.abs(self._activation[self.edited].reshape(self.norms.shape)) * self.norms
            member = np.zeros((1, strength.size), dtype=bool)
            member[0, own] = True
            drawn = matched(sparse.csr_array(member), strength[None], [self.seed], self.part.matching)
            slots[MATCHED] = drawn.indices.astype(np.int64)
        return slots

    def _strength_of(self, name: str) -> float:
        """Σ |activation at the edited query| · ‖W_out row‖ over the slots of a set."""
        strength = np.abs(self._activation[self.edited]) * self.norms.ravel()
        return float(strength[self._slots[name]].sum())

    def _of_slots(self) -> dict[EditKey, Added]:
        edits: dict[EditKey, Added] = {}
        for number, operation in enumerate(self.part.operations):
            for place, name in enumerate(self.part.sets):
                neurons = self._slots.get(name, np.zeros(0, dtype=np.int64))
                edit = self._edit(operation, name, neurons) if len(neurons) else None
                if edit is not None:
                    edits[number, place] = edit
        return edits

    @cached_property
    def _rome(self) -> dict[EditKey, RomeEdit]:
        """Make ROME's edits: updates only, where o′ can be asked and the subject is read."""
        names, new = [name for name in ROME_SETS if name in self.part.sets], self._new[self.edited]
        if "update" not in self.part.operations or new is None:
            return {}
        made = self.rome.edits(names, self.subject, new, self.queries[self.edited].answer)
        operation = self.part.operations.index("update")
        return {(operation, self.part.sets.index(name)): edit for name, edit in made.items()}

    def _edit(self, operation: str, name: str, neurons: NDArray[np.int64]) -> Edit | None:
        sites = self.engine.sites
        if operation == "erase":
            return erasure(sites, neurons)
        new = self._new[self.edited]
        if new is None:
            return None
        return update(
            sites,
            neurons,
            self._mean_embedding(self.queries[self.edited]),
            self._mean_embedding(new),
            lambda1=self.part.lambda1,
            lambda2=self.part.lambda2,
            slot_norm=self.part.scale == "slot_norm",
            sign=self._sign(name, neurons) if operation == "update_signed" else None,
        )

    def _mean_embedding(self, query: TokenizedQuery) -> Tensor:
        return self.embedding[[target.token for target in query.targets]].mean(0)

    def _sign(self, name: str, neurons: NDArray[np.int64]) -> Tensor:
        rows = [self.edited] if name in _OF_ONE_QUERY else np.flatnonzero(self.chose_sets)
        mean = self._activation[rows][:, neurons].mean(0)
        return torch.as_tensor(np.sign(mean), device=self.embedding.device).to(self.embedding.dtype)
