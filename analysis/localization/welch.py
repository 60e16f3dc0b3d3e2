"""The published contrast between consistent and inconsistent facts, kept for comparison: it tests nothing.

Facts are split on a score, and the score is then compared between the halves. That rejects for any data, also
under a true null, so the result is descriptive whatever it says (docs/statistics.md#the-published-test).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from scipy import stats

from qloc.analysis.inference.effect_sizes import hedges_g, hedges_g_interval
from qloc.analysis.inputs.neuron_sets import sets_and_store
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import consistency
from qloc.analysis.localization.otsu import otsu
from qloc.analysis.results import EffectSize, Interval, TestResult
from qloc.arrays import Floats
from qloc.errors import InputError, message
from qloc.neurons import NeuronSets
from qloc.text.rounding import number, p_value
from qloc.vocabulary import DEFAULT_THRESHOLD

CIRCULAR: Final = (
    "Circular: the facts were split on the variable that is compared, so p is small for any data; "
    "descriptive only."
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
    """Compute Welch's t between consistent and inconsistent facts, as published: circular, so descriptive.

    Parameters
    ----------
    study : Study or NeuronSets
        Where it is NeuronSets, ``method`` and ``threshold`` are those of the sets.
    method : str
        Attribution method of the store.
    threshold : float
        Attribution threshold of the sets, as a share of a query's largest attribution.
    known : bool
        Known queries only; otherwise all.
    score : {"CS1", "CS2"}
        Score that facts are split on, and that is compared.
    split : float or None
        Facts at or above it are consistent (K_C); Otsu's threshold where it is None.

    Returns
    -------
    TestResult
        Descriptive, p None; the published p stands in ``checks``.

    References
    ----------
    Chen et al. 2025 (arXiv 2405.14117), §2.
    """
    sets, store = sets_and_store(study, method, threshold)
    return welch(sets, known=known, score=score, split=split, store=store)[0]


def welch(
    sets: NeuronSets,
    *,
    known: bool = True,
    score: str = "CS2",
    split: float | None = None,
    store: str = "",
) -> tuple[TestResult, pd.DataFrame]:
    """Compare a score between consistent (≥ split) and inconsistent facts of neuron sets.

    Parameters
    ----------
    sets : NeuronSets
        Sets of all queries.
    known : bool
        Known queries only; otherwise all.
    score : {"CS1", "CS2"}
        Score that facts are split on, and that is compared.
    split : float or None
        Otsu's threshold where it is None.
    store : str
        Fingerprint of the store that the sets are from.

    Returns
    -------
    result : TestResult
        Descriptive, p None; the published p stands in ``checks``.
    frame : pandas.DataFrame
        One row: ``score, rule, split, n_consistent, n_inconsistent, mean_consistent, mean_inconsistent, t,
        df, p, hedges_g``.

    Raises
    ------
    InputError
        If ``score`` is neither CS1 nor CS2.
    """
    if score not in ("CS1", "CS2"):
        raise InputError(message("score", score, "CS1 or CS2", "published_welch", "Choose one"))
    return welch_of(consistency(sets, known=known)[score].values, score, split, store)


def welch_of(
    scores: Floats, score: str, split: float | None = None, store: str = ""
) -> tuple[TestResult, pd.DataFrame]:
    """Compare given scores between facts at or above the split, and below.

    Parameters
    ----------
    scores : float64 ndarray, shape (fact,)
        NaN are left out.
    score : str
        Name of the score.
    split : float or None
        Otsu's threshold where it is None.
    store : str
        Fingerprint of the store that the scores are from.

    Returns
    -------
    result : TestResult
        Descriptive, p None; the published p stands in ``checks``.
    frame : pandas.DataFrame
        One row, with the columns of :func:`welch`.
    """
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
    published = (
        "As published: not defined, one class has fewer than two facts."
        if np.isnan(row["t"])
        else f"As published: t = {number(row['t'])}, df = {number(row['df'])}; p-value: {p_value(row['p'])}."
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
        checks=(CIRCULAR, published),
        store=store,
    )
