"""Question 3 continued: inconsistent facts by relation, and by several attribution methods at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from qloc.analysis.across import across_methods, method_pairs
from qloc.analysis.asked import Asked, mean, percent
from qloc.analysis.consistency import consistency
from qloc.analysis.ratio import STATIC, ratio
from qloc.analysis.results import Table
from qloc.analysis.subsets import subset_scores


def by_relation(asked: Asked) -> Table:
    """Table ``ki_by_relation``: as published and K_I(k₀), by CS2, with κ beside them."""
    plan, (names, code) = asked.plan, asked.relations
    fact = asked.used.queries["fact"].astype(np.int64)
    at = plan.consistency_threshold
    share = subset_scores(asked.used.member, fact, asked.sets.n_facts, [plan.k0], at).below_cs2[:, 0]
    score, kappa = asked.scores["CS2"].values, asked.scores["kappa"].values
    cuts = sorted({*STATIC, at})
    rows: list[dict[str, Any]] = []
    for r, name in enumerate(names):
        here = code == r
        ends = asked.intervals(np.where(here, share, np.nan)[:, None], asked.clusters[1:])
        row: dict[str, Any] = {"relation": str(name), "facts": int(np.sum(~np.isnan(score[here])))}
        row |= {f"below_{t:g}": ratio(score[here], t) for t in cuts}
        row |= {"otsu": ratio(score[here], None), "subsets": mean(share[here])}
        row |= {"subsets_low": max(ends[0][0], 0.0), "subsets_high": min(ends[1][0], 1.0)}
        rows.append({**row, "facts_subsets": int(np.sum(~np.isnan(share[here]))), "kappa": mean(kappa[here])})
    labels = {f"below_{t:g}": f"CS2 < {t:g}, as published" for t in cuts}
    labels |= {
        "facts": "facts with two queries",
        "otsu": "by Otsu, as published",
        "subsets": f"K_I({plan.k0}), CS2 < {at:g}",
        "facts_subsets": f"facts with {plan.k0} queries",
    }
    return Table.from_frame(
        pd.DataFrame(rows),
        name="ki_by_relation",
        title="Share of inconsistent facts, by relation",
        labels=labels,
        note="Otsu's threshold is the relation's own. Intervals of K_I(k₀) are cluster-robust by answer.",
    )


def across_tables(asked: Asked) -> list[Table]:
    """Tables ``ki_across_methods`` and ``ki_method_pairs``; none with one method."""
    if len(asked.study.methods) < 2:
        return []
    scores = _scores(asked)
    at = asked.plan.consistency_threshold
    confidence = asked.plan.confidence
    names = ", ".join(scores)
    k = np.bincount(asked.known.queries["fact"], minlength=asked.sets.n_facts)
    return [
        Table.from_frame(
            across_methods(scores, at, k, asked.clusters, confidence=confidence),
            name="ki_across_methods",
            title=f"Facts inconsistent (CS2 < {at:g}) under all methods and under any",
            labels={
                "called": "inconsistent",
                "ki": "share of facts",
                "expected": "expected of independent methods",
                "excess": "more than expected",
            },
            note=f"{names}; independent within relation × number of known queries. Interval: of the excess.",
        ),
        Table.from_frame(
            method_pairs(scores, at, asked.clusters, confidence=confidence),
            name="ki_method_pairs",
            title="Odds ratio of a fact being inconsistent by one method where it is by another",
            labels={"odds_ratio": "odds ratio"},
            note="Over all relations; half a fact is added to each cell.",
        ),
    ]


def _scores(asked: Asked) -> dict[str, Any]:
    t = asked.plan.threshold
    return {
        method: (asked.scores if method == asked.plan.method else consistency(asked.neurons(method, t)))[
            "CS2"
        ].values
        for method in asked.study.methods
    }


def said_across(asked: Asked, tables: list[Table]) -> str:
    """A sentence on the tables of :func:`across_tables`; empty with one method."""
    if not tables:
        return ""
    both = tables[0].to_frame().set_index("called")
    under, expected = both.ki["under all methods"], both.expected["under all methods"]
    if not both.facts.iloc[0]:
        return " No fact has a score by every method."
    n, at = len(asked.study.methods), asked.plan.consistency_threshold
    every = "Both" if n == 2 else f"All {n}"
    return (
        f" {every} attribution methods call {percent(under)} of the facts inconsistent (CS2 < {at:g}); "
        f"{percent(expected)} were to be expected of independent ones."
    )
