"""Interventions on neurons: suppress, enhance or replace the activations of neuron sets.

See docs/methods.md#interventions.

An arm is an operation on a set of neurons at the target position. The answer's scores before and after it are
kept; they are analyzed offline. The loaded weights never change.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from scipy import sparse
from torch import Tensor

from qloc.arms import Arms, row_of
from qloc.arrays import Array, Floats
from qloc.block import Unit
from qloc.errors import ModelError, message
from qloc.extract.passes.further_answers import FurtherAnswers
from qloc.extract.passes.matched_controls import matched, output_norms, total_strength
from qloc.extract.passes.outcomes import OutcomeColumns, outcomes, summed_activations, unchanged
from qloc.extract.passes.row_engine import Cells, Ints, RowEngine
from qloc.extract.prompts.minimal_pairs import Attributed
from qloc.extract.prompts.tokenizing import Target, TokenizedQuery, Tokens
from qloc.phase_plan import MATCHED, NEURON_SETS, Matching, control_of
from qloc.random_streams import Stream

ACTIVATION_FACTOR: Final = {"suppress": 0.0, "enhance": 2.0, "mean": 0.0, "resample": 0.0}
"""Factor of an activation in each operation. ``mean`` and ``resample`` then add another activation."""

Totals = Callable[[str], tuple[Array, int]]
"""relation → sum of the activations of its queries, (layer, neuron), and the number of these queries."""


@dataclass(frozen=True, kw_only=True)
class InterventionRun:
    """Everything that is needed to run the arms of one unit; :meth:`arrays` runs them.

    Attributes
    ----------
    unit : Unit
        The unit.
    queries : sequence of TokenizedQuery
        Its queries, in order.
    fact : int64 ndarray, shape (query,)
        Each query's fact, as its number within the unit.
    relation : sequence of str
        Each query's relation.
    donors : mapping of int to TokenizedQuery
        Number of a query in the study → that query, for every query that lends its activation.
    arms : Arms
        Neuron sets, and which queries lend activations.
    operations : tuple of str
        Operations of the arms, of :data:`ACTIVATION_FACTOR`.
    names : tuple of str
        Neuron sets of the arms, in order. :data:`qloc.phase_plan.MATCHED` is drawn here, from ``own``, and
        so are the controls of users' own sets that are among them.
    totals : callable
        Sums of activations, for the operation ``mean``.
    engine : RowEngine
        Runs the rows.
    seed : int
        Seed of the plan.
    stored : sequence of Attributed
        The passes whose activations the store sums; other ones than the answer's tokens where only first
        tokens are attributed, or the bad continuations of minimal pairs.
    matching : {"total", "decile"}, default "total"
        How the matched control is as strong as ``own``.
    further : FurtherAnswers or None
        Further answers, of which log P is kept; None where none are.
    """

    unit: Unit
    queries: Sequence[TokenizedQuery]
    fact: Ints
    relation: Sequence[str]
    donors: Mapping[int, TokenizedQuery]
    arms: Arms
    operations: tuple[str, ...]
    names: tuple[str, ...]
    totals: Totals
    engine: RowEngine
    seed: int
    stored: Sequence[Attributed]
    matching: Matching = "total"
    further: FurtherAnswers | None = None

    def arrays(self) -> dict[str, Array]:
        """Run every arm.

        Returns
        -------
        dict of str to ndarray
            Every array of group ``interventions``, queries in order.

        Raises
        ------
        ModelError
            A number is not finite; the message names the query.
        """
        _, base = self._unchanged
        after, _ = self._after
        self._refuse_nan(base, after)
        chosen = {"neighbor": self.arms.neighbor, "other_fact": self.arms.other_fact}
        sizes = np.array([np.diff(self.sets[name].indptr) for name in self.names], dtype=np.int32)
        return {
            **{name: values.astype(np.int32) for name, values in chosen.items()},
            "n_neurons": sizes.reshape(len(self.names), len(self.queries)),
            **self._strengths(),
            **after.stored(),
            **{f"base_{name}": values for name, values in base.stored().items()},
        }

    def _strengths(self) -> dict[str, Array]:
        if self.matching == "decile":  # as in older stores, which do not tell
            return {}
        strength = [total_strength(self.sets[name], self._strength) for name in self.names]
        shape = len(self.names), len(self.queries)
        return {"strength": np.array(strength, dtype=np.float32).reshape(shape)}

    @cached_property
    def sets(self) -> dict[str, sparse.csr_array]:
        """Every neuron set, the matched controls among them."""
        # The key is [plan seed, query of the study]. It is not a Stream, since stores hold what it draws.
        seeds = [[self.seed, self.unit.first_query + query] for query in range(len(self.queries))]
        drawn = {MATCHED: matched(self.arms.sets["own"], self._strength, seeds, self.matching)}
        controls = {control_of(name): name for name in self.arms.sets if name not in NEURON_SETS}
        for number, (control, name) in enumerate(controls.items()):
            if control in self.names:
                keys = [[*seed, number, Stream.OWN_SET_CONTROL.number] for seed in seeds]
                drawn[control] = matched(self.arms.sets[name], self._strength, keys, self.matching)
        return {**self.arms.sets, **drawn}

    @cached_property
    def _strength(self) -> Floats:
        """|activation| · ‖W_out row‖: (query, layer, neuron)."""
        activation, _ = self._unchanged
        return np.abs(activation) * output_norms(self.engine.sites)

    @cached_property
    def _unchanged(self) -> tuple[Floats, OutcomeColumns]:
        base = OutcomeColumns.empty(len(self.queries))
        return unchanged(self.engine, self.queries, base), base

    @cached_property
    def _tokens(self) -> Tokens:
        return Tokens.of(self.queries)

    def further_log_probability(self) -> tuple[Floats, Floats]:
        """Return log P of the further answers, with nothing changed and after each arm.

        Returns
        -------
        base : float64 ndarray, shape (query, further answer)
            With nothing changed, in nats; NaN where the query has no such answer.
        after : float64 ndarray, shape (operation, neuron_set, query, further answer)
            After each arm, in nats; NaN where the arm has no neurons.
        """
        further = self.further
        if further is None:
            raise AssertionError("further answers were asked for")
        base = np.full(math.prod(further.shape), np.nan)
        number = np.flatnonzero(further.count)
        for done in self.engine.passes(further.targets, number, Cells.none()):
            of = number[done.rows]
            further.add(self.engine.head, done.hidden, of, further.query[of], base)
        columns, after = self._after
        return base.reshape(further.shape), after.reshape(*columns.shape, further.shape[1])

    @cached_property
    def _after(self) -> tuple[OutcomeColumns, Floats]:
        """Outcomes after each arm, and log P of further answers."""
        columns = OutcomeColumns.empty(len(self.operations), len(self.names), len(self.queries))
        tokens, further = self._tokens, self.further
        width = 0 if further is None else further.shape[1]
        log_probability = np.full(math.prod(columns.shape) * width, np.nan)
        for number, place, hidden in self._rows(tokens.targets, np.arange(len(tokens.targets)), tokens.query):
            answers = outcomes(self.engine.head, hidden, tokens.answers[number])
            columns.add(place, tokens.first[number], tokens.share[number], answers)
            if further is not None:
                further.add(self.engine.head, hidden, number, place, log_probability)
        if further is not None:
            for number, place, hidden in self._rows(further.targets, further.other, further.query):
                further.add(self.engine.head, hidden, number, place, log_probability)
        return columns, log_probability

    def _rows(
        self, targets: Sequence[Target], passes: Ints, query_of: Ints
    ) -> Iterator[tuple[Ints, Ints, Tensor]]:
        """Run passes under every arm; yield pass, place of arm and query, and final hidden state of rows."""
        sets, offsets = self.sets, self._offsets
        plan = [
            (query, number, operation, name)
            for number, query in zip(passes.tolist(), query_of[passes].tolist(), strict=True)
            for operation in range(len(self.operations))
            for name, label in enumerate(self.names)
            if np.diff(sets[label].indptr[query : query + 2])[0]
            and query in offsets.get(self.operations[operation], range(len(self.queries)))
        ]
        if not plan:
            return
        query, number, operation, name = np.array(plan, dtype=np.int64).T
        shape = len(self.operations), len(self.names), len(self.queries)
        place = np.ravel_multi_index((operation, name, query), shape)
        for done in self.engine.passes(targets, number, self._cells(plan)):
            yield number[done.rows], place[done.rows], done.hidden

    @cached_property
    def _offsets(self) -> dict[str, dict[int, Floats]]:
        """What ``mean`` and ``resample`` put in an activation's place, by query."""
        activation, _ = self._unchanged
        offsets: dict[str, dict[int, Floats]] = {}
        if "mean" in self.operations:
            offsets["mean"] = self._means(self._as_stored(activation))
        if "resample" in self.operations:
            numbers = sorted({int(number) for number in self.arms.other_fact if number >= 0})
            lent = unchanged(self.engine, [self.donors[number] for number in numbers])
            of = dict(zip(numbers, lent, strict=True))
            pairs = enumerate(self.arms.other_fact.tolist())
            offsets["resample"] = {query: of[number] for query, number in pairs if number >= 0}
        return offsets

    def _as_stored(self, activation: Floats) -> Floats:
        """Return the activations that the store's sums are made of, so that a fact takes off what it added.

        Queries whose stored passes are those of their answer's tokens are not run again.
        """
        of_answer, stored = _shares(self._tokens), defaultdict(list)
        for run in self.stored:
            stored[run.query].append((run.target.ids, run.target.position, run.share))
        other = [query for query in range(len(self.queries)) if stored[query] != of_answer[query]]
        if not other:
            return activation
        place = {query: number for number, query in enumerate(other)}
        passes = [run for run in self.stored if run.query in place]
        activation = activation.copy()
        activation[other] = summed_activations(
            self.engine,
            [run.target for run in passes],
            np.array([place[run.query] for run in passes]),
            np.array([run.share for run in passes]),
            len(other),
        )
        return activation

    def _means(self, activation: Floats) -> dict[int, Floats]:
        """Return, for each query, the mean activation over the other facts' queries of its relation."""
        means: dict[int, Floats] = {}
        for fact in np.unique(self.fact):
            queries = np.flatnonzero(self.fact == fact)
            total, count = self.totals(self.relation[queries[0]])
            if count > len(queries):
                rest = np.asarray(total, dtype=np.float64) - activation[queries].sum(0)
                means |= dict.fromkeys(queries.tolist(), rest / (count - len(queries)))
        return means

    def _cells(self, plan: Sequence[tuple[int, int, int, int]]) -> Cells:
        rows, neurons, factors, added = [], [], [], []
        for row, (query, _, operation, name) in enumerate(plan):
            member, label = self.sets[self.names[name]], self.operations[operation]
            chosen = row_of(member, query)
            rows.append(np.full(len(chosen), row))
            neurons.append(chosen)
            factors.append(np.full(len(chosen), ACTIVATION_FACTOR[label]))
            offset = self._offsets.get(label)
            added.append(np.zeros(len(chosen)) if offset is None else offset[query].ravel()[chosen])
        layer, neuron = np.divmod(np.concatenate(neurons), self.engine.sites.n_neurons)
        return Cells(
            row=np.concatenate(rows).astype(np.int64),
            layer=layer,
            neuron=neuron,
            factor=np.concatenate(factors),
            offset=np.concatenate(added),
        )

    def _refuse_nan(self, base: OutcomeColumns, after: OutcomeColumns) -> None:
        """Raise an error where a logit is not finite. Arms with rank -1 were not run."""
        bad = ~np.isfinite(base.logit)
        run = after.rank.reshape(after.shape) >= 0
        bad |= (run & ~np.isfinite(after.logit.reshape(after.shape))).any((0, 1))
        if bad.any():
            query = int(np.argmax(bad))
            place = f"query {self.queries[query].prompt!r} (row {self.unit.first_query + query})"
            action = "Extract in float32, or leave the fact out"
            raise ModelError(message("logit of the answer", "not finite", "finite", place, action))


def _shares(tokens: Tokens) -> dict[int, list[tuple[tuple[int, ...], int, float]]]:
    """Return the passes of each query's answer tokens: ids, position and share."""
    shares = defaultdict(list)
    rows = zip(tokens.query.tolist(), tokens.targets, tokens.share.tolist(), strict=True)
    for query, target, share in rows:
        shares[query].append((target.ids, target.position, share))
    return shares
