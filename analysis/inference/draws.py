"""How much a test draws at random, at which levels, and from which seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from qloc.errors import InputError, message


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Random draws and levels of a test; the defaults are those of an analysis plan.

    A test reads the fields that it needs: one that permutes reads ``n_permutations``, a regression reads
    ``n_bootstrap``. Results store ``alpha`` and ``seed``, and name the number of draws in ``method``.

    Attributes
    ----------
    n_permutations : int, default 999
        Random permutations or sign flips, at least 1. The smallest possible p is 1/(n_permutations + 1).
    n_bootstrap : int, default 999
        Bootstrap resamples; tables of 0 have no intervals, and a test takes at least 1.
    confidence : float, default 0.95
        Confidence level of every interval, within (0, 1).
    alpha : float, default 0.05
        Significance level, within (0, 1): a test holds where its p is at most ``alpha``.
    seed : int, default 0
        Seed of every random draw, not negative. Equal seeds give equal results.

    Raises
    ------
    InputError
        Fields outside their domain; each.

    Examples
    --------
    >>> Draws(n_permutations=99, seed=7)
    Draws(n_permutations=99, n_bootstrap=999, confidence=0.95, alpha=0.05, seed=7)
    """

    n_permutations: int = 999
    n_bootstrap: int = 999
    confidence: float = 0.95
    alpha: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        counts = {"n_permutations": 1, "n_bootstrap": 0, "seed": 0}
        problems = [
            message(name, value, f"a whole number ≥ {least}", "qloc.Draws", "Correct it")
            for name, least in counts.items()
            if isinstance(value := getattr(self, name), bool)
            or not isinstance(value, int | np.integer)
            or value < least
        ]
        problems += [
            message(name, value, "a number within (0, 1)", "qloc.Draws", "Correct it")
            for name in ("confidence", "alpha")
            if isinstance(value := getattr(self, name), bool)
            or not isinstance(value, float | np.floating)
            or not 0 < value < 1
        ]
        if problems:
            raise InputError(problems)


DRAWS: Final = Draws()
"""The draws of a test whose caller gives none."""
