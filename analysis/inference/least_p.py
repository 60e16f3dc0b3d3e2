"""The least p-value that a test can give with so many clusters and draws, whatever the effect."""

from __future__ import annotations

from qloc.analysis.inference.resampling import Alternative


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
