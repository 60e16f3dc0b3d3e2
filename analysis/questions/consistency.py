"""The question "Are a fact's knowledge neurons the same across its paraphrases?"."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from qloc.analysis.inference.means import mean
from qloc.analysis.inference.share_intervals import Bound
from qloc.analysis.inputs.study import CORE_FACTS
from qloc.analysis.localization.consistency import CONSISTENCY_SCORES
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table
from qloc.analysis.wording import number, percent
from qloc.references import cited
from qloc.text.rounding import counted

MOST_LEVELS = 20
"""Values of an attribute up to which it is treated as categorical."""

SCORE_COLUMNS = {
    "CS1": "cs1",
    "CS2": "cs2",
    "D": "dice",
    "kappa": "kappa",
    "kappa_same_answer": "kappa_same_answer",
}
"""Score → column of a table."""

_BOUNDS: Final[tuple[Bound, ...]] = tuple(
    "none" if name.startswith("kappa") else "share" for name in CONSISTENCY_SCORES
)
"""Ranges of the scores: κ may be negative."""

_LABELS = {
    "k": "known, non-empty queries a fact",
    "cs1": "CS1 (falls with k)",
    "cs2": "CS2 (rises with k)",
    "dice": "D, pairwise overlap",
    "kappa": "κ, other answers",
    "kappa_same_answer": "κ, same answer",
    "d0": "D₀, other answers",
    "d0_same_answer": "D₀, same answer",
}


_METHOD = (
    "Over the k non-empty sets N_i of a fact's known queries, c_n of which hold neuron n: CS1 = |∩ "
    "N_i|/|∪ N_i|; CS2 = |{n: c_n > 1}|/|∪ N_i|; D = Σ c_n(c_n − 1)/((k − 1) Σ c_n), the micro-averaged "
    "pairwise Dice overlap; κ = (D − D₀)/(1 − D₀), D₀ the same over different facts asked with different "
    "templates of the relation, with other answers (headline) or the same answer. CS1 falls and CS2 rises "
    "with k by construction; D and κ do not depend on k."
)


_STRICT = (
    " A query is known where any right object of its subject ranks first; own object first: only those where "
    "the attributed one does."
)


def consistency_question(context: AnalysisContext) -> Question:
    """Report CS1, CS2, D and κ: overall, by relation, and by every categorical attribute.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    Question
        With its sentence, tests and tables.
    """
    overall = overall_frame(context)
    scores = context.scores
    d, kappa = mean(scores["D"].values), mean(scores["kappa"].values)
    n = int(np.sum(scores["k"].values >= 2))
    if n:
        answer = (
            f"Two paraphrases of a fact share {percent(d)} of their knowledge neurons on average (D = "
            f"{number(d)}), over {counted(n, 'fact')}. Corrected for what different facts of the relation "
            f"share, κ is {number(kappa)}: 0 is no more than chance, 1 is the same neurons every time."
        )
    else:
        answer = "No fact has two known queries with knowledge neurons, so consistency is not defined here."
    tables = [
        Table.from_frame(
            overall,
            name="consistency_overall",
            title="Consistency across paraphrases, known queries and all",
            labels={"facts": "facts with two non-empty queries", "undefined": "facts with fewer"},
            note="Intervals are cluster-robust by relation and answer. CS1, CS2: comparable at equal k only."
            + _STRICT * (context.scores_strict is not None),
        ),
        relation_table(context),
        fact_table(context),
        *([attribute_table(context)] if attributes_of(context) else []),
    ]
    return Question(
        id="consistency",
        title="Are a fact's knowledge neurons the same across its paraphrases?",
        answer=answer,
        tables=tuple(tables),
        method=_METHOD,
        references=cited("chen2025", where="§2"),
    )


def overall_frame(context: AnalysisContext) -> pd.DataFrame:
    """Return the mean of each score over known queries, those whose own object ranks first, and all.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    pandas.DataFrame
        ``queries, score, mean, low, high, facts, undefined``; one row for each score and kind of queries.
    """
    rows = []
    kinds = (
        ("known", context.scores),
        ("own object first", context.scores_strict),
        ("all", context.scores_all),
    )
    for queries, scores in kinds:
        if scores is None:
            continue
        values = np.stack([scores[name].values for name in CONSISTENCY_SCORES], axis=1)
        low, high = context.intervals(values, bounds=_BOUNDS)
        for place, name in enumerate(CONSISTENCY_SCORES):
            defined = ~np.isnan(values[:, place])
            row: dict[str, Any] = {
                "queries": queries,
                "score": SCORE_COLUMNS[name],
                "mean": mean(values[:, place]),
            }
            row |= {"low": low[place], "high": high[place], "facts": int(defined.sum())}
            rows.append({**row, "undefined": int(scores.attrs["n_undefined"])})
    return pd.DataFrame(rows)


def relation_table(context: AnalysisContext) -> Table:
    """Return table ``consistency_by_relation``: means over facts, intervals over answers.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    Table
        One row for each relation.
    """
    names, code = context.relations
    rows: list[dict[str, Any]] = []
    for r, name in enumerate(names):
        here = code == r
        scores = context.scores_of(here)
        rows.append({"relation": str(name), **_row(context, scores, here), **_chance(scores, here)})
    return Table.from_frame(
        pd.DataFrame(rows),
        name="consistency_by_relation",
        title="Consistency across paraphrases, by relation",
        labels=_LABELS,
        note="Means over facts; the interval of κ is cluster-robust by answer.",
    )


FACTS_OF_A_RELATION: Final = 24
"""Facts of a relation in ``consistency_by_fact``; of more, places of even distance in the order of κ."""


def fact_table(context: AnalysisContext) -> Table:
    """Return table ``consistency_by_fact``: κ and CS2 of single facts, from which violins are drawn.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    Table
        ``relation, fact, kappa, cs2``: up to 24 facts of each relation, from the least κ to the greatest.
    """
    names, code = context.relations
    kappa, cs2 = context.scores["kappa"].values, context.scores["CS2"].values
    facts = context.sets.facts["id"]
    rows: list[dict[str, Any]] = []
    for r, name in enumerate(names):
        here = np.flatnonzero((code == r) & ~np.isnan(kappa))
        order = here[np.argsort(kappa[here], kind="stable")]
        if len(order) > FACTS_OF_A_RELATION:
            order = order[np.linspace(0, len(order) - 1, FACTS_OF_A_RELATION).round().astype(int)]
        rows += [
            {"relation": str(name), "fact": str(facts[f]), "kappa": kappa[f], "cs2": cs2[f]} for f in order
        ]
    return Table.from_frame(
        pd.DataFrame(rows, columns=["relation", "fact", "kappa", "cs2"]),
        name="consistency_by_fact",
        title="Consistency of single facts",
        labels={"kappa": "κ, other answers"},
        note=f"Up to {FACTS_OF_A_RELATION} facts of a relation, at even distances in the order of κ.",
    )


def _row(context: AnalysisContext, scores: xr.Dataset, here: Any) -> dict[str, Any]:
    defined = here & (scores["k"].values >= 2)
    kappa = np.where(here, scores["kappa"].values, np.nan)
    low, high = context.intervals(kappa[:, None], context.clusters[1:])
    row: dict[str, Any] = {
        "facts": int(defined.sum()),
        "undefined": int(np.sum(here & ~defined & _queried(context))),
        "k": mean(scores["k"].values[defined].astype(float)),
    }
    row |= {SCORE_COLUMNS[name]: mean(scores[name].values[defined]) for name in CONSISTENCY_SCORES}
    row |= {"kappa_low": low[0], "kappa_high": high[0]}
    row["set_size"] = mean(scores["mean_size"].values[here])
    return row | {"empty": int(scores["n_empty"].values[here].sum())}


def _chance(scores: xr.Dataset, here: Any) -> dict[str, float]:
    return {name.lower(): float(scores[name].values[here][0]) for name in ("D0", "D0_same_answer")}


def _queried(context: AnalysisContext) -> Any:
    queries, leaks = context.sets.queries, context.sets.facts["leaks"]
    known = queries["fact"][queries["known"] & ~leaks[queries["fact"]]]
    return np.bincount(known, minlength=context.sets.n_facts) > 0


def attributes_of(context: AnalysisContext) -> list[str]:
    """Return the facts' attributes that are words, with 2 to 20 values among the facts that can be compared.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    list of str
        Names, in the order of the store.
    """
    compared = context.scores["k"].values >= 2
    names = []
    for name, column in context.sets.facts.items():
        if name not in CORE_FACTS and column.dtype.kind in "OUT":
            n = len(np.unique(column[compared].astype(str)))
            names += [name] if 2 <= n <= MOST_LEVELS else []
    return names


def attribute_table(context: AnalysisContext) -> Table:
    """Return table ``by_attribute``: consistency by each value of each categorical attribute.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    Table
        One row for each attribute and value.
    """
    rows = []
    for name in attributes_of(context):
        column = context.sets.facts[name].astype(str)
        for value in np.unique(column[context.scores["k"].values >= 2]):
            rows.append(
                {"attribute": name, "level": str(value), **_row(context, context.scores, column == value)}
            )
    return Table.from_frame(
        pd.DataFrame(rows),
        name="by_attribute",
        title="Consistency across paraphrases, by attribute of the fact",
        labels={name: words for name, words in _LABELS.items() if not name.startswith("d0")},
        note="Descriptive: no test. The interval of κ is cluster-robust by answer.",
    )
