"""The rooms joined: store → analysis → reports, as functions of plans and paths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qloc.errors import InputError, message
from qloc.plan import AnalysisPlan

if TYPE_CHECKING:
    from qloc.analysis.results import StudyResult
    from qloc.analysis.study import Study


def open_study(path: str | Path) -> Study:
    """A store, opened for analysis: Datasets that are read when they are needed.

    Raises
    ------
    SchemaError : the path is not a store, or not of a schema that this version reads; every problem.

    Examples
    --------
    >>> study = open_study("study.zarr")               # doctest: +SKIP
    >>> study.attribution.sel(relation="P36")          # doctest: +SKIP
    """
    from qloc.analysis.study import Study
    from qloc.store.read import GROUPS, open_store

    stored = open_store(path)
    groups = {name: getattr(stored, name) for name in GROUPS}
    digests = {phase: found["digest"] for phase, found in stored.attrs["fingerprint"].items()}
    return Study(
        {name: group for name, group in groups.items() if group is not None},
        {**stored.attrs, "fingerprint": digests},
        complete=stored.complete,
    )


def analyze(store: str | Path, plan: AnalysisPlan | None, out: str | Path) -> StudyResult:
    """Analyze a store by a plan, and save the result as ``study.json`` in the folder ``out``.

    Raises
    ------
    SchemaError : the path is not a store.
    FloorError : the plan asks below what the store's panel keeps.
    StorageError : the disk refused.
    """
    from qloc.analysis.analyze import analyze as analyzed

    result = analyzed(open_study(store), plan or AnalysisPlan())
    result.save(Path(out))
    return result


def report(results: Sequence[str | Path], format: str, out: str | Path) -> Path:
    """One report on all results in these folders; a folder of result folders stands for those.

    Parameters
    ----------
    format : ``html``, ``md``, ``latex`` or ``json``.

    Raises
    ------
    InputError : a folder without results, or an unknown format; every problem.
    """
    from qloc.analysis.results import load
    from qloc.reports.render import render, write

    loaded = [load(folder) for folder in result_folders(results)]
    return write(render(loaded, format), Path(out))  # type: ignore[arg-type]  # render refuses what is no format


def result_folders(given: Sequence[str | Path]) -> list[Path]:
    """Folders with a ``study.json``; one without stands for the folders in it that have one.

    Raises
    ------
    InputError : a path that leads to none; every one.
    """
    from qloc.analysis.results import FILE

    found: list[Path] = []
    problems: list[str] = []
    for folder in map(Path, given):
        inside = [folder] if (folder / FILE).exists() else sorted(p.parent for p in folder.glob(f"*/{FILE}"))
        found += inside
        if not inside:
            rule = f"a folder that `qloc analyze` wrote, with {FILE} in it"
            problems.append(
                message("results", str(folder), rule, str(folder.absolute()), "Run `qloc analyze` first")
            )
    if problems:
        raise InputError(problems)
    return list(dict.fromkeys(found))
