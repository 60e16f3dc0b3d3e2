"""Which queries of a study count in paired tests, and what their facts are clustered by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qloc.analysis.inference.codes import codes
from qloc.analysis.inference.means import mean_by
from qloc.analysis.inputs.study import Study
from qloc.arrays import Floats, Ints


@dataclass(frozen=True)
class QueryRows:
    """Which queries count, and what their facts are clustered by.

    Attributes
    ----------
    fact : int64, (query,); used : bool, (query,), queries that are averaged.
    relation, answer : int64, (fact,); the same answer in two relations has one number.
    n_left_out : queries of the facts considered that are not known.
    """

    fact: Ints
    used: NDArray[np.bool_]
    relation: Ints
    answer: Ints
    n_left_out: int = 0

    @property
    def clusters(self) -> tuple[Ints, Ints]:
        """What intervals are robust to: relation, and answer across relations."""
        return self.relation, self.answer

    def mean(self, values: Floats) -> Floats:
        """Mean of (query,) values over each fact's queries where they are defined: float64, (fact,)."""
        keep = self.used & ~np.isnan(values)
        return mean_by(values[keep], self.fact[keep], len(self.relation))


def rows_of(study: Study, known: bool = True) -> QueryRows:
    """Queries of facts that do not leak, minimal pairs aside: known ones (the headline), or all."""
    fact = study.column("queries", "fact").astype(np.int64)
    asked = (study.column("queries", "kind") == "fact") & ~(study.column("facts", "leaks") > 0)[fact]
    is_known = study.column("queries", "known") == 1
    return QueryRows(
        fact=fact,
        used=asked & is_known if known else asked,
        relation=codes(study.column("facts", "relation")),
        answer=codes(study.column("facts", "object")),
        n_left_out=int(np.sum(asked & ~is_known)) if known else 0,
    )
