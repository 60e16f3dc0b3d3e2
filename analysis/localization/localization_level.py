"""Localization level R₁² of Niu et al.: how far the full score vectors of a fact's queries point one way."""

from __future__ import annotations

import numpy as np

from qloc.analysis.inputs.study import Study
from qloc.arrays import Array, Floats
from qloc.neurons import NeuronSets
from qloc.vocabulary import METHOD


def localization_level(gram: Floats, counted: Array | None = None) -> Floats:
    """Return R₁² of each Gram matrix.

    Rows are scaled to unit length, so the matrix of n rows has trace n and σ₁² is its largest eigenvalue::

        R₁² = (σ₁² − 1) / (n − 1)

    0 where rows are orthogonal, 1 where all point the same way (or the opposite). Rows that are not
    negative have inner products above 0 of themselves, so unrelated ones are above 0 too: compare with a
    null.

    Parameters
    ----------
    gram : float64 ndarray, shape (fact, row, row)
        Inner products of rows; NaN where a fact has fewer rows.
    counted : bool ndarray, shape (fact, row), optional
        Rows that are counted; all where it is not given. Rows of length 0, which point nowhere, never are.

    Returns
    -------
    float64 ndarray, shape (fact,)
        R₁², NaN where fewer than two rows are counted.

    References
    ----------
    Niu et al. 2024, "What does the Knowledge Neuron Thesis Have to do with Knowledge?", arXiv 2405.02421.

    Examples
    --------
    Two rows at a right angle, two parallel ones, and two with a cosine of 0.6: σ₁² is 1, 2 and 1.6.

    >>> gram = np.array([[[1.0, 0], [0, 4]], [[1, 2], [2, 4]], [[1, 0.6], [0.6, 1]]])
    >>> localization_level(gram).round(3).tolist()
    [0.0, 1.0, 0.6]
    """
    square = np.diagonal(gram, axis1=1, axis2=2)
    there = np.nan_to_num(square) > 0
    if counted is not None:
        there = there & counted
    length = np.sqrt(np.where(there, square, 1.0))
    both = there[:, :, None] & there[:, None, :]
    cosine = np.where(both, gram / length[:, :, None] / length[:, None, :], 0.0)
    n = there.sum(axis=1)
    if not cosine.shape[1]:
        return np.full(len(gram), np.nan)
    largest = np.linalg.eigvalsh(cosine)[:, -1]  # rows that are left out are zero: they add eigenvalues of 0
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(n > 1, (largest - 1) / (n - 1), np.nan))


def levels_by_fact(study: Study, sets: NeuronSets, method: str) -> dict[str, Floats]:
    """Return R₁² of each fact over its known queries, over all, and of its null.

    Parameters
    ----------
    study : Study
        Its Gram matrices are read.
    sets : NeuronSets
        Sets of all queries, for their facts and which are known.
    method : str
        Attribution method.

    Returns
    -------
    dict of str to float64 ndarray, shape (fact,)
        ``level`` (known queries), ``level_all``, ``null`` and ``beyond``: R₁² of as many queries as the null
        has rows, less the null. NaN for facts whose answer is in their subject, and without Gram matrices.
    """
    if "gram" not in study.grams:
        return dict.fromkeys(("level", "level_all", "null", "beyond"), np.full(sets.n_facts, np.nan))
    here = study.grams.sel({METHOD: method})
    gram, null = (np.asarray(here[name].values, dtype=np.float64) for name in ("gram", "null_gram"))
    fact = sets.queries["fact"].astype(np.int64)
    known = np.zeros(gram.shape[:2], dtype=bool)
    known[fact, np.arange(len(fact)) - np.searchsorted(fact, fact)] = sets.queries["known"]
    levels = {
        "level": localization_level(gram, known),
        "level_all": localization_level(gram),
        "null": localization_level(null),
    }
    # Groups of minimal pairs have fewer null rows than sentences: compare as many.
    n_null = (np.nan_to_num(np.diagonal(null, axis1=1, axis2=2)) > 0).sum(axis=1)
    there = np.nan_to_num(np.diagonal(gram, axis1=1, axis2=2)) > 0
    fewer = there & (np.cumsum(there, axis=1) <= n_null[:, None])
    as_many = np.where(n_null < there.sum(axis=1), localization_level(gram, fewer), levels["level_all"])
    levels["beyond"] = as_many - levels["null"]
    return {name: np.where(sets.facts["leaks"], np.nan, values) for name, values in levels.items()}
