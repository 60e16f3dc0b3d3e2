"""The question "Do consistent and inconsistent facts differ, as published?", which any data pass."""

from __future__ import annotations

import pandas as pd

from qloc.analysis.localization.welch import CIRCULAR, welch
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table
from qloc.references import cited


def welch_question(context: AnalysisContext) -> Question:
    """Report Welch's t by score and split, as a descriptive result.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    Question
        With its sentence, tests and tables.
    """
    results, frames = [], []
    for score in ("CS2", "CS1"):
        for split in (None, context.plan.consistency_threshold):
            result, frame = welch(context.sets, score=score, split=split, store=context.study.fingerprint)
            frames.append(frame)
            results += [result] if score == "CS2" and split is None else []
    table = pd.concat(frames, ignore_index=True)
    return Question(
        id="welch",
        title="Do consistent and inconsistent facts differ, as published?",
        answer=(
            "It cannot tell: the published comparison splits facts on their consistency score and then "
            "tests that score between the halves. It finds a difference in any data."
        ),
        tests=tuple(results),
        tables=(
            Table.from_frame(
                table,
                name="welch",
                title="Welch's test between consistent and inconsistent facts, as published",
                labels={"n_consistent": "K_C", "n_inconsistent": "K_I", "hedges_g": "Hedges' g"},
                note=CIRCULAR,
            ),
        ),
        method="Facts at or above the split are consistent (K_C), others inconsistent (K_I).",
        references=cited("chen2025", where="§2"),
    )
