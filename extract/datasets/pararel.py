"""ParaRel: every fact of a relation is asked with every pattern of the relation.

References
----------
Elazar et al., "Measuring and Improving Consistency in Pretrained Language Models", TACL 2021. In its
repository, the patterns lie in ``data/pattern_data/graphs_json/`` and the facts (from T-REx) in
``data/trex_lms_vocab/``. A clone of the repository, or its folder ``data``, is read as it is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from qloc.errors import InputError, message
from qloc.extract.datasets.json_lines import Problems, json_lines
from qloc.extract.datasets.selection import require_relations, select
from qloc.facts import ANSWER_MARK, SUBJECT_MARK, Fact, FactSet, Query, fill

_PATTERNS: Final = ("patterns", "graphs_json", "pattern_data/graphs_json", "data/pattern_data/graphs_json")
_FACTS: Final = ("facts", "trex_lms_vocab", "data/trex_lms_vocab")


def read_pararel(
    folder: Path,
    *,
    source: str,
    relations: tuple[str, ...] = (),
    max_facts: int | None = None,
    seed: int = 0,
) -> FactSet:
    """Read the facts of ParaRel; see :func:`qloc.extract.datasets.read_facts`.

    Relations that have both patterns and facts are read, in the order of their numbers; the others are
    counted. Line n of the patterns of P36 is template ``P36-n``. The ids of facts are T-REx's uuids.

    Parameters
    ----------
    folder : Path
        A clone of ParaRel's repository, its folder ``data``, or a folder with ``patterns/`` and ``facts/``.
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
        If there are no such folders, or for every problem of the files, each with its line.
    """
    problems = Problems()
    facts, _, skipped = pararel_facts(folder, source, relations, problems)
    problems.stop()
    return select(facts, source=source, skipped=skipped, max_facts=max_facts, seed=seed)


def pararel_facts(
    folder: Path, source: str, relations: tuple[str, ...], problems: Problems
) -> tuple[list[Fact], dict[str, list[Query]], dict[str, int]]:
    """Read the facts of relations that have both patterns and facts.

    Parameters
    ----------
    folder : Path
        As of :func:`read_pararel`.
    source : str
        The input as the user named it, for messages.
    relations : tuple of str
        Relations to read; all, if empty.
    problems : Problems
        Receives every problem of the files.

    Returns
    -------
    facts : list of Fact
        With duplicates.
    templates : dict of str to list of Query
        The patterns of each relation that was read; ``[X]`` stands for the subject.
    skipped : dict of str to int
        Number of relations that were left out, by reason.

    Raises
    ------
    InputError
        There are no such folders, or not these relations.
    """
    patterns, facts_of = _files(folder, _PATTERNS), _files(folder, _FACTS)
    both = [relation for relation in sorted(patterns, key=_number) if relation in facts_of]
    if not both:
        rule = f"relations with a file in {_PATTERNS[0]}/ and in {_FACTS[0]}/"
        raise InputError(message("ParaRel", "without relations", rule, str(folder), "Check the folder"))
    require_relations(relations, both, source)
    facts, taken = list[Fact](), set[str]()
    templates: dict[str, list[Query]] = {}
    for relation in both:
        if not relations or relation in relations:
            templates[relation] = _templates(relation, patterns[relation], problems)
            facts += _facts(relation, facts_of[relation], templates[relation], taken, problems)
    missing = {
        "relation without patterns": len(facts_of.keys() - patterns.keys()),
        "relation without facts": len(patterns.keys() - facts_of.keys()),
    }
    return facts, templates, {reason: count for reason, count in missing.items() if count}


def _files(folder: Path, names: tuple[str, ...]) -> dict[str, Path]:
    """Return the files, by relation, in the first of these folders that exists."""
    for name in names:
        if (folder / name).is_dir():
            return {path.stem: path for path in (folder / name).glob("*.jsonl")}
    raise InputError(message("ParaRel", str(folder), f"a folder with {names[0]}/ or {names[1]}/ in it",
                             str(folder.absolute()), "Check the path"))  # fmt: skip


def _number(relation: str) -> tuple[int, str]:
    digits = re.search(r"\d+", relation)
    return (int(digits[0]) if digits else 0, relation)


def _templates(relation: str, path: Path, problems: Problems) -> list[Query]:
    templates = []
    for number, entry in json_lines(path, problems):
        at = f"{path}, line {number}"
        text = _text(entry, "pattern", at, problems)
        wrong = [mark for mark in (SUBJECT_MARK, ANSWER_MARK) if text.count(mark) != 1]
        for mark in wrong if text else []:
            problems.add("pattern", text, f"exactly one {mark}", at, "Correct it")
        if text and not wrong:
            templates.append(Query(template=f"{relation}-{number}", text=text))
    return templates


def _facts(
    relation: str, path: Path, templates: list[Query], taken: set[str], problems: Problems
) -> list[Fact]:
    facts = []
    for number, entry in json_lines(path, problems):
        at = f"{path}, line {number}"
        subject, answer = (_text(entry, key, at, problems) for key in ("sub_label", "obj_label"))
        if ANSWER_MARK in subject:
            problems.add("sub_label", subject, f"text without {ANSWER_MARK}", at, "Correct it")
        uuid = entry.get("uuid") or f"{relation}-{number}"
        id = str(uuid) if str(uuid) not in taken else f"{uuid}-{relation}-{number}"
        taken.add(id)
        queries = tuple(
            Query(template=template.template, text=fill(template.text, subject)) for template in templates
        )
        facts.append(Fact(id=id, relation=relation, subject=subject, object=answer, queries=queries))
    return facts


def _text(entry: dict[str, Any], key: str, at: str, problems: Problems) -> str:
    if key not in entry:
        problems.add("key", f"{key} missing", f"an object with {key}", at, "Add it")
        return ""
    value = entry[key]
    if not isinstance(value, str) or not value.strip():
        problems.add(key, value, "text that is not empty", at, "Correct it")
        return ""
    return value.strip()
