"""Read facts from a dataset of the Hugging Face Hub, or from a local folder of one, through ``datasets``.

Rows may have the form of lines of facts.jsonl (column ``queries``), of queries of a facts.csv (column
``query``), or of CounterFact's records (column ``requested_rewrite``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from qloc.errors import InputError, MissingDependencyError, message
from qloc.extract.datasets.counterfact_zsre import counterfact
from qloc.extract.datasets.counterfact_zsre import entries_of as records_of
from qloc.extract.datasets.facts_csv import NEEDED, cells_told, entries_of, numeric_columns
from qloc.extract.datasets.facts_jsonl import facts_of
from qloc.extract.datasets.json_lines import Problems
from qloc.extract.datasets.selection import select
from qloc.facts import FactSet

_COLUMNS = "queries (facts.jsonl), query (facts.csv) or requested_rewrite (CounterFact)"


def read_hub(
    place: Path,
    *,
    source: str,
    relations: tuple[str, ...] = (),
    max_facts: int | None = None,
    seed: int = 0,
) -> FactSet:
    """Read a dataset, ``hf:NAME`` or ``hf:NAME:SPLIT``; see :func:`qloc.extract.datasets.read_facts`.

    Parameters
    ----------
    place : Path
        Ignored; every reader takes one. The name is read from ``source``, because a path would change it.
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
        If there is no such dataset or split, if its columns have another form, or for every problem of its
        rows.
    MissingDependencyError
        If ``datasets`` is not installed.
    """
    name, _, split = source.removeprefix("hf:").partition(":")
    rows = [_filled(row) for row in _rows(name, split)]
    problems = Problems()
    entries, skipped = _entries(rows, f"hf:{name}", problems)
    facts = facts_of(entries, problems)
    problems.stop()
    return select(facts, source=source, skipped=skipped, relations=relations, max_facts=max_facts, seed=seed)


def _rows(name: str, split: str) -> Iterable[Mapping[str, Any]]:
    place = f"facts hf:{name}"
    try:
        import datasets
    except ModuleNotFoundError:
        rule, action = "the extra hub", "pip install -c constraints.txt '.[hub]'"
        raise MissingDependencyError(message("package datasets", "missing", rule, place, action)) from None
    try:
        dataset = datasets.load_dataset(name)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        rule = f"a dataset that can be read ({' '.join(str(error).split())})"
        raise InputError(message("facts", f"hf:{name}", rule, "--facts", "Check its name")) from None
    split = split or (next(iter(dataset)) if len(dataset) == 1 else "")
    if split not in dataset:
        rule, action = f"one of {', '.join(dataset)}", f"Write hf:{name}:{next(iter(dataset))}"
        raise InputError(message("split", split, rule, place, action))
    rows: Iterable[Mapping[str, Any]] = dataset[split]
    return rows


def _filled(value: Any) -> Any:
    """Return a row without its null values; columns have a cell in every row."""
    if isinstance(value, Mapping):
        return {key: _filled(part) for key, part in value.items() if part is not None}
    return value


def _entries(
    rows: list[dict[str, Any]], name: str, problems: Problems
) -> tuple[list[tuple[str, Mapping[str, Any]]], dict[str, int]]:
    """Return the entries, each with its place, and what is counted of their cells."""
    placed = [(f"{name}, row {number}", row) for number, row in enumerate(rows, start=1)]
    columns = {key for row in rows for key in row}
    if "queries" in columns:
        return list(placed), {}
    if "query" in columns:
        texts = dict.fromkeys(NEEDED, "")
        cells = [(at, texts | {key: str(cell) for key, cell in row.items()}) for at, row in placed]
        numbers = numeric_columns(cells, problems)
        return list(entries_of(cells, numbers, problems)), cells_told(cells, numbers)
    if "requested_rewrite" in columns:
        return list(records_of(placed, counterfact, problems)), {}
    names = ", ".join(sorted(columns)) or "no rows"
    problems.add("columns", names, f"a column {_COLUMNS}", name, "Give another dataset")
    return [], {}
