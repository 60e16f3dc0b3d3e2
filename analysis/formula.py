"""Own hypotheses by formula: a regression over facts whose errors are clustered."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import patsy

from qloc.analysis.inference.codes import codes, n_codes
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.regression import clustered_slopes, independent
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.fact_columns import fact_columns
from qloc.analysis.results import TestResult, Verdict
from qloc.errors import InputError, message
from qloc.vocabulary import DEFAULT_THRESHOLD


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A fitted formula: one TestResult a term, the intercept first where there is one.

    Attributes
    ----------
    n : facts, and clusters.
    left_out : facts without a value in some column of the formula.
    """

    formula: str
    cluster: str
    tests: tuple[TestResult, ...]
    r_squared: float
    n: int
    left_out: int

    def __getitem__(self, term: str) -> TestResult:
        found = {test.name: test for test in self.tests}
        if term not in found:
            rule = f"one of {', '.join(found)}"
            raise InputError(message("term", term, rule, self.formula, "Choose a term"))
        return found[term]

    def __str__(self) -> str:
        head = f"{self.formula}, {self.n:,} facts, clustered by {self.cluster}, R² {self.r_squared:.3f}"
        return "\n".join([head, *(test.sentence() for test in self.tests)])

    def to_frame(self) -> pd.DataFrame:
        """One row a term."""
        return pd.concat([test.to_frame() for test in self.tests], ignore_index=True)


def fit(
    study: Study,
    formula: str,
    cluster: str = "relation",
    *,
    method: str = "ig",
    threshold: float = DEFAULT_THRESHOLD,
    known: bool = True,
    n_bootstrap: int = 999,
    confidence: float = 0.95,
    alpha: float = 0.05,
    seed: int = 0,
) -> Fit:
    """Regress one column of the facts on others, by ordinary least squares with cluster-robust inference.

    Parameters
    ----------
    formula : as in R, such as ``"kappa ~ log_count + C(relation)"``, over the columns of
        :func:`qloc.analysis.localization.fact_columns.fact_columns`: scores, behaviour, attributes, and
        ``log_<name>``.
    cluster : column whose values' errors may depend on each other: ``relation``, ``object``, ``subject``…
    known : scores over known queries only.

    Returns
    -------
    Fit : prints as sentences; one TestResult a term, exploratory, not adjusted. Intervals are those of t(G −
        1); p under 40 clusters is that of the wild cluster bootstrap.

    Raises
    ------
    InputError : a column that there is not, a formula that cannot be read, or fewer than three clusters.

    References
    ----------
    Cameron & Miller 2015, JHR 50; Webb 2023, CJE 56.

    Examples
    --------
    >>> from qloc.simulation.simulate import simulate
    >>> study = simulate(facts=60, relations=6, templates=4, seed=1)
    >>> fitted = fit(study, "kappa ~ log_frequency", cluster="object")
    >>> [test.name for test in fitted.tests]
    ['Intercept', 'log_frequency']
    """
    frame = fact_columns(study, method=method, threshold=threshold, known=known)
    draws = Draws(n_bootstrap=n_bootstrap, confidence=confidence, alpha=alpha, seed=seed)
    return fit_frame(frame, formula, cluster, draws=draws, store=study.fingerprint)


def fit_frame(
    frame: pd.DataFrame, formula: str, cluster: str, *, draws: Draws | None = None, store: str = ""
) -> Fit:
    """The same for any frame of one row a fact."""
    given = draws or Draws()
    _check(frame, formula, cluster)
    try:
        y, x = patsy.dmatrices(formula, frame.reset_index(drop=True), return_type="dataframe")
    except (patsy.PatsyError, SyntaxError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        rule = f"a formula over {', '.join(map(str, frame))}"
        raise InputError(message("formula", formula, rule, f"qloc.fit ({said})", "Correct it")) from None
    code = codes(frame[cluster].astype(str).to_numpy()[x.index])
    if n_codes(code) < 3 or y.shape[1] != 1:
        rule = "a column with at least three values, and one outcome"
        raise InputError(message("cluster", cluster, rule, formula, "Cluster by another column"))
    values, target = x.to_numpy(dtype=np.float64), y.to_numpy(dtype=np.float64)[:, 0]
    kept = independent(values)
    names = [str(x.columns[place]) for place in kept]
    dropped = sorted({*map(str, x.columns)} - {*names})
    slopes = clustered_slopes(target, values[:, kept], code, list(range(len(kept))), given)
    n = {"clusters": n_codes(code), "facts": len(target)}
    checks = tuple([f"A combination of other terms, left out: {', '.join(dropped)}."] if dropped else [])
    tests = tuple(
        TestResult(
            name=name,
            question=f"Does {y.columns[0]} go with {name}?",
            estimand=_estimand(str(y.columns[0]), name),
            unit="fact",
            n=n,
            estimate=slope.estimate,
            interval=slope.interval,
            effect=slope.effect,
            method=slope.method,
            p=None if np.isnan(slope.p) else slope.p,
            role="exploratory",
            verdict=_verdict(slope.p, given.alpha),
            alpha=given.alpha,
            checks=checks,
            seed=given.seed,
            store=store,
        )
        for name, slope in zip(names, slopes, strict=True)
    )
    beta = np.array([slope.estimate for slope in slopes])
    residual = target - values[:, kept] @ beta
    spread = float(np.sum((target - target.mean()) ** 2))
    return Fit(
        formula=formula,
        cluster=cluster,
        tests=tests,
        r_squared=1 - float(np.sum(residual**2)) / spread if spread > 0 else float("nan"),
        n=len(target),
        left_out=len(frame) - len(target),
    )


def _verdict(p: float, alpha: float) -> Verdict:
    return "not identified" if np.isnan(p) else "holds" if p <= alpha else "undecided"


def _estimand(outcome: str, name: str) -> str:
    if name == "Intercept":
        return f"{outcome} where all other terms are 0"
    return f"slope of {outcome} on {name}, other terms of the formula held"


def _check(frame: pd.DataFrame, formula: str, cluster: str) -> None:
    """Refuse names that are no column (functions such as C(…) and np.log(…) aside), all at once."""
    words = re.findall(r"(?<![\w.])[A-Za-z_]\w*(?!\w|\s*[.(])", re.sub(r"(['\"]).*?\1", "", formula))
    unknown = [word for word in dict.fromkeys([*words, cluster]) if word not in frame]
    rule = f"one of {', '.join(map(str, frame))}"
    if unknown:
        raise InputError([message("column", word, rule, "qloc.fit", "Correct the name") for word in unknown])
