"""Facts of ParaRel whose edits entail other answers: P36 and P1376 with inverses, others with synonyms.

P36 asks a country for its capital, P1376 a capital for its country: the patterns of one ask for the inverses
of the other's facts. Both are made bijective: facts whose subject has several objects, or whose object has
several subjects, are left out and counted. ParaRel has no synonyms: a file ``synonyms.jsonl`` in the folder
says, in lines such as

    {"relation": "P101", "object": "linguistics", "answer": "linguist", "queries": ["[X] is a famous [Y]."]}

how else the facts of a relation with that object are asked. Facts of an object without a line are left out
and counted, since an edit to or from them entails nothing.

References
----------
Niu et al. 2024 (arXiv 2405.02421), §4.1: bijective symmetry on P36 and P1376, synonymous invariance on P101.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from qloc.errors import InputError, message
from qloc.extract.datasets.json_lines import Problems, json_lines
from qloc.extract.datasets.json_queries import check_text, queries_of
from qloc.extract.datasets.pararel import pararel_facts
from qloc.extract.datasets.selection import merge, select
from qloc.facts import ANSWER_MARK, SUBJECT_MARK, AnsweredQueries, Entailments, Fact, FactSet, Query, fill

INVERSES: Final[Mapping[str, str]] = {"P36": "P1376", "P1376": "P36"}
"""Relation → the relation that asks for the inverses of its facts."""

SYNONYMS: Final = "synonyms.jsonl"
"""The user's table of synonyms, in ParaRel's folder."""

SEVERAL: Final = "fact whose subject has several objects, or whose object has several subjects"
NO_SYNONYM: Final = "fact whose object has no line in synonyms.jsonl"

Synonyms = Mapping[tuple[str, str], tuple[AnsweredQueries, ...]]
"""(relation, object) → answers and queries; ``[X]`` stands for the subject."""


def read_entailed(
    folder: Path,
    *,
    source: str,
    relations: tuple[str, ...] = (),
    max_facts: int | None = None,
    seed: int = 0,
) -> FactSet:
    """Read the facts of ParaRel that entail others; see :func:`qloc.extract.datasets.read_facts`.

    Parameters
    ----------
    folder : Path
        As of :func:`qloc.extract.datasets.pararel.read_pararel`, with ``synonyms.jsonl`` where there are
        synonyms.
    source : str
        The input as the user named it, for messages and provenance.
    relations : tuple of str
        Relations to keep; P36, P1376 and those of ``synonyms.jsonl``, if empty.
    max_facts : int or None
        Largest number of facts of each relation; all facts, if None.
    seed : int
        Seed of the sample of facts.

    Returns
    -------
    FactSet
        The facts with their inverses or synonyms; what was left out is counted.

    Raises
    ------
    InputError
        There are no such folders or relations, a relation without inverse and synonyms is asked for, or for
        every problem of the files, each with its line.
    """
    problems = Problems()
    synonyms = _synonyms(folder / SYNONYMS, problems) if (folder / SYNONYMS).is_file() else {}
    able = {*INVERSES, *(relation for relation, _ in synonyms)}
    for relation in relations:
        if relation not in able:
            rule = f"one of {', '.join(sorted(able))}"
            problems.add("relation", relation, rule, f"facts {source}", f"Add lines to {SYNONYMS}")
    problems.stop()
    facts, templates, skipped = pararel_facts(folder, source, (), problems)
    problems.stop()
    wanted = [fact for fact in facts if fact.relation in (relations or able)]
    kept, left_out = _entailing(wanted, templates, synonyms)
    if not kept:
        rule = f"facts of {', '.join(sorted(relations or able))} that entail others"
        raise InputError(message("ParaRel", "without such facts", rule, str(folder), "Check the folder"))
    return select(kept, source=source, skipped=skipped | left_out, max_facts=max_facts, seed=seed)


def _entailing(
    facts: list[Fact], templates: Mapping[str, list[Query]], synonyms: Synonyms
) -> tuple[list[Fact], dict[str, int]]:
    """Give facts their inverses or synonyms; leave out and count those without."""
    facts, _ = merge(facts)
    alone = _one_to_one(facts)
    kept, skipped = list[Fact](), Counter[str]()
    for fact, bijective in zip(facts, alone, strict=True):
        inverse = INVERSES.get(fact.relation)
        if inverse is not None and inverse in templates:
            if bijective:
                asked = AnsweredQueries(answer=fact.subject, queries=tuple(templates[inverse]))
                kept.append(replace(fact, entailed=Entailments(inverse=asked)))
            else:
                skipped[SEVERAL] += 1
            continue
        groups = synonyms.get((fact.relation, fact.object), ())
        if groups:
            kept.append(replace(fact, entailed=Entailments(synonyms=_filled(groups, fact.subject))))
        else:
            skipped[NO_SYNONYM] += 1
    return kept, dict(skipped)


def _one_to_one(facts: Iterable[Fact]) -> list[bool]:
    """Tell whose subject has one object and whose object has one subject, within the relation."""
    listed = list(facts)
    subjects = Counter((fact.relation, fact.subject) for fact in listed)
    objects = Counter((fact.relation, fact.object) for fact in listed)
    return [
        subjects[fact.relation, fact.subject] == 1 == objects[fact.relation, fact.object] for fact in listed
    ]


def _filled(groups: Iterable[AnsweredQueries], subject: str) -> tuple[AnsweredQueries, ...]:
    def of_subject(query: Query) -> Query:
        return replace(query, text=fill(query.text, subject))

    return tuple(replace(group, queries=tuple(map(of_subject, group.queries))) for group in groups)


def _synonyms(path: Path, problems: Problems) -> Synonyms:
    keys = ("relation", "object", "answer", "queries")
    found: dict[tuple[str, str], tuple[AnsweredQueries, ...]] = {}
    for number, entry in json_lines(path, problems):
        at = f"{path}, line {number}"
        if set(entry) != set(keys):
            problems.add("keys", sorted(entry), f"all of {', '.join(keys)}", at, "Correct them")
            continue
        group = _line(entry, at, problems)
        if group is not None:
            key = entry["relation"], entry["object"]
            found[key] = (*found.get(key, ()), group)
    return found


def _line(entry: Mapping[str, Any], at: str, problems: Problems) -> AnsweredQueries | None:
    sound = [check_text(key, entry[key], at, problems) for key in ("relation", "object", "answer")]
    queries = queries_of(entry["queries"], SUBJECT_MARK, at, problems)
    for query in queries:
        if SUBJECT_MARK not in query.text:
            rule = f"one with {SUBJECT_MARK} for the subject and {ANSWER_MARK} for the answer"
            problems.add("query", query.text, rule, at, "Correct it")
    return AnsweredQueries(answer=entry["answer"], queries=queries) if all(sound) and queries else None
