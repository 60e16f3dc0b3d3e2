"""General knowledge of the embedded models: countries, companies and people; eight templates per relation.

Some relations have templates that ask back from the object to the subject (inverses), some another name of
most objects, and templates that ask for it (synonyms).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "world_data"
_TABLES = ("countries", "companies", "people")


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A triple ⟨subject, relation, object⟩ that is true in the world.

    Attributes
    ----------
    relation : str
        Name of the relation.
    subject : str
        The subject's name.
    object : str
        The object's name.
    """

    relation: str
    subject: str
    object: str


def statements() -> list[Statement]:
    """Return every statement of the tables under ``world_data/``, relation by relation.

    The first column of a table names the subjects; every other column is a relation. An empty cell is a
    statement that is left out, because it is disputed or because the subject contains the answer.

    Returns
    -------
    list of Statement
        The statements, in the order of tables, columns and rows.

    Examples
    --------
    >>> statements()[0]
    Statement(relation='capital', subject='France', object='Paris')
    """
    collected = []
    for table in _TABLES:
        with (_FOLDER / f"{table}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        subject, *relations = rows[0]
        collected += [
            Statement(relation=relation, subject=row[subject], object=row[relation])
            for relation in relations
            for row in rows
            if row[relation]
        ]
    return collected


def templates() -> dict[str, dict[str, str]]:
    """Return the templates of each relation. The answer stands last, except for punctuation.

    Returns
    -------
    dict of str to dict of str to str
        Relation → template id → text with ``[X]`` and ``[Y]``.

    Examples
    --------
    >>> templates()["capital"]["capital-1"]
    'The capital of [X] is [Y].'
    """
    return {relation: _numbered(relation, texts) for relation, texts in _read("templates").items()}


def inverse_templates() -> dict[str, dict[str, str]]:
    """Return the templates that ask back, of relations in which no object has two subjects.

    Returns
    -------
    dict of str to dict of str to str
        Relation → template id → text with ``[X]`` for the object and ``[Y]`` for the subject, which is last.

    Examples
    --------
    >>> inverse_templates()["capital"]["capital-inverse-1"]
    '[X] is the capital of [Y].'
    """
    return {
        relation: _numbered(f"{relation}-inverse", texts) for relation, texts in _read("inverses").items()
    }


@dataclass(frozen=True, kw_only=True)
class Synonyms:
    """Other names of the objects of a relation.

    Attributes
    ----------
    templates : mapping of str to str
        Template id → text with ``[X]`` for the subject and ``[Y]`` for the other name, which is last.
    answers : mapping of str to str
        Object → its other name. Objects without one are absent.
    """

    templates: Mapping[str, str]
    answers: Mapping[str, str]


def synonyms() -> dict[str, Synonyms]:
    """Return the other names of objects, by relation. None shares its stem with the object.

    Returns
    -------
    dict of str to Synonyms
        One entry for each relation whose objects have other names.

    Examples
    --------
    >>> synonyms()["product"].answers["cars"]
    'automobiles'
    """
    return {
        relation: Synonyms(
            templates=_numbered(f"{relation}-synonym", told["templates"]), answers=told["answers"]
        )
        for relation, told in _read("synonyms").items()
    }


def _read(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return read


def _numbered(name: str, texts: list[str]) -> dict[str, str]:
    return {f"{name}-{n}": text for n, text in enumerate(texts, start=1)}
