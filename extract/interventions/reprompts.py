"""Near-identical re-prompts: queries asked again in another form, and the neurons that they then have.

A re-prompt i′ has the words of query i and signs before them. How far N_i′ is from N_i, by the same method
and rule, is how far sets differ for the form of a prompt alone: the ceiling of what other words may do.
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
from qloc.extract.attribution.path_integrals import ScaledPath
from qloc.extract.attribution.scores import scores_by
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
    """What is needed to ask a unit's queries again.

    Attributes
    ----------
    asked, facts : the unit's queries, and the fact of each.
    own : N_i: bool, CSR (query, layer · neuron).
    strength : of the queries that are asked again, the attributions to N_i; as :attr:`qloc.arms.Arms.again`.
    prefix : what is put before a prompt.
    rows : tells how the answers stand.
    method, path, answer_tokens, threshold : N_i′ is chosen as N_i was.
    dtype : in which attributions are kept, and compared with the threshold.
    """

    asked: Sequence[TokenizedQuery]
    facts: Sequence[Fact]
    own: sparse.csr_array
    strength: sparse.csr_array
    prefix: str
    encoder: Encoder
    engine: GradientEngine
    rows: RowEngine
    method: AttributionMethod
    path: ScaledPath
    answer_tokens: AnswerTokens
    threshold: float
    dtype: str

    @cached_property
    def sets(self) -> dict[str, sparse.csr_array]:
        """N_i′, and N_i∖N_i′ and N_i′∖N_i at equal count and layers; empty for queries not asked again."""
        empty = [np.zeros(0, dtype=np.int64)] * len(self.asked)
        theirs, only_own, only_theirs = empty.copy(), empty.copy(), empty.copy()
        for number, query in enumerate(self._queries):
            mine, theirs[query] = row_of(self.own, query), self._members[number]
            start, stop = self.strength.indptr[query : query + 2]
            strengths = self.strength.data[start:stop], self._attribution[number, theirs[query]]
            only_own[query], only_theirs[query] = differences(
                (mine, theirs[query]), strengths, self.engine.sites.n_neurons
            )
        rows = zip(REPROMPT_SETS, (theirs, only_own, only_theirs), strict=True)
        return {name: matrix(found, self.own.shape[1]) for name, found in rows}

    def arrays(self) -> dict[str, Array]:
        """Every array of group ``reprompts``, queries in order."""
        base = OutcomeColumns.empty(len(self._queries))
        unchanged(self.rows, self._again, base)
        told = base.stored()
        members = zip(self._queries, self._members, strict=True)
        shared = [len(np.intersect1d(row_of(self.own, query), theirs)) for query, theirs in members]
        columns = {
            "n_neurons": np.array([len(theirs) for theirs in self._members], dtype=np.int32),
            "n_shared": np.array(shared, dtype=np.int32),
            "log_probability": told["log_probability"],
            "rank": told["rank"],
        }
        found = {}
        for name, values in columns.items():
            missing = np.nan if values.dtype.kind == "f" else NO_INDEX
            found[name] = np.full(len(self.asked), missing, dtype=values.dtype)
            found[name][self._queries] = values
        return found

    @cached_property
    def _pairs(self) -> list[tuple[int, TokenizedQuery]]:
        """The queries that are asked again, and how."""
        wanted = np.flatnonzero(np.diff(self.strength.indptr)).tolist()
        again = asked_again([self.asked[query] for query in wanted], self.prefix, self.encoder)
        return [(query, one) for query, one in zip(wanted, again, strict=True) if one is not None]

    @property
    def _queries(self) -> list[int]:
        return [query for query, _ in self._pairs]

    @property
    def _again(self) -> list[TokenizedQuery]:
        return [one for _, one in self._pairs]

    @cached_property
    def _attribution(self) -> NDArray[Any]:
        """Attribution of every re-prompt's answer: (re-prompt, layer · neuron).

        Raises
        ------
        ModelError : a number that is not finite, naming the query.
        """
        facts = [self.facts[query] for query in self._queries]
        passes = attributed(self._again, facts, self.encoder, self.answer_tokens, "good")
        targets, sites = [one.target for one in passes], self.engine.sites
        wide = np.float64 if self.engine.itemsize == 8 else np.float32
        total = np.zeros((len(facts), sites.n_layers * sites.n_neurons), dtype=wide)
        for indices, found in scores_by(self.engine, targets, self.method, self.path, self.encoder.tokenizer):
            weight = np.array([passes[index].weight for index in indices])[:, None]
            scores = found.attribution.flatten(1).cpu().numpy()
            np.add.at(total, [passes[n].query for n in indices], weight * scores)
        for number in np.flatnonzero(~np.isfinite(total).all(axis=1)).tolist():
            raise not_finite(self._again[number], facts[number])
        return total.astype(self.dtype)

    @cached_property
    def _members(self) -> list[NDArray[np.int64]]:
        """N_i′ of every re-prompt, ascending."""
        largest = self._attribution.max(axis=1, initial=0.0)
        return [np.flatnonzero(row) for row in exceeds(self._attribution, largest, self.threshold)]
