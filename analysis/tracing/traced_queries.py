"""Choice of the queries that are traced: known ones, a few of each fact."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qloc.analysis.inputs.study import Study
from qloc.arms import TracingArms
from qloc.block import Unit
from qloc.phase_plan import TracingPlan
from qloc.random_streams import Stream


@dataclass(frozen=True, kw_only=True)
class TracedQueries:
    """Chooses the traced queries of a study.

    Attributes
    ----------
    study : Study
        Phase ``signals``.
    part : TracingPlan
        How many queries of a fact, and facts of a relation, are traced at most.
    seed : int, default 0
        Of every draw.
    """

    study: Study
    part: TracingPlan
    seed: int = 0

    @cached_property
    def chosen(self) -> NDArray[np.bool_]:
        """Which queries are traced: bool, (query,).

        They are known queries of facts whose answer is not in their subject, and known minimal pairs.
        """
        column = self.study.column
        fact = column("queries", "fact").astype(np.int64)
        usable = column("queries", "known") == 1
        if not self.part.pairs:
            usable &= column("queries", "kind") == "fact"
        usable &= (column("facts", "leaks") != 1)[fact]
        relation = column("facts", "relation").astype(str)
        kept = np.zeros(len(fact), dtype=bool)
        for number, name in enumerate(np.unique(relation)):
            facts = np.intersect1d(np.flatnonzero(relation == name), fact[usable])
            if self.part.max_facts is not None:
                rng = Stream.TRACED_FACTS.generator(self.seed, number)
                facts = rng.permutation(facts)[: self.part.max_facts]
            for of_fact in facts.tolist():
                rows = np.flatnonzero(usable & (fact == of_fact))
                order = Stream.TRACED_QUERIES.generator(self.seed, of_fact).permutation(rows)
                kept[order[: self.part.queries]] = True
        return kept

    def arms(self, unit: Unit) -> TracingArms:
        """Return which queries of a unit are traced.

        Parameters
        ----------
        unit : Unit
            A run of facts.

        Returns
        -------
        TracingArms
            Of its queries.
        """
        return TracingArms(traced=self.chosen[unit.first_query : unit.last_query])
