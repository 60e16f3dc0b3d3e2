"""A negative control: facts whose objects are permuted within their relation, so that none is true.

``permuted:FACTS`` names them. Prompts, templates and how often each object is asked for stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from qloc.facts import Fact, FactSet
from qloc.random_streams import Stream

NO_OTHER: Final = "fact without another object that is not right for it"
"""Reason under which facts are counted in ``skipped``."""

PAIRS: Final = "minimal pair, of which there is nothing to permute"
"""Reason under which pairs are counted in ``skipped``."""


def permuted_facts(facts: FactSet, *, source: str, seed: int) -> FactSet:
    """Give each fact the object of another fact of its relation, one that is not right for its subject.

    A relation's facts are brought in an order in which those of one object stand side by side, objects and
    facts within them at random; each takes the object of the fact s places on, s being drawn from m to n − m
    (m facts have the most frequent object, of n), so that no object falls on itself. Where one object has
    more than half of the facts, s = m, and what falls on itself is left out, as is what is right for the
    subject all the same.

    Parameters
    ----------
    facts : FactSet
        Facts of a study.
    source : str
        What was read, as the user named it.
    seed : int
        Seed of the permutation.

    Returns
    -------
    FactSet
        In the order of the input, under the same ids. What an edit of a true fact entails is dropped. What
        was left out is counted in ``skipped``.

    Examples
    --------
    >>> told = {"Paris": "France", "Rome": "Italy", "Cairo": "Egypt"}
    >>> true = [Fact(id=s, relation="r", subject=s, object=o, queries=()) for o, s in told.items()]
    >>> false = permuted_facts(FactSet(facts=tuple(true), source="f"), source="permuted:f", seed=0)
    >>> [told[fact.object] == fact.subject for fact in false.facts]
    [False, False, False]
    """
    rows: dict[str, list[int]] = {}
    for row, fact in enumerate(facts.facts):
        if fact.kind == "fact":
            rows.setdefault(fact.relation, []).append(row)
    given: dict[int, str] = {}
    for number, of_relation in enumerate(rows.values()):
        rng = Stream.PERMUTED_FACTS.generator(seed, number)
        objects = _shifted([facts.facts[row].object for row in of_relation], rng)
        given.update(zip(of_relation, objects, strict=True))
    false = {row: new for row, new in given.items() if new not in _right(facts.facts[row])}
    n_pairs = len(facts) - len(given)
    lost = {NO_OTHER: len(given) - len(false), PAIRS: n_pairs}
    return FactSet(
        facts=tuple(
            replace(facts.facts[row], object=new, objects=(new,), entailed=None)
            for row, new in sorted(false.items())
        ),
        source=source,
        merged=facts.merged,
        skipped={**facts.skipped, **{reason: n for reason, n in lost.items() if n}},
    )


def _right(fact: Fact) -> tuple[str, ...]:
    return (fact.object, *fact.objects)


def _shifted(objects: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Give each place the object of another, s places on in an order that has equal objects side by side."""
    n = len(objects)
    names, of, counts = np.unique(np.asarray(objects), return_inverse=True, return_counts=True)
    order = np.lexsort((rng.permutation(n), rng.permutation(len(names))[of]))
    most = int(counts.max())
    shift = int(rng.integers(most, max(most, n - most) + 1))
    new = [""] * n
    for place, row in enumerate(order):
        new[row] = objects[order[(place + shift) % n]]
    return new
