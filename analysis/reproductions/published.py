"""What published studies did and reported, as far as it is on file: ``published.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from qloc.analysis.results import Cell
from qloc.errors import InputError, message

NOT_ON_FILE: Final = "not on file"
"""What stands for a published value that nobody has copied, with its place, into ``published.yaml``."""

STUDIES: Final = ("chen", "dai", "niu")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Setting(_Strict):
    """One choice of a study, where it stands, and how sure it is."""

    name: str
    value: str | float
    where: str
    status: Literal["as published", "uncertain", "ours"]


class Value(_Strict):
    """One published cell."""

    table: str
    row: Mapping[str, str]
    column: str
    value: str | float
    where: str


class Published(_Strict):
    """A published study.

    Attributes
    ----------
    plan : the plan of ``qloc extract`` that makes a store for it; empty where it cannot be made.
    missing : what qloc does not make of it; ``instead``, what it does.
    """

    title: str
    source: str
    plan: Mapping[str, Any] = {}
    settings: tuple[Setting, ...] = ()
    missing: tuple[str, ...] = ()
    instead: str = ""
    values: tuple[Value, ...] = ()

    def value(self, table: str, row: Mapping[str, Cell], column: str) -> Cell:
        """The published cell of a table's row: that whose labels the row has; else "not on file"."""
        for found in self.values:
            here = found.table == table and found.column == column
            if here and all(str(row.get(name)) == label for name, label in found.row.items()):
                return found.value
        return NOT_ON_FILE


def published(name: str, path: Path | None = None) -> Published:
    """One study of ``published.yaml``, or of a file of that form.

    Raises
    ------
    InputError : an unknown study, or a file that is not of the form; every problem.

    Examples
    --------
    >>> published("chen").settings[1].value
    0.2
    """
    text = (
        resources.files("qloc.analysis.reproductions").joinpath("published.yaml").read_text(encoding="utf-8")
    )
    studies = _read(text, "published.yaml")
    if path is not None:
        try:
            given = _read(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            action = "Give another path"
            raise InputError(message("published", str(path), "a readable file", str(error), action)) from None
        studies = {**studies, **given}
    if name not in studies:
        rule = f"one of {', '.join(studies)}"
        raise InputError(message("study", name, rule, "qloc reproduce", "Choose one"))
    return studies[name]


def _read(text: str, place: str) -> dict[str, Published]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise InputError(message("published", place, "YAML", reason, "Mend the file")) from None
    if not isinstance(found, dict):
        raise InputError(message("published", place, "a study's name, and its parts", place, "Mend the file"))
    problems: list[str] = []
    studies: dict[str, Published] = {}
    for name, parts in found.items():
        try:
            studies[str(name)] = Published.model_validate(parts)
        except ValidationError as error:
            for one in error.errors():
                key = ".".join(map(str, (name, *one["loc"])))
                problems.append(message(key, one["input"], one["msg"], place, "Correct it"))
    if problems:
        raise InputError(problems)
    return studies
