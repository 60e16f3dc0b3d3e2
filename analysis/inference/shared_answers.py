"""Answers that several relations share: dependence that sign flips and resamples of whole relations miss."""

from __future__ import annotations

from qloc.analysis.inference.label_codes import codes, n_codes
from qloc.arrays import Ints


def crossed(relation: Ints, answer: Ints) -> bool:
    """Return whether some answer occurs in more than one relation.

    Parameters
    ----------
    relation, answer : int64 ndarray, shape (fact,)
        Relation and answer of each fact, as codes.

    Returns
    -------
    bool
        False where there are fewer than two relations.

    Examples
    --------
    >>> import numpy as np
    >>> crossed(np.array([0, 0, 1]), np.array([0, 1, 1])), crossed(np.array([0, 0, 1]), np.array([0, 1, 2]))
    (True, False)
    """
    if not len(relation) or n_codes(codes(relation)) < 2:
        return False
    return n_codes(codes(relation, answer)) > n_codes(codes(answer))
