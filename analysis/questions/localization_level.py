"""The question "Do the scores of a fact's queries point one way?": R₁², and its null."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from qloc.analysis.inference.means import mean
from qloc.analysis.localization.localization_level import levels_by_fact
from qloc.analysis.questions.context import ALL_RELATIONS, AnalysisContext
from qloc.analysis.results import Question, Table
from qloc.analysis.wording import number
from qloc.arrays import Array, Floats
from qloc.references import cited
from qloc.text.rounding import counted

_LABELS = {
    "facts": "facts with two known queries",
    "level": "R₁², known queries",
    "level_all": "R₁², all queries",
    "null": "R₁², different facts",
    "beyond": "all queries − different facts",
}


def level_question(context: AnalysisContext) -> Question:
    """Report R₁² of facts by relation, beside that of rows from different facts.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan; its store has Gram matrices.

    Returns
    -------
    Question
        With its sentence and table; it gives no verdict.
    """
    levels = levels_of(context)
    frame = pd.DataFrame(
        [
            _row(context, name, levels, here)
            for name, here in _groups(context)
            if (~np.isnan(levels["level"][here])).any()
        ],
        columns=["relation", *_COLUMNS],
    )
    headline = {name: values[context.of_headline] for name, values in levels.items()}
    return Question(
        id="level",
        title="Do the scores of a fact's queries point one way?",
        answer=_answer(headline),
        tables=(
            Table.from_frame(
                frame,
                name="localization_level",
                title="Localization level R₁², by relation",
                labels=_LABELS,
                note=(
                    "Intervals are cluster-robust by relation and answer. The null has one row a template, "
                    "from different facts of the relation with other answers; facts that have no null are "
                    "left out of the last two columns. All relations: of facts, without minimal pairs."
                ),
            ),
        ),
        method=(
            "R₁² = (σ₁² − 1)/(n − 1), σ₁ the largest singular value of a fact's n score vectors over all "
            "neurons, scaled to unit length; vectors of zeros are left out. It needs no threshold. 0 is "
            "orthogonal, 1 the same direction. Scores that are mostly of one sign are no orthogonal "
            "vectors, whatever the fact: R₁² is to be read beside that of different facts, asked with the "
            "same templates. Descriptive: no test."
        ),
        references=cited("niu2024"),
    )


_COLUMNS = (
    "facts", "level", "level_low", "level_high", "level_all", "null", "beyond", "beyond_low", "beyond_high",
)  # fmt: skip


def levels_of(context: AnalysisContext) -> dict[str, Floats]:
    """Return R₁² of each fact over its known queries, over all, and of its null.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    dict of str to float64 ndarray, shape (fact,)
        ``level`` (known queries), ``level_all``, ``null`` (as many rows as ``level_all`` has) and ``beyond``
        (``level_all`` − ``null``); NaN for facts whose answer is in their subject.
    """
    return levels_by_fact(context.study, context.sets, context.plan.method)


def _groups(context: AnalysisContext) -> list[tuple[str, Array]]:
    names, relation = context.relations
    every = [(ALL_RELATIONS, context.of_headline)] if len(names) > 1 else []
    return every + [(str(name), relation == n) for n, name in enumerate(names)]


def _row(context: AnalysisContext, name: str, levels: dict[str, Floats], here: Array) -> dict[str, Any]:
    values = np.stack([np.where(here, levels[column], np.nan) for column in ("level", "beyond")], axis=1)
    low, high = context.intervals(values)
    return {
        "relation": name,
        "facts": int(np.sum(~np.isnan(levels["level"][here]))),
        **{column: mean(part[here]) for column, part in levels.items()},
        **{f"{column}_low": low[n] for n, column in enumerate(("level", "beyond"))},
        **{f"{column}_high": high[n] for n, column in enumerate(("level", "beyond"))},
    }


def _answer(levels: dict[str, Floats]) -> str:
    told = int(np.sum(~np.isnan(levels["level"])))
    if not told:
        return "No fact has two known queries with scores, so there is no localization level."
    level = f"R₁² is {number(mean(levels['level']))} on average, over {counted(told, 'fact')}"
    able = ~np.isnan(levels["beyond"])
    if not able.any():
        return f"{level}. No fact has enough others to compare with: 0 is orthogonal, 1 the same direction."
    null = mean(levels["null"][able])
    own = null + mean(levels["beyond"][able])
    return (
        f"{level}; over all queries of the {counted(int(able.sum()), 'fact')} that others can be compared "
        f"with {number(own)}, where as many queries of different facts have {number(null)}. 0 is orthogonal, "
        "1 the same direction."
    )
