"""The question "How good are the attributions?", and whether another method says the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from qloc.accuracy.path_accuracy import GUIDE, UNKNOWN, PathAccuracy
from qloc.accuracy.rule_in_words import rule_name
from qloc.analysis.inference.means import mean
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import CONSISTENCY_SCORES, consistency
from qloc.analysis.questions.consistency import SCORE_COLUMNS
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table
from qloc.analysis.wording import number, percent
from qloc.references import cited
from qloc.vocabulary import GAP_TOLERANCE, METHOD

EVERY_LAYER = -1
"""Stands for the largest gap over a query's layers."""

MOST_LAYERS = 5
"""Layers of a method that are shown, of those that took most gradients."""


def quality_question(context: AnalysisContext) -> Question:
    """Report completeness gaps and error bounds by method and layer, and consistency by method.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    Question
        With its sentence, tests and tables.
    """
    gaps, methods = gap_frame(context), method_frame(context)
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
            _bounds(bound_frame(context, gaps), context),
            *_nodes(node_frame(context)),
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
            "tolerance is a default of ours. An error bound is how far an attribution may be off for lack of "
            "gradients along its path, relative to the query's largest; it is an estimate, as of every "
            "adaptive quadrature. A neuron is within the error of threshold t where "
            "t·M_low − e·M < A ≤ t·M_high + e·M, with e the bound of its layer, and M_low and M_high what "
            "the bounds leave of the largest attribution M."
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
        note="Not defined for activation, grad_x_act and amig_mean_path.",
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


def _bounds(frame: pd.DataFrame, context: AnalysisContext) -> Table:
    """Return table ``error_bounds``."""
    return Table.from_frame(
        frame,
        name="error_bounds",
        title="How exactly paths were integrated",
        labels={
            "converged": "share of queries whose paths all converged",
            "failed": "queries with a path that did not",
            "largest_bound": "largest error bound",
            "uncertain": f"neurons a query within the error of threshold {context.plan.threshold:g}",
            "unknown": "queries where that is unknown",
            "gap": "median completeness gap",
        },
        note=(
            "The error bound is relative to the query's largest attribution. A dash: the quadrature does not "
            "say. A method without a path has no error of integration."
        ),
    )


def _nodes(frame: pd.DataFrame) -> Iterator[Table]:
    """Yield table ``nodes_by_layer``, unless nothing was integrated or the store does not count gradients."""
    if len(frame):
        yield Table.from_frame(
            frame,
            name="nodes_by_layer",
            title=f"Gradients along the paths of a layer: the {MOST_LAYERS} layers that took most",
            labels={
                "mean": "gradients a query",
                "most": "most gradients",
                "largest_bound": "largest error bound",
                "failed": "paths that did not converge",
            },
        )


def bound_frame(context: AnalysisContext, gaps: pd.DataFrame) -> pd.DataFrame:
    """Return how exactly the paths of every method were integrated.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.
    gaps : pandas.DataFrame
        What :func:`gap_frame` returns.

    Returns
    -------
    pandas.DataFrame
        ``method, converged, failed, largest_bound, uncertain, unknown, gap, queries``: share of queries whose
        paths all converged, of those where the quadrature says so; queries with a path that did not; mean
        number of neurons within the error of the plan's threshold, over the queries where it is known, and
        the number of the others; median of the largest completeness gap.
    """
    rows: list[dict[str, Any]] = []
    for number_of, method in enumerate(context.study.methods):
        accuracy, sets = PathAccuracy.of(context.study.signals, number_of), context.by_method[method]
        says = sets.converged[sets.converged != UNKNOWN]
        uncertain, bound = sets.uncertain[sets.uncertain != UNKNOWN], accuracy.error_bound
        gap = gaps[(gaps.method == method) & (gaps.layer == EVERY_LAYER)]
        rows.append(
            {
                "method": method,
                "converged": mean(says == 1),
                "failed": int(np.sum(says == 0)) if len(says) else None,
                "largest_bound": float(np.nanmax(bound)) if np.isfinite(bound).any() else np.nan,
                "uncertain": mean(uncertain),
                "unknown": sets.n_queries - len(uncertain),
                "gap": float(gap["median"].iloc[0]),
                "queries": sets.n_queries,
            }
        )
    return pd.DataFrame(rows)


def node_frame(context: AnalysisContext) -> pd.DataFrame:
    """Return the layers whose paths took most gradients in the mean over queries.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    pandas.DataFrame
        ``method, layer, mean, most, largest_bound, failed``; of each method :data:`MOST_LAYERS` at most, the
        worst first. ``failed`` is the number of its paths that did not converge.
    """
    rows: list[dict[str, Any]] = []
    for number_of, method in enumerate(context.study.methods):
        accuracy = PathAccuracy.of(context.study.signals, number_of)
        if not len(accuracy.n_nodes) or accuracy.n_nodes.max() <= 0:
            continue
        nodes, bound = accuracy.n_nodes.mean(axis=0), accuracy.error_bound
        for layer in map(int, np.argsort(-nodes, kind="stable")[:MOST_LAYERS]):
            known = bound[~np.isnan(bound[:, layer]), layer]
            says = accuracy.converged[:, layer] != UNKNOWN
            rows.append(
                {
                    "method": method,
                    "layer": layer,
                    "mean": float(nodes[layer]),
                    "most": int(accuracy.n_nodes[:, layer].max()),
                    "largest_bound": float(known.max()) if len(known) else np.nan,
                    "failed": int(np.sum(accuracy.converged[:, layer] == 0)) if says.any() else None,
                }
            )
    return pd.DataFrame(rows, columns=["method", "layer", "mean", "most", "largest_bound", "failed"])


def quadrature_notes(study: Study) -> tuple[str, ...]:
    """Return what a reader must know of paths that did not converge, have no error bound, or mean little.

    Parameters
    ----------
    study : Study
        What is analyzed.

    Returns
    -------
    tuple of str
        A sentence on each method whose sets may be wrong, and one where a norm follows the model's MLP.
    """
    notes = []
    for number_of, method in enumerate(study.methods):
        accuracy = PathAccuracy.of(study.signals, number_of)
        maximum = np.asarray(study.signals["maximum"].isel({METHOD: number_of}).values)
        positive = maximum.max(axis=1, initial=-np.inf) > 0
        failed, n_queries = int(np.sum(accuracy.converged_queries() == 0)), len(positive)
        if failed:
            notes.append(
                f"The paths of {failed:,} of {n_queries:,} queries did not converge ({method}): their sets "
                f"may be wrong: {GUIDE}."
            )
        elif (accuracy.unbounded() & positive).any():
            notes.append(
                f"The quadrature of {method}, {rule_name(study.attrs)}, has no error bound: sets at fixed "
                f"nodes may be wrong: {GUIDE}."
            )
    if study.attrs.get("norm_behind_mlp") and "ig" in study.methods:
        notes.append(
            "In this model a norm follows the MLP: along a path from zero the answer changes only near its "
            "start, so that ig is close to gradient × activation times a number that the norm sets. Paths of "
            "ig_mean start elsewhere: docs/paths.md."
        )
    return tuple(notes)


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
        sets = context.by_method[method]
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
