"""Settings and results of published studies, as far as they are on file in ``published.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from qloc.analysis.results import Question, Table
from qloc.errors import InputError, message
from qloc.text.ordinary_files import MOST_SETTINGS, read_ordinary
from qloc.text.parsing import yaml_of
from qloc.text.rounding import Cell

NOT_ON_FILE: Final = "not on file"
"""Stands for a published value that is not in ``published.yaml``."""

STUDIES: Final = ("chen", "dai", "niu")
"""The studies of ``published.yaml``."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Setting(_Strict):
    """One setting of a published study.

    Attributes
    ----------
    name : str
        Name of the setting.
    value : str or float
        Its value.
    where : str
        Place in the source, such as a section.
    status : {"as published", "uncertain", "ours"}
        Whether the source states it.
    """

    name: str
    value: str | float
    where: str
    status: Literal["as published", "uncertain", "ours"]


class Value(_Strict):
    """One cell of a published table.

    Attributes
    ----------
    table : str
        Name of our table, such as ``chen_ratio``.
    row : mapping of str to str
        Labels of the row, by column of our table.
    column : str
        Column of our table.
    value : str or float
        The published value.
    where : str
        Place in the source, such as ``Table 1``.
    """

    table: str
    row: Mapping[str, str]
    column: str
    value: str | float
    where: str


class Published(_Strict):
    """A published study.

    Attributes
    ----------
    title : str
        What it is called in titles.
    source : str
        Citation.
    plan : mapping
        The plan of ``qloc extract`` that makes a store for it.
    settings : tuple of Setting
        Its settings.
    missing : tuple of str
        What qloc does not reproduce.
    values : tuple of Value
        The published cells that are on file.
    """

    title: str
    source: str
    plan: Mapping[str, Any] = {}
    settings: tuple[Setting, ...] = ()
    missing: tuple[str, ...] = ()
    values: tuple[Value, ...] = ()

    def value(self, table: str, row: Mapping[str, Cell], column: str) -> Cell:
        """Return the published value of a cell.

        Parameters
        ----------
        table : str
            Name of our table.
        row : mapping of str to cell
            The row of our table, by column.
        column : str
            Column of the cell.

        Returns
        -------
        str, float, int, bool or None
            The first value on file whose labels the row has; else :data:`NOT_ON_FILE`.
        """
        for cell in self.values:
            here = cell.table == table and cell.column == column
            if here and all(str(row.get(name)) == label for name, label in cell.row.items()):
                return cell.value
        return NOT_ON_FILE


def published(name: str, path: Path | None = None) -> Published:
    """Read one study from ``published.yaml``, or from a file of that form.

    Parameters
    ----------
    name : str
        Name of the study, such as ``chen``.
    path : Path, optional
        A file whose studies are added to those of ``published.yaml`` and replace those of the same name.

    Returns
    -------
    Published
        The study.

    Raises
    ------
    InputError
        The study is unknown, or the file cannot be read or has another form; the error lists every problem.

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
            added = _read(read_ordinary(path, most=MOST_SETTINGS).decode("utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            action = "Give another path"
            raise InputError(message("published", str(path), "a readable file", str(error), action)) from None
        studies = {**studies, **added}
    if name not in studies:
        rule = f"one of {', '.join(studies)}"
        raise InputError(message("study", name, rule, "qloc reproduce", "Choose one"))
    return studies[name]


def _read(text: str, place: str) -> dict[str, Published]:
    try:
        content = yaml_of(text)
    except ValueError as error:
        raise InputError(message("published", place, "YAML", str(error), "Mend the file")) from None
    if not isinstance(content, dict):
        raise InputError(message("published", place, "a study's name, and its parts", place, "Mend the file"))
    problems: list[str] = []
    studies: dict[str, Published] = {}
    for name, parts in content.items():
        try:
            studies[str(name)] = Published.model_validate(parts)
        except ValidationError as error:
            for problem in error.errors():
                key = ".".join(map(str, (name, *problem["loc"])))
                rule = problem["msg"].removeprefix("Input should be ")
                problems.append(message(key, problem["input"], rule, place, "Correct it"))
    if problems:
        raise InputError(problems)
    return studies


def settings_question(source: Published) -> Question:
    """Report the settings of a published study, and how sure each is.

    Parameters
    ----------
    source : Published
        What is on file of it.

    Returns
    -------
    Question
        With a table of the settings, where there are any.
    """
    if not source.settings:
        return Question(id="settings", title="What was published", answer="No settings are on file.")
    frame = pd.DataFrame([setting.model_dump() for setting in source.settings])
    frame["value"] = frame["value"].map(str)
    return Question(
        id="settings",
        title="What was published, and how sure that is",
        answer=f"{int((frame['status'] == 'as published').sum())} of {len(frame)} settings stand so in the "
        "source; the others are uncertain, or ours.",
        tables=(Table.from_frame(frame, name="published_settings", title="Settings of the published study"),),
        references=(source.source,),
    )
