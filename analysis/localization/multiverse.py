"""The headline under every choice that could have been made otherwise: methods × thresholds × queries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import pandas as pd

from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inference.share_intervals import Bound, bounded_intervals
from qloc.analysis.localization.consistency import (
    answer_codes,
    considered,
    consistency,
    filled,
    relation_codes,
)
from qloc.analysis.localization.overlap.margins import net_excess
from qloc.analysis.localization.overlap.query_pairs import LEVELS
from qloc.analysis.localization.query_subsets import subset_scores
from qloc.arrays import Floats
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


def multiverse(
    universes: Iterable[tuple[str, float, NeuronSets]],
    *,
    k0: int = 3,
    cut: float = 0.1,
    draws: Draws = DRAWS,
) -> pd.DataFrame:
    """Tabulate κ, K_I(k₀) and the overlap beyond template (H1a) and answer (H1b) under each choice.

    Parameters
    ----------
    universes : iterable of (str, float, NeuronSets)
        Method, threshold, and the sets of all queries; the same queries in each.
    k0 : int
        Queries in a subset, of K_I(k₀).
    cut : float
        A subset is inconsistent where its CS2 is below.
    draws : Draws
        Level of the intervals, and seed of the sample of facts where there are many.

    Returns
    -------
    pandas.DataFrame
        One row a choice and measure: ``method, threshold, queries`` (known, all), ``measure`` (kappa, ki,
        beyond_template, beyond_answer), ``value, low, high, facts``; intervals are cluster-robust by relation
        and answer. Descriptive: choices share their data, so that many agreeing rows are no more evidence
        than one.

    References
    ----------
    Steegen et al. 2016, "Increasing transparency through a multiverse analysis", Perspectives on
    Psychological Science 11.
    """
    rows: list[dict[str, Any]] = []
    for method, threshold, sets in universes:
        part = sample_of(sets, draws.seed)
        clusters = (relation_codes(part)[1], answer_codes(part))
        for queries in ("known", "all"):
            values = cell_of(part, known=queries == "known", k0=k0, cut=cut)
            low, high = bounded_intervals(values, clusters, HEADLINE_BOUNDS, confidence=draws.confidence)
            for place, measure in enumerate(HEADLINE_MEASURES):
                x = values[~np.isnan(values[:, place]), place]
                row: dict[str, Any] = {"method": method, "threshold": threshold, "queries": queries}
                row |= {"measure": measure, "value": float(x.mean()) if len(x) else np.nan}
                rows.append({**row, "low": low[place], "high": high[place], "facts": len(x)})
    return pd.DataFrame(rows, columns=list(_COLUMNS))
