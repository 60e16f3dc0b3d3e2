"""The question "How good are the attributions?", and whether another method says the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from qloc.analysis.inference.means import mean
from qloc.analysis.localization.consistency import CONSISTENCY_SCORES, consistency
from qloc.analysis.questions.consistency import SCORE_COLUMNS
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table
from qloc.analysis.wording import number, percent
from qloc.references import cited
from qloc.vocabulary import GAP_TOLERANCE, METHOD

EVERY_LAYER = -1
"""Stands for the largest gap over a query's layers."""


def quality_question(context: AnalysisContext) -> Question:
    """Report completeness gaps by method and layer, and consistency by method.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    Question
        With its sentence, tests and tables.
    """
    gaps = gap_frame(context)
    methods = method_frame(context)
    return Question(
        id="quality",
        title="How good are the attributions?",
        answer=_answer(context, gaps, methods),
        tables=(
            _gaps(
                gaps[gaps.layer == EVERY_LAYER].drop(columns="layer"),
                "completeness",
                "the largest over layers",
            ),
            _gaps(gaps[gaps.layer != EVERY_LAYER], "completeness_by_layer", "by layer"),
            Table.from_frame(
                methods,
                name="by_method",
                title="Consistency by attribution method, known queries",
                labels={"kappa": "κ, other answers", "set_size": "neurons a query"},
            ),
        ),
        method=(
            "Completeness gap = |ΣA − ΔP| / max(Σ|A|, |ΔP|) per query, layer and method: how far the "
            "layer's attributions are from adding up to the change in probability that they explain. The "
            "tolerance is a default of ours."
        ),
        references=cited("sundararajan2017", where="Proposition 1"),
    )


def _gaps(frame: pd.DataFrame, name: str, words: str) -> Table:
    """Return table ``completeness`` (each query's largest gap) or ``completeness_by_layer``."""
    return Table.from_frame(
        frame.reset_index(drop=True),
        name=name,
        title=f"Completeness gap of a query, {words}",
        labels={"over": f"share of queries over {GAP_TOLERANCE:g}", "percentile_95": "95th percentile"},
        note="Not defined for activation, grad_x_act and amig_as_coded.",
    )


def gap_frame(context: AnalysisContext) -> pd.DataFrame:
    """Return the completeness gaps of every method and layer.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    pandas.DataFrame
        ``method, layer, over, median, percentile_95, largest, queries``; layer −1: each query's largest gap.
    """
    gap = context.study.signals["completeness_gap"]
    rows: list[dict[str, Any]] = []
    for method in context.study.methods:
        values = np.asarray(gap.sel({METHOD: method}).values, dtype=np.float64)
        defined = ~np.isnan(values)
        worst = np.where(
            defined.any(axis=1), np.where(defined, values, -np.inf).max(axis=1, initial=-np.inf), np.nan
        )
        columns = [(EVERY_LAYER, worst), *((layer, values[:, layer]) for layer in range(values.shape[1]))]
        for layer, column in columns:
            gaps = column[~np.isnan(column)]
            quantiles = np.quantile(gaps, [0.5, 0.95, 1.0]) if len(gaps) else np.full(3, np.nan)
            rows.append(
                {
                    "method": method,
                    "layer": layer,
                    "over": mean(gaps > GAP_TOLERANCE),
                    "median": quantiles[0],
                    "percentile_95": quantiles[1],
                    "largest": quantiles[2],
                    "queries": len(gaps),
                }
            )
    return pd.DataFrame(rows)


def method_frame(context: AnalysisContext) -> pd.DataFrame:
    """Return consistency by attribution method, at the plan's threshold.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    pandas.DataFrame
        ``method, facts, set_size, empty, cs1, cs2, dice, kappa, kappa_same_answer, kappa_low, kappa_high``.
    """
    rows = []
    for method in context.study.methods:
        sets = context.study.neurons(method=method, threshold=context.plan.threshold)
        scores = context.scores if method == context.plan.method else consistency(sets)
        low, high = context.intervals(scores["kappa"].values[:, None])
        size = sets.known().sizes()
        row: dict[str, Any] = {
            "method": method,
            "facts": int(np.sum(scores["k"].values >= 2)),
            "set_size": mean(size),
            "empty": int(np.sum(size == 0)),
        }
        row |= {SCORE_COLUMNS[name]: mean(scores[name].values) for name in CONSISTENCY_SCORES}
        rows.append({**row, "kappa_low": low[0], "kappa_high": high[0]})
    return pd.DataFrame(rows)


def _answer(context: AnalysisContext, gaps: pd.DataFrame, methods: pd.DataFrame) -> str:
    here = gaps[(gaps.method == context.plan.method) & (gaps.layer == EVERY_LAYER)]
    text = f"The completeness gap is not defined for {context.plan.method}."
    if len(here) and int(here.queries.iloc[0]):
        text = (
            f"For {percent(float(here.over.iloc[0]))} of the queries some layer's completeness gap is over "
            f"{GAP_TOLERANCE:g} ({context.plan.method})."
        )
    if len(methods) > 1:
        pairs = zip(methods["method"].tolist(), methods["kappa"].tolist(), strict=True)
        listed = ", ".join(f"{method} {number(kappa)}" for method, kappa in pairs)
        text += f" κ by method: {listed}."
    return text
