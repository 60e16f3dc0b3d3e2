"""What models are compared by, fact by fact, and the paired test of one measure between two models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import comb
from typing import Any, Final

import numpy as np
from scipy import stats

from qloc.analysis.comparison.studies import Studies
from qloc.analysis.inference.cluster_intervals import cluster_interval, cluster_intervals
from qloc.analysis.inference.effect_sizes import rank_biserial
from qloc.analysis.inference.means import mean
from qloc.analysis.inference.paired import THESE_ALONE, paired_p, too_few
from qloc.analysis.localization.consistency import answer_codes, consistency, filled, relation_codes
from qloc.analysis.localization.query_subsets import subset_scores
from qloc.analysis.results import TestResult
from qloc.arrays import Floats, Ints
from qloc.neurons import NeuronSets
from qloc.plan import AnalysisPlan

MEASURES: Final = {
    "kappa": "κ",
    "dice": "D",
    "ki": "K_I(k₀)",
    "known": "share known",
}
"""Column → symbol."""

_ESTIMANDS: Final = {
    "kappa": "chance-corrected overlap of a fact's queries",
    "dice": "overlap of a fact's queries",
    "ki": "share of a fact's k₀-subsets of queries that are inconsistent",
    "known": "share of a fact's queries that the model knows",
}


_SHARES: Final = ("dice", "ki", "known")
"""Measures that lie within [0, 1]."""


def few_models(n: int) -> str:
    """What so many models do not show.

    Examples
    --------
    >>> few_models(3)
    '3 models support no claim about larger models, or about models in general.'
    """
    return f"{n} models support no claim about larger models, or about models in general."


@dataclass(frozen=True)
class Measures:
    """The measures of every model on the common facts; all but the share known over queries that all know."""

    studies: Studies
    plan: AnalysisPlan

    @cached_property
    def sets(self) -> Mapping[str, NeuronSets]:
        """Each model's neuron sets of the common queries."""
        return self.studies.neurons(self.plan.method, self.plan.threshold)

    @cached_property
    def clusters(self) -> tuple[Ints, Ints]:
        """What intervals resample: each common fact's relation and answer."""
        first = next(iter(self.sets.values()))
        return relation_codes(first)[1], answer_codes(first)

    @cached_property
    def values(self) -> dict[str, dict[str, Floats]]:
        """Measure → model → float64, (fact,); NaN where it is not defined."""
        facts = self.studies.facts
        asked = np.where(facts["leaks"].values, 0, facts["n_queries"].values)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(asked > 0, facts["n_known"].values / asked, np.nan)
        found: dict[str, dict[str, Floats]] = {name: {} for name in MEASURES}
        for place, (model, sets) in enumerate(self.sets.items()):
            scores, used = consistency(sets), filled(sets.known())
            found["kappa"][model] = scores["kappa"].values
            found["dice"][model] = scores["D"].values
            subsets = subset_scores(
                used.member,
                used.queries["fact"],
                sets.n_facts,
                [self.plan.k0],
                self.plan.consistency_threshold,
            )
            found["ki"][model] = subsets.below_cs2[:, 0]
            found["known"][model] = share[place]
        return found

    @property
    def n_tests(self) -> int:
        """Size of the family: every measure, of every pair of models."""
        return len(MEASURES) * comb(len(self.studies), 2)

    def row(self, model: str, here: Any, *, intervals: bool) -> dict[str, Any]:
        """Means over the facts where ``here`` (bool, (fact,)) holds, as a table's row."""
        values = np.stack([np.where(here, self.values[name][model], np.nan) for name in MEASURES], axis=1)
        low, high, _ = cluster_intervals(values, self.clusters, confidence=self.plan.confidence)
        least = np.where([name in _SHARES for name in MEASURES], 0.0, -np.inf)
        low, high = np.maximum(low, least), np.minimum(high, 1.0)
        row: dict[str, Any] = {"facts": int(np.sum(~np.isnan(values[:, 0])))}
        for place, name in enumerate(MEASURES):
            row[name] = mean(values[:, place])
            if intervals:
                row |= {f"{name}_low": low[place], f"{name}_high": high[place]}
        return row

    def test(self, name: str, first: str, second: str) -> TestResult:
        """The mean difference of one measure, second minus first, paired by fact."""
        a, b = self.values[name][first], self.values[name][second]
        difference = b - a
        relation, answer = self.clusters
        kept = ~np.isnan(difference)
        n_relations, level = len(np.unique(relation[kept])), self.plan.alpha / self.n_tests
        p, words = paired_p(
            difference[kept],
            (relation[kept], answer[kept]),
            n_permutations=self.plan.n_permutations,
            rng=np.random.default_rng([self.plan.seed, 41, list(MEASURES).index(name)]),
            alternative="two-sided",
            level=level,
        )
        symbol = MEASURES[name]
        few = (THESE_ALONE,) if too_few(n_relations, level) else ()
        return TestResult(
            name=f"{symbol}, {second} − {first}",
            question=f"Does {symbol} differ between {first} and {second} on the same facts?",
            estimand=f"difference in the {_ESTIMANDS[name]}, {second} minus {first}"
            f"{', in these relations' if few else ''}",
            unit="fact",
            n={"relations": n_relations, "facts": int(kept.sum())},
            estimate=float(difference[kept].mean()) if kept.any() else float("nan"),
            interval=cluster_interval(difference, self.clusters, confidence=self.plan.confidence),
            effect=rank_biserial(difference, self.clusters, confidence=self.plan.confidence),
            method=f"{words}, two-sided",
            p=None if np.isnan(p) else p,
            role="exploratory",
            verdict="not identified" if np.isnan(p) else "undecided",
            alpha=self.plan.alpha,
            checks=(few_models(len(self.studies)), *few),
            seed=self.plan.seed,
        )


def rank_correlation(a: Floats, b: Floats) -> float:
    """Spearman's over facts that have both; NaN where either is constant."""
    both = ~np.isnan(a) & ~np.isnan(b)
    if both.sum() < 3 or np.ptp(a[both]) == 0 or np.ptp(b[both]) == 0:
        return float("nan")
    return float(stats.spearmanr(a[both], b[both]).statistic)
