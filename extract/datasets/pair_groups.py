"""Group minimal pairs, so that syntax is studied as facts are.

A single sentence has no paraphrases: no consistency, no refined set and no neighbor can be computed of it.
What is localized is a *paradigm × feature*, such as the plural in determiner–noun agreement. Its sentences
are its queries, each with a good and a bad continuation of its own. On request groups are smaller: by what
the form agrees with (``cue``: *these*), or by cue and form (``item``: *these* × *books*).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from qloc.facts import Fact, FactSet, Query
from qloc.plan import PairGroups

NOT_DRAWN: Final = "sentence of a group of pairs that has more than it may (not drawn)"
NOT_LABELLED: Final = "pair without a feature label (in no group)"
LONE: Final = "pair that is alone in its group (left out)"

_SUBJECTS: Final[Mapping[str, Callable[[Fact], str]]] = {
    "feature": lambda pair: pair.feature or pair.relation,
    "cue": lambda pair: pair.subject,
    "item": lambda pair: f"{pair.subject} {pair.object}",
}
"""What tells two groups of one paradigm and feature apart."""


def group_pairs(facts: FactSet, by: PairGroups, *, most: int, seed: int) -> FactSet:
    """Make one fact of each group of minimal pairs; facts stay as they are.

    The group of a paradigm stands where its first pair stood. Its object is its feature, its subject what the
    group is of; it is asked by ``most`` sentences at most, drawn. If a paradigm has pairs with and without a
    feature, those without are counted and left out: they could belong to either group. A paradigm without any
    feature is one group. Sentences of one group that share their template get numbers, so that no two
    queries of a fact have the same one.

    Parameters
    ----------
    facts : FactSet
        Facts and single pairs.
    by : {"feature", "cue", "item", "single"}
        What makes a group, besides the paradigm and its feature; ``single`` groups nothing.
    most : int
        Largest number of sentences of a group.
    seed : int
        Seed of the draw; each group has a random stream of its own.

    Returns
    -------
    FactSet
        Facts and groups, and counts of what was left out.

    Examples
    --------
    >>> pairs = [
    ...     Fact(id=f"{n}", relation="agreement", subject="these", object=good, bad=good[:-1],
    ...          feature="plural", kind="minimal_pair", queries=(Query(template="t", text="These [Y]."),))
    ...     for n, good in enumerate(("books", "cups"))
    ... ]
    >>> (group,) = group_pairs(FactSet(facts=tuple(pairs), source="mine"), "feature", most=20, seed=0).facts
    >>> group.id, group.object, [(q.template, q.good, q.bad) for q in group.queries]
    ('agreement|plural', 'plural', [('t', 'books', 'book'), ('t#2', 'cups', 'cup')])
    """
    if by == "single" or all(fact.kind == "fact" or fact.is_group for fact in facts.facts):
        return facts
    labelled = {fact.relation for fact in facts.facts if fact.kind != "fact" and fact.feature}
    counts: Counter[str] = Counter()
    groups: dict[object, list[Fact]] = {}
    for number, fact in enumerate(facts.facts):
        if fact.kind == "fact" or fact.is_group:
            groups[number] = [fact]
        elif not fact.feature and fact.relation in labelled:
            counts[NOT_LABELLED] += 1
        else:
            groups.setdefault((fact.relation, fact.feature, _SUBJECTS[by](fact)), []).append(fact)
    made = [
        of[0] if not isinstance(key, tuple) else _group(of, by, most=most, seed=seed, counts=counts)
        for key, of in groups.items()
    ]
    kept = tuple(fact for fact in made if fact.kind == "fact" or len(fact.queries) > 1)
    counts[LONE] = len(made) - len(kept)
    told = {reason: count for reason, count in facts.skipped.items() if reason not in _SAID_OF_SINGLE_PAIRS}
    skipped = {**told, **{reason: count for reason, count in counts.items() if count}}
    return replace(facts, facts=kept, skipped=skipped)


_SAID_OF_SINGLE_PAIRS: Final = ("pair without a feature label (kept)",)


def _group(pairs: Sequence[Fact], by: str, *, most: int, seed: int, counts: Counter[str]) -> Fact:
    """Return the group of some pairs, which share paradigm, feature and what the group is of."""
    first = pairs[0]
    subject = _SUBJECTS[by](first)
    key = "|".join(dict.fromkeys(part for part in (first.relation, first.feature, subject) if part))
    distinct = {(pair.queries[0].text, pair.object): pair for pair in reversed(pairs)}
    rest = [pair for pair in pairs if distinct[pair.queries[0].text, pair.object] is pair]
    if len(rest) > most:
        counts[NOT_DRAWN] += len(rest) - most
        rng = random.Random(f"{seed}/{key}")  # noqa: S311  (a sample, not a secret)
        chosen = set(rng.sample(range(len(rest)), most))
        rest = [pair for number, pair in enumerate(rest) if number in chosen]
    used: Counter[str] = Counter()
    queries = []
    for pair in rest:
        (query,) = pair.queries
        used[query.template] += 1
        number = used[query.template]
        template = query.template if number == 1 else f"{query.template}#{number}"
        forms = {"good": pair.object, "bad": pair.bad}
        queries.append(Query(template=template, text=query.text, cue=pair.subject, **forms))
    answer = first.feature or first.relation
    return Fact(
        id=key,
        relation=first.relation,
        subject=subject,
        object=answer,
        queries=tuple(queries),
        kind="minimal_pair",
        feature=first.feature,
        objects=(answer,),
        attributes=_shared_attributes(rest),
        cue_in_prefix=all(pair.cue_in_prefix for pair in rest),
    )


def _shared_attributes(pairs: Sequence[Fact]) -> dict[str, str | int | float]:
    """Return the attributes that all pairs have with the same value."""
    first, *others = (pair.attributes for pair in pairs)
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}
