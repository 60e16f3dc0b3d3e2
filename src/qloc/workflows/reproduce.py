"""A published study's tables from stores, its values beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qloc.errors import InputError, message

if TYPE_CHECKING:
    from qloc.analysis.reproductions.published import Published
    from qloc.analysis.reproductions.published_tables import PublishedTable
    from qloc.analysis.results import StudyResult
    from qloc.plan import AnalysisPlan


def published_study(name: str, file: Path | None = None) -> Published:
    """Return what is on file of a published study.

    Parameters
    ----------
    name : str
        ``chen``, ``dai`` or ``niu``.
    file : Path or None
        A file of published values, in the form of published.yaml.

    Returns
    -------
    Published
        Its plan, settings and values.

    Raises
    ------
    InputError
        The name of no study whose tables are made, or a file that is none.
    """
    from qloc.analysis.reproductions.published import STUDIES, published

    if name not in STUDIES:
        rule = f"one of {', '.join(STUDIES)}"
        raise InputError(message("study", name, rule, "qloc reproduce", "Choose one"))
    return published(name, file)


def _layouts(name: str) -> Sequence[PublishedTable]:
    """The tables of a study, in its paper's order."""
    from qloc.analysis.reproductions import chen_tables, dai_tables, niu_tables

    return {"chen": chen_tables.LAYOUTS, "dai": dai_tables.LAYOUTS, "niu": niu_tables.LAYOUTS}[name]


def reproduce_study(
    name: str,
    source: Published,
    stores: Sequence[str | Path],
    plan: AnalysisPlan | None = None,
    out: str | Path | None = None,
) -> StudyResult:
    """Make the tables of a published study from stores, models side by side.

    Parameters
    ----------
    name : str
        ``chen``, ``dai`` or ``niu``.
    source : Published
        Of :func:`published_study`.
    stores : sequence of str or Path
        One at least; several are taken on the facts that all of their models were asked.
    plan : AnalysisPlan or None
        Thresholds and k₀; the defaults where it is None.
    out : str, Path or None
        Folder that the result is saved in.

    Returns
    -------
    StudyResult
        The tables, which are descriptive.

    Raises
    ------
    SchemaError
        A path is not a store; every one.
    InputError
        ``out`` is a store, or has other results.
    StorageError
        The disk refused.
    """
    from qloc.analysis.reproductions.chen_tables import single_facts
    from qloc.analysis.reproductions.published_tables import reproduce
    from qloc.workflows.analyze import open_study
    from qloc.workflows.results_folder import refuse_folder

    study = open_study(stores[0]) if len(stores) == 1 else open_study(stores)
    if out is not None:
        refuse_folder(out, "reproduction", stores, name)
    further = single_facts if name == "chen" else None
    result = reproduce(study, _layouts(name), source, plan, further=further)
    if out is not None:
        result.save(Path(out))
    return result
