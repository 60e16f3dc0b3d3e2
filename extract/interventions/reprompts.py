"""Near-identical re-prompts: ask queries again in another form, and choose their neurons again.

A re-prompt i′ has the words of query i, with signs before them. N_i′ is chosen by the same method and rule as
N_i. Their difference shows how far neuron sets differ because of the form of a prompt alone, without other
words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from qloc.arms import differences, matrix, row_of
from qloc.arrays import Array
from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.error_bound import Certified
from qloc.extract.attribution.integrated_gradients import ScaledPath
from qloc.extract.attribution.scores import Starts, scores_by
from qloc.extract.passes.outcomes import OutcomeColumns, unchanged
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.prompts.minimal_pairs import attributed
from qloc.extract.prompts.reprompts import asked_again
from qloc.extract.prompts.tokenizing import Encoder, TokenizedQuery
from qloc.extract.signals.query_columns import not_finite
from qloc.facts import Fact
from qloc.methods import AttributionMethod
from qloc.neurons import exceeds
from qloc.phase_plan import REPROMPT_SETS
from qloc.plan import AnswerTokens
from qloc.vocabulary import NO_INDEX


@dataclass(frozen=True, kw_only=True)
class Reprompts:
    """Everything that is needed to ask a unit's queries again; :attr:`sets` and :meth:`arrays` do.

    Attributes
    ----------
    queries : sequence of TokenizedQuery
        The unit's queries.
    facts : sequence of Fact
        The fact of each.
    own : bool CSR array, shape (query, layer · neuron)
        N_i.
    strength : float CSR array, shape (query, layer · neuron)
        Attributions to N_i of the queries that are asked again, as :attr:`qloc.arms.Arms.again`.
    prefix : str
        What is put before a prompt.
    encoder : Encoder
        Tokenizes prompts with answers.
    engine : GradientEngine
        Computes attributions.
    rows : RowEngine
        Scores the answers.
    method : AttributionMethod
        The method that N_i was chosen by.
    path : ScaledPath or Certified
        Its integration path.
    answer_tokens : {"all", "first"}
        Which answer tokens are attributed.
    threshold : float
        Share of the largest attribution above which a neuron is in the set.
    dtype : str
        Type in which attributions are stored and compared with the threshold.
    starts : Starts
        Where paths from a relation's mean activation start: those of the queries, by number.
    """

    queries: Sequence[TokenizedQuery]
    facts: Sequence[Fact]
    own: sparse.csr_array
    strength: sparse.csr_array
    prefix: str
    encoder: Encoder
    engine: GradientEngine
    rows: RowEngine
    method: AttributionMethod
    path: ScaledPath | Certified
    answer_tokens: AnswerTokens
    threshold: float
    dtype: str
    starts: Starts

    @cached_property
    def sets(self) -> dict[str, sparse.csr_array]:
        """N_i′, N_i∖N_i′ and N_i′∖N_i; the differences have equal counts in each layer.

        Sets of queries that are not asked again are empty.
        """
        empty = [np.zeros(0, dtype=np.int64)] * len(self.queries)
        theirs, only_own, only_theirs = empty.copy(), empty.copy(), empty.copy()
        for number, query in enumerate(self._asked_again):
            mine, theirs[query] = row_of(self.own, query), self._members[number]
            start, stop = self.strength.indptr[query : query + 2]
            strengths = self.strength.data[start:stop], self._attribution[number, theirs[query]]
            only_own[query], only_theirs[query] = differences(
                (mine, theirs[query]), strengths, self.engine.sites.n_neurons
            )
        rows = zip(REPROMPT_SETS, (theirs, only_own, only_theirs), strict=True)
        return {name: matrix(members, self.own.shape[1]) for name, members in rows}

    def arrays(self) -> dict[str, Array]:
        """Score the re-prompts' answers, and count the neurons of their sets.

        Returns
        -------
        dict of str to ndarray
            Every array of group ``reprompts``, queries in order; NaN or -1 for queries not asked again.
        """
        base = OutcomeColumns.empty(len(self._asked_again))
        unchanged(self.rows, self._again, base)
        answers = base.stored()
        members = zip(self._asked_again, self._members, strict=True)
        shared = [len(np.intersect1d(row_of(self.own, query), theirs)) for query, theirs in members]
        columns = {
            "n_neurons": np.array([len(theirs) for theirs in self._members], dtype=np.int32),
            "n_shared": np.array(shared, dtype=np.int32),
            "log_probability": answers["log_probability"],
            "rank": answers["rank"],
        }
        arrays = {}
        for name, values in columns.items():
            missing = np.nan if values.dtype.kind == "f" else NO_INDEX
            arrays[name] = np.full(len(self.queries), missing, dtype=values.dtype)
            arrays[name][self._asked_again] = values
        return arrays

    @cached_property
    def _pairs(self) -> list[tuple[int, TokenizedQuery]]:
        """The queries that are asked again, each with its re-prompt."""
        chosen = np.flatnonzero(np.diff(self.strength.indptr)).tolist()
        again = asked_again([self.queries[query] for query in chosen], self.prefix, self.encoder)
        return [(row, reprompt) for row, reprompt in zip(chosen, again, strict=True) if reprompt is not None]

    @property
    def _asked_again(self) -> list[int]:
        return [query for query, _ in self._pairs]

    @property
    def _again(self) -> list[TokenizedQuery]:
        return [reprompt for _, reprompt in self._pairs]

    @cached_property
    def _attribution(self) -> NDArray[Any]:
        """Attributions of every re-prompt's answer: (re-prompt, layer · neuron)."""
        facts = [self.facts[query] for query in self._asked_again]
        passes = attributed(self._again, facts, self.encoder, self.answer_tokens, "good")
        targets, sites = [run.target for run in passes], self.engine.sites
        starts: Starts = lambda some: self.starts([self._asked_again[passes[n].query] for n in some])  # noqa: E731
        wide = np.float64 if self.engine.itemsize == 8 else np.float32
        total = np.zeros((len(facts), sites.n_layers * sites.n_neurons), dtype=wide)
        for indices, batch in scores_by(
            self.engine, targets, self.method, self.path, self.encoder.tokenizer, starts
        ):
            weight = np.array([passes[index].weight for index in indices])[:, None]
            scores = batch.attribution.flatten(1).cpu().numpy()
            np.add.at(total, [passes[n].query for n in indices], weight * scores)
        for number in np.flatnonzero(~np.isfinite(total).all(axis=1)).tolist():
            raise not_finite(self._again[number], facts[number])
        return total.astype(self.dtype)

    @cached_property
    def _members(self) -> list[NDArray[np.int64]]:
        """N_i′ of every re-prompt, ascending."""
        largest = self._attribution.max(axis=1, initial=0.0)
        return [np.flatnonzero(row) for row in exceeds(self._attribution, largest, self.threshold)]
