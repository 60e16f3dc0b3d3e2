"""Verdicts: one rule for every test, from p-values, a smallest effect of interest, and what p can attain.

An effect is *more*, *less*, *practically equal* or *undecided*; with the direction that a question asks for,
these become the words of a verdict. Sentences that answer a question are made from its verdicts alone, after
correction for multiple testing, so that nothing undecided is told as a fact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from qloc.analysis.hypothesis_test import TestResult, Verdict, estimate_words
from qloc.hypothesis_registry import REGISTRY
from qloc.text.rounding import available

OPPOSITE_SHARE: Final = 0.1
"""Share of α that is kept for the opposite of what is asked; the rest is of what is asked."""


def judged(test: TestResult) -> TestResult:
    """Return a test with the verdict that follows from its own p-values, not yet corrected.

    Direction and claims are those of the registry where the test has its name.

    Parameters
    ----------
    test : TestResult
        With ``p``, and where they are defined ``p_opposite``, ``p_equivalence`` and ``least_p``. A test of
        role ``descriptive`` stays as it is; one without p is not identified.

    Returns
    -------
    TestResult
        With ``direction``, ``claims`` and ``verdict``.
    """
    if test.name in REGISTRY:
        entry = REGISTRY[test.name]
        test = replace(test, direction=entry.direction, claims=entry.claims)
    if test.role == "descriptive":
        return replace(test, verdict="descriptive")
    if not available(test.p):
        return replace(test, p=None, verdict="not identified")
    asked, opposite = shared_level(test.p, test.p_opposite)
    verdict = verdict_of(
        p=asked,
        p_opposite=opposite,
        p_equivalence=test.p_equivalence,
        least_p=shared_level(test.least_p, test.p_opposite)[0],
        alpha=test.alpha,
    )
    return replace(test, verdict=verdict)


def shared_level(p: float | None, p_opposite: float | None) -> tuple[float | None, float | None]:
    """Return p of what is asked and of its opposite so that α is the level of both verdicts together.

    What is asked gets (1 − w) α and its opposite w α of one side, w being :data:`OPPOSITE_SHARE`: p/(1 − w)
    and p_opposite/2w, at most 1, are compared with α.

    Parameters
    ----------
    p : float or None
        One-sided p of what is asked; the two-sided p where ``p_opposite`` is None.
    p_opposite : float or None
        Two-sided p of the opposite (twice one side's); None where the question has no direction.

    Returns
    -------
    p, p_opposite : float or None
        ``p`` as it is where ``p_opposite`` is None; None stays None, and NaN stays NaN.

    Examples
    --------
    >>> [round(p, 4) for p in shared_level(0.045, 0.01)]
    [0.05, 0.05]
    >>> shared_level(0.05, None)
    (0.05, None)
    """
    if p_opposite is None:
        return p, None
    of_opposite = p_opposite / 2 / OPPOSITE_SHARE
    return p if p is None else _capped(p / (1 - OPPOSITE_SHARE)), _capped(of_opposite)


def _capped(p: float) -> float:
    return 1.0 if p > 1 else p  # NaN stays NaN


def verdict_of(
    *,
    p: float | None,
    p_opposite: float | None = None,
    p_equivalence: float | None = None,
    least_p: float | None = None,
    alpha: float = 0.05,
) -> Verdict:
    """Return the verdict that p-values give at a level; the first of these rules that applies.

    ======================= ===========================================================================
    verdict                 rule
    ======================= ===========================================================================
    no relevant difference  p_equivalence ≤ α: the effect lies within the smallest effect of interest,
                            whether or not it differs from 0
    holds                   p ≤ α
    the opposite holds      p_opposite ≤ α
    cannot be told          least_p > α: data of this size give no p ≤ α, whatever the effect
    undecided               otherwise: failing to reject shows nothing
    ======================= ===========================================================================

    Parameters
    ----------
    p : float or None
        p of what is asked, as :func:`shared_level` returns it; None and NaN count as large, here and below.
    p_opposite : float or None, optional
        p of the opposite, likewise.
    p_equivalence : float or None, optional
        p of two one-sided tests against ±margin.
    least_p : float or None, optional
        Least p that the data could give; None where nothing bounds it.
    alpha : float, default 0.05
        Level, within (0, 1). p-values that were adjusted are compared with it all alike.

    Returns
    -------
    str
        One of the five words above.

    Examples
    --------
    >>> verdict_of(p=0.01), verdict_of(p=0.01, p_equivalence=0.02), verdict_of(p=0.99, p_opposite=0.03)
    ('holds', 'no relevant difference', 'the opposite holds')
    >>> verdict_of(p=0.3), verdict_of(p=0.25, least_p=0.0625)
    ('undecided', 'cannot be told')
    """

    def at_most(value: float | None) -> bool:
        return value is not None and value <= alpha  # False for NaN

    if at_most(p_equivalence):
        return "no relevant difference"
    if at_most(p):
        return "holds"
    if at_most(p_opposite):
        return "the opposite holds"
    return "cannot be told" if least_p is not None and least_p > alpha else "undecided"


def sentence_of(test: TestResult) -> str:
    """Return what a test says, in one sentence that its verdict makes.

    Parameters
    ----------
    test : TestResult
        With claims; its verdict is after correction where it is one of several.

    Returns
    -------
    str
        Empty for descriptive results and tests without claims.

    Examples
    --------
    >>> from qloc.analysis.hypothesis_test import Interval
    >>> test = TestResult(
    ...     name="H10a", question="?", estimand="slope", unit="fact", n={}, estimate=-2.42, effect=None,
    ...     interval=Interval(low=-3.48, high=-1.2, confidence=0.95, method="t"), method="", p=1.0,
    ...     p_opposite=0.001, role="exploratory",
    ... )
    >>> sentence_of(judged(test))  # doctest: +ELLIPSIS
    'The opposite holds: facts with a higher κ get the same most likely answer less often (−2.4 [−3.5...
    """
    claims, verdict = test.claims, test.verdict
    if claims is None or verdict == "descriptive":
        return ""
    asked = claims.less if test.direction == "less" else claims.more
    if test.direction == "two-sided":
        asked = claims.less if test.estimate < 0 else claims.more
    opposite = claims.more if test.direction == "less" else claims.less
    whether = f"whether {asked}"
    size = estimate_words(test)
    if verdict == "holds":
        return f"{_capital(asked)}{_in_brackets(size, _relevance(test), test.basis())}."
    if verdict == "the opposite holds":
        return f"The opposite holds: {opposite}{_in_brackets(size, _relevance(test), test.basis())}."
    if verdict == "no relevant difference":
        within = f"no more than {test.margin_words()}" if test.margin is not None else ""
        return f"No relevant difference: {claims.equal}{_in_brackets(size, within, test.basis())}."
    if test.direction == "two-sided":
        whether = f"whether {claims.more}, or {claims.less}"
    if verdict == "not identified":
        return f"It cannot be told, from data of this kind, {whether}."
    word = "It cannot be told" if verdict == "cannot be told" else "It is undecided"
    return f"{word} {whether}{_in_brackets(size, test.why())}."


def answer_of(tests: Sequence[TestResult], measured: str) -> str:
    """Return the answer to a question: a sentence for each verdict, then what was measured.

    Parameters
    ----------
    tests : sequence of TestResult
        Of the question, corrected.
    measured : str
        Measurements in words; they must claim no effect that a test is made of.

    Returns
    -------
    str
        Sentences, parted by spaces.
    """
    return " ".join(filter(None, [*map(sentence_of, tests), measured]))


def _relevance(test: TestResult) -> str:
    """Say so where an effect that differs from 0 may still be smaller than what is of interest."""
    ends = test.effect.interval if test.standardized and test.effect else test.interval
    if test.margin is None or ends is None or not (available(ends.low) and available(ends.high)):
        return ""
    nearest = ends.low if ends.low + ends.high > 0 else -ends.high
    if nearest > test.margin:
        return ""
    return f"whether by more than {test.margin_words()} is open"


def _in_brackets(*parts: Any) -> str:
    told = "; ".join(filter(None, parts))
    return f" ({told})" if told else ""


def _capital(clause: str) -> str:
    return clause if clause.startswith("κ") else clause[:1].upper() + clause[1:]


def or_nan(p: float | None) -> float:
    """Return a p-value, NaN where there is none.

    Parameters
    ----------
    p : float or None
        A p-value.

    Returns
    -------
    float
        The same, or NaN.

    Examples
    --------
    >>> or_nan(0.5), or_nan(None)
    (0.5, nan)
    """
    return math.nan if p is None else p
