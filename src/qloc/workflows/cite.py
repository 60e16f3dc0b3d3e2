"""Whom to cite: the references of every method, edit, phase and data set that stores or results used."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from qloc.errors import InputError, SchemaError, message
from qloc.references import PHASES, sources_of


def cite(paths: Iterable[str | Path]) -> tuple[str, ...]:
    """Return the references of what stores and results used.

    Parameters
    ----------
    paths : iterable of str or Path
        Stores, packed or not or at a URL, and folders of results.

    Returns
    -------
    tuple of str
        One line a reference, each once.

    Raises
    ------
    InputError
        Paths that are neither a store nor results; every one.
    MissingDependencyError, RemoteError
        A URL that cannot be read.
    """
    lines: dict[str, None] = {}
    problems: list[str] = []
    for path in map(str, paths):
        try:
            lines.update(
                dict.fromkeys(_of_results(path) if Path(path, "study.json").exists() else _of_store(path))
            )
        except SchemaError:
            rule, action = "a store, or a folder with results", "Give what qloc extract or qloc analyze wrote"
            problems.append(message("path", path, rule, _where(path), action))
    if problems:
        raise InputError(problems)
    return tuple(lines)


def _where(path: str) -> str:
    from qloc.store.files.url import is_url

    return path if is_url(path) else str(Path(path).absolute())


def _of_results(path: str) -> tuple[str, ...]:
    from qloc.analysis.results import load

    return tuple(line for question in load(Path(path)).questions for line in question.references)


def _of_store(path: str) -> tuple[str, ...]:
    from qloc.workflows.analyze import open_study

    study = open_study(path)
    edits = study.datasets.get("edits")
    return sources_of(
        methods=study.methods,
        kinds=[kind for kind in ("fact", "minimal_pair") if kind in study.column("queries", "kind")],
        phases=[group for group in PHASES if study.datasets.get(group) is not None],
        edit_sets=[] if edits is None else map(str, edits["edit_set"].values),
        facts=str(study.attrs.get("facts", "")),
    )
