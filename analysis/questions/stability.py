"""The question "Is consistency a property of a fact, and are there two kinds of facts?" (H3, H4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from qloc.analysis.inference.draws import Draws
from qloc.analysis.localization.consistency import answer_codes, relation_codes
from qloc.analysis.localization.kinds_of_facts import (
    GRID,
    deconvolved,
    kinds_test,
    recurrence_counts,
    sampled,
)
from qloc.analysis.localization.reliability import (
    Halves,
    correlation_interval,
    halves_of,
    reliability,
    reliability_interval,
    reliability_of,
    spearman_brown,
)
from qloc.analysis.questions.context import ALL_RELATIONS, AnalysisContext
from qloc.analysis.results import Question, Table, TestResult
from qloc.analysis.wording import number
from qloc.neurons import NeuronSets
from qloc.references import cited

_NEGLIGIBLE = 0.001
MOST_SAMPLES = 99
"""Samples of the parametric bootstrap, whose p only stands in ``checks``."""


def stability_question(context: AnalysisContext) -> Question:
    """Report the split-half reliability of κ, and the distribution of consistency over facts.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    Question
        With its sentence, tests and tables.
    """
    plan = context.plan
    halves = halves_of(context.used, n_splits=plan.n_splits, seed=plan.seed)
    stable = reliability_of(
        context.used, halves, context.draws, context.study.fingerprint, margin=plan.reliability_margin
    )
    few = Draws(n_bootstrap=min(plan.n_bootstrap, MOST_SAMPLES), seed=plan.seed)
    kinds = kinds_test(context.used, draws=few, store=context.study.fingerprint)
    return Question(
        id="stability",
        title="Is consistency a property of a fact, and are there two kinds of facts?",
        answer=_answer(stable, kinds),
        tests=(stable, kinds),
        tables=(
            Table.from_frame(
                reliability_by_relation(context.used, halves, plan.confidence),
                name="reliability_by_relation",
                title="Split-half reliability of κ, by relation",
                labels={"reliability": "reliability of κ (Spearman–Brown)"},
                note="0: facts differ by chance alone; 1: a fact's κ is the same on any of its queries.",
            ),
            Table.from_frame(
                _distribution(context),
                name="tilt_distribution",
                title="How consistency is spread over facts, free of the noise of few counts",
                labels={
                    "theta": "θ: 0 is usual for the relation and k; above, neurons recur more",
                    "share": "share of facts",
                },
                note="Deconvolved; two peaks would suggest two kinds, but are no proof of them.",
            ),
        ),
        method=(
            "H3: each fact's known queries are split in two at random, κ is computed on each half (each "
            "pair of queries less what its two templates have on average), and halves are correlated over "
            "facts of one relation, answer and number of queries; p by permuting halves there, the mean "
            "over splits. H4: the counts c_n of a fact's neurons are taken for those usual for its "
            "relation and k, tilted by exp(θ(c − 1)); the distribution of θ over facts is deconvolved "
            "(Efron's g-model). It has no verdict: one component against two passes a skewed continuum for "
            "two kinds."
        ),
        references=cited("spearman1910", "brown1910", "efron2016"),
    )


def reliability_by_relation(sets: NeuronSets, halves: Halves, confidence: float) -> pd.DataFrame:
    """Return the split-half reliability of κ in all relations, and in each.

    Parameters
    ----------
    sets : NeuronSets
        Non-empty sets of known queries.
    halves : Halves
        As :func:`qloc.analysis.localization.reliability.halves_of` makes them of these sets.
    confidence : float
        Of the intervals.

    Returns
    -------
    pandas.DataFrame
        ``relation, reliability, low, high, facts``; intervals are cluster-robust by answer.
    """
    names, code = relation_codes(sets)
    relation, answer = code[halves.facts], answer_codes(sets)[halves.facts]
    rows: list[dict[str, Any]] = []
    for r, name in [(-1, ALL_RELATIONS), *enumerate(names)]:
        here = relation == r if r >= 0 else np.ones(len(relation), dtype=bool)
        if here.any():
            part = replace(halves, first=halves.first[:, here], second=halves.second[:, here])
            value, parts = reliability(part)
            ways = (answer[here],) if r >= 0 else (relation, answer)
            ends = reliability_interval(correlation_interval(value, parts, ways, confidence))
            low, high = (ends.low, ends.high) if ends else (np.nan, np.nan)
            row = {"relation": str(name), "reliability": spearman_brown(value), "low": low, "high": high}
            rows.append({**row, "facts": int(here.sum())})
    return pd.DataFrame(rows, columns=["relation", "reliability", "low", "high", "facts"])


def _distribution(context: AnalysisContext) -> pd.DataFrame:
    counts = sampled(recurrence_counts(context.used), context.plan.seed)
    if not len(counts.facts):
        return pd.DataFrame(columns=["theta", "share"])
    share = deconvolved(counts)
    held = np.flatnonzero(share > _NEGLIGIBLE)
    shown = slice(max(held[0] - 1, 0), held[-1] + 2)
    return pd.DataFrame({"theta": GRID[shown], "share": share[shown]})


def _answer(stable: TestResult, kinds: TestResult) -> str:
    if np.isnan(stable.estimate):
        text = "No two facts of one relation and answer have the same number of known queries, four at least."
    else:
        ends = stable.interval
        around = f" ({number(ends.low)} to {number(ends.high)})" if ends else ""
        text = (
            f"The split-half reliability of κ is estimated at {number(stable.estimate)}{around}, over "
            f"{stable.n['facts']:,} facts that share relation, answer and number of queries with another: 0 "
            "is chance, 1 a fixed property of the fact."
        )
    if not np.isnan(kinds.estimate):
        text += (
            f" Freed of noise, consistency is spread over facts with a standard deviation of θ of "
            f"{number(kinds.estimate)}; whether in two kinds or as a continuum is not decided here."
        )
    return text
