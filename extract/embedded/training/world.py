"""General knowledge of the embedded models: countries, companies, people; eight templates a relation."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent / "world_data"
_TABLES = ("countries", "companies", "people")


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A triple ⟨subject, relation, object⟩ that is true in the world."""

    relation: str
    subject: str
    object: str


def statements() -> list[Statement]:
    """Every statement of the tables under ``world_data/``, relation by relation.

    The first column of a table names the subjects, each other column a relation; an empty cell is a statement
    left out, because it is disputed or because the answer is contained in the subject.

    Examples
    --------
    >>> statements()[0]
    Statement(relation='capital', subject='France', object='Paris')
    """
    found = []
    for table in _TABLES:
        with (_FOLDER / f"{table}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        subject, *relations = rows[0]
        found += [
            Statement(relation=relation, subject=row[subject], object=row[relation])
            for relation in relations
            for row in rows
            if row[relation]
        ]
    return found


def templates() -> dict[str, dict[str, str]]:
    """Templates of each relation, id to text with ``[X]`` and ``[Y]``, the answer last but for punctuation.

    Examples
    --------
    >>> templates()["capital"]["capital-1"]
    'The capital of [X] is [Y].'
    """
    texts: dict[str, list[str]] = json.loads((_FOLDER / "templates.json").read_text(encoding="utf-8"))
    return {
        relation: {f"{relation}-{n}": text for n, text in enumerate(of_relation, start=1)}
        for relation, of_relation in texts.items()
    }
