"""The headline under every choice that could have been made otherwise: methods × thresholds × queries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inference.label_codes import codes
from qloc.analysis.inference.share_intervals import Bound, bounded_intervals
from qloc.analysis.localization.consistency import (
    answer_codes,
    considered,
    consistency,
    filled,
    relation_codes,
)
from qloc.analysis.localization.overlap.margins import PREDICTION_ERROR, net_excess
from qloc.analysis.localization.overlap.query_pairs import LEVELS, Level
from qloc.analysis.localization.query_subsets import subset_scores
from qloc.analysis.localization.specification_curve import CurveTest, curve_test
from qloc.arrays import Floats, Ints
from qloc.neurons import NeuronSets
from qloc.random_streams import Stream

MOST_MULTIVERSE_FACTS = 2000
"""Facts of a multiverse; more are sampled by seed, relation by relation."""

HEADLINE_MEASURES: Final = ("kappa", "ki", "beyond_template", "beyond_answer")
"""What is measured under each choice, in the order of the columns of :func:`cell_of`."""

HEADLINE_BOUNDS: Final[tuple[Bound, ...]] = ("none", "share", "none", "none")
"""Range of each of them."""

_COLUMNS: Final = ("method", "threshold", "queries", "measure", "value", "low", "high", "facts")


def sample_of(sets: NeuronSets, seed: int) -> NeuronSets:
    """Sample facts, the same share of each relation, where there are too many for every choice.

    Parameters
    ----------
    sets : NeuronSets
        Sets of all queries.
    seed : int
        Seed of the sample; facts are drawn alike from any sets of the same queries.

    Returns
    -------
    NeuronSets
        The queries of at most :data:`MOST_MULTIVERSE_FACTS` facts, give or take one a relation.
    """
    queried = np.flatnonzero(np.bincount(sets.queries["fact"], minlength=sets.n_facts) > 0)
    if len(queried) <= MOST_MULTIVERSE_FACTS:
        return sets
    rng = Stream.MULTIVERSE_FACTS.generator(seed)
    relation = relation_codes(sets)[1][queried]
    order = np.lexsort((rng.random(len(queried)), relation))
    start = np.searchsorted(relation[order], relation[order])
    size = np.bincount(relation)[relation[order]]
    keep = np.zeros(sets.n_facts, dtype=bool)
    keep[queried[order]] = np.arange(len(queried)) - start < size * MOST_MULTIVERSE_FACTS / len(queried)
    return sets.select(keep[sets.queries["fact"]])


def cell_of(sets: NeuronSets, *, known: bool, k0: int, cut: float) -> Floats:
    """Return the four headline measures of every fact under one choice.

    Parameters
    ----------
    sets : NeuronSets
        Sets of all queries, by the method and threshold of this choice.
    known : bool
        Known queries only; otherwise all.
    k0 : int
        Queries in a subset, of K_I(k₀).
    cut : float
        A subset is inconsistent where its CS2 is below.

    Returns
    -------
    float64 ndarray, shape (fact, measure)
        :data:`HEADLINE_MEASURES`, NaN where not defined.
    """
    used = filled(considered(sets, known))
    fact = used.queries["fact"].astype(np.int64)
    share = subset_scores(used.member, fact, sets.n_facts, [k0], cut).below_cs2[:, 0]
    columns = [consistency(sets, known=known)["kappa"].values, share]
    return np.stack([*columns, *(net_excess(used, level) for level in LEVELS)], axis=1)


@dataclass(frozen=True, kw_only=True)
class Multiverse:
    """The four headline measures of every fact under every choice.

    Attributes
    ----------
    choices : tuple of (str, float, str)
        Method, threshold and queries (known, all) of each choice.
    values : float64 ndarray, shape (choice, fact, measure)
        :data:`HEADLINE_MEASURES`, NaN where not defined.
    clusters : tuple of int64 ndarray, shape (fact,) each
        Relation and answer of each fact.
    """

    choices: tuple[tuple[str, float, str], ...]
    values: Floats
    clusters: tuple[Ints, Ints]

    @classmethod
    def of(
        cls,
        universes: Iterable[tuple[str, float, NeuronSets]],
        *,
        k0: int = 3,
        cut: float = 0.1,
        seed: int = 0,
    ) -> Multiverse:
        """Compute κ, K_I(k₀) and the overlap beyond template (H1a) and answer (H1b) under each choice.

        Parameters
        ----------
        universes : iterable of (str, float, NeuronSets)
            Method, threshold, and the sets of all queries; the same queries in each, one at least.
        k0 : int, default 3
            Queries in a subset, of K_I(k₀).
        cut : float, default 0.1
            A subset is inconsistent where its CS2 is below.
        seed : int, default 0
            Seed of the sample of facts where there are many.

        Returns
        -------
        Multiverse
            Two choices for each universe: known queries, and all.
        """
        choices: list[tuple[str, float, str]] = []
        values: list[Floats] = []
        for method, threshold, sets in universes:
            part = sample_of(sets, seed)
            for queries in ("known", "all"):
                choices.append((method, threshold, queries))
                values.append(cell_of(part, known=queries == "known", k0=k0, cut=cut))
        clusters = (relation_codes(part)[1], answer_codes(part))
        return cls(choices=tuple(choices), values=np.stack(values), clusters=clusters)

    def table(self, confidence: float = 0.95) -> pd.DataFrame:
        """Tabulate the means under each choice.

        Parameters
        ----------
        confidence : float, default 0.95
            Level of the intervals, within (0, 1).

        Returns
        -------
        pandas.DataFrame
            One row a choice and measure: ``method, threshold, queries``, ``measure`` (kappa, ki,
            beyond_template, beyond_answer), ``value, low, high, facts``. Descriptive: choices share their
            data, so that many agreeing rows are no more evidence than one.

        References
        ----------
        Steegen et al. 2016, "Increasing transparency through a multiverse analysis", Perspectives on
        Psychological Science 11.
        """
        rows: list[dict[str, Any]] = []
        for (method, threshold, queries), values in zip(self.choices, self.values, strict=True):
            low, high = bounded_intervals(values, self.clusters, HEADLINE_BOUNDS, confidence=confidence)
            for place, measure in enumerate(HEADLINE_MEASURES):
                x = values[~np.isnan(values[:, place]), place]
                row: dict[str, Any] = {"method": method, "threshold": threshold, "queries": queries}
                row |= {"measure": measure, "value": float(x.mean()) if len(x) else np.nan}
                rows.append({**row, "low": low[place], "high": high[place], "facts": len(x)})
        return pd.DataFrame(rows, columns=list(_COLUMNS))

    def joint_test(self, level: Level, draws: Draws = DRAWS) -> CurveTest:
        """Test the overlap beyond template or answer under all choices together.

        Parameters
        ----------
        level : {"template", "answer"}
            As for :func:`qloc.analysis.localization.overlap.margins.net_excess`.
        draws : Draws
            Number of flips, and seed.

        Returns
        -------
        CurveTest
            Signs of answers within relations are flipped, as these are what H1's t-test is clustered by.
        """
        place = LEVELS.index(level)
        return curve_test(
            self.values[:, :, HEADLINE_MEASURES.index(f"beyond_{level}")],
            codes(*self.clusters),
            least=PREDICTION_ERROR[level],
            n_permutations=draws.n_permutations,
            rng=Stream.SPECIFICATION_CURVE.generator(draws.seed, place),
        )
