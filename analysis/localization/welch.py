"""The published contrast between consistent and inconsistent facts, kept for comparison: it tests nothing.

Facts are split on a score, and the score is then compared between the halves. That rejects for any data, also
under a true null, so the result is descriptive whatever it says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from qloc.analysis.inference.effect_sizes import hedges_g, hedges_g_interval
from qloc.analysis.inputs.neuron_sets import sets_and_store
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import consistency, otsu
from qloc.analysis.results import EffectSize, Interval, TestResult
from qloc.arrays import Floats
from qloc.errors import InputError, message
from qloc.neurons import NeuronSets
from qloc.vocabulary import DEFAULT_THRESHOLD

CIRCULAR = (
    "Circular: the facts were split on the variable that is compared, so p is small for any data; "
    "descriptive only."
)


def welch(
    sets: NeuronSets,
    *,
    known: bool = True,
    score: str = "CS2",
    split: float | None = None,
    store: str = "",
) -> tuple[TestResult, pd.DataFrame]:
    """Welch's t of a score between consistent (≥ split) and inconsistent facts.

    Parameters
    ----------
    score : ``CS1`` or ``CS2``.
    split : Otsu's threshold where it is None.

    Returns
    -------
    result : descriptive, p None; the published p stands in ``checks``.
    frame : one row: ``score, rule, split, n_consistent, n_inconsistent, mean_consistent, mean_inconsistent,
        t, df, p, hedges_g``.
    """
    if score not in ("CS1", "CS2"):
        raise InputError(message("score", score, "CS1 or CS2", "published_welch", "Choose one"))
    return welch_of(consistency(sets, known=known)[score].values, score, split, store)


def welch_of(
    scores: Floats, score: str, split: float | None = None, store: str = ""
) -> tuple[TestResult, pd.DataFrame]:
    """The same of scores at hand: float64, (fact,); NaN left out."""
    values = scores[~np.isnan(scores)]
    cut = float(otsu(values)) if split is None else split
    high, low = values[values >= cut], values[values < cut]
    row = _row(high, low, score, "otsu" if split is None else "static", cut)
    interval = hedges_g_interval(high, low)
    return _result(row, interval, len(values), store), pd.DataFrame([row])


def _row(high: Floats, low: Floats, score: str, rule: str, cut: float) -> dict[str, Any]:
    t = df = p = float("nan")
    if len(high) > 1 and len(low) > 1 and high.var() + low.var() > 0:
        test = stats.ttest_ind(high, low, equal_var=False)
        t, df, p = float(test.statistic), float(test.df), float(test.pvalue)
    return {
        "score": score,
        "rule": rule,
        "split": cut,
        "n_consistent": len(high),
        "n_inconsistent": len(low),
        "mean_consistent": float(high.mean()) if len(high) else float("nan"),
        "mean_inconsistent": float(low.mean()) if len(low) else float("nan"),
        "t": t,
        "df": df,
        "p": p,
        "hedges_g": hedges_g(high, low),
    }


def _result(row: dict[str, Any], interval: Interval | None, n: int, store: str) -> TestResult:
    undefined = np.isnan(row["t"])
    said = (
        "As published: not defined, one class has fewer than two facts."
        if undefined
        else (f"As published: t = {row['t']:.3g}, df = {row['df']:.3g}, p = {row['p']:.2g}.")
    )
    return TestResult(
        name="Welch, as published",
        question="Do consistent and inconsistent facts differ in the score they were split on?",
        estimand=f"difference in mean {row['score']} between facts at or above and below the split",
        unit="fact",
        n={"facts": n, "consistent": row["n_consistent"], "inconsistent": row["n_inconsistent"]},
        estimate=row["mean_consistent"] - row["mean_inconsistent"],
        interval=None,
        effect=EffectSize(name="Hedges' g", value=row["hedges_g"], interval=interval),
        method=f"Welch's t, split at {row['rule']} threshold",
        p=None,
        role="descriptive",
        verdict="descriptive",
        checks=(CIRCULAR, said),
        store=store,
    )


def published_welch(
    study: Study | NeuronSets,
    *,
    method: str = "ig",
    threshold: float = DEFAULT_THRESHOLD,
    known: bool = True,
    score: str = "CS2",
    split: float | None = None,
) -> TestResult:
    """Welch's t between consistent and inconsistent facts, as published: circular, so descriptive only.

    Parameters
    ----------
    score : ``CS1`` or ``CS2``.
    split : facts at or above it are consistent (K_C); Otsu's threshold where it is None.

    References
    ----------
    Chen et al. 2025 (arXiv 2405.14117), §2.
    """
    sets, store = sets_and_store(study, method, threshold)
    return welch(sets, known=known, score=score, split=split, store=store)[0]
