"""Every edit of one fact, made, tested and undone by never having been."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from qloc.arms import EditArms
from qloc.arrays import Array
from qloc.extract.edits.evaluation import EditTests
from qloc.extract.edits.knowledge_neurons import erasure, update
from qloc.extract.edits.rank_one import RankOne
from qloc.extract.edits.rome import ROME, ROME_IDENTITY, Rome
from qloc.extract.passes.matched_controls import matched
from qloc.extract.passes.outcomes import OutcomeColumns, unchanged
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.passes.weight_changes import Added, Edit
from qloc.extract.prompts.tokenizing import Encoder, Target, TokenizedQuery
from qloc.facts import ANSWER_MARK, Query
from qloc.phase_plan import EditPlan
from qloc.vocabulary import NO_INDEX

IN_CONTEXT: Final = "in_context"
MATCHED: Final = "matched"
_OF_ONE_QUERY: Final = ("own", "own_top", MATCHED, "other_fact")
"""Sets of the edited query alone: the sign of their activation is taken there too."""

EditKey = tuple[int, int]
"""(operation, set) of an edit."""


@dataclass(frozen=True, kw_only=True)
class EditRun:
    """What is needed to run the edits of one fact; :meth:`run` runs them.

    Attributes
    ----------
    queries : the fact's; ``told`` is which of them is edited, ``used`` which of them chose the sets.
    new_object : o′; empty where there is none.
    probes : queries of other subjects; None where there are fewer.
    slots : set → neuron numbers, int64; empty sets have no edit. :data:`MATCHED` is drawn here.
    embedding : E, (token, hidden).
    norms : float64, (layer, neuron), ‖W_out row‖.
    windows : held-out text.
    seed : of the draw of :data:`MATCHED`.
    subject : the fact's.
    rome : makes the edits of rank one.
    """

    queries: Sequence[TokenizedQuery]
    told: int
    used: NDArray[np.bool_]
    new_object: str
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

    def run(self, columns: EditColumns, fact: int) -> None:
        """Make and test every edit, and fill the fact's columns."""
        edits = {**self._edits(), **self._of_rank_one()}
        tests = EditTests(engine=self.engine, edits=[None, *edits.values()])
        n, m = len(self.queries), len(self.queries) + len(self._new)
        pairs = [(m + place, m + place) for place in range(len(self.probes))]
        found, kl = tests.answers([*self.queries, *self._new, *self.probes], pairs)
        nats = tests.nats_a_token(self.windows)
        greedy = self._greedy(tests, self.queries[self.told])
        columns.base(fact, self._tested(found, 0, nats=float(nats[0])))
        for number, ((operation, name), edit) in enumerate(edits.items(), start=1):
            columns.arrays["n_slots"][name, fact] = edit.n_slots
            told = None if greedy is None else greedy[number]
            tested = self._tested(found, number, kl=kl[number], nats=float(nats[number]), greedy=told)
            columns.keep(operation, name, fact, tested)
        self._in_context(columns, fact, n)

    @cached_property
    def _new(self) -> list[TokenizedQuery | None]:
        return [self._asked(one.query, self.new_object) for one in self.queries]

    def _asked(self, query: Query, answer: str) -> TokenizedQuery | None:
        """A query asked with another answer; None where it cannot be."""
        found = self.encoder.ask(query, answer) if answer else ""
        return found if isinstance(found, TokenizedQuery) else None

    def _tested(
        self,
        found: OutcomeColumns,
        edit: int,
        *,
        kl: Array | None = None,
        nats: float = np.nan,
        greedy: Array | None = None,
    ) -> Tested:
        """One edit's share of the answers: own queries with o, the same with o′, probes."""
        n, stored = len(self.queries), found.stored()
        old, new, rest = slice(n), slice(n, 2 * n), slice(2 * n, 2 * n + len(self.probes))
        queries = {name: stored[name][edit, old] for name in ("log_probability", "rank", "argmax")}
        queries |= {f"new_{name}": stored[name][edit, new] for name in ("log_probability", "rank")}
        probes = {f"probe_{name}": stored[name][edit, rest] for name in ("log_probability", "argmax")}
        return Tested(queries=queries, probes=probes, kl=kl, nats=nats, greedy=greedy)

    def _greedy(self, tests: EditTests, asked: TokenizedQuery) -> Array | None:
        if self.encoder.family == "masked" or not self.part.greedy_tokens:
            return None
        return tests.greedy(asked.targets[0].ids, self.part.greedy_tokens, self.encoder.longest)

    def _in_context(self, columns: EditColumns, fact: int, n: int) -> None:
        """The positive control: the edited query, answered with o′, stands before every prompt."""
        if IN_CONTEXT not in self.part.sets or "update" not in self.part.operations or not self.new_object:
            return
        told = self.queries[self.told].query.text.replace(ANSWER_MARK, self.new_object)
        context = told.rstrip(" .") + ". "
        behind = [self._behind(context, one) for one in (*self.queries, *self._new, *self.probes)]
        pairs = [(2 * n + place, len(behind) + place) for place in range(len(self.probes))]
        tests = EditTests(engine=self.engine, edits=[None])
        found, kl = tests.answers([*behind, *self.probes], pairs)
        asked = behind[self.told]
        greedy = None if asked is None else self._greedy(tests, asked)
        key = self.part.operations.index("update"), self.part.sets.index(IN_CONTEXT)
        tested = self._tested(found, 0, kl=kl[0], greedy=None if greedy is None else greedy[0])
        columns.keep(*key, fact, tested)

    def _behind(self, context: str, asked: TokenizedQuery | None) -> TokenizedQuery | None:
        if asked is None:
            return None
        query = Query(template=asked.query.template, text=context + asked.query.text)
        return self._asked(query, asked.answer)

    @cached_property
    def _activation(self) -> Array:
        """(query, layer · neuron), at the target, of the fact's queries."""
        return unchanged(self.engine, self.queries).reshape(len(self.queries), -1)

    @cached_property
    def _slots(self) -> dict[str, NDArray[np.int64]]:
        slots = dict(self.slots)
        own = slots.get("own", np.zeros(0, dtype=np.int64))
        if MATCHED in self.part.sets and len(own):
            strength = np.abs(self._activation[self.told].reshape(self.norms.shape)) * self.norms
            member = np.zeros((1, strength.size), dtype=bool)
            member[0, own] = True
            drawn = matched(sparse.csr_array(member), strength[None], [self.seed])
            slots[MATCHED] = drawn.indices.astype(np.int64)
        return slots

    def _edits(self) -> dict[EditKey, Added]:
        found: dict[EditKey, Added] = {}
        for number, operation in enumerate(self.part.operations):
            for place, name in enumerate(self.part.sets):
                neurons = self._slots.get(name, np.zeros(0, dtype=np.int64))
                edit = self._edit(operation, name, neurons) if len(neurons) else None
                if edit is not None:
                    found[number, place] = edit
        return found

    def _of_rank_one(self) -> dict[EditKey, RankOne]:
        """ROME's edits: updates alone, where o′ can be asked and the subject is read."""
        names, new = [name for name in (ROME, ROME_IDENTITY) if name in self.part.sets], self._new[self.told]
        if "update" not in self.part.operations or new is None:
            return {}
        made = self.rome.edits(names, self.subject, new, self.queries[self.told].answer)
        operation = self.part.operations.index("update")
        return {(operation, self.part.sets.index(name)): edit for name, edit in made.items()}

    def _edit(self, operation: str, name: str, neurons: NDArray[np.int64]) -> Edit | None:
        sites = self.engine.sites
        if operation == "erase":
            return erasure(sites, neurons)
        new = self._new[self.told]
        if new is None:
            return None
        return update(
            sites,
            neurons,
            self._mean_embedding(self.queries[self.told]),
            self._mean_embedding(new),
            lambda1=self.part.lambda1,
            lambda2=self.part.lambda2,
            slot_norm=self.part.scale == "slot_norm",
            sign=self._sign(name, neurons) if operation == "update_signed" else None,
        )

    def _mean_embedding(self, asked: TokenizedQuery) -> Tensor:
        return self.embedding[[target.token for target in asked.targets]].mean(0)

    def _sign(self, name: str, neurons: NDArray[np.int64]) -> Tensor:
        rows = [self.told] if name in _OF_ONE_QUERY else np.flatnonzero(self.used)
        mean = self._activation[rows][:, neurons].mean(0)
        return torch.as_tensor(np.sign(mean), device=self.embedding.device).to(self.embedding.dtype)


_OF_QUERIES: Final = ("log_probability", "rank", "argmax", "new_log_probability", "new_rank")


_OF_PROBES: Final = ("probe_log_probability", "probe_argmax")


@dataclass(frozen=True, kw_only=True)
class Tested:
    """What one edit does: columns of a fact's queries, of its probes, and the rest."""

    queries: Mapping[str, Array]
    probes: Mapping[str, Array]
    kl: Array | None = None
    nats: float = np.nan
    greedy: Array | None = None


@dataclass(frozen=True, kw_only=True)
class EditColumns:
    """Every array of the group, under its name in the store."""

    arrays: dict[str, Array]

    @classmethod
    def empty(cls, part: EditPlan, arms: EditArms, n_queries: int) -> EditColumns:
        """Arrays of what was chosen, and of outcomes still missing.

        Parameters
        ----------
        n_queries : length of the axis ``query_of_fact``.
        """
        n = len(arms.edited_query)
        edits = (len(part.operations), len(part.sets), n)
        held_out = np.full((n, n_queries), NO_INDEX, dtype=np.int8)
        most = min(n_queries, arms.held_out.shape[1])
        held_out[:, :most] = arms.held_out[:, :most]
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
        for names, size in ((_OF_QUERIES, n_queries), (_OF_PROBES, part.n_probes)):
            for name in names:
                arrays[name] = _missing(name, *edits, size)
                arrays[f"base_{name}"] = _missing(name, n, size)
        return cls(arrays=arrays)

    def base(self, fact: int, found: Tested) -> None:
        """Keep what holds with nothing edited."""
        for name, values in {**found.queries, **found.probes}.items():
            self.arrays[f"base_{name}"][fact, : len(values)] = values
        self.arrays["base_text_nats"][fact] = found.nats

    def keep(self, operation: int, name: int, fact: int, found: Tested) -> None:
        """Keep what one edit does; nats are after less before."""
        place = operation, name, fact
        for column, values in {**found.queries, **found.probes}.items():
            self.arrays[column][(*place, slice(len(values)))] = values
        if found.kl is not None:
            self.arrays["probe_kl"][place] = found.kl
        self.arrays["text_nats"][place] = found.nats - self.arrays["base_text_nats"][fact]
        if found.greedy is not None:
            self.arrays["greedy_token_id"][place] = found.greedy


def _missing(name: str, *shape: int) -> Array:
    """An array without a value: int32 -1 of ranks and tokens, else float32 NaN."""
    if name.endswith(("rank", "argmax")):
        return np.full(shape, NO_INDEX, dtype=np.int32)
    return np.full(shape, np.nan, dtype=np.float32)
