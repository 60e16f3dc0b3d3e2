"""Which queries of a study enter paired tests, and by what their facts are clustered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qloc.analysis.inference.label_codes import codes
from qloc.analysis.inference.means import mean_by
from qloc.analysis.inputs.study import Study
from qloc.arrays import Floats, Ints


@dataclass(frozen=True)
class QueryRows:
    """Queries that enter a paired test, and the clusters of their facts.

    Attributes
    ----------
    fact : int64 ndarray, shape (query,)
        Row of the fact that each query asks for.
    used : bool ndarray, shape (query,)
        Whether a query is averaged.
    relation : int64 ndarray, shape (fact,)
        Relation of each fact, as a code.
    answer : int64 ndarray, shape (fact,)
        Answer of each fact, as a code; an answer that two relations share has one code.
    n_left_out : int
        Queries left out because the model does not know them.
    kind : str
        Kind of the queries used: ``fact`` or ``minimal_pair``.
    """

    fact: Ints
    used: NDArray[np.bool_]
    relation: Ints
    answer: Ints
    n_left_out: int = 0
    kind: str = "fact"

    @property
    def clusters(self) -> tuple[Ints, Ints]:
        """Relation and answer of each fact: the clusters that intervals are robust to."""
        return self.relation, self.answer

    def mean(self, values: Floats) -> Floats:
        """Return the mean of each fact's values over its used queries.

        Parameters
        ----------
        values : float64 ndarray, shape (query,)
            One value per query; NaN is left out.

        Returns
        -------
        float64 ndarray, shape (fact,)
            NaN for a fact without a value.
        """
        keep = self.used & ~np.isnan(values)
        return mean_by(values[keep], self.fact[keep], len(self.relation))


def rows_of(study: Study, known: bool = True, kind: str | None = None) -> QueryRows:
    """Return the queries of a study that enter paired tests.

    Facts whose answer stands in the prompt (``leaks``) are left out, and so are minimal pairs: figures are of
    facts or of syntax. A study without facts is tested on its groups of pairs.

    Parameters
    ----------
    study : Study
        Groups ``queries`` and ``facts`` are read.
    known : bool, default True
        Use only queries that the model knows; else all.
    kind : {"fact", "minimal_pair"}, optional
        Kind of the queries used; that of facts where it is not given and the study has any.

    Returns
    -------
    QueryRows
        The queries used, and the clusters of all facts of the study.
    """
    fact = study.column("queries", "fact").astype(np.int64)
    kinds = study.column("queries", "kind")
    kind = kind or ("fact" if (kinds == "fact").any() else "minimal_pair")
    asked = (kinds == kind) & ~(study.column("facts", "leaks") > 0)[fact]
    is_known = study.column("queries", "known") == 1
    return QueryRows(
        fact=fact,
        used=asked & is_known if known else asked,
        relation=codes(study.column("facts", "relation")),
        answer=codes(study.column("facts", "object")),
        n_left_out=int(np.sum(asked & ~is_known)) if known else 0,
        kind=kind,
    )
