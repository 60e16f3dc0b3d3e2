"""Interventions on attention: suppress or enhance knowledge synapses and controls.

See docs/methods.md#interventions.

Every arm is a row that runs the whole prompt, since every later token reads a column of attention. Where an
answer has several tokens, each has a pass of its own, with the synapses of that pass. So have further answers
whose tokens are not read from the answer's passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from qloc.arms import row_of
from qloc.arrays import Array, Floats
from qloc.extract.interventions import synapse_sets
from qloc.extract.models.devices import stacked
from qloc.extract.passes.attention import AttentionChange, attending, mass_without_sink, recording
from qloc.extract.passes.further_answers import FurtherAnswers
from qloc.extract.passes.outcomes import OutcomeColumns, outcomes
from qloc.extract.passes.row_engine import Cells, Ints, Pass, RowEngine
from qloc.extract.prompts.tokenizing import Target, Tokens

COLUMN_SHARE: Final = {
    "suppress": -1.0,
    "enhance": 1.0,
    "suppress_renormalized": -1.0,
    "enhance_renormalized": 1.0,
}
"""What an operation adds to a column, as a share of the column: −1 removes it, 1 doubles it."""

RENORMALIZED: Final = ("suppress_renormalized", "enhance_renormalized")
"""Operations after which each row of attention sums to 1 again."""

_BATCH_BYTES: Final = 256 * 2**20
"""Bytes of the attention weights of one batch, all layers."""

Mask = NDArray[np.bool_]

Weights = dict[tuple[int, int], tuple[Floats, Floats]]
"""(pass, set) → share of each column that is taken, and mass of each column: (layer, head, token) each."""


@dataclass(frozen=True, kw_only=True)
class SynapseRun:
    """Everything that is needed to run the synapse arms of one unit; :meth:`arrays` runs them.

    Attributes
    ----------
    tokens : Tokens
        The unit's answer tokens, each with a pass of its own.
    donors : sequence of (Target or None)
        For each token, the pass of another fact's query with the same template and as many tokens. None where
        there is none.
    own, matched : bool CSR array, shape (query, layer · neuron)
        N_i, and as many neurons of its layers and strength.
    operations : tuple of str
        Operations of the arms, of :data:`COLUMN_SHARE`.
    names : tuple of str
        Synapse sets of the arms, of :data:`qloc.phase_plan.SYNAPSE_SETS`.
    alpha : float
        α of the synapse sets: how many times the mass of even attention a column must have.
    engine : RowEngine
        Runs the rows.
    first_query : int
        Number of the unit's first query in the study: part of each draw's key.
    seed : int
        Seed of the plan.
    further : FurtherAnswers or None
        Further answers of which log P is kept; None where there are none.
    further_donors : sequence of (Target or None)
        As ``donors``, of those passes of further answers that the answers do not share.
    """

    tokens: Tokens
    donors: Sequence[Target | None]
    own: sparse.csr_array
    matched: sparse.csr_array
    operations: tuple[str, ...]
    names: tuple[str, ...]
    alpha: float
    engine: RowEngine
    first_query: int
    seed: int
    further: FurtherAnswers | None = None
    further_donors: Sequence[Target | None] = ()

    def arrays(self) -> dict[str, Array]:
        """Run every arm.

        Returns
        -------
        dict of str to ndarray
            Every array of group ``synapses``, queries in order.
        """
        shape = (len(self.names), self.own.shape[0])
        counted, removed = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.float32)
        for (token, name), (weight, mass) in self._weights.items():
            query = self.tokens.query[token]
            counted[name, query] += np.count_nonzero(weight)
            removed[name, query] += (weight * mass).sum()
        after, effects, _ = self._after
        return {
            **after.stored(),
            **{name: values.astype(np.float32) for name, values in effects.items()},
            "n_columns": counted,
            "removed_mass": removed,
        }

    def further_log_probability(self) -> Floats:
        """Return log P of the further answers after each arm.

        Returns
        -------
        float64 ndarray, shape (synapse_operation, synapse_set, query, further answer)
            In nats; NaN where the query does not have the arm, or no such answer.
        """
        after, _, values = self._after
        return values.reshape(*after.shape, -1)

    @cached_property
    def _after(self) -> tuple[OutcomeColumns, dict[str, Floats], Floats]:
        """Outcomes after each arm, effects on activations, and log P of further answers."""
        after = OutcomeColumns.empty(len(self.operations), len(self.names), self.own.shape[0])
        effects = {name: np.full(after.shape, np.nan) for name in ("activation_effect", "matched_effect")}
        width = 0 if self.further is None else self.further.shape[1]
        values = np.full(math.prod(after.shape) * width, np.nan)
        self._run(after, effects, values)
        if self.further is not None:
            self._run_others(self.further, after.shape, values)
        return after, effects, values

    @cached_property
    def _weights(self) -> Weights:
        """The columns of each set that has some in any pass of its query's answer.

        A pass without columns stands beside those that have some: an answer's log P is a sum over all of its
        tokens.
        """
        weights = self._chosen(self.tokens.targets, self.tokens.query, self.donors, 0)
        changed = {(self.tokens.query[t], name) for (t, name), (weight, _) in weights.items() if weight.any()}
        return {
            (t, name): found
            for (t, name), found in weights.items()
            if (self.tokens.query[t], name) in changed
        }

    def _chosen(
        self, targets: Sequence[Target], query: Ints, donors: Sequence[Target | None], first: int
    ) -> Weights:
        """Choose the columns of every set in passes that are numbered from ``first`` on."""
        lent = [donor for donor in donors if donor is not None]
        masses = column_masses(self.engine, [*targets, *lent])
        of_donors = iter(masses[len(targets) :])
        weights = {}
        for place, donor in enumerate(donors):
            mass, bare = masses[place]
            other = next(of_donors)[1] if donor is not None else None
            # The key is [plan seed, query of the study, token of the unit]. It is not a Stream, since stores
            # hold what it draws.
            rng = np.random.default_rng([self.seed, self.first_query + int(query[place]), first + place])
            for number, name in enumerate(self.names):
                weights[first + place, number] = self._of(name, mass, bare, other, rng), mass
        return weights

    def _of(
        self, name: str, mass: Floats, bare: Floats, other: Floats | None, rng: np.random.Generator
    ) -> Floats:
        causal = self.engine.family == "causal"
        chosen = synapse_sets.knowledge(bare, self.alpha, causal=causal)
        if name == "published":
            return synapse_sets.published(mass, self.alpha).astype(np.float64)
        if name == "random_columns":
            return synapse_sets.random_columns(chosen, mass, rng)
        if name == "other_heads":
            return synapse_sets.other_heads(chosen, mass, rng)
        if name == "other_fact":
            if other is None:
                return np.zeros(mass.shape)
            theirs = synapse_sets.knowledge(other, self.alpha, causal=causal)
            return synapse_sets.cut_to_mass(theirs, mass, float(mass[chosen].sum()), rng)
        return chosen.astype(np.float64)

    def _run(self, after: OutcomeColumns, effects: Mapping[str, Floats], values: Floats) -> None:
        """Run each pass unchanged, then its arms. Effects are differences from the unchanged pass."""
        weights = {key: weight for key, (weight, _) in self._weights.items()}
        unchanged = [(token, -1, -1) for token in range(len(self.tokens.targets))]
        arms = [(token, name, op) for token, name in weights for op in range(len(self.operations))]
        token, name, operation = np.array(sorted([*unchanged, *arms]), dtype=np.int64).reshape(-1, 3).T
        within = self._changed(weights, token, name, operation)
        compared = _Compared(own=self.own, matched=self.matched)
        for done in self.engine.passes(self.tokens.targets, token, Cells.none(), read=True, within=within):
            of = token[done.rows]
            measured = compared.effects(done, of, self.tokens.query[of], operation[done.rows] < 0)
            run = operation[done.rows] >= 0
            rows, of = done.rows[run], of[run]
            if not len(rows):
                continue
            place = (operation[rows], name[rows], self.tokens.query[of])
            share = self.tokens.share[of]
            for label, effect in measured.items():
                effects[label][place] = np.nan_to_num(effects[label][place])
                np.add.at(effects[label], place, share * effect[run])
            hidden = done.hidden[torch.as_tensor(run, device=done.hidden.device)]
            answers = outcomes(self.engine.head, hidden, self.tokens.answers[of])
            flat = np.ravel_multi_index(place, after.shape)
            after.add(flat, self.tokens.first[of], share, answers)
            if self.further is not None:
                self.further.add(self.engine.head, hidden, of, flat, values)

    def _run_others(self, further: FurtherAnswers, shape: tuple[int, ...], values: Floats) -> None:
        """Run the passes that further answers do not share, each with its own columns."""
        others, first = further.other, further.n_own
        chosen = self._chosen(further.targets[first:], further.query[others], self.further_donors, first)
        there = {(int(self.tokens.query[t]), name) for t, name in self._weights}
        weights = {
            (number, name): weight
            for (number, name), (weight, _) in chosen.items()
            if (int(further.query[number]), name) in there
        }
        arms = [(number, name, op) for number, name in weights for op in range(len(self.operations))]
        number, name, operation = np.array(arms, dtype=np.int64).reshape(-1, 3).T
        within = self._changed(weights, number, name, operation)
        for done in self.engine.passes(further.targets, number, Cells.none(), within=within):
            of = number[done.rows]
            place = np.ravel_multi_index((operation[done.rows], name[done.rows], further.query[of]), shape)
            further.add(self.engine.head, done.hidden, of, place, values)

    def _changed(
        self, weights: Mapping[tuple[int, int], Floats], token: Ints, name: Ints, operation: Ints
    ) -> Callable[[Ints], AbstractContextManager[None]]:
        """Make what changes attention while some rows run; rows without an operation stay as they are."""

        @contextmanager
        def changed(rows: Ints) -> Iterator[None]:
            arm = [(int(token[row]), int(name[row]), int(operation[row])) for row in rows]
            shares = [weights[t, s] * COLUMN_SHARE[self.operations[o]] if o >= 0 else None for t, s, o in arm]
            again = [
                o >= 0 and self.operations[o] in RENORMALIZED and bool(weights[t, s].any()) for t, s, o in arm
            ]
            with attending(self.engine.model, column_change(shares, again)):
                yield

        return changed


@torch.no_grad()
def column_masses(engine: RowEngine, targets: Sequence[Target]) -> list[tuple[Floats, Floats]]:
    """Return the column masses of passes.

    Parameters
    ----------
    engine : RowEngine
        The model.
    targets : sequence of Target
        Targets of any lengths.

    Returns
    -------
    list of tuple of (float64 ndarray, float64 ndarray)
        For each target its masses, and those without the first token, both of shape (layer, head, token).
    """
    masses: list[tuple[Floats, Floats]] = [(np.zeros(0), np.zeros(0))] * len(targets)
    config = engine.model.config.get_text_config()
    device = next(iter(engine.model.parameters())).device
    lengths = np.array([len(target.ids) for target in targets])
    for length in np.unique(lengths):
        indices = np.flatnonzero(lengths == length)
        cells = 4 * engine.sites.n_layers * int(config.num_attention_heads) * int(length) ** 2
        size = max(1, _BATCH_BYTES // cells)
        for start in range(0, len(indices), size):
            chosen = indices[start : start + size]
            ids = torch.tensor([targets[index].ids for index in chosen], device=device)
            with recording(engine.model) as kept:
                engine.model(input_ids=ids)
            whole = stacked((weights.sum(2) for weights in kept), device).double().cpu().numpy()
            bare = stacked((mass_without_sink(w) for w in kept), device).double().cpu().numpy()
            for place, index in enumerate(chosen):
                masses[index] = whole[place], bare[place]
    return masses


def column_change(shares: Sequence[Floats | None], again: Sequence[bool]) -> AttentionChange:
    """Make the change of attention weights: of each row's columns by a share; some rows are renormalized.

    Parameters
    ----------
    shares : sequence of (float64 ndarray, shape (layer, head, token), or None)
        What is added to each column of a row, as a share of the column. None: the row is unchanged.
    again : sequence of bool
        Whether each row's attention is to sum to 1 again.

    Returns
    -------
    AttentionChange
        Called once a layer, in order, with attention weights of shape (row, head, token, token).
    """
    shapes = [share.shape for share in shares if share is not None]
    if not shapes:
        return lambda weights: weights
    factor = np.stack([np.ones(shapes[0]) if share is None else 1 + share for share in shares])
    layer = -1

    def change(weights: Tensor) -> Tensor:
        nonlocal layer
        layer += 1
        here = torch.as_tensor(factor[:, layer], device=weights.device).to(weights.dtype)
        changed = weights * here[:, :, None, :]
        total = changed.sum(-1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
        chosen = torch.tensor(again, device=weights.device)[:, None, None, None]
        return torch.where(chosen, changed / total, changed)

    return change


@dataclass(frozen=True, kw_only=True)
class _Compared:
    """Effects on activations, Σ(a′ − a)·sign(a) / Σ|a| over a set's neurons, a of the unchanged pass.

    Attributes
    ----------
    own, matched : bool CSR array, shape (query, layer · neuron)
        The sets.
    before : dict of tuple of (int, str) to float64 ndarray
        (token, set) → activations of the unchanged pass.
    """

    own: sparse.csr_array
    matched: sparse.csr_array
    before: dict[tuple[int, str], Floats] = field(default_factory=dict)

    def effects(self, done: Pass, token: Ints, query: Ints, base: Mask) -> dict[str, Floats]:
        """Return the effects of a batch: float64, (row,); NaN for unchanged rows and empty sets."""
        effects = {}
        for label, sets in (("activation_effect", self.own), ("matched_effect", self.matched)):
            values = np.full(len(token), np.nan)
            for row, (t, q) in enumerate(zip(token.tolist(), query.tolist(), strict=True)):
                now = self._now(done, row, row_of(sets, q))
                if base[row]:
                    self.before[t, label] = now
                elif len(now):
                    was = self.before[t, label]
                    with np.errstate(invalid="ignore"):
                        values[row] = ((now - was) * np.sign(was)).sum() / np.abs(was).sum()
            effects[label] = values
        return effects

    def _now(self, done: Pass, row: int, neurons: Array) -> Floats:
        if done.activation is None:
            raise AssertionError("activations were asked for")
        of = torch.as_tensor(neurons, device=done.activation.device)
        now: Floats = done.activation[row].flatten()[of].double().cpu().numpy()
        return now
