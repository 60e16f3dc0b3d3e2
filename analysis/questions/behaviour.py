"""The question "Do facts with consistent neurons get consistent answers?" (H10a, H10b, H10c)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from qloc.analysis.inference.label_codes import codes
from qloc.analysis.inference.means import mean
from qloc.analysis.inference.screen import mean_columns
from qloc.analysis.inference.share_intervals import Bound
from qloc.analysis.localization.behaviour import OUTCOMES, behaviour_test
from qloc.analysis.localization.fact_columns import fact_columns
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table, TestResult
from qloc.references import cited
from qloc.text.rounding import counted

_WORDS = {
    "agreement": "same most likely answer",
    "candidate_agreement": "same candidate answer",
    "log_probability": "log P(answer)",
}
_BOUNDS: Final[dict[str, Bound]] = {
    "agreement": "share",
    "candidate_agreement": "share",
    "log_probability": "negative",
}
"""Ranges of the outcomes."""

N_GROUPS = 5
"""Groups of a relation's facts by κ."""


def behaviour_question(context: AnalysisContext) -> Question:
    """Regress how alike, and how surely, a fact's queries are answered on κ.

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
    frame = fact_columns(context.study, method=plan.method, threshold=plan.threshold, known=False)
    tests = tuple(
        behaviour_test(
            frame, outcome, margin=plan.behaviour_margin, draws=context.draws, store=context.study.fingerprint
        )
        for outcome in OUTCOMES
    )
    return Question(
        id="behaviour",
        title="Do facts with consistent neurons get consistent answers?",
        answer=_answer(tests),
        tests=tests,
        tables=(
            Table.from_frame(
                _slopes(tests),
                name="behaviour_slopes",
                title="What goes with κ, within relations",
                labels={"slope": "standardized slope on κ"},
                note="Standard deviations of the outcome for one of κ; covariates held. All queries.",
            ),
            Table.from_frame(
                by_fifth(frame, plan.confidence),
                name="behaviour_by_kappa",
                title="Answers by fifths of κ within relations",
                labels={
                    "fifth": "fifth of the relation's facts by κ, lowest first",
                    "kappa": "mean κ",
                    **{name: _WORDS[name] for name in OUTCOMES},
                },
                note=_note(frame),
            ),
        ),
        method=(
            "Over all queries of a fact (known ones have the same answer): the share of pairs of queries "
            "with the same most likely token; the probability Σ p_i·p_j that two queries, answering by "
            "their distributions over the relation's candidate answers, say the same; mean log P(answer). "
            "Each is regressed on κ within relations, with mean log P, log set size, tokens of the answer "
            "and log number of facts with the answer as covariates; errors clustered by relation and, "
            "across relations, by answer; the wider of the cluster-robust t and the wild cluster "
            "bootstrap. An association, not an effect: nothing was changed in the model."
        ),
        references=cited("cameron2015", "webb2023"),
    )


def _slopes(tests: tuple[TestResult, ...]) -> pd.DataFrame:
    rows = []
    for outcome, test in zip(OUTCOMES, tests, strict=True):
        effect = test.effect
        ends = effect.interval if effect else None
        row: dict[str, Any] = {"outcome": _WORDS[outcome], "slope": effect.value if effect else np.nan}
        row |= {"slope_low": ends.low if ends else np.nan, "slope_high": ends.high if ends else np.nan}
        rows.append({**row, "p": test.p, **test.n})
    return pd.DataFrame(rows)


def by_fifth(frame: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Return each outcome by fifths of κ within relations.

    The fact of rank r of a relation's n is in fifth ⌊5 (r − ½)/n⌋ + 1, so that the lowest and the highest
    have as many facts, or one more or less. Relations of fewer than five facts with κ are left out.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns of :func:`qloc.analysis.localization.fact_columns.fact_columns`.
    confidence : float
        Of the intervals.

    Returns
    -------
    pandas.DataFrame
        ``fifth``, ``kappa``, ``facts``, and each outcome with ``_low`` and ``_high``, clustered by relation.
    """
    rows: list[dict[str, Any]] = []
    kept = frame[frame["kappa"].notna() & ~_too_small(frame)]
    of_relation = kept.groupby("relation")["kappa"]
    rank, n = of_relation.rank(method="first").astype(int), of_relation.transform("size")
    fifth = 1 + (2 * rank - 1) * N_GROUPS // (2 * n)
    for place in range(1, N_GROUPS + 1):
        here = kept[fifth == place]
        if not len(here):
            continue
        row: dict[str, Any] = {"fifth": place, "kappa": mean(here["kappa"].to_numpy())}
        for name in OUTCOMES:
            values = here[name].to_numpy(dtype=np.float64)
            ways = (codes(here["relation"].to_numpy()),)
            row |= mean_columns(name, values, ways, confidence, _BOUNDS[name])
        rows.append({**row, "facts": len(here)})
    return pd.DataFrame(rows, columns=None if rows else ["fifth", "kappa", *OUTCOMES, "facts"])


def _too_small(frame: pd.DataFrame) -> pd.Series:
    """Return which facts have κ, but fewer of their relation than there are fifths."""
    there = frame["kappa"].notna()
    return there & (there.groupby(frame["relation"]).transform("sum") < N_GROUPS)


def _note(frame: pd.DataFrame) -> str:
    left_out = frame[_too_small(frame)]
    if not len(left_out):
        return "Descriptive: no covariates."
    facts, n = counted(len(left_out), "fact"), counted(left_out["relation"].nunique(), "relation")
    return f"Descriptive: no covariates. Left out: {facts} of {n} of fewer than five facts with κ."


def _answer(tests: tuple[TestResult, ...]) -> str:
    """Say why nothing can be told, where that is so; verdicts make all other sentences."""
    if any(not np.isnan(test.estimate) for test in tests):
        return ""
    return "It takes three relations with facts whose κ and answers differ."
