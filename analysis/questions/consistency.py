"""Question 2, whether the knowledge neurons of a fact are the same across its paraphrases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from qloc.analysis.inference.means import mean
from qloc.analysis.inputs.study import CORE_FACTS
from qloc.analysis.localization.consistency import CONSISTENCY_SCORES
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table
from qloc.analysis.wording import counted, number

CHEN = (
    "Chen et al. 2025, Knowledge Localization: Mission Not Accomplished? Enter Query Localization! ICLR, "
    "arXiv 2405.14117, §2."
)
MOST_LEVELS = 20
"""Values of an attribute up to which it is treated as categorical."""

NAMES = {"CS1": "cs1", "CS2": "cs2", "D": "dice", "kappa": "kappa", "kappa_same_answer": "kappa_same_answer"}
"""Score → column of a table."""

LABELS = {
    "k": "known, non-empty queries a fact",
    "cs1": "CS1 (falls with k)",
    "cs2": "CS2 (rises with k)",
    "dice": "D, pairwise overlap",
    "kappa": "κ, other answers",
    "kappa_same_answer": "κ, same answer",
    "d0": "D₀, other answers",
    "d0_same_answer": "D₀, same answer",
}


METHOD = (
    "Over the k non-empty sets N_i of a fact's known queries, c_n of which hold neuron n: CS1 = |∩ "
    "N_i|/|∪ N_i|; CS2 = |{n: c_n > 1}|/|∪ N_i|; D = Σ c_n(c_n − 1)/((k − 1) Σ c_n), the micro-averaged "
    "pairwise Dice overlap; κ = (D − D₀)/(1 − D₀), D₀ the same over different facts asked with different "
    "templates of the relation, with other answers (headline) or the same answer. CS1 falls and CS2 rises "
    "with k by construction; D and κ do not depend on k."
)


def consistency_question(asked: AnalysisContext) -> Question:
    """CS1, CS2, D and κ: overall, by relation, and by every categorical attribute."""
    overall = overall_frame(asked)
    scores = asked.scores
    d, kappa = mean(scores["D"].values), mean(scores["kappa"].values)
    n = int(np.sum(scores["k"].values >= 2))
    if n:
        answer = (
            f"Two paraphrases of a fact share {100 * d:.0f}% of their knowledge neurons on average (D = "
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
            note="Intervals are cluster-robust by relation and answer. CS1, CS2: comparable at equal k only.",
        ),
        relation_table(asked),
        *([attribute_table(asked)] if attributes_of(asked) else []),
    ]
    return Question(
        id="consistency",
        title="Are a fact's knowledge neurons the same across its paraphrases?",
        answer=answer,
        tables=tuple(tables),
        method=METHOD,
        references=(CHEN,),
    )


def overall_frame(asked: AnalysisContext) -> pd.DataFrame:
    """One row for each score, over known queries and over all."""
    rows = []
    for queries, scores in (("known", asked.scores), ("all", asked.scores_all)):
        values = np.stack([scores[name].values for name in CONSISTENCY_SCORES], axis=1)
        low, high = asked.intervals(values)
        for place, name in enumerate(CONSISTENCY_SCORES):
            defined = ~np.isnan(values[:, place])
            row: dict[str, Any] = {"queries": queries, "score": NAMES[name], "mean": mean(values[:, place])}
            row |= {"low": low[place], "high": high[place], "facts": int(defined.sum())}
            rows.append({**row, "undefined": int(scores.attrs["n_undefined"])})
    return pd.DataFrame(rows)


def relation_table(asked: AnalysisContext) -> Table:
    """Table ``consistency_by_relation``: means over facts, intervals over answers."""
    names, code = asked.relations
    rows = [
        {"relation": str(name), **_row(asked, asked.scores, code == r), **_chance(asked.scores, r)}
        for r, name in enumerate(names)
    ]
    return Table.from_frame(
        pd.DataFrame(rows),
        name="consistency_by_relation",
        title="Consistency across paraphrases, by relation",
        labels=LABELS,
        note="Means over facts; the interval of κ is cluster-robust by answer.",
    )


def _row(asked: AnalysisContext, scores: xr.Dataset, here: Any) -> dict[str, Any]:
    defined = here & (scores["k"].values >= 2)
    kappa = np.where(here, scores["kappa"].values, np.nan)
    low, high = asked.intervals(kappa[:, None], asked.clusters[1:])
    row: dict[str, Any] = {
        "facts": int(defined.sum()),
        "undefined": int(np.sum(here & ~defined & _queried(asked))),
        "k": mean(scores["k"].values[defined].astype(float)),
    }
    row |= {NAMES[name]: mean(scores[name].values[defined]) for name in CONSISTENCY_SCORES}
    row |= {"kappa_low": low[0], "kappa_high": high[0]}
    row["set_size"] = mean(scores["mean_size"].values[here])
    return row | {"empty": int(scores["n_empty"].values[here].sum())}


def _chance(scores: xr.Dataset, relation: int) -> dict[str, float]:
    return {name.lower(): float(scores[name].values[relation]) for name in ("D0", "D0_same_answer")}


def _queried(asked: AnalysisContext) -> Any:
    return np.bincount(asked.known.queries["fact"], minlength=asked.sets.n_facts) > 0


def attributes_of(asked: AnalysisContext) -> list[str]:
    """Attributes of the facts that are words, with 2 to 20 values among the facts that can be compared."""
    compared = asked.scores["k"].values >= 2
    names = []
    for name, column in asked.sets.facts.items():
        if name not in CORE_FACTS and column.dtype.kind in "OUT":
            n = len(np.unique(column[compared].astype(str)))
            names += [name] if 2 <= n <= MOST_LEVELS else []
    return names


def attribute_table(asked: AnalysisContext) -> Table:
    """Table ``by_attribute``: consistency by each value of each categorical attribute."""
    rows = []
    for name in attributes_of(asked):
        column = asked.sets.facts[name].astype(str)
        for value in np.unique(column[asked.scores["k"].values >= 2]):
            rows.append(
                {"attribute": name, "level": str(value), **_row(asked, asked.scores, column == value)}
            )
    return Table.from_frame(
        pd.DataFrame(rows),
        name="by_attribute",
        title="Consistency across paraphrases, by attribute of the fact",
        labels={name: words for name, words in LABELS.items() if not name.startswith("d0")},
        note="Descriptive: no test. The interval of κ is cluster-robust by answer.",
    )
