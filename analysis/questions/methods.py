"""Question 6, whether attribution methods agree more than paraphrases do (H9)."""

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
from qloc.arrays import Floats

SAME, OTHERS = "two methods, one query", "one method, two paraphrases"


def methods_question(asked: AnalysisContext) -> Question:
    """Agreement between methods beside that across paraphrases; not identified with one method."""
    sets = [asked.neurons(method, asked.plan.threshold) for method in asked.study.methods]
    margin, store = asked.plan.agreement_margin, asked.study.fingerprint
    if len(sets) < 2:
        test = agreement_test(sets, margin=margin, draws=asked.draws, store=store)
        frame = pd.DataFrame(columns=["kind", "what", "overlap", "low", "high", "facts"])
    else:
        found = agreement(sets)
        test = agreement_of(found, margin, asked.draws, store)
        frame = _frame(asked, found)
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


def _frame(asked: AnalysisContext, found: Agreement) -> pd.DataFrame:
    rows = [_row(asked, SAME, " and ".join(pair), x) for pair, x in found.between.items()]
    rows += [_row(asked, OTHERS, method, x) for method, x in found.across.items()]
    return pd.DataFrame(rows)


def _row(asked: AnalysisContext, kind: str, what: str, x: Floats) -> dict[str, Any]:
    low, high = asked.intervals(x[:, None])
    n = int(np.sum(~np.isnan(x)))
    return {"kind": kind, "what": what, "overlap": mean(x), "low": low[0], "high": high[0], "facts": n}


def _answer(test: TestResult, frame: pd.DataFrame) -> str:
    if np.isnan(test.estimate):
        return "It cannot be told: the store has one attribution method, or no fact with two queries by all."
    same, others = (mean(frame[frame.kind == kind].overlap.to_numpy()) for kind in (SAME, OTHERS))
    return (
        f"Two methods share {100 * same:.0f}% of the neurons that they name for one query; one method shares "
        f"{100 * others:.0f}% of those that it names for two paraphrases (mean Dice overlap)."
    )
