"""General knowledge of the embedded models: countries, companies and people; eight templates per relation."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

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
    texts: dict[str, list[str]] = json.loads((_FOLDER / "templates.json").read_text(encoding="utf-8"))
    return {
        relation: {f"{relation}-{n}": text for n, text in enumerate(of_relation, start=1)}
        for relation, of_relation in texts.items()
    }
