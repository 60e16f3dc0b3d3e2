"""The question "Does syntax localize as well as facts?" (H11): facts, features and paradigms side by side."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from scipy import stats

from qloc.analysis.editing.suppression_on_words import METHOD as SUPPRESSION
from qloc.analysis.editing.suppression_on_words import suppression_on_words
from qloc.analysis.inference.means import mean
from qloc.analysis.inference.multiplicity import adjusted
from qloc.analysis.inference.two_groups import compare_groups
from qloc.analysis.localization.localization_level import levels_by_fact
from qloc.analysis.localization.syntax import (
    SYNTAX_MARGIN,
    BothKinds,
    kinds_compared,
    profiles_by_relation,
    profiles_compared,
)
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table, TestResult
from qloc.analysis.wording import number, percent
from qloc.arrays import Array, Floats
from qloc.random_streams import Stream
from qloc.references import cited

FACTS, FEATURES = "facts", "features (all paradigms)"
"""Rows of facts, and of all groups of minimal pairs."""

LAYER_GROUPS: Final = ("lower", "middle", "upper")
"""Thirds of the layers."""

_LABELS = {
    "of": "facts or syntax",
    "units": "facts or features with κ",
    "kappa": "κ",
    "level": "R₁², known queries",
    "null": "R₁², different facts or features",
    "beyond": "R₁² − different facts or features",
}


def syntax_question(context: AnalysisContext) -> Question:
    """Compare how facts and syntax localize: κ, R₁² and layers.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan; it has minimal pairs.

    Returns
    -------
    Question
        With its sentence, tests and tables; without facts it has tables only.
    """
    both = BothKinds.of(context.sets)
    levels = levels_by_fact(context.study, context.sets, context.plan.method)
    values = {"kappa": both.kappa(), **levels}
    store, draws = context.study.fingerprint, context.draws
    suppressed = suppression_on_words(context.study, context.draws)
    compared: tuple[TestResult, ...] = ()
    if not both.is_pair.all():
        compared = (
            kinds_compared(both, values["kappa"], "kappa", margin=SYNTAX_MARGIN, draws=draws, store=store),
            kinds_compared(both, values["beyond"], "level", margin=SYNTAX_MARGIN, draws=draws, store=store),
            profiles_compared(both, draws=draws, store=store),
        )
    frame = localization_frame(context, both, values)
    return Question(
        id="syntax",
        title="Does syntax localize as well as facts?",
        answer=_answer(frame, preference_frame(context)),
        tests=(*compared, *suppressed.tests),
        tables=(
            Table.from_frame(
                frame,
                name="syntax_localization",
                title="Localization of facts, features and paradigms",
                labels=_LABELS,
                note="Means over facts, or over features (groups of minimal pairs); intervals are "
                "cluster-robust by relation or paradigm, and answer or feature.",
            ),
            Table.from_frame(
                preference_frame(context),
                name="good_over_bad",
                title="Minimal pairs whose good form is likelier",
                labels={"pairs": "pairs asked", "share": "good form likelier"},
                note="Intervals are exact (Clopper–Pearson), over the pairs of these paradigms.",
            ),
            Table.from_frame(
                layer_groups_frame(context, both),
                name="syntax_layer_groups",
                title="Knowledge neurons of facts and syntax by thirds of the layers",
                labels={"p_adjusted": "p, Holm over the thirds", "difference": "syntax − facts"},
                note="Shares of a query's neurons; means over relations and paradigms, whose labels are "
                "permuted.",
            ),
            *suppressed.tables,
        ),
        method=(
            "A paradigm × feature is what a fact is: its sentences are its queries, its neuron sets, κ and "
            "R₁² are computed alike, over pairs whose good form is likelier. H11a and H11b compare means of "
            "relations and paradigms: their labels are permuted, with Welch's t, and p is no less than that "
            "of t itself. H11c compares layer profiles, ½ Σ of absolute differences by its error, by such "
            "labels. R₁² is less that of rows from different facts, or from different paradigms or features. "
            "What differs may be the texts: sentences of a paradigm have less in common than paraphrases. "
            + (SUPPRESSION if suppressed.tables else "")
        ),
        references=cited("niu2024"),
    )


def localization_frame(context: AnalysisContext, both: BothKinds, values: dict[str, Floats]) -> pd.DataFrame:
    """Return the mean scores of facts, of features, and of each paradigm's features.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.
    both : BothKinds
        Facts and minimal pairs.
    values : dict of str to float64 ndarray, shape (fact,)
        ``kappa, level, null, beyond``.

    Returns
    -------
    pandas.DataFrame
        ``of, units, kappa, kappa_low, kappa_high, level, null, beyond, beyond_low, beyond_high``.
    """
    names, code = context.relations
    rows = [(FACTS, ~both.is_pair), (FEATURES, both.is_pair)]
    rows += [(str(names[r]), code == r) for r in np.unique(code[both.is_pair])]
    frame = pd.DataFrame([_row(context, of, values, here) for of, here in rows if here.any()])
    return frame.reset_index(drop=True)


def _row(context: AnalysisContext, of: str, values: dict[str, Floats], here: Array) -> dict[str, Any]:
    tested = ("kappa", "beyond")
    columns = np.stack([np.where(here, values[name], np.nan) for name in tested], axis=1)
    low, high = context.intervals(columns)
    row: dict[str, Any] = {"of": of, "units": int(np.sum(~np.isnan(values["kappa"][here])))}
    for name in ("kappa", "level", "null", "beyond"):
        row[name] = mean(values[name][here])
        if name in tested:
            row |= {f"{name}_low": low[tested.index(name)], f"{name}_high": high[tested.index(name)]}
    return row


def preference_frame(context: AnalysisContext) -> pd.DataFrame:
    """Return the share of pairs whose good form is likelier, by paradigm and feature.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    pandas.DataFrame
        ``paradigm, feature, pairs, share, low, high``.
    """
    queries, facts = context.pairs.queries, context.sets.facts
    feature = facts["feature"][queries["fact"]] if "feature" in facts else np.full(len(queries["fact"]), "")
    frame = pd.DataFrame(
        {"paradigm": queries["relation"], "feature": feature, "good": queries["known"].astype(int)}
    )
    rows = []
    for (paradigm, of), good in frame.groupby(["paradigm", "feature"], sort=True)["good"]:
        n, k = len(good), int(good.sum())
        ends = stats.binomtest(k, n).proportion_ci(context.plan.confidence)
        row = {"paradigm": paradigm, "feature": str(of) or "none", "pairs": n, "share": k / n}
        rows.append({**row, "low": float(ends.low), "high": float(ends.high)})
    return pd.DataFrame(rows, columns=["paradigm", "feature", "pairs", "share", "low", "high"])


def layer_groups_frame(context: AnalysisContext, both: BothKinds) -> pd.DataFrame:
    """Return the shares of lower, middle and upper layers of facts and syntax, compared by permutation.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.
    both : BothKinds
        Facts and minimal pairs.

    Returns
    -------
    pandas.DataFrame
        ``layers, facts, syntax, difference, low, high, p, p_adjusted``; means over relations and
        paradigms. NaN where one kind is missing.
    """
    shares, pair = profiles_by_relation(both)
    parts = np.array_split(np.arange(shares.shape[1]), len(LAYER_GROUPS))
    rows: list[dict[str, Any]] = []
    for number_of, (name, layers) in enumerate(zip(LAYER_GROUPS, parts, strict=True)):
        values = shares[:, layers].sum(axis=1)
        mine, theirs = values[pair], values[~pair]
        found = compare_groups(
            mine,
            theirs,
            margin=SYNTAX_MARGIN,
            confidence=context.plan.confidence,
            n_permutations=context.plan.n_permutations,
            rng=Stream.SYNTAX_LAYER_GROUPS.generator(context.plan.seed, number_of),
        )
        row = {"layers": name, "facts": mean(theirs), "syntax": mean(mine), "difference": found.difference}
        row |= {"low": found.low, "high": found.high, "p": found.p}
        rows.append(row)
    frame = pd.DataFrame(rows)
    frame["p_adjusted"] = adjusted(frame["p"].to_numpy(dtype=float), "holm")
    return frame


def _answer(frame: pd.DataFrame, preferred: pd.DataFrame) -> str:
    told = [
        f"κ is {number(row['kappa'])} over {row['of']}, R₁² {number(row['level'])} ({number(row['null'])} of "
        "different ones)"
        for row in frame.to_dict("records")
        if row["of"] in (FACTS, FEATURES)
    ]
    pairs = int(preferred["pairs"].sum())
    share = float((preferred["pairs"] * preferred["share"]).sum()) / max(pairs, 1)
    return f"{'; '.join(told)}. Of {pairs:,} minimal pairs, the good form is likelier in {percent(share)}."
