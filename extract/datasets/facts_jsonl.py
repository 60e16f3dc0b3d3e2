"""facts.jsonl: each line holds one fact or one minimal pair.

    {"id": "a", "relation": "P36", "subject": "France", "object": "Paris",
     "queries": ["The capital of [X] is [Y].", {"template": "P36-2", "text": "France's capital, [Y]"}],
     "attributes": {"count": 51}}

``[X]`` stands for the subject and may already be filled in; ``[Y]`` marks the answer. If a query is a string,
its template's id is the string itself. A minimal pair has ``"kind": "minimal_pair"``, ``"good"`` and
``"bad"`` in place of ``"object"``, one query, and optionally ``"feature"``. If it has no ``"subject"``, its
good form is used as the subject. A fact may have ``"inverse"``, ``"synonyms"``, ``"neighborhood"`` and
``"generation"`` (:mod:`qloc.extract.datasets.entailments`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from qloc.extract.datasets.entailments import ENTAILED, entailments_of
from qloc.extract.datasets.json_lines import Problems, json_lines
from qloc.extract.datasets.json_queries import check_text, queries_of
from qloc.extract.datasets.selection import select
from qloc.facts import SUBJECT_MARK, Attribute, Fact, FactSet
from qloc.vocabulary import FACT, FACT_COLUMNS

_TEXTS: Final = {
    "fact": ("id", "relation", "subject", "object"),
    "minimal_pair": ("id", "relation", "good", "bad"),
}
_OPTIONAL: Final = {
    "fact": ("kind", "attributes", *ENTAILED),
    "minimal_pair": ("kind", "attributes", "feature", "subject"),
}
_TAKEN: Final = {
    FACT,
    *("id", "subject", "relation", "object", "kind", "feature"),
    *("first_query", "n_queries", "n_objects", "leaks"),
}


def read_jsonl(
    path: Path,
    *,
    source: str,
    relations: tuple[str, ...] = (),
    max_facts: int | None = None,
    seed: int = 0,
) -> FactSet:
    """Read a facts.jsonl; see :func:`qloc.extract.datasets.read_facts`.

    Parameters
    ----------
    path : Path
        The file.
    source : str
        The input as the user named it, for messages and provenance.
    relations : tuple of str
        Relations to keep; all, if empty.
    max_facts : int or None
        Largest number of facts of each relation; all facts, if None.
    seed : int
        Seed of the sample of facts.

    Returns
    -------
    FactSet
        The facts, with duplicates merged and the sample drawn.

    Raises
    ------
    InputError
        For every problem of the file, each with its line.
    """
    problems = Problems()
    entries = [(f"{path}, line {number}", entry) for number, entry in json_lines(path, problems)]
    facts = facts_of(entries, problems)
    problems.stop()
    return select(facts, source=source, skipped={}, relations=relations, max_facts=max_facts, seed=seed)


def facts_of(entries: Iterable[tuple[str, Mapping[str, Any]]], problems: Problems) -> list[Fact]:
    """Return the facts of some entries, and note duplicate ids and attributes of mixed types.

    Parameters
    ----------
    entries : iterable of (str, mapping)
        Place of each entry, for messages; and the entry in the form of a line of facts.jsonl.
    problems : Problems
        Receives every problem of the entries.

    Returns
    -------
    list of Fact
        The entries that are sound, in input order.
    """
    facts: list[Fact] = []
    places: dict[str, str] = {}
    for at, entry in entries:
        fact = fact_of(entry, at, problems)
        if fact is None:
            continue
        if fact.id in places:
            rule = f"one that {places[fact.id]} does not have"
            problems.add("id", fact.id, rule, at, "Make ids unique")
        places.setdefault(fact.id, at)
        facts.append(fact)
    return typed(facts, [places[fact.id] for fact in facts], problems)


def fact_of(entry: Mapping[str, Any], at: str, problems: Problems) -> Fact | None:
    """Return the fact of one entry.

    Parameters
    ----------
    entry : mapping
        An object in the form of a line of facts.jsonl.
    at : str
        Place of the entry, for messages.
    problems : Problems
        Receives every problem of the entry.

    Returns
    -------
    Fact or None
        None if there are problems.
    """
    before = len(problems.found)
    kind = entry.get("kind", "fact")
    if kind not in ("fact", "minimal_pair"):
        problems.add("kind", kind, "fact or minimal_pair", at, "Correct it")
        return None
    _check_keys(entry, kind, at, problems)
    pair = kind == "minimal_pair"
    for key in dict.fromkeys((*_TEXTS[kind], "subject")):
        if key in entry:
            check_text(key, entry[key], at, problems)
    feature = entry.get("feature", "")
    if not isinstance(feature, str):
        problems.add("feature", feature, "text", at, "Correct it")
    subject = entry.get("subject", SUBJECT_MARK if pair else "")
    queries = queries_of(entry.get("queries"), subject if isinstance(subject, str) else "", at, problems)
    if subject == SUBJECT_MARK and any(SUBJECT_MARK in query.text for query in queries):
        problems.add("key", "subject missing", f"one where {SUBJECT_MARK} stands for it", at, "Add it")
    if pair and len(queries) > 1:
        problems.add("queries", entry["queries"], "one query for a minimal pair", at, "Make each a pair")
    attributes = _attributes(entry.get("attributes", {}), at, problems)
    entailed = None if pair else entailments_of(entry, at, problems)
    if len(problems.found) > before:
        return None
    if not pair and not any(subject.casefold() in query.text.casefold() for query in queries):
        rule = f"one that a query names, or {SUBJECT_MARK} in its place"
        problems.add("subject", subject, rule, at, "Write it as the queries do")
        return None
    return Fact(
        id=entry["id"],
        relation=entry["relation"],
        subject=entry.get("subject", entry.get("good")),
        object=entry["good"] if pair else entry["object"],
        queries=queries,
        kind="minimal_pair" if pair else "fact",
        bad=entry["bad"] if pair else None,
        feature=feature,
        attributes=attributes,
        cue_in_prefix=not pair or bool(queries[0].head.strip()),
        entailed=entailed,
    )


def _check_keys(entry: Mapping[str, Any], kind: str, at: str, problems: Problems) -> None:
    needed = (*_TEXTS[kind], "queries")
    for key in needed:
        if key not in entry:
            problems.add("key", f"{key} missing", f"all of {', '.join(needed)}", at, "Add it")
    for key in entry:
        if key not in (*needed, *_OPTIONAL[kind]):
            known = ", ".join((*needed, *_OPTIONAL[kind]))
            problems.add("key", key, f"one of {known}", at, "Remove it, or put it into attributes")


def _attributes(attributes: object, at: str, problems: Problems) -> dict[str, Attribute]:
    if not isinstance(attributes, dict):
        problems.add("attributes", attributes, "an object, {…}", at, "Correct it")
        return {}
    for key, value in attributes.items():
        where = f"{at}, attribute {key}"
        if not key.isidentifier() or key in _TAKEN:
            rule = f"a name of letters, digits and _, none of {', '.join(sorted(_TAKEN))}"
            problems.add("attribute", key, rule, at, "Rename it")
        elif key in FACT_COLUMNS or key.removeprefix("log_") in {*FACT_COLUMNS, *attributes} - {key}:
            rule = f"none of {', '.join(FACT_COLUMNS)}, nor log_ of these or of another attribute"
            problems.add("attribute", key, rule, at, "Rename it")
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            problems.add("attribute", value, "text or a number", where, "Correct it")
        elif isinstance(value, int) and abs(value) > 2**53:
            rule = "at most 2⁵³ in size, up to which a column of numbers holds every integer"
            problems.add("attribute", value, rule, where, "Write it as text, with a letter before it")
        elif isinstance(value, float) and not (math.isfinite(value) and abs(value) < 2**63):
            problems.add("attribute", value, "a number that 64 bits hold", where, "Correct it")
    return dict(attributes)


def typed(facts: Sequence[Fact], places: Sequence[str], problems: Problems) -> list[Fact]:
    """Give all attributes of one name the same type: text, int, or float if any value is a float.

    Parameters
    ----------
    facts : sequence of Fact
        The facts as they were read.
    places : sequence of str
        Place of each fact, for messages.
    problems : Problems
        Receives an entry for each attribute that mixes text and numbers.

    Returns
    -------
    list of Fact
        The facts with converted attributes; unchanged if there are problems.
    """
    types: dict[str, type[Attribute]] = {}
    first: dict[str, str] = {}
    for fact, at in zip(facts, places, strict=True):
        for key, value in fact.attributes.items():
            before = types.setdefault(key, type(value))
            first.setdefault(key, at)
            if (before is str) != isinstance(value, str):
                rule = f"{'text' if before is str else 'a number'}, as at {first[key]}"
                problems.add("attribute", value, rule, f"{at}, attribute {key}", "Use one type")
            elif isinstance(value, float):
                types[key] = float
    if problems.found:
        return list(facts)
    return [
        replace(fact, attributes={key: types[key](value) for key, value in fact.attributes.items()})
        for fact in facts
    ]
