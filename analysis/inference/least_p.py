"""The least p-value that a test can give with so many clusters and draws, and which clusters are flipped."""

from __future__ import annotations

import numpy as np

from qloc.analysis.inference.label_codes import codes, n_codes
from qloc.analysis.inference.resampling import Alternative
from qloc.arrays import Ints


def least_permutation_p(n_permutations: int) -> float:
    """Return the least p of a permutation test, 1/(n + 1).

    Parameters
    ----------
    n_permutations : int
        Random permutations n.

    Returns
    -------
    float
        Within (0, 1].

    Examples
    --------
    >>> least_permutation_p(999)
    0.001
    """
    return 1 / (n_permutations + 1)


def least_flip_p(n_clusters: int, n_permutations: int, alternative: Alternative = "greater") -> float:
    """Return the least p of flipping the signs of G clusters: 2^−G one-sided, 2^(1 − G) two-sided.

    It is reached where all clusters have effects of one sign. Where flips are drawn (2^G > n) instead of
    enumerated, the least p is 1/(n + 1).

    Parameters
    ----------
    n_clusters : int
        Clusters G whose signs are flipped.
    n_permutations : int
        Most flips n that are made.
    alternative : {"greater", "two-sided"}, default "greater"
        Of the test.

    Returns
    -------
    float
        Within (0, 1].

    Examples
    --------
    >>> least_flip_p(6, 999), least_flip_p(6, 999, "two-sided"), least_flip_p(20, 999)
    (0.015625, 0.03125, 0.001)
    """
    if 2.0**n_clusters > n_permutations:
        return least_permutation_p(n_permutations)
    return min(1.0, 2.0 ** ((alternative == "two-sided") - n_clusters))


def too_few(n_relations: int, level: float = 0.05) -> bool:
    """Return whether no flip of whole relations can reach a two-sided p ≤ ``level``: 2^(1 − G) > level.

    Parameters
    ----------
    n_relations : int
        Number of relations G.
    level : float, default 0.05
        Level that p must be able to reach, within (0, 1).

    Returns
    -------
    bool
        True for fewer than six relations at 5%.

    Examples
    --------
    >>> too_few(5), too_few(6), too_few(7, 0.05 / 4), too_few(8, 0.05 / 4)
    (True, False, True, False)
    """
    return bool(2.0 ** (1 - n_relations) > level)


def flip_clusters(relation: Ints, answer: Ints, level: float = 0.05) -> tuple[Ints, str]:
    """Return the clusters whose signs are flipped: relations or, where too few, answers within them.

    Relations are too few where no flip of whole relations can reach ``level`` (:func:`too_few`). The p of
    flips of answers within relations holds for these relations only.

    Parameters
    ----------
    relation, answer : int64 ndarray, shape (fact,)
        Relation and answer of each fact.
    level : float, default 0.05
        Level that p must be able to reach, within (0, 1).

    Returns
    -------
    clusters : int64 ndarray, shape (fact,)
        Each fact's cluster.
    words : str
        What is flipped, for the ``method`` of a result.

    Examples
    --------
    >>> flip_clusters(np.arange(6), np.zeros(6, dtype=int))[1]
    'signs of whole relations flipped (6)'
    """
    n = len(np.unique(relation))
    if not too_few(n, level):
        return relation, f"signs of whole relations flipped ({n})"
    cell = codes(relation, answer)
    return (
        cell,
        f"signs of whole answers within relations flipped ({n_codes(cell)}), for these relations only",
    )
