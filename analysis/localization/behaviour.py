"""H10, whether the consistency of a fact's neurons predicts how the model answers it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
import pandas as pd
import statsmodels.api as sm

from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inference.label_codes import codes, n_codes
from qloc.analysis.inference.regression import (
    Slope,
    clustered_slopes,
    few_answers_in_words,
    independent,
    within,
)
from qloc.analysis.inference.relation_effects import slopes_in_words
from qloc.analysis.inference.slope_test import SLOPE_MARGIN, SLOPE_UNIT, directed_p, equivalence_p
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.fact_columns import fact_columns
from qloc.analysis.results import NEW_RELATIONS, TestResult
from qloc.analysis.verdicts import judged
from qloc.arrays import Floats, Ints
from qloc.hypothesis_registry import REGISTRY
from qloc.text.rounding import number, p_value
from qloc.vocabulary import DEFAULT_THRESHOLD

BehaviourOutcome = Literal["agreement", "candidate_agreement", "log_probability"]
"""A column of :func:`qloc.analysis.localization.fact_columns.behaviour`."""

_TEXT: Final[dict[BehaviourOutcome, tuple[str, str]]] = {
    "agreement": (
        "H10a",
        "share of pairs of queries with the same most likely answer",
    ),
    "candidate_agreement": (
        "H10b",
        "probability that two queries give the same one of the candidate answers",
    ),
    "log_probability": (
        "H10c",
        "mean log P(answer)",
    ),
}
OUTCOMES: Final[tuple[BehaviourOutcome, ...]] = ("agreement", "candidate_agreement", "log_probability")
COVARIATES: Final = ("log_probability", "log_mean_size", "n_tokens", "log_answer_count", "template_kappa")
"""What the slope is adjusted for, beside what the fact's templates make of the outcome."""

LEAST_TOLD: Final = 0.9
"""Share of facts that tell the error of κ (with four queries) which a slope net of it needs."""

LEAST_RELIABILITY: Final = 0.1
"""Reliability of κ below which a slope is not told net of its error."""

_OF_TEMPLATES: Final[Mapping[BehaviourOutcome, str]] = {
    "agreement": "template_agreement",
    "candidate_agreement": "template_agreement",
    "log_probability": "template_log_probability",
}
"""Outcome → what a fact's templates make of it."""


def predicts_behaviour(
    study: Study,
    *,
    outcome: BehaviourOutcome = "agreement",
    method: str = "ig",
    threshold: float = DEFAULT_THRESHOLD,
    margin: float = SLOPE_MARGIN,
    draws: Draws = DRAWS,
) -> TestResult:
    """Test H10: facts with more consistent neurons are answered more alike, or more surely.

    Estimate: slope of the outcome on κ over facts, within relations, with mean log P (unless it is the
    outcome), log size of the sets, tokens of the answer, log number of the relation's facts with the
    answer, and κ and the outcome that the fact's templates make (facts asked with templates that are alike
    would pass for consistent ones, and are answered alike) as covariates. κ and outcomes are over *all*
    queries: known ones have one answer. One-sided, for a slope above 0; errors clustered by relation, and by
    answer across relations.

    Parameters
    ----------
    study : Study
        What the model was asked, and what it answered.
    outcome : {"agreement", "candidate_agreement", "log_probability"}
        H10a, H10b or H10c.
    method : str
        Attribution method of the store.
    threshold : float
        Attribution threshold of the sets, as a share of a query's largest attribution.
    margin : float
        Standardized slope that counts as none; fix it before looking.
    draws : Draws
        Number of resamples, level of the interval, α and seed.

    Returns
    -------
    TestResult
        ``H10a``, ``H10b`` or ``H10c``; "not identified" with fewer than three relations, or where κ or the
        outcome does not vary.

    References
    ----------
    docs/statistics.md#h10-does-κ-predict-behaviour-predicts_behaviour
    Cameron & Miller 2015; Webb 2023.
    """
    frame = fact_columns(study, method=method, threshold=threshold, known=False)
    return behaviour_test(frame, outcome, margin=margin, draws=draws, store=study.fingerprint)


def behaviour_test(
    frame: pd.DataFrame,
    outcome: BehaviourOutcome,
    *,
    margin: float = SLOPE_MARGIN,
    draws: Draws = DRAWS,
    store: str = "",
    second_opinion: bool = True,
) -> TestResult:
    """Test H10 on a table of facts; see :func:`predicts_behaviour`.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns of :func:`qloc.analysis.localization.fact_columns.fact_columns` over all queries:
        ``relation``, ``kappa``, the outcome, ``object`` (where it is there, facts are also clustered by
        answer across relations), and such of :data:`COVARIATES` as there are.
    outcome : {"agreement", "candidate_agreement", "log_probability"}
        H10a, H10b or H10c.
    margin : float
        Standardized slope that counts as none.
    draws : Draws
        Number of resamples, level of the interval, α and seed.
    store : str
        Fingerprint of the store that the table is from.
    second_opinion : bool
        Tell in ``checks`` what a linear mixed model says.

    Returns
    -------
    TestResult
        ``H10a``, ``H10b`` or ``H10c``.
    """
    covariates = (*COVARIATES, _OF_TEMPLATES[outcome])
    names = ["kappa", *(name for name in covariates if name != outcome and name in frame)]
    ways = [name for name in ("relation", "object") if name in frame]
    rows = frame[[*ways, outcome, *names]].replace([np.inf, -np.inf], np.nan).dropna()
    values = rows[[outcome, *names]].to_numpy(dtype=np.float64)
    clusters = tuple(codes(rows[name].astype(str).to_numpy()) for name in ways)
    group = clusters[0]
    inside = within(values, group) if len(rows) else values.copy()
    # What is constant within relations is 0 here, but for rounding.
    inside[:, np.abs(inside).max(axis=0, initial=0.0) < 1e-9] = 0.0
    y, kept = inside[:, 0], independent(inside[:, 1:])
    able = n_codes(group) >= 3 and kept[:1] == [0] and y.any() and len(y) > n_codes(group) + len(kept)
    checks = [f"Covariates, within relations: {', '.join(names[place] for place in kept[1:]) or 'none'}."]
    dropped = [name for place, name in enumerate(names) if place not in kept]
    if dropped:
        checks.append(f"Left out, constant within relations: {', '.join(dropped)}.")
    slope = clustered_slopes(y, inside[:, 1:][:, kept], clusters, [0], draws)[0] if able else None
    if slope and second_opinion:
        checks.append(_mixed(values[:, 0], values[:, 1:][:, kept], group))
    if slope:
        checks += few_answers_in_words(dict(zip(ways, clusters, strict=True)))
        checks += slopes_in_words(y, inside[:, 1:][:, kept], group)
        if "kappa_error" in frame:
            errors = frame.loc[rows.index, "kappa_error"].to_numpy(dtype=np.float64)
            checks += _net_of_error(slope, errors, inside[:, 1:][:, kept], group)
        checks.append(f"Smallest effect of interest: ±{margin:g} {SLOPE_UNIT}.")
    n = {"relations": n_codes(group), "facts": len(rows)}
    return _result(outcome, slope, n, tuple(checks), draws, store, margin)


def _result(
    outcome: BehaviourOutcome,
    slope: Slope | None,
    n: dict[str, int],
    checks: tuple[str, ...],
    draws: Draws,
    store: str,
    margin: float,
) -> TestResult:
    name, words = _TEXT[outcome]
    p, opposite = directed_p(slope, "above")
    method = "least squares, cluster-robust: not possible"
    if slope:
        method = f"{slope.method}; one-sided (above 0)"
    result = TestResult(
        name=name,
        question=REGISTRY[name].question,
        estimand=f"slope on κ, within relations, of a fact's {words}",
        unit="fact",
        n=n,
        estimate=slope.estimate if slope else float("nan"),
        interval=slope.interval if slope else None,
        effect=slope.effect if slope else None,
        method=method,
        p=None if np.isnan(p) else p,
        role="exploratory",
        alpha=draws.alpha,
        p_opposite=opposite,
        target=NEW_RELATIONS if slope else "",
        margin=margin,
        margin_unit=SLOPE_UNIT,
        standardized=True,
        p_equivalence=equivalence_p(slope, margin, standardized=True),
        least_p=1 / (draws.n_bootstrap + 1) / 2 if slope else None,
        least_by=f"{draws.n_bootstrap} resamples" if slope else "",
        checks=checks,
        seed=draws.seed,
        store=store,
    )
    return judged(result)


def _net_of_error(slope: Slope, errors: Floats, x: Floats, group: Ints) -> list[str]:
    """Say what the slope is without the error of κ, which draws it to 0.

    It is slope/λ, λ = 1 − error/Var(κ | covariates), where nearly all facts tell their error.
    """
    told = ~np.isnan(errors)
    if told.mean() < LEAST_TOLD:
        return []
    others = x[:, 1:]
    rest = x[:, 0] - others @ np.linalg.lstsq(others, x[:, 0], rcond=None)[0]
    variance = float(rest @ rest) / (len(rest) - n_codes(group) - others.shape[1])
    share = min(1.0, 1 - float(errors[told].mean()) / variance)
    n = f"{told.sum():,} facts"
    said = f"Reliability of κ given the covariates, by the pairs of queries of {n}: {number(share)}"
    if share < LEAST_RELIABILITY:
        return [f"{said}, which is too little to tell the slope net of error."]
    said = f"{said}; net of its error, the slope is {number(slope.estimate / share)}"
    if ends := slope.interval:
        said = f"{said} [{number(ends.low / share)}, {number(ends.high / share)}], as if this were known"
    return [f"{said}."]


def _mixed(y: Floats, x: Floats, group: Ints) -> str:
    """Second opinion: slope and p of a linear mixed model; relations have their own intercepts and slopes."""
    design = np.column_stack([x, np.ones(len(x))])
    of_relations = np.column_stack([np.ones(len(x)), x[:, 0] - x[:, 0].mean()])
    said = "Second opinion, a mixed model with an intercept and a slope for each relation"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of is said in words below
        try:
            model = sm.MixedLM(y, design, groups=group, exog_re=of_relations).fit(reml=True)
        except (np.linalg.LinAlgError, ValueError):
            return f"{said}: could not be fitted."
    slope = f"slope {number(float(model.params[0]))}; p-value: {p_value(float(model.pvalues[0]))}"
    return f"{said}{'' if model.converged else ' (did not converge)'}: {slope}."
