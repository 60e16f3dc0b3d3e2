"""Hypotheses by formula: regressions over facts, or over rows of any table, with clustered errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import combinations

import numpy as np
import pandas as pd

from qloc.analysis.formula_design import INTERCEPT, Design, design_of, words_of
from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inference.label_codes import n_codes
from qloc.analysis.inference.regression import Slope, clustered_slopes, no_narrower
from qloc.analysis.inference.slope_test import SLOPE_MARGIN, SLOPE_UNIT, equivalence_p
from qloc.analysis.inputs.public_arguments import require_draws, require_study, require_text
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.fact_columns import fact_columns
from qloc.analysis.results import TestResult, estimate_words
from qloc.analysis.verdicts import judged
from qloc.arrays import Ints
from qloc.errors import InputError, message
from qloc.hypothesis_registry import Claims
from qloc.text.notebook_html import notebook_html
from qloc.text.rounding import number
from qloc.vocabulary import DEFAULT_THRESHOLD


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A fitted formula: one TestResult for each term, the intercept first where there is one.

    ``fit["x"]`` is the TestResult of a term; printing a fit prints the sentence of every term.

    Attributes
    ----------
    formula : str
        The formula.
    cluster : str
        Columns by which the errors are clustered, joined by "and".
    within : str
        Column whose groups have an effect of their own each, so that slopes are within groups; empty where
        there is none.
    tests : tuple of TestResult
        One for each term that is not a combination of those before it, nor of the groups' effects. The
        intercept gets no verdict, and an interval only where groups have no effects of their own: errors
        add to nothing within groups.
    r_squared : float
        Share of the outcome's variance that the fit explains; NaN for an outcome without variance.
    n : int
        Number of facts in the fit.
    left_out : int
        Number of facts left out because a column of the formula has no finite value.
    """

    formula: str
    cluster: str
    within: str
    tests: tuple[TestResult, ...]
    r_squared: float
    n: int
    left_out: int

    def __getitem__(self, term: str) -> TestResult:
        by_term = {test.name: test for test in self.tests}
        if term not in by_term:
            rule = f"one of {', '.join(by_term)}"
            raise InputError(message("term", term, rule, self.formula, "Choose a term"))
        return by_term[term]

    def __str__(self) -> str:
        size, explained = number(self.n), number(self.r_squared)
        within = f"within {self.within}, " if self.within else ""
        left = f" ({number(self.left_out)} without a value left out)" if self.left_out else ""
        head = f"{self.formula}, {size} facts{left}, {within}clustered by {self.cluster}, R² {explained}"
        return "\n".join([head, *(test.sentence() for test in self.tests)])

    def __repr__(self) -> str:
        told = "; ".join(f"{test.name} {estimate_words(test)}" for test in self.tests)
        return f"<Fit of {self.formula}, {number(self.n)} facts: {told}>"

    def _repr_html_(self) -> str:
        head, *_ = str(self).splitlines()
        return notebook_html(
            head, (), [(test.name, f"{estimate_words(test)}, {test.outcome()}") for test in self.tests]
        )

    def to_frame(self) -> pd.DataFrame:
        """Return the fit as a table.

        Returns
        -------
        pandas.DataFrame
            One row for each term, with the columns of :meth:`TestResult.to_frame`.
        """
        return pd.concat([test.to_frame() for test in self.tests], ignore_index=True)


def fit(
    study: Study,
    formula: str,
    cluster: str = "relation",
    *,
    within: str | None = "relation",
    method: str = "ig",
    threshold: float = DEFAULT_THRESHOLD,
    known: bool = True,
    margin: float = SLOPE_MARGIN,
    draws: Draws = DRAWS,
) -> Fit:
    """Regress one column of the facts on others, by ordinary least squares with cluster-robust inference.

    Parameters
    ----------
    study : Study
        The study whose facts are the observations.
    formula : str
        As in R, such as ``"kappa ~ log_count + C(relation)"``, over the columns of
        :func:`qloc.analysis.localization.fact_columns.fact_columns`: scores, behaviour, attributes, and
        ``log_<name>``.
    cluster : str, default "relation"
        Column such as ``relation``, ``object`` or ``subject``: errors of facts with the same value may depend
        on each other. They are clustered by relation and by answer besides, where these cross it or each
        other: slopes may differ over relations, and facts of one answer have much in common. Of three ways
        that cross, every two are taken; p is the largest, and intervals have the farthest ends.
    within : str or None, default "relation"
        Column whose groups get an effect of their own each: slopes then compare facts of one relation.
        Relations differ for many reasons, and a slope between them is none of facts. None: slopes within and
        between relations.
    method : str, default "ig"
        Attribution method of the neuron sets behind the scores.
    threshold : float, default 0.2
        Threshold of the neuron sets.
    known : bool, default True
        Whether scores are over known queries only.
    margin : float, default 0.1
        Standardized slope that counts as none, by standard deviations within the groups of ``within``; fix it
        before looking.
    draws : Draws, optional
        ``n_bootstrap``, ``confidence``, ``alpha`` and ``seed`` are used.

    Returns
    -------
    Fit
        One TestResult for each term, two-sided, exploratory, not adjusted; an intercept is descriptive. p is
        the larger of those of the cluster-robust t and the wild cluster bootstrap; intervals have the farther
        ends.

    Raises
    ------
    InputError
        A column does not exist, the formula cannot be read, there are fewer than three clusters, the model is
        not identified (as many columns as clusters, effects of groups that lie in one cluster not counted, or
        as facts), two answers cross relations and the formula does not hold them, or the outcome is no column
        of numbers, does not vary, or is what the terms make it.

    References
    ----------
    Cameron & Miller 2015, JHR 50; Webb 2023, CJE 56.

    Examples
    --------
    >>> from qloc.simulation.simulate import simulate
    >>> study = simulate(facts=60, relations=6, templates=4, seed=1)
    >>> fitted = fit(study, "kappa ~ log_frequency")
    >>> [test.name for test in fitted.tests]
    ['Intercept', 'log_frequency']
    """
    require_study(study, "qloc.fit")
    require_draws(draws, "qloc.fit")
    require_text(formula, "formula", "qloc.fit", "Write one, such as 'kappa ~ log_k'")
    frame = fact_columns(study, method=method, threshold=threshold, known=known)
    _check(frame, formula, cluster, within)
    design = design_of(frame, formula, cluster, within, ("relation", "object"))
    return _fitted(design, formula, len(frame), margin, draws, study.fingerprint)


def fit_frame(
    frame: pd.DataFrame,
    formula: str,
    cluster: str,
    *,
    within: str | None = None,
    margin: float = SLOPE_MARGIN,
    draws: Draws = DRAWS,
    store: str = "",
) -> Fit:
    """Regress one column of a table on others, as :func:`fit` does for the facts of a study.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row for each fact.
    formula : str
        As in R, over the columns of ``frame``, keywords of Python among them (``class``); rows without a
        finite value in one of them are left out.
    cluster : str
        Column by which the errors are clustered.
    within : str or None, default None
        Column whose groups get an effect of their own each; errors are clustered by it, too, where it has
        three values and does not lie within the clusters.
    margin : float, default 0.1
        Standardized slope that counts as none.
    draws : Draws, optional
        ``n_bootstrap``, ``confidence``, ``alpha`` and ``seed`` are used.
    store : str, optional
        Fingerprint of the store that the table comes from.

    Returns
    -------
    Fit
        One TestResult for each term.

    Raises
    ------
    InputError
        As for :func:`fit`.

    Examples
    --------
    >>> frame = pd.DataFrame({"y": [1.0, 2.0, 3.0, 4.5], "x": [0.0, 1.0, 2.0, 3.0], "g": list("abcd")})
    >>> fitted = fit_frame(frame, "y ~ x", "g", draws=Draws(n_bootstrap=99))
    >>> round(fitted["x"].estimate, 2)
    1.15
    """
    _check(frame, formula, cluster, within)
    return _fitted(design_of(frame, formula, cluster, within), formula, len(frame), margin, draws, store)


def _fitted(design: Design, formula: str, n_rows: int, margin: float, draws: Draws, store: str) -> Fit:
    places = list(range(len(design.names)))
    by_pair = [
        clustered_slopes(design.y, design.x, pair, places, draws, design.group)
        for pair in _pairs(design.clusters)
    ]
    slopes = [reduce(no_narrower, of_term) for of_term in zip(*by_pair, strict=True)]
    n = {"clusters": min(map(n_codes, design.clusters)), "facts": len(design.y)}
    tests = tuple(
        _term(design, name, slope, n, margin, draws, store)
        for name, slope in zip(design.names, slopes, strict=True)
    )
    scaled = design.x / np.linalg.norm(design.x, axis=0)
    residual = design.y - scaled @ np.linalg.lstsq(scaled, design.y)[0]
    spread = float(np.sum((design.y - design.y.mean()) ** 2))
    return Fit(
        formula=formula,
        cluster=design.cluster,
        within=design.within,
        tests=tests,
        r_squared=1 - float(np.sum(residual**2)) / spread if spread > 0 else float("nan"),
        n=len(design.y),
        left_out=n_rows - len(design.y),
    )


def _pairs(ways: tuple[Ints, ...]) -> list[tuple[Ints, ...]]:
    """Return the pairs of ways of clustering that cross, each the coarser first; one way by itself."""
    return [tuple(sorted(pair, key=n_codes)) for pair in combinations(ways, 2)] or [ways]


def _term(
    design: Design,
    name: str,
    slope: Slope,
    n: Mapping[str, int],
    margin: float,
    draws: Draws,
    store: str,
) -> TestResult:
    """The test of one term; an intercept, whose size is one of units, is described."""
    tested, outcome = slope.effect is not None, design.outcome
    free = name == INTERCEPT and bool(design.within)
    result = TestResult(
        name=name,
        question=f"Does {outcome} go with {name}?",
        estimand=_estimand(outcome, name, design.within),
        unit="fact",
        n=n,
        estimate=slope.estimate,
        interval=None if free else slope.interval,
        effect=slope.effect,
        method=f"least squares; no error: effects of {design.within} are held" if free else slope.method,
        p=slope.p if tested and not np.isnan(slope.p) else None,
        role="exploratory" if tested else "descriptive",
        direction="two-sided" if tested else "descriptive",
        claims=Claims(
            more=f"{outcome} rises with {name}, other terms held",
            equal=f"{outcome} is about the same whatever {name}, other terms held",
            less=f"{outcome} falls with {name}, other terms held",
        )
        if tested
        else None,
        alpha=draws.alpha,
        margin=margin if tested else None,
        margin_unit=SLOPE_UNIT if tested else "",
        standardized=tested,
        p_equivalence=equivalence_p(slope, margin, standardized=True),
        least_p=1 / (draws.n_bootstrap + 1) if tested else None,
        least_by=f"{draws.n_bootstrap} resamples" if tested else "",
        checks=design.checks,
        seed=draws.seed,
        store=store,
    )
    return judged(result)


def _estimand(outcome: str, name: str, within: str) -> str:
    if name == INTERCEPT:
        return f"{outcome} where all other terms are 0"
    inside = f", within {within}" if within else ""
    return f"slope of {outcome} on {name}, other terms of the formula held{inside}"


def _check(frame: pd.DataFrame, formula: str, cluster: str, within: str | None) -> None:
    """Refuse all names that are no column, except functions such as C(…) and np.log(…)."""
    words = [*words_of(formula), cluster, *([] if within is None else [within])]
    rule = f"one of {', '.join(map(str, frame))}"
    if unknown := [word for word in dict.fromkeys(words) if word not in frame]:
        raise InputError([message("column", word, rule, "qloc.fit", "Correct the name") for word in unknown])
