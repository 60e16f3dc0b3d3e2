"""The minimal detectable effect: what a study of this size would have found, had it been there."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy import stats

from qloc.analysis.hypothesis_test import TestResult

POWER: Final = 0.8
"""Probability with which a minimal detectable effect is found: 4 studies of 5."""


def detectable_effect(test: TestResult, level: float) -> float | None:
    """Return the effect that a test of this precision finds with probability 0.8.

    With the interval's half width h = t_c · s, c its confidence and ν its degrees of freedom::

        (t_{1 − level, ν} + t_{0.8, ν}) · s

    (level/2 where the test is two-sided).

    Parameters
    ----------
    test : TestResult
        With an interval; its precision is taken for the test's. Where an end is farther for skewness, or for
        a second way to the error, the effect is told rather too large.
    level : float
        Level that p must reach, after what correction leaves.

    Returns
    -------
    float or None
        Above 0, in the unit of the estimate; None without an interval of finite width.

    References
    ----------
    Bloom 1995, "Minimum detectable effects", Evaluation Review 19.

    Examples
    --------
    >>> from qloc.analysis.hypothesis_test import Interval
    >>> test = TestResult(
    ...     name="H5a", question="?", estimand="e", unit="fact", n={}, estimate=0.1, effect=None, method="m",
    ...     interval=Interval(low=-1.86, high=2.06, confidence=0.95, method="normal"), p=0.4,
    ...     role="exploratory",
    ... )
    >>> round(detectable_effect(test, 0.05), 2)  # 1.645 + 0.842 standard errors of 1
    2.49
    """
    ends = test.interval
    if ends is None or not np.isfinite(ends.high - ends.low) or not ends.high > ends.low:
        return None
    law = stats.norm if ends.freedom is None else stats.t(ends.freedom)
    error = (ends.high - ends.low) / 2 / law.ppf((1 + ends.confidence) / 2)
    side = level / 2 if test.direction == "two-sided" else level
    return float((law.ppf(1 - side) + law.ppf(POWER)) * error)
