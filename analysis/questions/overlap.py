"""The question "What do a fact's paraphrases share?": the template's, the answer's, the fact's (H1a, H1b)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from qloc.analysis.inference.means import mean
from qloc.analysis.inference.share_intervals import ratio_share_interval
from qloc.analysis.localization.overlap.bayes_components import PRIORS, posteriors
from qloc.analysis.localization.overlap.excess import Excess, excesses
from qloc.analysis.localization.overlap.overlap_tests import result_of
from qloc.analysis.localization.overlap.variance_components import (
    SOURCES,
    Queries,
    components,
    queries_by_relation,
)
from qloc.analysis.questions.context import ALL_RELATIONS, AnalysisContext
from qloc.analysis.results import Question, Table
from qloc.analysis.wording import number
from qloc.arrays import Floats, Ints
from qloc.neurons import NeuronSets
from qloc.random_streams import Stream
from qloc.references import cited

PARTS = ("template", "answer", "fact")
"""Whose each part of a within-fact overlap is."""

LEAST_FACTS: Final = 10
"""Facts that a share needs."""


def overlap_question(context: AnalysisContext) -> Question:
    """Test H1a and H1b, and split within-fact overlap into template, answer and fact.

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
    by_level = excesses(context.used, n_permutations=plan.n_permutations, seed=plan.seed)
    tests = tuple(
        result_of(
            context.used,
            by_level[level],
            context.draws,
            context.study.fingerprint,
            margin=plan.overlap_margin,
        )
        for level in ("template", "answer")
    )
    parts = _parts(by_level["answer"])
    beyond = by_level["template"].excess
    return Question(
        id="overlap",
        title="What do a fact's paraphrases share?",
        answer=_answer(parts, beyond, context.used),
        tests=tests,
        tables=(
            _decomposition(context, parts),
            _by_relation(context, parts, beyond),
            *_component_tables(context),
        ),
        method=(
            "Mean Dice overlap of a fact's queries, pair of templates by pair of templates, against the "
            "same two templates asked of facts of the relation with other answers (template), and of other "
            "facts with the same answer (answer); what is left is the fact's. H1a compares with all other "
            "facts asked with the same templates, H1b with those of the same answer, both net of what the "
            "sizes of sets and the popularity of their neurons predict. Facts without another fact of the "
            "same answer are not identified for H1b."
        ),
        references=cited("phipson2010", "cameron2011"),
    )


def _parts(by_answer: Excess) -> Floats:
    """Return the overlap of facts with other answers, what the same answer adds, what the fact adds."""
    columns = [by_answer.other, by_answer.between - by_answer.other, by_answer.within - by_answer.between]
    return np.where(np.isnan(by_answer.other)[:, None], np.nan, np.stack(columns, axis=1))


def _decomposition(context: AnalysisContext, parts: Floats) -> Table:
    """Return table ``overlap_decomposition``: ``relation, part, overlap, low, high, facts``."""
    names, code = context.relations
    rows = _stack(context, ALL_RELATIONS, parts, context.clusters)
    for r, name in enumerate(names):
        here = np.where((code == r)[:, None], parts, np.nan)
        if not np.isnan(here).all():
            rows += _stack(context, str(name), here, context.clusters[1:])
    return Table.from_frame(
        pd.DataFrame(rows, columns=["relation", "part", "overlap", "low", "high", "facts"]),
        name="overlap_decomposition",
        title="Within-fact overlap, split into template, answer and fact",
        labels={"overlap": "mean Dice overlap"},
        note=(
            "Facts that share their answer with another fact of the relation. Template: what facts with "
            "other answers share under the same two templates; answer: what facts with the same answer share "
            "beyond it; fact: the rest."
        ),
    )


def _stack(
    context: AnalysisContext, name: str, parts: Floats, clusters: tuple[Ints, ...]
) -> list[dict[str, Any]]:
    low, high = context.intervals(parts, clusters, ("share", "none", "none"))
    n = int(np.sum(~np.isnan(parts[:, 0])))
    return [
        {"relation": name, "part": part, "overlap": mean(column), "low": a, "high": b, "facts": n}
        for part, column, a, b in zip(PARTS, parts.T, low, high, strict=True)
    ]


def _by_relation(context: AnalysisContext, parts: Floats, beyond: Floats) -> Table:
    """Return table ``overlap_by_relation``: the overlap beyond the template, and the answer's share of it."""
    (names, code), level = context.relations, context.plan.confidence
    rows = [_row(ALL_RELATIONS, parts, beyond, context.intervals(beyond[:, None]), context.clusters, level)]
    for r, name in enumerate(names):
        here = np.where(code == r, beyond, np.nan)
        if not np.isnan(here).all():
            ends = context.intervals(here[:, None], context.clusters[1:])
            answers = (context.clusters[1][code == r],)
            rows.append(_row(str(name), parts[code == r], here, ends, answers, level))
    return Table.from_frame(
        pd.DataFrame(rows),
        name="overlap_by_relation",
        title="Within-fact overlap beyond the template, by relation",
        labels={
            "beyond_template": "overlap beyond the template",
            "answer_share": "the answer's share of what goes beyond other answers",
            "answer_share_low": "from",
            "answer_share_high": "to",
            "facts_identified": "facts whose answer another fact has",
        },
        note="Without facts that share an answer (one-to-one relations), answer and fact are not told apart. "
        "Overlaps as they are: H1a's estimate is net of what sizes of sets and popularity predict.",
    )


def _component_tables(context: AnalysisContext) -> tuple[Table, ...]:
    """Return table ``overlap_components``, and ``overlap_components_bayes`` where the plan asks for it."""
    queries = list(queries_by_relation(context.used, context.plan.seed).values())
    by_reml = _components(context, queries)
    return (by_reml, _components_by_bayes(context, queries)) if context.plan.bayes else (by_reml,)


def _components(context: AnalysisContext, queries: list[Queries]) -> Table:
    """Return table ``overlap_components``: ``part, share, low, high, facts, relations``."""
    found = components(queries, confidence=context.plan.confidence) if queries else None
    rows: list[dict[str, Any]] = []
    note = (
        "Variance components of the memberships of neurons, each set of the same weight, around the "
        "relation's mean: all queries of a template, of an answer, of a fact have a component in common, and "
        "the rest is the query's own. Relations in which no two facts share an answer are left out. "
    )
    if found:
        for source, share, ends in zip(SOURCES, found.shares, found.intervals, strict=True):
            told = (ends.low, ends.high) if ends else (np.nan, np.nan)
            low, high = np.clip(told, 0.0, 1.0)
            row = {"part": source, "share": np.clip(share, 0.0, 1.0), "low": low, "high": high}
            rows.append({**row, "facts": found.n_facts, "relations": found.n_relations})
            if ends and ends.high < 0:
                note += f"The interval of {source} lies below 0: the model does not fit. "
        note += "Estimates and ends below 0 are given as 0; intervals are for new relations."
    elif queries:
        note += "Here the sources cannot be told apart."
    else:
        note += "Here there is no other relation."
    return Table.from_frame(
        pd.DataFrame(rows, columns=["part", "share", "low", "high", "facts", "relations"]),
        name="overlap_components",
        title="What the sets of a relation's queries vary by (REML)",
        labels={"part": "varies by", "share": "share of the variance"},
        note=note,
    )


def _components_by_bayes(context: AnalysisContext, queries: list[Queries]) -> Table:
    """Return table ``overlap_components_bayes``: ``part, prior, share, low, high, r_hat, draws``."""
    seed = int(Stream.BAYES_COMPONENTS.generator(context.plan.seed).integers(2**31))
    found = posteriors(queries, confidence=context.plan.confidence, seed=seed) if queries else None
    rows = [
        {
            "part": part,
            "prior": f"{prior.name} ({prior.mean:g}, {prior.between:g})",
            "share": one.shares[k],
            "low": one.low[k],
            "high": one.high[k],
            "r_hat": one.r_hat,
            "draws": one.n_effective,
        }
        for k, part in enumerate(SOURCES)
        for prior, one in zip(PRIORS, found or (), strict=bool(found))
    ]
    return Table.from_frame(
        pd.DataFrame(rows, columns=["part", "prior", "share", "low", "high", "r_hat", "draws"]),
        name="overlap_components_bayes",
        title="What the sets of a relation's queries vary by (Bayes)",
        labels={
            "part": "varies by",
            "prior": "prior: standard deviation of the mean log-ratio, and by which relations differ",
            "share": "share of the variance",
            "r_hat": "R̂",
            "draws": "effective draws",
        },
        note="Posterior medians and central intervals of the mean share of new relations, each positive. "
        "Where priors disagree, the data do not decide. Rows with an R̂ above 1.05 are not to be trusted: "
        "their chains disagree."
        + ("" if found else " Here there is no relation in which the sources can be told apart."),
    )


def _row(
    name: str,
    parts: Floats,
    beyond: Floats,
    ends: tuple[Floats, Floats],
    share_clusters: tuple[Ints, ...],
    confidence: float,
) -> dict[str, Any]:
    share, low, high = answer_share(parts, share_clusters, confidence)
    return {
        "relation": name,
        "beyond_template": mean(beyond),
        "beyond_template_low": ends[0][0],
        "beyond_template_high": ends[1][0],
        "answer_share": share,
        "answer_share_low": low,
        "answer_share_high": high,
        "facts": int(np.sum(~np.isnan(beyond))),
        "facts_identified": int(np.sum(~np.isnan(parts[:, 0]))),
    }


def answer_share(parts: Floats, clusters: tuple[Ints, ...], confidence: float) -> tuple[float, float, float]:
    """Return the answer's share of what goes beyond other answers, and its interval.

    Σ answer/Σ (answer + fact), linearized, cluster-robust
    (:func:`qloc.analysis.inference.share_intervals.ratio_share_interval`).

    Parameters
    ----------
    parts : float64 ndarray, shape (fact, 3)
        Overlaps of facts with other answers, more by the same answer, more by the fact; NaN where a fact is
        not identified.
    clusters : tuple of int64 ndarray, shape (fact,) each
        One or two ways of clustering, the coarser first.
    confidence : float
        Level of the interval, within (0, 1).

    Returns
    -------
    share, low, high : float
        NaN with fewer than ten identified facts, or where nothing goes beyond other answers.
    """
    answer, above = parts[:, 1], parts[:, 1] + parts[:, 2]
    there = ~np.isnan(above)
    if int(there.sum()) < LEAST_FACTS or not (total := float(above[there].mean())) > 0:
        return float("nan"), float("nan"), float("nan")
    share = float(answer[there].mean()) / total
    linear = np.where(there, share + (answer - share * above) / total, np.nan)
    ends = ratio_share_interval(share, linear, clusters, confidence=confidence)
    return share, ends.low if ends else float("nan"), ends.high if ends else float("nan")


def _answer(parts: Floats, beyond: Floats, used: NeuronSets) -> str:
    means = [mean(column) for column in parts.T]
    if np.isnan(means[0]):
        _, n_queries = np.unique(used.queries["fact"], return_counts=True)
        if not (n_queries > 1).any():
            return "No fact has two known queries with knowledge neurons: there is nothing to compare."
        if np.isnan(mean(beyond)):
            return "No two facts were asked with the same two templates: there is nothing to compare with."
        return "No facts share an answer, so what is the answer's and what the fact's is not identified."
    n, n_all = int(np.sum(~np.isnan(parts[:, 0]))), int(np.sum(~np.isnan(beyond)))
    return (
        f"Over the {n:,} of {n_all:,} facts whose answer another fact has, the mean overlap is "
        f"{number(means[0])} between facts with other answers asked with the same two templates, "
        f"{number(means[0] + means[1])} where they have the same answer, and {number(sum(means))} within "
        "a fact."
    )
