"""Prompts of a fact that only edits are evaluated on: its inverse, synonyms, neighborhood and generation.

    {"id": "a", "relation": "P36", "subject": "France", "object": "Paris", "queries": ["…"],
     "inverse": {"object": "France", "queries": ["[X] is the capital of [Y]."]},
     "synonyms": [{"answer": "Parisian", "queries": ["Who governs [X] has a [Y] office."]}],
     "neighborhood": [{"answer": "Rome", "queries": ["The capital of Italy is [Y]."]}],
     "generation": ["[X] is governed from"]}

In the queries of ``inverse``, ``[X]`` stands for the fact's *object*, which may already be filled in
(as a whole word, if it is one anywhere); elsewhere it stands for the subject. Signals are taken of none of
these prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from qloc.extract.datasets.json_lines import Problems
from qloc.extract.datasets.json_queries import check_text, queries_of
from qloc.facts import ANSWER_MARK, SUBJECT_MARK, AnsweredQueries, Entailments, Query, fill
from qloc.text.mentions import renamed

ENTAILED: Final = ("inverse", "synonyms", "neighborhood", "generation")
"""Keys of a fact's entry under which such prompts stand."""


def entailments_of(entry: Mapping[str, Any], at: str, problems: Problems) -> Entailments | None:
    """Return the further prompts of a fact.

    Parameters
    ----------
    entry : mapping
        The fact, in the form of a line of facts.jsonl.
    at : str
        Place of the entry, for messages.
    problems : Problems
        Receives every problem of these prompts.

    Returns
    -------
    Entailments or None
        None where the entry has none of :data:`ENTAILED`.

    Examples
    --------
    >>> entry = {"subject": "France", "object": "Paris",
    ...          "inverse": {"object": "France", "queries": ["Paris is the capital of [Y]."]}}
    >>> entailments_of(entry, "line 1", Problems()).inverse.queries[0].text
    '[X] is the capital of [Y].'
    """
    if not set(ENTAILED) & set(entry):
        return None
    subject, answer = (str(entry.get(key, "")) for key in ("subject", "object"))
    return Entailments(
        inverse=_inverse(entry["inverse"], answer, at, problems) if "inverse" in entry else None,
        synonyms=_groups("synonyms", entry, subject, at, problems),
        neighborhood=_groups("neighborhood", entry, subject, at, problems),
        generation=_beginnings(entry, subject, at, problems),
    )


def _groups(
    key: str, entry: Mapping[str, Any], subject: str, at: str, problems: Problems
) -> tuple[AnsweredQueries, ...]:
    numbered = enumerate(_list(key, entry, at, problems), start=1)
    found = [_group(one, "answer", subject, f"{at}, {key} {number}", problems) for number, one in numbered]
    return tuple(group for group in found if group is not None)


def _list(key: str, entry: Mapping[str, Any], at: str, problems: Problems) -> list[Any]:
    value = entry.get(key, [])
    if isinstance(value, list):
        return value
    problems.add(key, value, "a list", at, "Write [ … ]")
    return []


def _group(value: object, named: str, subject: str, at: str, problems: Problems) -> AnsweredQueries | None:
    """Return an answer and its queries; ``named`` is the key of the answer."""
    if not isinstance(value, dict) or set(value) != {named, "queries"}:
        problems.add("prompts", value, f'{{"{named}": …, "queries": [ … ]}}', at, "Correct it")
        return None
    sound = check_text(named, value[named], at, problems)
    queries = queries_of(value["queries"], subject, at, problems)
    return AnsweredQueries(answer=value[named], queries=queries) if sound and queries else None


def _inverse(value: object, answer: str, at: str, problems: Problems) -> AnsweredQueries | None:
    group = _group(value, "object", SUBJECT_MARK, f"{at}, inverse", problems)
    if group is None or not answer:
        return None
    queries = tuple(_naming(query, answer) for query in group.queries)
    for query in queries:
        if SUBJECT_MARK not in query.text:
            rule = f"one that names the object, or {SUBJECT_MARK} in its place"
            problems.add("query", query.text, rule, f"{at}, inverse", "Write the object as the fact does")
    return replace(group, queries=queries)


def _naming(query: Query, answer: str) -> Query:
    """Put ``[X]`` in place of the object, where it is filled in."""
    if SUBJECT_MARK in query.text:
        return query
    return replace(query, text=renamed(query.text, answer, SUBJECT_MARK))


def _beginnings(entry: Mapping[str, Any], subject: str, at: str, problems: Problems) -> tuple[str, ...]:
    texts = _list("generation", entry, at, problems)
    where = f"{at}, generation"
    sound = [text for text in texts if check_text("text", text, where, problems)]
    for text in sound:
        if ANSWER_MARK in text:
            problems.add("text", text, f"a beginning without {ANSWER_MARK}", where, "Remove it")
    return tuple(fill(text, subject).rstrip() for text in sound)
