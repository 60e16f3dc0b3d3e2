"""The result of one test: estimate, interval, p-values, and the verdict that follows, as plain data.

How a verdict follows is in :mod:`qloc.analysis.verdicts`; what a test is, in docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import pandas as pd

from qloc.analysis.plain_values import plain
from qloc.hypothesis_registry import Claims, Direction, Region
from qloc.text.notebook_html import notebook_html
from qloc.text.rounding import available, counted, estimated, number, p_value

Verdict = Literal[
    "holds",
    "the opposite holds",
    "no relevant difference",
    "undecided",
    "cannot be told",
    "not identified",
    "descriptive",
]
Role = Literal["confirmatory", "exploratory", "descriptive"]

MARKS: Final[Mapping[Verdict, str]] = {
    "holds": "✓",
    "the opposite holds": "✕",
    "no relevant difference": "≈",
    "undecided": "?",
    "cannot be told": "∅",
    "not identified": "∅",
    "descriptive": "·",
}
"""The mark of each verdict; its word always stands beside it."""

_LACKING: Final = "not available"

NEW_RELATIONS: Final = "for new relations, asked as these are"
THESE_RELATIONS: Final = "for these relations and templates"
"""What p speaks for: relations are a sample, or the ones at hand are meant."""

LEAST_FACTS: Final = 10
LEAST_CLUSTERS: Final = 5
"""Facts and relations that a confirmatory verdict needs not to be told as resting on few."""

_TOLD: Final[tuple[Verdict, ...]] = ("holds", "the opposite holds", "no relevant difference")


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval, and how it was made.

    Attributes
    ----------
    low, high : float
        Ends, in the unit of the estimate; NaN where there is none.
    confidence : float
        Confidence level, within (0, 1).
    method : str
        How it was made, in words.
    freedom : float or None
        Degrees of freedom of t, where it is one of t; None for the normal distribution, or another way.
    """

    low: float
    high: float
    confidence: float
    method: str
    freedom: float | None = None


@dataclass(frozen=True, kw_only=True)
class EffectSize:
    """A standardized effect.

    Attributes
    ----------
    name : str
        Name of the effect size, such as ``matched rank-biserial`` or ``Hedges' g``.
    value : float
        NaN where it is not defined.
    interval : Interval or None
        Its interval, where there is one.
    """

    name: str
    value: float
    interval: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class TestResult:
    """The result of one test; every test returns this class (docs/statistics.md).

    Attributes
    ----------
    name : str
        Short name, such as ``H1a``.
    question : str
        What was asked, in one line.
    estimand : str
        What ``estimate`` estimates, in words.
    unit : str
        Unit of inference, such as ``fact``.
    n : mapping of str to int
        Sample size at each level, such as ``{"relations": 9, "facts": 812, "queries": 6120}``.
    estimate : float
        In the estimand's own unit; NaN where it is not defined.
    interval : Interval or None
        Interval of the estimate.
    effect : EffectSize or None
        Standardized effect.
    method : str
        How p was made, such as ``permutation within relation × template, 999``.
    p : float or None
        None for descriptive results and those that could not be tested.
    role : {"confirmatory", "exploratory", "descriptive"}
        Whether the plan named the test beforehand.
    direction : {"more", "less", "two-sided", "descriptive"}
        What the question asks for, as in ``qloc.hypotheses.REGISTRY``; p is of this direction.
    claims : Claims or None
        What an estimate above 0, practically 0, or below 0 says, as clauses; None where there is no test.
    verdict : str
        What follows at level ``alpha`` (:func:`qloc.analysis.verdicts.verdict_of`): ``holds``, ``the opposite
        holds``, ``no relevant difference``, ``undecided``, ``cannot be told`` (no data of this size could
        tell), ``not identified`` (no data of this kind could), or ``descriptive`` (nothing was tested).
        Sentences are made from it alone.
    alpha : float
        Level of the verdict.
    p_adjusted : float or None
        p adjusted within ``family``, and for the opposite being tested too
        (:func:`qloc.analysis.verdicts.shared_level`).
    p_opposite : float or None
        p of the opposite of what is asked, two-sided (twice one side's); None where p is two-sided.
    p_opposite_adjusted : float or None
        The same, adjusted like p.
    margin : float or None
        Smallest effect of interest, above 0: an estimate within ±margin is no relevant difference.
    margin_unit : str
        Unit of ``margin``; empty for the estimate's.
    standardized : bool
        Whether ``margin`` is about the effect size rather than the estimate.
    p_equivalence : float or None
        p of lying within ±margin.
    p_equivalence_adjusted : float or None
        The same, adjusted like p.
    least_p : float or None
        Least p that data of this size can give, whatever the effect; None where there is no such bound.
    least_p_adjusted : float or None
        The same after the family's correction, where every test of the family gave its least.
    least_by : str
        What bounds it, such as ``6 relations``.
    detectable : float or None
        Effect, in the unit of ``estimate``, that 4 of 5 studies of this size would find at the level that the
        correction leaves; told where a test is undecided.
    family : str
        The tests corrected together, and how, such as ``confirmatory (Holm)``.
    checks : tuple of str
        Assumption checks and caveats, one sentence each.
    seed : int or None
        Seed of every random draw behind the result; None where nothing was drawn.
    store : str
        Fingerprint of the store.
    target : str
        What p, and with it the verdict, speaks for, in words; empty where there is no test.
    """

    __test__ = False

    name: str
    question: str
    estimand: str
    unit: str
    n: Mapping[str, int]
    estimate: float
    interval: Interval | None
    effect: EffectSize | None
    method: str
    p: float | None
    role: Role
    direction: Direction = "more"
    claims: Claims | None = None
    verdict: Verdict = "undecided"
    alpha: float = 0.05
    p_adjusted: float | None = None
    p_opposite: float | None = None
    p_opposite_adjusted: float | None = None
    margin: float | None = None
    margin_unit: str = ""
    standardized: bool = False
    p_equivalence: float | None = None
    p_equivalence_adjusted: float | None = None
    least_p: float | None = None
    least_p_adjusted: float | None = None
    least_by: str = ""
    detectable: float | None = None
    family: str = ""
    checks: tuple[str, ...] = ()
    seed: int | None = None
    store: str = ""
    target: str = ""

    def sentence(self) -> str:
        """Return the result in words, as a report prints it, with rounded numbers.

        Returns
        -------
        str
            Estimate, interval, sample sizes, p-values and verdict.
        """
        ends = self.interval
        value, low, high = estimated(self.estimate, ends.low if ends else None, ends.high if ends else None)
        parts = [f"{self.name}: {self.estimand} is {value if available(self.estimate) else _LACKING}"]
        if ends:
            low, high = (
                text if available(end) else _LACKING for text, end in ((low, ends.low), (high, ends.high))
            )
            parts.append(f" ({100 * ends.confidence:g}% interval {low} to {high})")
        if 0 in self.n.values() and not available(self.estimate):
            parts.append(f", since no {self.unit} here can tell it")
        elif self.n:
            parts.append(f" over {self.sizes()}")
        if self.p is not None:
            least = f" (least possible: {number(self.least_p)})" if self.least_p is not None else ""
            parts.append(f"; p {_p(self.p)}{least}{f', {self.target}' if self.target else ''}")
        if self.p_adjusted is not None:
            parts.append(f", adjusted p {_p(self.p_adjusted)}")
        return "".join(parts) + f". {self.outcome()}."

    def sizes(self) -> str:
        """Return how many there are at each level.

        Returns
        -------
        str
            Such as ``9 relations, 812 facts``.
        """
        return ", ".join(f"{number(int(n))} {_in_number(level, int(n))}" for level, n in self.n.items())

    def seen(self) -> Region | None:
        """Return which of its claims a test found.

        Returns
        -------
        {"more", "equal", "less"} or None
            The key of ``claims``; None where the verdict leaves that open.
        """
        if self.verdict == "no relevant difference":
            return "equal"
        if self.verdict not in ("holds", "the opposite holds"):
            return None
        if self.direction == "two-sided":
            return "more" if self.estimate > 0 else "less"
        return "more" if (self.direction == "less") is (self.verdict == "the opposite holds") else "less"

    def outcome(self) -> str:
        """Return the verdict in mark and word, and what must stand beside it.

        Returns
        -------
        str
            Such as ``? Undecided: an effect of 0.3 would be found 4 times of 5``.
        """
        why = "; ".join(filter(None, (self.why(), self.basis())))
        return f"{MARKS[self.verdict]} {self.verdict.capitalize()}{f': {why}' if why else ''}"

    def why(self) -> str:
        """Return what the verdict needs beside it to be understood.

        Returns
        -------
        str
            The margin, p of the opposite, what bounds p, or the effect that would have been found; empty
            where the verdict says it all.
        """
        if self.verdict == "no relevant difference" and self.margin is not None:
            p = self.p_equivalence if self.p_equivalence_adjusted is None else self.p_equivalence_adjusted
            return f"within {self.margin_words()}" + ("" if p is None else f", p {_p(p)}")
        if self.verdict == "the opposite holds":
            p = self.p_opposite if self.p_opposite_adjusted is None else self.p_opposite_adjusted
            return "" if p is None else f"p of the opposite {_p(p)}"
        if self.verdict == "cannot be told" and self.least_p is not None:
            corrected = self.least_p_adjusted
            after = f", {number(corrected)} after correction" if (corrected or 0) > self.least_p else ""
            return f"{self.least_by} allow no p below {number(self.least_p)}{after}"
        if self.verdict == "undecided" and self.detectable is not None:
            return f"an effect of {number(self.detectable)} would be found 4 times of 5"
        return ""

    def basis(self) -> str:
        """Return what a confirmatory verdict rests on, where that is little.

        Returns
        -------
        str
            Such as ``resting on 8 facts of 3 relations only``; empty with ten facts of five relations,
            for exploratory tests, and where nothing was shown.
        """
        n = {"facts": LEAST_FACTS, "relations": LEAST_CLUSTERS} | dict(self.n)
        few = n["facts"] < LEAST_FACTS or n["relations"] < LEAST_CLUSTERS
        if self.role != "confirmatory" or self.verdict not in _TOLD or not few:
            return ""
        parts = (counted(n[level], level[:-1]) for level in ("facts", "relations") if level in self.n)
        return f"resting on {' of '.join(parts)} only"

    def margin_words(self) -> str:
        """Return the smallest effect of interest in words.

        Returns
        -------
        str
            Such as ``±0.1 log-odds``; empty where none is declared.
        """
        return "" if self.margin is None else f"±{self.margin:g} {self.margin_unit}".rstrip()

    def __str__(self) -> str:
        return self.sentence()

    def __repr__(self) -> str:
        told = filter(None, (self.verdict, estimate_words(self), self._surety(), self.sizes(), self.role))
        return f"<TestResult {self.name}: {'; '.join(told)}>"

    def _repr_html_(self) -> str:
        pairs = [
            ("verdict", self.outcome()),
            (self.estimand, estimate_words(self)),
            ("p", self._surety()),
            ("n", self.sizes()),
            ("method", self.method),
            ("role", self.role),
        ]
        return notebook_html(f"{self.name}: {self.question}", (), pairs)

    def _surety(self) -> str:
        p = self.p if self.p_adjusted is None else self.p_adjusted
        return "" if p is None else f"{'' if self.p_adjusted is None else 'adjusted '}p {_p(p)}"

    def to_frame(self) -> pd.DataFrame:
        """Return the result as a table of one row.

        Returns
        -------
        pandas.DataFrame
            A column for each attribute; nested parts are flattened to columns such as ``interval_low``.
        """
        flat: dict[str, Any] = {}
        for name, value in plain(self).items():
            if isinstance(value, dict):
                nested = pd.json_normalize({name: value}, sep="_").iloc[0].to_dict()
                flat.update({str(key): part for key, part in nested.items()})
            elif isinstance(value, list):
                flat[name] = "; ".join(map(str, value))
            else:
                flat[name] = value
        return pd.DataFrame([flat])


def estimate_words(test: TestResult) -> str:
    """Write an estimate with the ends of its interval.

    Parameters
    ----------
    test : TestResult
        At full precision.

    Returns
    -------
    str
        Such as ``0.42 [0.38, 0.46]``; empty where there is no estimate.
    """
    if not available(test.estimate):
        return ""
    ends = test.interval
    bounds = (ends.low, ends.high) if ends else (None, None)
    text, low, high = estimated(float(test.estimate), *bounds)
    if ends is None or not (available(ends.low) or available(ends.high)):
        return text
    return f"{text} [{low}, {high}]"


def _in_number(level: str, count: int) -> str:
    """Return the name of a level, which is in the plural, in the number of its count."""
    if count != 1:
        return level
    if level == "strata":
        return "stratum"
    return f"{level[:-3]}y" if level.endswith("ies") else level.removesuffix("s")


def _p(value: float) -> str:
    if math.isnan(value):
        return _LACKING
    text = p_value(value)
    return text if text.startswith("<") else f"= {text}"
