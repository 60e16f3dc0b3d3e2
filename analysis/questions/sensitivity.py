"""The question "Does it hang on how it is computed?"."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import numpy as np
import pandas as pd

from qloc.analysis.inference.means import mean
from qloc.analysis.inference.share_intervals import bounded_intervals
from qloc.analysis.localization.consistency import answer_codes, relation_codes
from qloc.analysis.localization.multiverse import (
    HEADLINE_BOUNDS,
    HEADLINE_MEASURES,
    MOST_MULTIVERSE_FACTS,
    Multiverse,
    cell_of,
    sample_of,
)
from qloc.analysis.localization.overlap.query_pairs import LEVELS
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table
from qloc.analysis.wording import number
from qloc.errors import FloorError
from qloc.references import cited
from qloc.text.rounding import counted, p_value

HEADINGS = {
    "kappa": "κ",
    "ki": "K_I(k₀)",
    "beyond_template": "Beyond the template (H1a)",
    "beyond_answer": "Beyond the answer (H1b)",
}

_JOINT: Final = {
    "measure": "overlap",
    "choices": "choices",
    "median": "median over choices",
    "p": "joint p",
}
_JOINT_NOTE: Final = (
    "p: share of flips of the signs of answers within relations, under all choices at once, with as large a "
    "median over choices of Σ S/√(Σ S²), S an answer's sum of excesses above what their prediction may be "
    "off by. It is of these relations and templates, one-sided, not corrected, and has no verdict: H1a and "
    "H1b are of the plan's choice alone."
)


def sensitivity_question(context: AnalysisContext) -> Question:
    """Report the headline over methods × thresholds × known or all queries, and over budgets b.

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
    found = Multiverse.of(
        ((m, t, context.neurons(m, t)) for m in context.study.methods for t in context.thresholds[0]),
        k0=plan.k0,
        cut=plan.consistency_threshold,
        seed=plan.seed,
    )
    frame, joint = found.table(plan.confidence), _joint(found, context)
    budgets, refused = _by_budget(context)
    shown = wide(
        frame.assign(choice=frame.method + ", " + frame.queries + " queries"), ["choice", "threshold"]
    )
    note = "Intervals are cluster-robust by relation and answer. Choices share their data: no test of each."
    if context.sets.n_facts > MOST_MULTIVERSE_FACTS:
        note += f" Over a seeded sample of {MOST_MULTIVERSE_FACTS:,} facts."
    if not len(budgets):
        note += _refused(refused)
    return Question(
        id="sensitivity",
        title="Does it hang on how it is computed?",
        answer=_answer(context, frame, joint),
        tables=(
            Table.from_frame(
                shown,
                name="multiverse",
                title="The headline under every choice: method × threshold × queries",
                labels={"threshold": "attribution threshold t", **HEADINGS},
                note=note,
            ),
            Table.from_frame(
                joint,
                name="multiverse_joint",
                title="Overlap beyond template and answer, all choices together",
                labels=_JOINT,
                note=_JOINT_NOTE,
            ),
            *([_budget_table(budgets, refused, plan.method)] if len(budgets) else []),
        ),
        method=(
            "κ, K_I(k₀) by CS2, and the overlap beyond template and answer, as defined above, for every "
            "attribution method in the store, every attribution threshold of the plan, and over known and "
            "all queries. A store has one quadrature: another takes another extraction. How scores move "
            "with k₀ is under “How many facts are inconsistent?”. The joint p of all choices flips signs of "
            "answers within relations under all of them at once."
        ),
        references=cited("steegen2016", "simonsohn2020"),
    )


def _joint(found: Multiverse, context: AnalysisContext) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for level in LEVELS:
        test = found.joint_test(level, context.draws)
        rows.append({"measure": HEADINGS[f"beyond_{level}"], **asdict(test)})
    return pd.DataFrame(rows, columns=list(_JOINT))


def wide(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return a frame with one row for each choice instead of one for each choice and measure.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns ``measure, value, low, high, facts`` and the keys.
    keys : list of str
        Columns that name a choice.

    Returns
    -------
    pandas.DataFrame
        The keys; each measure with ``_low`` and ``_high``; ``facts``, those with a κ.
    """
    parts = [frame[frame.measure == "kappa"][[*keys, "facts"]].set_index(keys)]
    for measure in HEADLINE_MEASURES:
        part = frame[frame.measure == measure].set_index(keys)[["value", "low", "high"]]
        parts.append(part.set_axis([measure, f"{measure}_low", f"{measure}_high"], axis=1))
    return pd.concat(parts, axis=1).reset_index()


def _by_budget(context: AnalysisContext) -> tuple[pd.DataFrame, list[int]]:
    """Return ``b`` and the columns of :func:`wide`, and the budgets that the panels cannot fill."""
    rows: list[dict[str, Any]] = []
    refused = []
    for b in sorted(context.plan.budgets):
        try:
            sets = sample_of(context.study.neurons(context.plan.method, top=b), context.plan.seed)
        except FloorError:
            refused.append(b)
            continue
        values = cell_of(sets, known=True, k0=context.plan.k0, cut=context.plan.consistency_threshold)
        clusters = (relation_codes(sets)[1], answer_codes(sets))
        low, high = bounded_intervals(values, clusters, HEADLINE_BOUNDS, confidence=context.plan.confidence)
        for place, measure in enumerate(HEADLINE_MEASURES):
            column = values[:, place]
            row: dict[str, Any] = {"measure": measure, "b": b, "value": mean(column)}
            row |= {"low": low[place], "high": high[place]}
            rows.append({**row, "facts": int(np.sum(~np.isnan(column)))})
    columns = ["measure", "b", "value", "low", "high", "facts"]
    return wide(pd.DataFrame(rows, columns=columns), ["b"]), refused


def _budget_table(frame: pd.DataFrame, refused: list[int], method: str) -> Table:
    """Return table ``by_budget``."""
    note = f"{method}, known queries; every query has the same budget, less where fewer are positive."
    return Table.from_frame(
        frame,
        name="by_budget",
        title="The b strongest neurons of every query, in place of a threshold",
        labels={"b": "neurons a query, b", **HEADINGS},
        note=note + _refused(refused),
    )


def _refused(budgets: list[int]) -> str:
    return f" The store's panels cannot fill b = {', '.join(map(str, budgets))}." if budgets else ""


def _answer(context: AnalysisContext, frame: pd.DataFrame, joint: pd.DataFrame) -> str:
    defined = frame[frame.value.notna()]
    if not len(defined):
        return "No choice leaves a fact to compare."
    n = len(defined[["method", "threshold", "queries"]].drop_duplicates())
    parts = []
    for measure, words in (("kappa", "κ"), ("ki", f"K_I({context.plan.k0})")):
        values = defined[defined.measure == measure].value
        if len(values):
            parts.append(f"{words} from {number(values.min())} to {number(values.max())}")
    text = f"Over {counted(n, 'choice')} of method, threshold and queries: {' and '.join(parts)}."
    for level, name, p in zip(LEVELS, ("H1a", "H1b"), joint.p, strict=True):
        rows = defined[defined.measure == f"beyond_{level}"]
        if len(rows):
            above = f"{int((rows.low > 0).sum())} of {len(rows)}"
            text += f" Overlap beyond the {level} ({name}) is above 0 with its interval in {above}"
            text += "." if np.isnan(p) else f"; joint p, in these relations: {p_value(p)}."
    return text
