"""Choose the facts that figures show: the most and the least consistent one, and a typical one.

The most and the least consistent fact are extremes of many: chosen on one half of their queries and shown on
the other, beside a typical fact drawn by seed, so that the picture is not the noise it was chosen for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from qloc.analysis.localization.consistency import dice
from qloc.analysis.localization.neuron_counts import counts_by
from qloc.arrays import Array, Floats, Ints
from qloc.neurons import NeuronSets
from qloc.random_streams import Stream

N_NEURONS: Final = 16
"""Neurons shown of each fact: those of the largest mean attribution over the queries that it is shown on."""

TYPICAL: Final = "typical"
"""Role of the fact that is drawn from the middle fifth."""


@dataclass(frozen=True, kw_only=True)
class ShownFacts:
    """Facts by role, and the queries that they are shown on.

    Attributes
    ----------
    by_role : mapping of str to int
        Role → fact.
    chosen_on, shown_on : float64 ndarray, shape (fact,)
        Overlap D on the half of each fact's queries that it is chosen on, and on the other.
    queries : int64 ndarray
        Rows of the queries that are not chosen on, of all facts; ascending.
    """

    by_role: Mapping[str, int]
    chosen_on: Floats
    shown_on: Floats
    queries: Ints

    @classmethod
    def of(cls, sets: NeuronSets, seed: int) -> ShownFacts:
        """Choose among facts by the non-empty sets of their known queries.

        Parameters
        ----------
        sets : NeuronSets
            Of all queries.
        seed : int
            Of both draws.

        Returns
        -------
        ShownFacts
            No facts where none has four such queries.
        """
        leaks = sets.facts["leaks"][sets.queries["fact"]]
        used = np.flatnonzero(sets.queries["known"] & ~leaks & sets.of_facts() & (sets.sizes() > 0))
        kept = sets.known()
        kept = kept.select(kept.sizes() > 0)
        first, second = halves(kept, seed)
        d, later = _overlap(kept.select(first)), _overlap(kept.select(second))
        return cls(by_role=choose(d, later, seed), chosen_on=d, shown_on=later, queries=used[second])

    def of_fact(self, sets: NeuronSets, fact: int) -> Ints:
        """Return the queries that a fact is shown on.

        Parameters
        ----------
        sets : NeuronSets
            Of all queries.
        fact : int
            Its row.

        Returns
        -------
        int64 ndarray
            Rows, ascending.
        """
        return np.asarray(self.queries[sets.queries["fact"][self.queries] == fact])


def halves(sets: NeuronSets, seed: int) -> tuple[Array, Array]:
    """Split each fact's queries in two at random.

    Parameters
    ----------
    sets : NeuronSets
        Of the queries that are split.
    seed : int
        Of the draw.

    Returns
    -------
    first, second : bool ndarray, shape (query,)
        Disjoint; the second half gets the odd query.
    """
    rng = Stream.SHOWN_FACTS.generator(seed)
    fact = sets.queries["fact"]
    order = np.lexsort((rng.random(len(fact)), fact))
    place = np.empty(len(fact), dtype=np.int64)
    place[order] = np.arange(len(fact)) - np.searchsorted(fact[order], fact[order])
    k = np.bincount(fact, minlength=sets.n_facts)[fact]
    first = place < k // 2
    return first, ~first


def choose(d: Floats, later: Floats, seed: int) -> dict[str, int]:
    """Choose facts by role, of those with an overlap on both halves.

    Parameters
    ----------
    d : float64 ndarray, shape (fact,)
        Overlap D on the half that facts are chosen on.
    later : float64 ndarray, shape (fact,)
        Overlap D on the half that is shown.
    seed : int
        Of the draw of the typical fact.

    Returns
    -------
    dict of str to int
        Role → fact; ties go to the first fact; with fewer than three facts the typical one alone.
    """
    able = np.flatnonzero(~np.isnan(d) & ~np.isnan(later))
    if not len(able):
        return {}
    order = able[np.argsort(d[able], kind="stable")]
    middle = order[int(0.4 * len(order)) : max(int(0.6 * len(order)), int(0.4 * len(order)) + 1)]
    typical = int(Stream.TYPICAL_FACT.generator(seed).choice(middle))
    most = int(able[np.argmax(d[able])])
    by_role = {"most consistent": most, TYPICAL: typical, "least consistent": int(order[0])}
    return {role: fact for role, fact in by_role.items() if len(able) >= 3 or role == TYPICAL}


def in_turn(relation: Array, able: Ints, n: int, seed: int) -> Ints:
    """Draw facts by relation in turn: one of each, then another of each.

    Parameters
    ----------
    relation : ndarray, shape (fact,)
        Each fact's relation.
    able : int64 ndarray
        Rows of the facts that are drawn from.
    n : int
        How many.
    seed : int
        Of the draw.

    Returns
    -------
    int64 ndarray
        Rows in the order in which they are drawn; all of ``able`` where there are no more than ``n``.

    Examples
    --------
    >>> relation = np.array(["P19", "P36", "P36", "P36", "P19"])
    >>> relation[in_turn(relation, np.arange(5), 4, 0)].tolist()
    ['P19', 'P36', 'P19', 'P36']
    """
    drawn = Stream.VIEWED_FACTS.generator(seed).permutation(able)
    code = np.unique(relation[drawn], return_inverse=True)[1]
    order = np.argsort(code, kind="stable")
    place = np.empty(len(drawn), dtype=np.int64)
    place[order] = np.arange(len(drawn)) - np.searchsorted(code[order], code[order])
    return np.asarray(drawn[np.lexsort((code, place))][:n], dtype=np.int64)


def _overlap(sets: NeuronSets) -> Floats:
    fact: Ints = sets.queries["fact"].astype(np.int64)
    return dice(counts_by(sets.member, fact, sets.n_facts), np.bincount(fact, minlength=sets.n_facts))
