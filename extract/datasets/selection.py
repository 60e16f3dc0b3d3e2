"""Turn facts as read into the facts of a study: merge duplicates, gather right answers, draw a sample."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from qloc.errors import InputError, message
from qloc.facts import Fact, FactSet, Query

REPEATED = "query with the prompt of another of its fact"
"""Reason under which repeated prompts of one fact are counted in ``skipped``."""


def select(
    facts: Sequence[Fact],
    *,
    source: str,
    skipped: Mapping[str, int],
    relations: tuple[str, ...] = (),
    max_facts: int | None = None,
    seed: int = 0,
) -> FactSet:
    """Return the facts of a study, in input order.

    Right answers are gathered before the sample is drawn, so that an object counts as right even if its own
    fact is not in the sample.

    Parameters
    ----------
    facts : sequence of Fact
        The facts as they were read.
    source : str
        The input as the user named it, for messages and provenance.
    skipped : mapping of str to int
        Number of facts or files that the reader left out, by reason.
    relations : tuple of str
        Relations to keep; all, if empty.
    max_facts : int or None
        Largest number of facts of each relation; all facts, if None.
    seed : int
        Seed of the sample of facts; see :func:`sample`.

    Returns
    -------
    FactSet
        The facts, the number of merged duplicates, and the counts of what was left out.
    """
    if relations:
        require_relations(relations, dict.fromkeys(fact.relation for fact in facts), source)
        facts = [fact for fact in facts if fact.relation in relations]
    merged, repeated = merge(facts)
    kept = with_subjects(with_objects(merged))
    return FactSet(
        facts=tuple(kept if max_facts is None else sample(kept, max_facts, seed)),
        source=source,
        merged=len(facts) - len(merged),
        skipped={**skipped, **({REPEATED: repeated} if repeated else {})},
    )


def require_relations(asked: Iterable[str], known: Iterable[str], source: str) -> None:
    """Refuse relations that the facts do not have.

    Parameters
    ----------
    asked : iterable of str
        Relations that the user named.
    known : iterable of str
        Relations of the facts.
    source : str
        The input as the user named it.

    Raises
    ------
    InputError
        With one message for each unknown relation.
    """
    names = list(known)
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    unknown = [relation for relation in asked if relation not in names]
    if unknown:
        raise InputError(
            message("relation", relation, f"one of {shown}", f"facts {source}", "Correct --relations")
            for relation in unknown
        )


def merge(facts: Sequence[Fact]) -> tuple[list[Fact], int]:
    """Merge facts with the same subject, relation and object.

    Their queries are united. The first fact's id and place in the order stay, and its attributes are
    completed by those of the others; further prompts (:class:`qloc.facts.Entailments`) are those of the first
    that has any. Minimal pairs are the same only if their prompts are the same, too.

    Parameters
    ----------
    facts : sequence of Fact
        Facts with possible duplicates.

    Returns
    -------
    merged : list of Fact
        Facts without duplicates, in the order of the first of each.
    repeated : int
        Number of prompts that were left out because an earlier query of the same input fact has the same
        prompt.

    Examples
    --------
    >>> one, two = Query(template="1", text="s [Y]"), Query(template="2", text="s: [Y]")
    >>> fact = Fact(id="a", relation="r", subject="s", object="o", queries=(one,))
    >>> more = replace(fact, id="b", queries=(one, two))
    >>> merged, repeated = merge([fact, more])
    >>> [(f.id, len(f.queries)) for f in merged], repeated
    ([('a', 2)], 0)
    """
    groups: dict[tuple[object, ...], list[Fact]] = {}
    for fact in facts:
        pair = (fact.bad, fact.id if fact.is_group else fact.queries[0].text) if fact.kind != "fact" else None
        groups.setdefault((fact.relation, fact.subject, fact.object, pair), []).append(fact)
    merged, repeated = [], 0
    for first, *others in groups.values():
        queries = _distinct(first.queries)
        repeated += len(first.queries) - len(queries)
        for other in others:
            own = _distinct(other.queries)
            repeated += len(other.queries) - len(own)  # within a fact; what both ask is simply united
            queries = _distinct((*queries, *own))
        attributes = {key: value for fact in (*others[::-1], first) for key, value in fact.attributes.items()}
        entailed = next((fact.entailed for fact in (first, *others) if fact.entailed), None)
        merged.append(replace(first, queries=queries, attributes=attributes, entailed=entailed))
    return merged, repeated


def with_objects(facts: Sequence[Fact]) -> list[Fact]:
    """Fill ``objects`` of each fact with every object that is right for its subject and relation.

    Parameters
    ----------
    facts : sequence of Fact
        All facts, before a sample is drawn.

    Returns
    -------
    list of Fact
        The same facts; ``objects`` in input order. The only right object of a minimal pair is its good form.
    """
    right: dict[tuple[str, str], dict[str, None]] = {}
    for fact in facts:
        if fact.kind == "fact":
            right.setdefault((fact.relation, fact.subject), {})[fact.object] = None
    objects = (
        tuple(right[fact.relation, fact.subject]) if fact.kind == "fact" else (fact.object,) for fact in facts
    )
    return [replace(fact, objects=of_fact) for fact, of_fact in zip(facts, objects, strict=True)]


def with_subjects(facts: Sequence[Fact]) -> list[Fact]:
    """Count the subjects that share the object of each fact whose inverse can be asked.

    Parameters
    ----------
    facts : sequence of Fact
        All facts, before a sample is drawn.

    Returns
    -------
    list of Fact
        The same facts, ``entailed.n_subjects`` filled in where there is an inverse.
    """
    subjects: dict[tuple[str, str], set[str]] = {}
    for fact in facts:
        subjects.setdefault((fact.relation, fact.object), set()).add(fact.subject)
    return [
        replace(fact, entailed=replace(fact.entailed, n_subjects=len(subjects[fact.relation, fact.object])))
        if fact.entailed and fact.entailed.inverse
        else fact
        for fact in facts
    ]


def sample(facts: Sequence[Fact], max_facts: int, seed: int) -> list[Fact]:
    """Draw at most ``max_facts`` facts of each relation.

    The generator is keyed by seed and relation, so that the sample of one relation does not depend on the
    others.

    Parameters
    ----------
    facts : sequence of Fact
        The facts to draw from.
    max_facts : int
        Largest number of facts of each relation.
    seed : int
        Seed of the sample.

    Returns
    -------
    list of Fact
        The drawn facts, in input order.
    """
    rows: dict[str, list[int]] = {}
    for row, fact in enumerate(facts):
        rows.setdefault(fact.relation, []).append(row)
    keep: set[int] = set()
    for relation, members in rows.items():
        rng = random.Random(f"{seed}/{relation}")  # noqa: S311  (a sample, not a secret)
        keep.update(members if len(members) <= max_facts else rng.sample(members, max_facts))
    return [facts[row] for row in sorted(keep)]


def _distinct(queries: Sequence[Query]) -> tuple[Query, ...]:
    """Return the queries with distinct prompts, the first of each."""
    first: dict[str, Query] = {}
    for query in queries:
        first.setdefault(query.text, query)
    return tuple(first.values())
