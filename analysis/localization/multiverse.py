"""The headline under every choice that could have been made otherwise: methods × thresholds × queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from qloc.analysis.inference.cluster_intervals import cluster_intervals
from qloc.analysis.localization.consistency import (
    answer_codes,
    considered,
    consistency,
    filled,
    relation_codes,
)
from qloc.analysis.localization.overlap import excesses
from qloc.analysis.localization.query_subsets import subset_scores
from qloc.arrays import Floats
from qloc.neurons import NeuronSets

MOST_FACTS = 2000
"""Facts of a multiverse; more are sampled by seed, relation by relation."""

MEASURES = ("kappa", "ki", "beyond_template", "beyond_answer")
COLUMNS = ("method", "threshold", "queries", "measure", "value", "low", "high", "facts")


def sample_of(sets: NeuronSets, seed: int) -> NeuronSets:
    """The queries of at most :data:`MOST_FACTS` facts, the same share of each relation."""
    asked = np.flatnonzero(np.bincount(sets.queries["fact"], minlength=sets.n_facts) > 0)
    if len(asked) <= MOST_FACTS:
        return sets
    rng = np.random.default_rng([seed, 70])
    relation = relation_codes(sets)[1][asked]
    order = np.lexsort((rng.random(len(asked)), relation))
    start = np.searchsorted(relation[order], relation[order])
    size = np.bincount(relation)[relation[order]]
    keep = np.zeros(sets.n_facts, dtype=bool)
    keep[asked[order]] = np.arange(len(asked)) - start < size * MOST_FACTS / len(asked)
    return sets.select(keep[sets.queries["fact"]])


def cell_of(sets: NeuronSets, *, known: bool, k0: int, cut: float) -> Floats:
    """The four headline measures of every fact: float64, (fact, measure), NaN where not defined."""
    used = filled(considered(sets, known))
    fact = used.queries["fact"].astype(np.int64)
    share = subset_scores(used.member, fact, sets.n_facts, [k0], cut).below_cs2[:, 0]
    found = excesses(used, n_permutations=0)
    columns = [consistency(sets, known=known)["kappa"].values, share]
    return np.stack([*columns, found["template"].excess, found["answer"].excess], axis=1)


def multiverse(
    universes: Iterator[tuple[str, float, NeuronSets]] | Sequence[tuple[str, float, NeuronSets]],
    *,
    k0: int = 3,
    cut: float = 0.1,
    confidence: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """κ, K_I(k₀) and the overlap beyond template (H1a) and answer (H1b), under each choice.

    Parameters
    ----------
    universes : method, threshold, and the sets of all queries; the same queries in each.
    k0, cut : of K_I(k₀), by CS2.

    Returns
    -------
    DataFrame : one row a choice and measure: ``method, threshold, queries`` (known, all), ``measure``
        (kappa, ki, beyond_template, beyond_answer), ``value, low, high, facts``; intervals are
        cluster-robust by relation and answer. Descriptive: choices share their data, so that many agreeing
        rows are no more evidence than one.

    References
    ----------
    Steegen et al. 2016, "Increasing transparency through a multiverse analysis", Perspectives on
    Psychological Science 11.
    """
    rows: list[dict[str, Any]] = []
    for method, threshold, sets in universes:
        part = sample_of(sets, seed)
        clusters = (relation_codes(part)[1], answer_codes(part))
        for queries in ("known", "all"):
            values = cell_of(part, known=queries == "known", k0=k0, cut=cut)
            low, high, _ = cluster_intervals(values, clusters, confidence=confidence)
            low[1], high[1] = np.maximum(low[1], 0.0), np.minimum(high[1], 1.0)
            for place, measure in enumerate(MEASURES):
                x = values[~np.isnan(values[:, place]), place]
                row: dict[str, Any] = {"method": method, "threshold": threshold, "queries": queries}
                row |= {"measure": measure, "value": float(x.mean()) if len(x) else np.nan}
                rows.append({**row, "low": low[place], "high": high[place], "facts": len(x)})
    return pd.DataFrame(rows, columns=list(COLUMNS))
