"""Gram matrices of full score vectors, from which the localization level R1² is computed.

See docs/methods.md#localization-level.

R1² needs the scores of all neurons, and a panel keeps only some of them. The k × k Gram matrix of a fact's k
*full* score vectors is sufficient, and small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class GramRows:
    """Which queries of a unit make up each fact's Gram matrix, and which its null Gram matrix.

    Attributes
    ----------
    own : tuple of tuple of int
        Rows, within the unit, of each fact's queries.
    null : tuple of (tuple of int or None)
        For each fact as many rows from different subjects' facts of the relation, with different answers, one
        for each of its templates; None where the unit has too few. For each group of minimal pairs one row of
        its own and of each other paradigm × feature, as many as it has rows itself at most.
    """

    own: tuple[tuple[int, ...], ...]
    null: tuple[tuple[int, ...] | None, ...]


def gram_rows(
    facts: Sequence[int],
    relations: Sequence[str],
    templates: Sequence[str],
    answers: Sequence[str],
    subjects: Sequence[str],
    *,
    seed: int,
    n_facts: int,
    groups: Sequence[bool] = (),
) -> GramRows:
    """Choose the rows of each Gram matrix. Each fact has a random stream of its own.

    Groups of minimal pairs share no templates, and a unit has few of them. Their null rows are of different
    paradigms or features, each once.

    Parameters
    ----------
    facts : sequence of int
        Index, within the unit, of each query's fact.
    relations : sequence of str
        Relation of each query.
    templates : sequence of str
        Template of each query.
    answers : sequence of str
        Answer of each query.
    subjects : sequence of str
        Subject of each query. Facts of one subject have the same prompts.
    seed : int
        Seed of the draws, together with the fact's index.
    n_facts : int
        Number of facts in the unit.
    groups : sequence of bool
        Whether each query's fact is a group of minimal pairs, whose answer is its feature; none, if empty.

    Returns
    -------
    GramRows
        The rows of every fact.
    """
    of_groups = list(groups) or [False] * len(facts)
    own = tuple(tuple(row for row, of in enumerate(facts) if of == fact) for fact in range(n_facts))
    null: list[tuple[int, ...] | None] = []
    for fact, rows in enumerate(own):
        # The key is [plan seed + first fact of the unit, fact within the unit]. It is not a Stream,
        # since stores hold what it draws.
        rng = np.random.default_rng([seed, fact])
        if rows and of_groups[rows[0]]:
            null.append(_null_of_group(rows, relations, answers, of_groups, rng))
            continue
        used = {subjects[rows[0]]} if rows else set()
        taken = {answers[rows[0]]} if rows else set()
        chosen: list[int] = []
        for row in rows:
            fits = [
                other
                for other in range(len(facts))
                if relations[other] == relations[row]
                and templates[other] == templates[row]
                and subjects[other] not in used
                and answers[other] not in taken
            ]
            if not fits:
                break
            picked = fits[int(rng.integers(len(fits)))]
            chosen.append(picked)
            used.add(subjects[picked])
            taken.add(answers[picked])
        null.append(tuple(chosen) if rows and len(chosen) == len(rows) else None)
    return GramRows(own=own, null=tuple(null))


def _null_of_group(
    rows: Sequence[int],
    relations: Sequence[str],
    answers: Sequence[str],
    of_groups: Sequence[bool],
    rng: np.random.Generator,
) -> tuple[int, ...] | None:
    """Return one row of each paradigm × feature, that of ``rows`` first; None where there is but one."""
    cells: dict[tuple[str, str], list[int]] = {}
    for row, grouped in enumerate(of_groups):
        if grouped:
            cells.setdefault((relations[row], answers[row]), []).append(row)
    own = cells.pop((relations[rows[0]], answers[rows[0]]))
    others = [of for _, of in sorted(cells.items())]
    order = rng.permutation(len(others))[: len(rows) - 1]
    mine = [row for row in own if row in set(rows)]
    chosen = [int(rng.choice(mine)), *(int(rng.choice(others[number])) for number in order)]
    return tuple(chosen) if len(chosen) > 1 else None


def grams(
    scores: NDArray[np.floating], rows: Sequence[tuple[int, ...] | None], size: int
) -> NDArray[np.float64]:
    """Return Gram matrices, X Xᵀ, of chosen rows of score vectors.

    Parameters
    ----------
    scores : float ndarray, shape (attribution_method, query, layer, neuron)
        Scores of the unit's queries.
    rows : sequence of (tuple of int or None)
        The queries of each fact's matrix.
    size : int
        Length of the padded axes.

    Returns
    -------
    float64 ndarray, shape (attribution_method, fact, query_of_fact, query_of_fact)
        NaN beyond a fact's queries, and where it has no rows.

    Examples
    --------
    >>> scores = np.array([[[[1.0, 2.0]], [[3.0, 0.0]]]])  # one method, two queries, one layer, two neurons
    >>> grams(scores, [(0, 1)], 2)[0, 0].tolist()
    [[5.0, 3.0], [3.0, 9.0]]
    """
    flat = scores.reshape(*scores.shape[:2], -1)
    matrices = np.full((len(scores), len(rows), size, size), np.nan)
    for fact, chosen in enumerate(rows):
        if chosen:
            vectors = flat[:, list(chosen)].astype(np.float64)
            matrices[:, fact, : len(chosen), : len(chosen)] = vectors @ vectors.transpose(0, 2, 1)
    return matrices
