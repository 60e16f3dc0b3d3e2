"""Measures by which models are compared, fact by fact, and the paired test of one measure of two models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import comb
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from qloc.analysis.comparison.studies import Studies
from qloc.analysis.inference.effect_sizes import rank_biserial
from qloc.analysis.inference.equivalence import mean_tost_p
from qloc.analysis.inference.least_p import too_few
from qloc.analysis.inference.means import mean
from qloc.analysis.inference.paired import THESE_ALONE, least_paired_p, paired_p
from qloc.analysis.inference.share_intervals import Bound, bounded_intervals
from qloc.analysis.inference.skewed_interval import skewed_interval
from qloc.analysis.localization.consistency import answer_codes, consistency, filled, relation_codes
from qloc.analysis.localization.query_subsets import subset_scores
from qloc.analysis.results import NEW_RELATIONS, THESE_RELATIONS, TestResult
from qloc.analysis.verdicts import judged
from qloc.arrays import Floats, Ints
from qloc.hypothesis_registry import Claims
from qloc.neurons import NeuronSets
from qloc.plan import AnalysisPlan
from qloc.random_streams import Stream

MEASURE_SYMBOLS: Final = {
    "kappa": "κ",
    "dice": "D",
    "ki": "K_I(k₀)",
    "known": "share known",
}
"""Symbol of each measure, by its name as a column."""

_ESTIMANDS: Final = {
    "kappa": "chance-corrected overlap of a fact's queries",
    "dice": "overlap of a fact's queries",
    "ki": "share of a fact's k₀-subsets of queries that are inconsistent",
    "known": "share of a fact's queries that the model knows",
}

_SHARES: Final = ("dice", "ki", "known")
"""Measures that lie within [0, 1]; κ may be negative."""


def few_models(n: int) -> str:
    """Return the caveat of a comparison of few models.

    Parameters
    ----------
    n : int
        Number of models.

    Returns
    -------
    str
        One sentence.

    Examples
    --------
    >>> few_models(3)
    '3 models support no claim about larger models, or about models in general.'
    """
    return f"{n} models support no claim about larger models, or about models in general."


@dataclass(frozen=True)
class Measures:
    """The measures of every model on the common facts; on minimal pairs only where nothing else is common.

    All but the share known are over queries that every model knows.

    Attributes
    ----------
    studies : Studies
        The models' studies.
    plan : AnalysisPlan
        Method, threshold, k₀, consistency threshold, draws and seed.
    """

    studies: Studies
    plan: AnalysisPlan

    @cached_property
    def sets(self) -> Mapping[str, NeuronSets]:
        """Each model's neuron sets of the common queries."""
        return self.studies.neurons(self.plan.method, self.plan.threshold)

    @cached_property
    def clusters(self) -> tuple[Ints, Ints]:
        """Relation and answer of each common fact: the clusters that intervals are robust to."""
        first = next(iter(self.sets.values()))
        return relation_codes(first)[1], answer_codes(first)

    @cached_property
    def of_queries(self) -> NDArray[np.bool_]:
        """Common queries that measures are of: bool, (query,); minimal pairs where there are no others."""
        return next(iter(self.sets.values())).of_facts()

    @cached_property
    def of_facts(self) -> NDArray[np.bool_]:
        """Common facts that measures are of: bool, (fact,)."""
        return np.bincount(self.studies.fact_of_query[self.of_queries], minlength=len(self.clusters[0])) > 0

    @cached_property
    def values(self) -> dict[str, dict[str, Floats]]:
        """Values by measure, then model: float64, shape (fact,); NaN where they are not defined."""
        facts = self.studies.facts
        n_queries = np.where(facts["leaks"].values | ~self.of_facts, 0, facts["n_queries"].values)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(n_queries > 0, facts["n_known"].values / n_queries, np.nan)
        values: dict[str, dict[str, Floats]] = {name: {} for name in MEASURE_SYMBOLS}
        for place, (model, sets) in enumerate(self.sets.items()):
            scores, used = consistency(sets), filled(sets.known())
            values["kappa"][model] = scores["kappa"].values
            values["dice"][model] = scores["D"].values
            subsets = subset_scores(
                used.member,
                used.queries["fact"],
                sets.n_facts,
                [self.plan.k0],
                self.plan.consistency_threshold,
            )
            values["ki"][model] = subsets.below_cs2[:, 0]
            values["known"][model] = share[place]
        return values

    @property
    def n_tests(self) -> int:
        """Size of the family of tests: every measure of every pair of models."""
        return len(MEASURE_SYMBOLS) * comb(len(self.studies), 2)

    def row(self, model: str, here: Any, *, intervals: bool) -> dict[str, Any]:
        """Return means over some facts as cells of a table.

        Parameters
        ----------
        model : str
            Name of the model.
        here : bool ndarray, shape (fact,)
            Facts that are averaged.
        intervals : bool
            Whether to add intervals, each within the range of its measure.

        Returns
        -------
        dict
            ``facts`` (with a defined κ), each measure, and with intervals ``<measure>_low`` and
            ``<measure>_high``.
        """
        values = np.stack(
            [np.where(here, self.values[name][model], np.nan) for name in MEASURE_SYMBOLS], axis=1
        )
        bounds: tuple[Bound, ...] = tuple("share" if name in _SHARES else "none" for name in MEASURE_SYMBOLS)
        low, high = bounded_intervals(values, self.clusters, bounds, confidence=self.plan.confidence)
        row: dict[str, Any] = {"facts": int(np.sum(~np.isnan(values[:, 0])))}
        for place, name in enumerate(MEASURE_SYMBOLS):
            row[name] = mean(values[:, place])
            if intervals:
                row |= {f"{name}_low": low[place], f"{name}_high": high[place]}
        return row

    def test(self, name: str, first: str, second: str) -> TestResult:
        """Test the mean difference of one measure between two models, paired by fact.

        Parameters
        ----------
        name : str
            A measure, a key of :data:`MEASURE_SYMBOLS`.
        first, second : str
            Names of models; the difference is second minus first.

        Returns
        -------
        TestResult
            Two-sided, exploratory, not adjusted.
        """
        a, b = self.values[name][first], self.values[name][second]
        difference = b - a
        relation, answer = self.clusters
        kept = ~np.isnan(difference)
        n_relations, level = len(np.unique(relation[kept])), self.plan.alpha / self.n_tests
        p, words = paired_p(
            difference[kept],
            (relation[kept], answer[kept]),
            n_permutations=self.plan.n_permutations,
            rng=Stream.MODEL_DIFFERENCES.generator(self.plan.seed, list(MEASURE_SYMBOLS).index(name)),
            alternative="two-sided",
            level=level,
        )
        symbol, least, by = MEASURE_SYMBOLS[name], None, ""
        if not np.isnan(p):
            least, by = least_paired_p(
                (relation[kept], answer[kept]),
                n_permutations=self.plan.n_permutations,
                alternative="two-sided",
                level=level,
            )
        equal = mean_tost_p(difference, self.clusters, self.plan.model_margin)
        few = (THESE_ALONE,) if too_few(n_relations, level) else ()
        result = TestResult(
            name=f"{symbol}, {second} − {first}",
            question=f"Does {symbol} differ between {first} and {second} on the same facts?",
            estimand=f"difference in the {_ESTIMANDS[name]}, {second} minus {first}"
            f"{', in these relations' if few else ''}",
            unit="fact",
            n={"relations": n_relations, "facts": int(kept.sum())},
            estimate=float(difference[kept].mean()) if kept.any() else float("nan"),
            interval=skewed_interval(difference, self.clusters, confidence=self.plan.confidence),
            effect=rank_biserial(difference, self.clusters, confidence=self.plan.confidence),
            method=f"{words}, two-sided",
            p=None if np.isnan(p) else p,
            role="exploratory",
            direction="two-sided",
            claims=Claims(
                more=f"{symbol} is higher in {second} than in {first}",
                equal=f"{symbol} is about the same in {first} and {second}",
                less=f"{symbol} is lower in {second} than in {first}",
            ),
            alpha=self.plan.alpha,
            target="" if np.isnan(p) else THESE_RELATIONS if few else NEW_RELATIONS,
            margin=self.plan.model_margin,
            p_equivalence=None if np.isnan(equal) else equal,
            least_p=least,
            least_by=by,
            checks=(few_models(len(self.studies)), *few),
            seed=self.plan.seed,
        )
        return judged(result)


def rank_correlation(a: Floats, b: Floats) -> float:
    """Return Spearman's rank correlation over facts that have both values.

    Parameters
    ----------
    a, b : float64 ndarray, shape (fact,)
        Two values of each fact; NaN is left out.

    Returns
    -------
    float
        NaN with fewer than three such facts, or where either value is constant.

    Examples
    --------
    >>> round(rank_correlation(np.array([1.0, 2, 3, np.nan]), np.array([1.0, 9, 10, 0])), 12)
    1.0
    """
    both = ~np.isnan(a) & ~np.isnan(b)
    if both.sum() < 3 or np.ptp(a[both]) == 0 or np.ptp(b[both]) == 0:
        return float("nan")
    return float(stats.spearmanr(a[both], b[both]).statistic)
