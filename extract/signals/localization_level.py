"""Inner products of full score vectors, for the localization level R1² (methods.md §8).

A panel keeps a few neurons, which alone would err; a fact's k × k Gram of its queries' *full* vectors is
enough, and small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class GramRows:
    """Which queries of a unit make each fact's Gram, and which its null Gram.

    Attributes
    ----------
    own : rows (within the unit) of each fact's queries.
    null : as many rows from different facts of the relation, with other answers, one for each template;
        None where the unit has too few.
    """

    own: tuple[tuple[int, ...], ...]
    null: tuple[tuple[int, ...] | None, ...]


def gram_rows(
    facts: Sequence[int],
    relations: Sequence[str],
    templates: Sequence[str],
    answers: Sequence[str],
    *,
    seed: int,
    n_facts: int,
) -> GramRows:
    """Choose the rows of each Gram, seeded by the fact so that no other fact matters.

    Parameters
    ----------
    facts : index (within the unit) of each query's fact.
    relations, templates, answers : of each query.
    seed : with the fact's index it fixes the draw.
    """
    own = tuple(tuple(row for row, fact in enumerate(facts) if fact == wanted) for wanted in range(n_facts))
    null: list[tuple[int, ...] | None] = []
    for wanted, rows in enumerate(own):
        rng = np.random.default_rng([seed, wanted])
        used = {wanted}
        taken = {answers[rows[0]]} if rows else set()
        chosen: list[int] = []
        for row in rows:
            fits = [
                other
                for other in range(len(facts))
                if relations[other] == relations[row]
                and templates[other] == templates[row]
                and facts[other] not in used
                and answers[other] not in taken
            ]
            if not fits:
                break
            picked = fits[int(rng.integers(len(fits)))]
            chosen.append(picked)
            used.add(facts[picked])
            taken.add(answers[picked])
        null.append(tuple(chosen) if rows and len(chosen) == len(rows) else None)
    return GramRows(own=own, null=tuple(null))


def grams(
    scores: NDArray[np.floating], rows: Sequence[tuple[int, ...] | None], size: int
) -> NDArray[np.float64]:
    """Gram matrices of chosen rows of score vectors.

    Parameters
    ----------
    scores : (attribution_method, query, layer, neuron)
    rows : the queries of each fact's Gram.
    size : length of the padded axes.

    Returns
    -------
    float64, (attribution_method, fact, query_of_fact, query_of_fact); NaN beyond a fact's queries.
    """
    flat = scores.reshape(*scores.shape[:2], -1)
    found = np.full((len(scores), len(rows), size, size), np.nan)
    for fact, chosen in enumerate(rows):
        if chosen:
            vectors = flat[:, list(chosen)].astype(np.float64)
            found[:, fact, : len(chosen), : len(chosen)] = vectors @ vectors.transpose(0, 2, 1)
    return found
