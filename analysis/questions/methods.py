"""The question "Do attribution methods agree more than paraphrases do?" (H9)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from qloc.analysis.inference.means import mean
from qloc.analysis.localization.method_agreement import (
    Agreement,
    agreement,
    agreement_of,
    agreement_test,
)
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table, TestResult
from qloc.analysis.wording import percent
from qloc.arrays import Floats

SAME, OTHERS = "two methods, one query", "one method, two paraphrases"
"""The two kinds of overlap that are compared."""


def methods_question(context: AnalysisContext) -> Question:
    """Report agreement between methods beside that across paraphrases.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    Question
        Its test is "not identified" with one method.
    """
    sets = [context.neurons(method, context.plan.threshold) for method in context.study.methods]
    margin, store = context.plan.agreement_margin, context.study.fingerprint
    if len(sets) < 2:
        test = agreement_test(sets, margin=margin, draws=context.draws, store=store)
        frame = pd.DataFrame(columns=["kind", "what", "overlap", "low", "high", "facts"])
    else:
        overlaps = agreement(sets)
        test = agreement_of(overlaps, margin, context.draws, store)
        frame = _frame(context, overlaps)
    return Question(
        id="methods",
        title="Do attribution methods agree more than paraphrases do?",
        answer=_answer(test, frame),
        tests=(test,),
        tables=(
            Table.from_frame(
                frame,
                name="method_agreement",
                title="Overlap of neuron sets between methods, and across paraphrases",
                labels={"kind": "between", "overlap": "mean overlap (Dice)"},
                note="Queries whose set is empty by none of the methods. Intervals: by relation and answer.",
            ),
        ),
        method=(
            "Of every fact, the mean Dice overlap of the sets that two methods name for one query, against "
            "that of the sets that one method names for two of its queries (templates differing): paired "
            "by fact, signs of whole relations flipped."
        ),
    )


def _frame(context: AnalysisContext, overlaps: Agreement) -> pd.DataFrame:
    rows = [_row(context, SAME, " and ".join(pair), x) for pair, x in overlaps.between.items()]
    rows += [_row(context, OTHERS, method, x) for method, x in overlaps.across.items()]
    return pd.DataFrame(rows)


def _row(context: AnalysisContext, kind: str, what: str, x: Floats) -> dict[str, Any]:
    low, high = context.intervals(x[:, None], bounds=("share",))
    n = int(np.sum(~np.isnan(x)))
    return {"kind": kind, "what": what, "overlap": mean(x), "low": low[0], "high": high[0], "facts": n}


def _answer(test: TestResult, frame: pd.DataFrame) -> str:
    if np.isnan(test.estimate):
        return "The store has one attribution method, or no fact with two queries by all."
    same, others = (mean(frame[frame.kind == kind].overlap.to_numpy()) for kind in (SAME, OTHERS))
    return (
        f"Two methods share {percent(same)} of the neurons that they name for one query; one method shares "
        f"{percent(others)} of those that it names for two paraphrases (mean Dice overlap)."
    )
