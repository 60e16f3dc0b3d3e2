"""facts.jsonl: one fact, or one minimal pair, a line.

    {"id": "a", "relation": "P36", "subject": "France", "object": "Paris",
     "queries": ["The capital of [X] is [Y].", {"template": "P36-2", "text": "France's capital, [Y]"}],
     "attributes": {"count": 51}}

``[X]`` may be filled in already; ``[Y]`` marks the answer; the template id of a query that is a string is its
own text. ``"kind": "minimal_pair"`` has ``"good"`` and ``"bad"`` in place of ``"object"``, one query, and may
have ``"feature"``; where it names no ``"subject"``, its good form stands for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from qloc.extract.datasets.json_lines import Problems, json_lines
from qloc.extract.datasets.selection import select
from qloc.facts import ANSWER_MARK, SUBJECT_MARK, Attribute, Fact, FactSet, Query, fill
from qloc.vocabulary import FACT

_TEXTS: Final = {
    "fact": ("id", "relation", "subject", "object"),
    "minimal_pair": ("id", "relation", "good", "bad"),
}
_OPTIONAL: Final = {
    "fact": ("kind", "attributes"),
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
    """The facts of a facts.jsonl; see :func:`qloc.extract.datasets.read_facts`.

    Raises
    ------
    InputError : every problem of the file, each with its line.
    """
    problems = Problems()
    entries = [(f"{path}, line {number}", entry) for number, entry in json_lines(path, problems)]
    facts = facts_of(entries, problems)
    problems.stop()
    return select(facts, source=source, skipped={}, relations=relations, max_facts=max_facts, seed=seed)


def facts_of(entries: Iterable[tuple[str, Mapping[str, Any]]], problems: Problems) -> list[Fact]:
    """The facts of (place, entry) pairs, each entry as a line of facts.jsonl has it."""
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
    """The fact of one line; None, and problems, where it is none."""
    before = len(problems.found)
    kind = entry.get("kind", "fact")
    if kind not in ("fact", "minimal_pair"):
        problems.add("kind", kind, "fact or minimal_pair", at, "Correct it")
        return None
    _check_keys(entry, kind, at, problems)
    pair = kind == "minimal_pair"
    for key in dict.fromkeys((*_TEXTS[kind], "subject")):
        if key in entry:
            _check_text(key, entry[key], at, problems)
    feature = entry.get("feature", "")
    if not isinstance(feature, str):
        problems.add("feature", feature, "text", at, "Correct it")
    subject = entry.get("subject", SUBJECT_MARK if pair else "")
    queries = _queries(entry.get("queries"), subject if isinstance(subject, str) else "", at, problems)
    if subject == SUBJECT_MARK and any(SUBJECT_MARK in query.text for query in queries):
        problems.add("key", "subject missing", f"one where {SUBJECT_MARK} stands for it", at, "Add it")
    if pair and len(queries) > 1:
        problems.add("queries", entry["queries"], "one query for a minimal pair", at, "Make each a pair")
    attributes = _attributes(entry.get("attributes", {}), at, problems)
    if len(problems.found) > before:
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


def _check_text(key: str, value: object, at: str, problems: Problems) -> bool:
    if not isinstance(value, str):
        problems.add(key, value, "text", at, "Correct it")
    elif not value.strip():
        problems.add(key, value, "text that is not empty", at, "Fill it in")
    elif value != value.strip() and key != "text":
        problems.add(key, value, "text without space at its ends", at, "Remove the space")
    else:
        return True
    return False


def _queries(given: object, subject: str, at: str, problems: Problems) -> tuple[Query, ...]:
    if given is None:  # said as a missing key
        return ()
    if not isinstance(given, list):
        problems.add("queries", given, "a list", at, "Write [ … ]")
        return ()
    if not given:
        problems.add("queries", given, "at least one query", at, "Add one, with [Y] where the answer stands")
    found = []
    for number, entry in enumerate(given, start=1):
        query = _query(entry, subject, f"{at}, query {number}", problems)
        if query:
            found.append(query)
    return tuple(found)


def _query(entry: object, subject: str, at: str, problems: Problems) -> Query | None:
    if isinstance(entry, str):
        entry = {"template": entry, "text": entry}
    if not isinstance(entry, dict) or set(entry) != {"template", "text"}:
        problems.add("query", entry, 'text, or {"template": …, "text": …}', at, "Correct it")
        return None
    sound = [_check_text(key, entry[key], at, problems) for key in ("text", "template")]
    if not all(sound):
        return None
    text = fill(entry["text"], subject)
    if text.count(ANSWER_MARK) != 1:
        problems.add("query", text, f"exactly one {ANSWER_MARK}", at, "Put it where the answer stands")
        return None
    return Query(template=entry["template"], text=text)


def _attributes(given: object, at: str, problems: Problems) -> dict[str, Attribute]:
    if not isinstance(given, dict):
        problems.add("attributes", given, "an object, {…}", at, "Correct it")
        return {}
    for key, value in given.items():
        where = f"{at}, attribute {key}"
        if not key.isidentifier() or key in _TAKEN:
            rule = f"a name of letters, digits and _, none of {', '.join(sorted(_TAKEN))}"
            problems.add("attribute", key, rule, at, "Rename it")
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            problems.add("attribute", value, "text or a number", where, "Correct it")
        elif not isinstance(value, str) and not (math.isfinite(value) and abs(value) < 2**63):
            problems.add("attribute", value, "a number that 64 bits hold", where, "Correct it")
    return dict(given)


def typed(facts: Sequence[Fact], places: Sequence[str], problems: Problems) -> list[Fact]:
    """Facts whose attributes have one type a name: text, int, or float where any is."""
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
