"""Question 8, whether attributions can be trusted, and whether another method says the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from qloc.analysis.inference.means import mean
from qloc.analysis.localization.consistency import CONSISTENCY_SCORES, consistency
from qloc.analysis.questions.consistency import NAMES
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table
from qloc.analysis.wording import number, percent
from qloc.vocabulary import GAP_TOLERANCE, METHOD

EVERY_LAYER = -1
"""Stands for the largest gap over a query's layers."""


def quality_question(asked: AnalysisContext) -> Question:
    """Completeness gaps by method and layer; consistency by method."""
    gaps = gap_frame(asked)
    methods = method_frame(asked)
    return Question(
        id="quality",
        title="How good are the attributions?",
        answer=_answer(asked, gaps, methods),
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
        references=("Sundararajan et al. 2017, Axiomatic Attribution for Deep Networks, Proposition 1.",),
    )


def _gaps(frame: pd.DataFrame, name: str, words: str) -> Table:
    """Tables ``completeness`` (each query's largest gap) and ``completeness_by_layer``."""
    return Table.from_frame(
        frame.reset_index(drop=True),
        name=name,
        title=f"Completeness gap of a query, {words}",
        labels={"over": f"share of queries over {GAP_TOLERANCE:g}", "percentile_95": "95th percentile"},
        note="Not defined for activation, grad_x_act and amig_as_coded.",
    )


def gap_frame(asked: AnalysisContext) -> pd.DataFrame:
    """``method, layer, over, median, percentile_95, largest, queries``; layer −1: largest of all."""
    gap = asked.study.signals["completeness_gap"]
    rows: list[dict[str, Any]] = []
    for method in asked.study.methods:
        values = np.asarray(gap.sel({METHOD: method}).values, dtype=np.float64)
        defined = ~np.isnan(values)
        worst = np.where(
            defined.any(axis=1), np.where(defined, values, -np.inf).max(axis=1, initial=-np.inf), np.nan
        )
        columns = [(EVERY_LAYER, worst), *((layer, values[:, layer]) for layer in range(values.shape[1]))]
        for layer, column in columns:
            found = column[~np.isnan(column)]
            quantiles = np.quantile(found, [0.5, 0.95, 1.0]) if len(found) else np.full(3, np.nan)
            rows.append(
                {
                    "method": method,
                    "layer": layer,
                    "over": mean(found > GAP_TOLERANCE),
                    "median": quantiles[0],
                    "percentile_95": quantiles[1],
                    "largest": quantiles[2],
                    "queries": len(found),
                }
            )
    return pd.DataFrame(rows)


def method_frame(asked: AnalysisContext) -> pd.DataFrame:
    """``method, facts, set_size, empty, cs1, cs2, dice, kappa, kappa_same_answer, kappa_low, kappa_high``."""
    rows = []
    for method in asked.study.methods:
        sets = asked.study.neurons(method=method, threshold=asked.plan.threshold)
        scores = asked.scores if method == asked.plan.method else consistency(sets)
        low, high = asked.intervals(scores["kappa"].values[:, None])
        size = sets.known().sizes()
        row: dict[str, Any] = {
            "method": method,
            "facts": int(np.sum(scores["k"].values >= 2)),
            "set_size": mean(size),
            "empty": int(np.sum(size == 0)),
        }
        row |= {NAMES[name]: mean(scores[name].values) for name in CONSISTENCY_SCORES}
        rows.append({**row, "kappa_low": low[0], "kappa_high": high[0]})
    return pd.DataFrame(rows)


def _answer(asked: AnalysisContext, gaps: pd.DataFrame, methods: pd.DataFrame) -> str:
    here = gaps[(gaps.method == asked.plan.method) & (gaps.layer == EVERY_LAYER)]
    text = f"The completeness gap is not defined for {asked.plan.method}."
    if len(here) and int(here.queries.iloc[0]):
        text = (
            f"For {percent(float(here.over.iloc[0]))} of the queries some layer's completeness gap is over "
            f"{GAP_TOLERANCE:g} ({asked.plan.method})."
        )
    if len(methods) > 1:
        pairs = zip(methods["method"].tolist(), methods["kappa"].tolist(), strict=True)
        told = ", ".join(f"{method} {number(kappa)}" for method, kappa in pairs)
        text += f" κ by method: {told}."
    return text
