"""The question "How many facts are inconsistent?": as published, and as it can be compared (H2)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from qloc.analysis.inference.means import mean
from qloc.analysis.localization.across_methods import across_methods, method_pairs
from qloc.analysis.localization.consistency import consistency, filled
from qloc.analysis.localization.inconsistent_share import STATIC, ki_frame, rarefaction, ratio, share_test
from qloc.analysis.localization.query_subsets import subset_scores
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table
from qloc.analysis.wording import percent
from qloc.arrays import Floats
from qloc.neurons import NeuronSets
from qloc.references import cited


def ratio_question(context: AnalysisContext) -> Question:
    """Report K_I by attribution threshold and rule, beside K_I(k₀) and rarefaction.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    Question
        With its sentence, tests and tables.
    """
    able, skipped = context.thresholds
    sizes: list[dict[str, Any]] = []
    frames = []
    for t in able:
        sets = context.neurons(context.plan.method, t)
        frames.append(_at(context, sets, t))
        sizes.append(_sizes(sets, t))
    frame = pd.concat(frames, ignore_index=True)
    across = across_tables(context)
    return Question(
        id="ratio",
        title="How many facts are inconsistent?",
        answer=_answer(context, frame) + sentence_across(context, across),
        tests=(
            share_test(
                context.sets,
                k0=context.plan.k0,
                cut=context.plan.consistency_threshold,
                draws=context.draws,
                store=context.study.fingerprint,
            ),
        ),
        tables=(
            _table(context, frame, "cs2", skipped),
            _table(context, frame, "cs1", skipped),
            ratio_by_relation(context),
            *across,
            _rarefaction(context),
            Table.from_frame(
                pd.DataFrame(sizes), name="set_sizes", title="Knowledge neurons of a query, known queries"
            ),
        ),
        method=(
            "As published, K_I is the share of facts with CS < threshold, static or by Otsu's method; it "
            "depends on the number k of paraphrases and on the threshold, and Otsu's threshold splits "
            "even one homogeneous population. K_I(k₀) is the mean over facts with k ≥ k₀ of the share of "
            "all k₀-subsets of their queries with CS < threshold, counted exactly: comparable between "
            "facts, relations and models at one static threshold."
        ),
        references=(*cited("chen2025", where="§2"), *cited("otsu1979")),
    )


def _at(context: AnalysisContext, sets: NeuronSets, t: float) -> pd.DataFrame:
    """K_I at one attribution threshold; intervals at the headline's only."""
    frame = ki_frame(
        sets,
        k0=context.plan.k0,
        thresholds=tuple(sorted({*STATIC, context.plan.consistency_threshold})),
        draws=context.draws if t == context.plan.threshold else replace(context.draws, n_bootstrap=0),
    )
    frame.insert(0, "threshold", t)
    return frame


def _table(context: AnalysisContext, frame: pd.DataFrame, score: str, skipped: list[float]) -> Table:
    """Table ``ki_by_threshold`` (CS2, the headline) or ``ki_by_threshold_cs1``."""
    note = (
        "Intervals at the headline's attribution threshold only, for new relations (low, high) and for "
        "other answers of these relations; Otsu's threshold is estimated anew in each resample."
    )
    if skipped:
        below = ", ".join(f"{t:g}" for t in skipped)
        note += f" Below the panels' floor ({context.floor:g}), this store cannot answer for {below}."
    labels = {
        "threshold": "attribution threshold",
        "measure": "counted as inconsistent",
        "ki": "share of facts",
        "low_these": "low (these relations)",
        "high_these": "high (these relations)",
        "score_threshold": "threshold of the score",
    }
    return Table.from_frame(
        frame[frame.score == score].reset_index(drop=True),
        name="ki_by_threshold" if score == "cs2" else "ki_by_threshold_cs1",
        title=f"Share of inconsistent facts by {score.upper()}, by thresholds",
        labels=labels,
        note=note,
    )


def _rarefaction(context: AnalysisContext) -> Table:
    at = context.plan.consistency_threshold
    return Table.from_frame(
        rarefaction(context.sets, threshold=at),
        name="rarefaction",
        title=f"The same facts with fewer paraphrases (threshold of the score {at:g})",
        labels={
            "k0": "queries in a subset, k₀",
            "facts": "facts with k ≥ k₀",
            "ki_cs2": "K_I(k₀) by CS2",
            "ki_cs1": "K_I(k₀) by CS1",
            "mean_cs2": "mean CS2",
            "mean_cs1": "mean CS1",
            "dice": "D of these facts, all their queries",
        },
        note="CS1 and CS2 move with k₀ by construction. D moves only with which facts have enough queries.",
    )


def _sizes(sets: NeuronSets, t: float) -> dict[str, Any]:
    """Row of ``set_sizes``."""
    size = sets.known().sizes()
    low, middle, high = np.quantile(size, [0.05, 0.5, 0.95]) if len(size) else np.full(3, np.nan)
    return {
        "threshold": t,
        "mean": float(size.mean()) if len(size) else np.nan,
        "percentile_5": low,
        "median": middle,
        "percentile_95": high,
        "queries": len(size),
        "empty": int(np.sum(size == 0)),
    }


def _answer(context: AnalysisContext, frame: pd.DataFrame) -> str:
    at = context.plan.consistency_threshold
    here = frame[(frame.threshold == context.plan.threshold) & (frame.score == "cs2")]
    if not int(here.facts.max()):
        return "No fact has two known queries with knowledge neurons: no share is defined."
    static = here[here.score_threshold == at].set_index("rule").ki
    return (
        f"As published, CS2 below {at:g} calls {percent(static['static'])} of the facts inconsistent, Otsu's "
        f"threshold {percent(here.set_index('rule').ki['otsu'])}: it depends on how one counts. With "
        f"{context.plan.k0} paraphrases for every fact, which is comparable between facts, relations and "
        f"models, {percent(static['subsets'])} are below {at:g}."
    )


def ratio_by_relation(context: AnalysisContext) -> Table:
    """Return table ``ki_by_relation``: K_I as published and K_I(k₀), by CS2, with κ beside them.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    Table
        One row for each relation, and for each paradigm of minimal pairs, of its groups.
    """
    plan, (names, code) = context.plan, context.relations
    at, share = plan.consistency_threshold, _below(context)
    cuts = sorted({*STATIC, at})
    rows: list[dict[str, Any]] = []
    for r, name in enumerate(names):
        here = code == r
        scores = context.scores_of(here)
        score, kappa = scores["CS2"].values, scores["kappa"].values
        ends = context.intervals(np.where(here, share, np.nan)[:, None], context.clusters[1:], ("share",))
        row: dict[str, Any] = {"relation": str(name), "facts": int(np.sum(~np.isnan(score[here])))}
        row |= {f"below_{t:g}": ratio(score[here], t) for t in cuts}
        row |= {"otsu": ratio(score[here], None), "subsets": mean(share[here])}
        row |= {"subsets_low": ends[0][0], "subsets_high": ends[1][0]}
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


def _below(context: AnalysisContext) -> Floats:
    """Return the share of each fact's k₀-subsets below the threshold; of a group of pairs, of its pairs."""
    share = np.full(context.sets.n_facts, np.nan)
    for used in (filled(context.pairs.known()), context.used):
        fact = used.queries["fact"].astype(np.int64)
        k0, at = context.plan.k0, context.plan.consistency_threshold
        below = subset_scores(used.member, fact, context.sets.n_facts, [k0], at).below_cs2[:, 0]
        share = np.where(np.isnan(below), share, below)
    return share


def across_tables(context: AnalysisContext) -> list[Table]:
    """Return tables ``ki_across_methods`` and ``ki_method_pairs``.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    list of Table
        Empty with one method.
    """
    if len(context.study.methods) < 2:
        return []
    scores = _scores(context)
    at = context.plan.consistency_threshold
    confidence = context.plan.confidence
    names = ", ".join(scores)
    k = np.bincount(context.known.queries["fact"], minlength=context.sets.n_facts)
    return [
        Table.from_frame(
            across_methods(scores, at, k, context.clusters, confidence=confidence),
            name="ki_across_methods",
            title=f"Facts inconsistent (CS2 < {at:g}) under all methods and under any",
            labels={
                "called": "inconsistent",
                "ki": "share of facts",
                "expected": "expected of independent methods",
                "excess": "more than expected",
            },
            note=f"{names}; independent within relation × number of known queries; facts that have too few "
            "others there are left out. Interval: of the excess.",
        ),
        Table.from_frame(
            method_pairs(scores, at, context.clusters, confidence=confidence),
            name="ki_method_pairs",
            title="Odds ratio of a fact being inconsistent by one method where it is by another",
            labels={"odds_ratio": "odds ratio"},
            note="Over all relations; half a fact is added to each cell.",
        ),
    ]


def _scores(context: AnalysisContext) -> dict[str, Any]:
    t = context.plan.threshold
    return {
        method: (
            context.scores if method == context.plan.method else consistency(context.neurons(method, t))
        )["CS2"].values
        for method in context.study.methods
    }


def sentence_across(context: AnalysisContext, tables: list[Table]) -> str:
    """Return a sentence on the tables of :func:`across_tables`.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.
    tables : list of Table
        Those tables.

    Returns
    -------
    str
        Begins with a space; empty with one method.
    """
    if not tables:
        return ""
    both = tables[0].to_frame().set_index("called")
    under, expected = both.ki["under all methods"], both.expected["under all methods"]
    if not both.facts.iloc[0]:
        return " No fact has a score by every method."
    n, at = len(context.study.methods), context.plan.consistency_threshold
    every = "Both" if n == 2 else f"All {n}"
    return (
        f" {every} attribution methods call {percent(under)} of the facts inconsistent (CS2 < {at:g}); "
        f"{percent(expected)} were to be expected of independent ones."
    )
