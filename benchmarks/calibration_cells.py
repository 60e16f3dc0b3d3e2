"""What is simulated for calibration.py: each cell plants something and asks one test about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import statsmodels.api as sm
from scipy import stats

from qloc.analysis.inference.cluster_intervals import cluster_interval
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.equivalence import mean_tost_p
from qloc.analysis.inference.means import mean_by
from qloc.analysis.inference.paired import paired_p
from qloc.analysis.inference.skewed_interval import skewed_interval
from qloc.analysis.localization.across_methods import across_methods
from qloc.analysis.localization.behaviour import behaviour_test
from qloc.analysis.localization.consistency import (
    answer_codes,
    considered,
    consistency,
    filled,
    relation_codes,
)
from qloc.analysis.localization.fact_columns import columns_from_sets, same_answer, same_candidate
from qloc.analysis.localization.inconsistent_share import ratio, ratio_interval, share_test
from qloc.analysis.localization.kinds_of_facts import components_p, recurrence_counts
from qloc.analysis.localization.method_agreement import agreement, agreement_of
from qloc.analysis.localization.otsu import otsu
from qloc.analysis.localization.overlap.bayes_components import PRIORS, posteriors
from qloc.analysis.localization.overlap.overlap_tests import overlap_tests
from qloc.analysis.localization.overlap.variance_components import (
    SOURCES,
    components,
    queries_by_relation,
)
from qloc.analysis.localization.reliability import reliability_test
from qloc.analysis.results import Interval, TestResult
from qloc.neurons import NeuronSets
from qloc.random_streams import Stream
from qloc.simulation.planted import plant

Outcome = tuple[float, float, float, float]
N_PERMUTATIONS = 99
NAN = float("nan")


@dataclass(frozen=True)
class Cell:
    """One set of simulations: what is asked, what is planted, what should come out (null or planted).

    Cells of one ``group`` that follow each other are asked of each simulated study in turn, so that what they
    share can be made once.
    """

    ask: Callable[[dict[str, Any], int], Outcome]
    truth: str
    planting: dict[str, Any] = field(default_factory=dict)
    group: str = ""

    def simulate(self, seed: int) -> Outcome:
        """Estimate, p and 95% interval of the simulation of this seed."""
        return self.ask({**self.planting, "seed": seed}, seed)


def _draws(seed: int) -> Draws:
    return Draws(n_permutations=N_PERMUTATIONS, n_bootstrap=N_PERMUTATIONS, seed=seed)


def _ends(interval: Interval | None) -> tuple[float, float]:
    return (interval.low, interval.high) if interval else (NAN, NAN)


def _of(result: TestResult) -> Outcome:
    return (result.estimate, NAN if result.p is None else result.p, *_ends(result.interval))


SIZE = {"facts": 160, "relations": 8, "templates": 4, "n_neurons": 128, "one_to_one": 1}
DEEP = {"facts": 240, "relations": 8, "templates": 6, "n_neurons": 64, "answers_per_relation": 3,
        "one_to_one": 0, "known": 0.95, "missing": 0.03}  # fmt: skip
WIDE = {"facts": 160, "relations": 8, "templates": 8, "n_neurons": 64, "one_to_one": 1}
SMALL = {"facts": 160, "relations": 8, "templates": 4, "n_neurons": 64,
         "one_to_one": 1}  # fmt: skip


# H1: overlap beyond template and answer -----------------------------------------------------------


def overlap(level: Any, planting: dict[str, Any], seed: int) -> Outcome:
    """H1a (template) and H1b (answer)."""
    return _of(overlap_tests(plant(**{**SIZE, **planting}).sets(), (level,), draws=_draws(seed))[0])


def component(source: str, planting: dict[str, Any], seed: int) -> Outcome:
    """A source's share of the variance of sets, by REML."""
    sets = filled(considered(plant(**{**SIZE, **planting}).sets()))
    found = components(list(queries_by_relation(sets, seed).values()))
    if found is None:
        return (NAN,) * 4
    place = SOURCES.index(source)
    return float(found.shares[place]), NAN, *_ends(found.intervals[place])


def bayes(source: str, planting: dict[str, Any], seed: int) -> Outcome:
    """A source's share of the variance of sets, by Bayes under the usual prior."""
    sets = filled(considered(plant(**{**SIZE, **planting}).sets()))
    found = posteriors(list(queries_by_relation(sets, seed).values()), seed=seed, priors=PRIORS[:1])
    if found is None:
        return (NAN,) * 4
    place = SOURCES.index(source)
    one = found[0]
    return float(one.shares[place]), NAN, float(one.low[place]), float(one.high[place])


# H2: shares of inconsistent facts -----------------------------------------------------------------


def share(cut: float, planting: dict[str, Any], seed: int) -> Outcome:
    """K_I(3) with its interval for new relations."""
    return _of(share_test(plant(**{**SIZE, **planting}).sets(), cut=cut, draws=_draws(seed)))


def by_otsu(planting: dict[str, Any], seed: int, fixed: bool = False) -> Outcome:
    """K_I at Otsu's threshold, estimated anew in every resample, or (practice) held fixed."""
    sets = plant(**{**SIZE, **planting}).sets()
    values = consistency(sets)["CS2"].values
    clusters = (relation_codes(sets)[1], answer_codes(sets))
    split = float(otsu(values)) if fixed else None
    interval = ratio_interval(values, split, clusters, draws=Draws(n_bootstrap=199, seed=seed))
    return (ratio(values, None), NAN, *_ends(interval))


def under_all(planting: dict[str, Any], seed: int) -> Outcome:
    """More facts inconsistent under both methods than independent ones would give; two "methods" as below."""
    first, second = two_methods(plant(**{**WIDE, **planting}).sets())
    scores = {one.method: consistency(one)["CS2"].values for one in (first, second)}
    k = np.bincount(considered(first).queries["fact"], minlength=first.n_facts)
    row = across_methods(scores, 0.2, k, (relation_codes(first)[1], answer_codes(first))).iloc[0]
    return float(row.excess), NAN, float(row.low), float(row.high)


# H3, H4: reliability and kinds --------------------------------------------------------------------


def stable(planting: dict[str, Any], seed: int) -> Outcome:
    """H3."""
    sets = filled(considered(plant(**{**DEEP, **planting}).sets()))
    return _of(reliability_test(sets, n_splits=10, draws=_draws(seed)))


def split_and_test(planting: dict[str, Any], seed: int) -> Outcome:
    """Practice: facts split by Otsu on CS2, and CS2 compared by Welch's t."""
    values = consistency(plant(**{**DEEP, **planting}).sets())["CS2"].values
    values = values[~np.isnan(values)]
    high = values >= float(otsu(values))
    p = stats.ttest_ind(values[high], values[~high], equal_var=False).pvalue
    return float(values[high].mean() - values[~high].mean()), float(p), NAN, NAN


def kinds(planting: dict[str, Any], seed: int) -> Outcome:
    """H4's likelihood ratio, which gives no verdict."""
    counts = recurrence_counts(filled(considered(plant(**{**DEEP, **planting}).sets())))
    ratio_, p = components_p(counts, Draws(n_bootstrap=39, seed=seed))
    return ratio_, p, NAN, NAN


# H9: methods against paraphrases ------------------------------------------------------------------


def two_methods(sets: NeuronSets, alike: float = 0.0, seed: int = 0) -> tuple[NeuronSets, NeuronSets]:
    """Queries of even templates as one method's sets, of odd ones as another's: they agree as paraphrases do.

    ``alike`` : share of queries for which the second method names the first one's sets.
    """
    number = np.char.rpartition(sets.queries["template"], "-")[:, 2].astype(int) - 1
    key = sets.queries["fact"].astype(np.int64) * 1000 + number // 2
    even, odd = (np.flatnonzero(number % 2 == side) for side in (0, 1))
    known = sets.queries["known"]
    both = np.intersect1d(key[even[known[even]]], key[odd[known[odd]]])
    first, second = (part[np.searchsorted(key[part], both)] for part in (even, odd))
    rng = np.random.default_rng([seed, 5])
    second = np.where(rng.random(len(both)) < alike, first, second)
    queries = {name: column[first] for name, column in sets.queries.items()}
    return (
        replace(sets, member=sets.member[first], queries=queries, method="first"),
        replace(sets, member=sets.member[second], queries=queries, method="second"),
    )


def methods(alike: float, planting: dict[str, Any], seed: int) -> Outcome:
    """H9."""
    found = agreement(two_methods(plant(**{**WIDE, **planting}).sets(), alike, seed))
    return _of(agreement_of(found, 0.05, _draws(seed)))


def methods_by_relation(robust: bool, planting: dict[str, Any], seed: int) -> Outcome:
    """H9 where the difference varies over relations about 0; or (practice) a paired t-test over facts."""
    found = agreement(two_methods(plant(**{**WIDE, **planting}).sets()))
    relation, answer = relation_codes(found.sets)[1], answer_codes(found.sets)
    x = found.difference + 0.05 * np.random.default_rng([seed, 6]).standard_normal(8)[relation]
    interval = cluster_interval(x, (np.arange(len(x)),))
    p = float(stats.ttest_1samp(x[~np.isnan(x)], 0).pvalue)
    if robust:
        keep, rng = ~np.isnan(x), Stream.METHOD_AGREEMENT.generator(seed)
        p, _ = paired_p(x[keep], (relation[keep], answer[keep]), n_permutations=N_PERMUTATIONS, rng=rng)
        interval = skewed_interval(x, (relation, answer))
    return (float(np.nanmean(x)), p, *_ends(interval))


def equivalence(margin: float, alike: float, planting: dict[str, Any], seed: int) -> Outcome:
    """Two one-sided tests of H9's difference; at the margin itself they must keep 5%."""
    found = agreement(two_methods(plant(**{**WIDE, **planting}).sets(), alike, seed))
    clusters = (relation_codes(found.sets)[1], answer_codes(found.sets))
    return float(np.nanmean(found.difference)), mean_tost_p(found.difference, clusters, margin), NAN, NAN


# H10: consistency and behaviour -------------------------------------------------------------------


def answered(sets: NeuronSets, seed: int) -> dict[str, Any]:
    """Answers that have nothing to do with the sets: where not known, one of five others."""
    rng = np.random.default_rng([seed, 8])
    fact, known, n = sets.queries["fact"].astype(np.int64), sets.queries["known"], sets.n_facts
    said = np.where(known, 0, 1 + rng.integers(5, size=len(fact)))
    spread = rng.standard_normal((len(fact), 6))
    spread[np.arange(len(fact)), said] += 2
    return {
        "agreement": same_answer(fact, said, n),
        "candidate_agreement": same_candidate(fact, spread, n),
        "log_probability": mean_by(sets.queries["log_probability"].astype(np.float64), fact, n),
        "n_tokens": mean_by(1.0 + (fact % 3 == 0), fact, n),
    }


def behaviour(
    outcome: Any, slope: float, differ: float, planting: dict[str, Any], seed: int, robust: bool = True
) -> Outcome:
    """H10, κ having a planted slope that may differ over relations; or (practice) plain least squares."""
    sets = plant(**{**SMALL, **planting}).sets()
    frame = columns_from_sets(sets, answered(sets, seed), known=False)
    names, relation = np.unique(frame["relation"].astype(str), return_inverse=True)
    by_relation = slope + differ * np.random.default_rng([seed, 7]).standard_normal(len(names))
    frame[outcome] = frame[outcome] + by_relation[relation] * frame["kappa"]
    if robust:
        result = behaviour_test(frame, outcome, draws=_draws(seed), second_opinion=False)
        estimate, p, low, high = _of(result)
        return estimate, p, low, high
    kept = frame[["kappa", outcome, "relation"]].dropna()
    inside = kept[["kappa", outcome]] - kept.groupby("relation")[["kappa", outcome]].transform("mean")
    fit = sm.OLS(inside[outcome].to_numpy(), inside[["kappa"]].to_numpy()).fit()
    low, high = fit.conf_int()[0]
    return float(fit.params[0]), float(fit.pvalues[0]), float(low), float(high)


MANY = {"relations": 20, "facts": 240}
BY_RELATION = (60, 41, 28, 19, 13, 9, 6, 4)
"""Facts of eight relations of unequal size."""

UNEQUAL: dict[str, Any] = {"facts": sum(BY_RELATION), "relations": 8, "facts_by_relation": BY_RELATION}
NULL_A = {"answer_strength": 0.0, "fact_strength": 0.0}
NULL_B = {"fact_strength": 0.0}
H1A, H1B = partial(overlap, "template"), partial(overlap, "answer")
CELLS = {
    "H1a null, template neurons": Cell(H1A, "null", NULL_A),
    "H1a null, strong templates": Cell(H1A, "null", {**NULL_A, "template_strength": 0.9}),
    "H1b null, template and answer neurons": Cell(H1B, "null", NULL_B),
    "H1b null, strong answers": Cell(H1B, "null", {**NULL_B, "answer_strength": 0.8}),
    "H1b null, answers shared by relations": Cell(H1B, "null", {**NULL_B, "shared_answers": 0.6}),
    "H1b null, relations differ": Cell(H1B, "null", {**NULL_B, "spread": 0.5}),
    "H1b null, unequal relations": Cell(H1B, "null", {**NULL_B, **UNEQUAL}),
    "H1b null, templates shared by relations": Cell(H1B, "null", {**NULL_B, "shared_templates": True}),
    "H1b null, facts with few templates": Cell(H1B, "null", {**NULL_B, "few_templates": 0.5}),
    "H1a, answer neurons (0.2)": Cell(H1A, "planted", {"answer_strength": 0.2, "fact_strength": 0.0}),
    "H1a, fact neurons (0.1)": Cell(H1A, "planted", {"answer_strength": 0.0, "fact_strength": 0.1}),
    "H1b, fact neurons (0.1)": Cell(H1B, "planted", {"fact_strength": 0.1}),
    "H1b, fact neurons (0.2)": Cell(H1B, "planted", {"fact_strength": 0.2}),
    "H1a, 20 relations that differ": Cell(H1A, "planted", {**MANY, "spread": 0.3}),
    "H1b, 20 relations that differ": Cell(H1B, "planted", {**MANY, "spread": 0.3}),
    "H1a, 8 relations that differ": Cell(H1A, "planted", {"spread": 0.3}),
    "H1b, 8 relations that differ": Cell(H1B, "planted", {"spread": 0.3}),
    "H1b, 8 relations, very unequal": Cell(H1B, "planted", {"spread": 0.6}),
    "components, the template's share": Cell(partial(component, "template"), "planted"),
    "components, the answer's share": Cell(partial(component, "answer"), "planted"),
    "components, the fact's share": Cell(partial(component, "fact"), "planted"),
    "components null, no fact neurons, the fact's share": Cell(partial(component, "fact"), "null", NULL_B),
    "components, the answer's share, 8 relations that differ": Cell(
        partial(component, "answer"), "planted", {"spread": 0.3}
    ),
    "components, the fact's share, 20 relations that differ": Cell(
        partial(component, "fact"), "planted", {**MANY, "spread": 0.3}
    ),
    "Bayes, the answer's share": Cell(partial(bayes, "answer"), "planted"),
    "Bayes, the fact's share": Cell(partial(bayes, "fact"), "planted"),
    "H2, K_I(3) at 0.1": Cell(partial(share, 0.1), "planted"),
    "H2, K_I(3) at 0.1, relations differ": Cell(partial(share, 0.1), "planted", {"spread": 0.3}),
    "H2, K_I(3) at 0.1, 20 relations that differ": Cell(
        partial(share, 0.1), "planted", {**MANY, "spread": 0.3}
    ),
    "H2, K_I(3) at 0.3, 20 relations that differ": Cell(
        partial(share, 0.3), "planted", {**MANY, "spread": 0.3}
    ),
    "H2, K_I by Otsu": Cell(by_otsu, "planted", MANY),
    "H2, K_I by Otsu, relations differ": Cell(by_otsu, "planted", {**MANY, "spread": 0.3}),
    "H2 practice, Otsu's threshold held": Cell(partial(by_otsu, fixed=True), "planted", MANY),
    "H2, excess under all methods": Cell(under_all, "null"),
    "H3 null, template neurons": Cell(stable, "null", NULL_A),
    "H3 null, template and answer neurons": Cell(stable, "null", NULL_B),
    "H3 null, all facts alike": Cell(stable, "null"),
    "H3 null, templates differ": Cell(stable, "null", {"template_spread": 0.8}),
    "H3 null, relations differ": Cell(stable, "null", {"spread": 0.5}),
    "H3 null, unequal relations": Cell(stable, "null", UNEQUAL),
    "H3, facts differ (0.5)": Cell(stable, "planted", {"fact_strength": 0.3, "fact_spread": 0.5}),
    "H3, facts differ (0.7)": Cell(stable, "planted", {"fact_strength": 0.3, "fact_spread": 0.7}),
    "H3, facts differ (1.0)": Cell(stable, "planted", {"fact_strength": 0.3, "fact_spread": 1.0}),
    "H3 practice, Otsu split then Welch": Cell(split_and_test, "null", NULL_A),
    "H4 null, all facts alike": Cell(kinds, "null"),
    "H4 null, continuum (0.5)": Cell(kinds, "null", {"fact_strength": 0.3, "fact_spread": 0.5}),
    "H4 null, continuum (1.0)": Cell(kinds, "null", {"fact_strength": 0.3, "fact_spread": 1.0}),
    "H4, two kinds": Cell(kinds, "planted", {"conflict": 0.4, "answer_strength": 0.8}),
    "H9 null, template neurons": Cell(partial(methods, 0.0), "null", NULL_A),
    "H9 null, template, answer and fact neurons": Cell(partial(methods, 0.0), "null"),
    "H9 null, answers shared by relations": Cell(
        partial(methods, 0.0), "null", {"shared_answers": 0.6, "answer_strength": 0.6}
    ),
    "H9 null, relations differ": Cell(partial(methods_by_relation, True), "null"),
    "H9, methods alike on 5% of queries": Cell(partial(methods, 0.05), "planted"),
    "H9, methods alike on 10% of queries": Cell(partial(methods, 0.1), "planted"),
    "H9 practice, t over facts, relations differ": Cell(partial(methods_by_relation, False), "null"),
    "H9 equivalence, at the margin": Cell(partial(equivalence, 0.0384, 0.05), "planted"),
    "H9 equivalence, no difference, margin 0.05": Cell(partial(equivalence, 0.05, 0.0), "planted"),
    "H10a null": Cell(partial(behaviour, "agreement", 0.0, 0.0), "null"),
    "H10a null, no fact neurons": Cell(partial(behaviour, "agreement", 0.0, 0.0), "null", NULL_B),
    "H10a null, relations differ": Cell(partial(behaviour, "agreement", 0.0, 1.5), "null"),
    "H10b null": Cell(partial(behaviour, "candidate_agreement", 0.0, 0.0), "null"),
    "H10c null": Cell(partial(behaviour, "log_probability", 0.0, 0.0), "null"),
    "H10a null, 45 relations that differ": Cell(
        partial(behaviour, "agreement", 0.0, 1.5), "null", {"relations": 45, "facts": 360}
    ),
    "H10a null, facts with few templates": Cell(
        partial(behaviour, "agreement", 0.0, 0.0), "null", {"few_templates": 0.5}
    ),
    "H10a null, unequal relations that differ": Cell(
        partial(behaviour, "agreement", 0.0, 1.5), "null", UNEQUAL
    ),
    "H10a, slope 0.3": Cell(partial(behaviour, "agreement", 0.3, 0.0), "planted"),
    "H10a, slope 0.6": Cell(partial(behaviour, "agreement", 0.6, 0.0), "planted"),
    "H10a practice, least squares, relations differ": Cell(
        partial(behaviour, "agreement", 0.0, 1.5, robust=False), "null"
    ),
}
