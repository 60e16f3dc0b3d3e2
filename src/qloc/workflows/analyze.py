"""The rooms joined: store → analysis → reports, as functions of plans and paths."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, overload

from qloc.errors import InputError, SchemaError, message
from qloc.exploration.exploration import FILE as EXPLORATION
from qloc.exploration.exploration import load as load_exploration
from qloc.plan import AnalysisPlan, Plan, analysis_part
from qloc.progress import Progress
from qloc.workflows.results_folder import forget, refuse_folder, refuse_parent

if TYPE_CHECKING:
    from qloc.analysis.comparison.studies import Studies
    from qloc.analysis.inputs.study import Study
    from qloc.analysis.results import StudyResult
    from qloc.registration import Registration

COMPARISON: Final = "comparison"
"""Folder of what compares several stores, among those of their results."""


@overload
def open_study(path: str | Path) -> Study: ...  # type: ignore[overload-overlap]  # a str is meant as one
@overload
def open_study(path: Sequence[str | Path]) -> Studies: ...
def open_study(path: str | Path | Sequence[str | Path]) -> Study | Studies:
    """Open a store for analysis: Datasets that are read when they are needed; or several, side by side.

    Parameters
    ----------
    path : str or Path or sequence of str or Path
        A store, packed or not, or the URL of a complete one: s3, gs, az, http, https, hf, or any other
        scheme of fsspec. Of a URL only what is computed is fetched. Or a list of two at least: their
        common facts and queries then lie along ``model``.

    Returns
    -------
    Study or Studies
        Of a list, the studies with a dimension ``model``.

    Raises
    ------
    MissingDependencyError, RemoteError
        A URL that cannot be read.
    SchemaError
        A path is not a store, or not of a schema that this version reads; every problem.
    InputError
        It is no path and no list of paths, or several stores were asked nothing in common.

    Examples
    --------
    >>> study = open_study("study.zarr")                                 # doctest: +SKIP
    >>> study.attribution.sel(relation="P36")                            # doctest: +SKIP
    >>> open_study(["step1000.zarr", "step2000.zarr"]).consistency()     # doctest: +SKIP
    """
    if isinstance(path, str | Path):
        return _opened(path)
    return _several(path)


def _several(paths: Sequence[str | Path]) -> Studies:
    from qloc.analysis.comparison.studies import named

    _require_paths(paths)
    studies: list[Study] = []
    problems: list[str] = []
    for path in paths:
        try:
            studies.append(_opened(path))
        except SchemaError as error:
            problems += error.problems
    if problems:
        raise SchemaError(problems)
    return named(studies, [store_name(path) for path in paths])


def _require_paths(given: Any) -> None:
    if not isinstance(given, Sequence) or not all(isinstance(one, str | Path) for one in given):
        rule = "a path or URL, or a list of them"
        action = "Give where the store lies; what qloc.open returned is open already"
        raise InputError(message("store", type(given).__name__, rule, "qloc.open", action))


def store_name(path: str | Path) -> str:
    """Return what a store is called by its path.

    Parameters
    ----------
    path : str or Path
        With or without ``.zarr`` and ``.zip``.

    Returns
    -------
    str
        The last part of the path, without them.

    Examples
    --------
    >>> store_name("checkpoints/step1000.zarr.zip")
    'step1000'
    """
    return Path(path).name.removesuffix(".zip").removesuffix(".zarr")


def open_signals(path: Path, phases: Collection[str] = ()) -> Study:
    """Open a complete store without the phases that were appended to it: what these are chosen from.

    It is not looked whether all of its objects are there.

    Parameters
    ----------
    path : Path
        The store.
    phases : collection of str
        Earlier phases that a phase is chosen from, too.

    Returns
    -------
    Study
        Its signals, and of these phases those that it has.

    Raises
    ------
    SchemaError
        The path is not a store, or not of a schema that this version reads.
    """
    return _opened(path, phases=phases)


def _opened(path: str | Path, *, phases: Collection[str] | None = None) -> Study:
    from qloc.analysis.inputs.study import Study
    from qloc.store.reading.open_store import GROUPS, open_store

    stored = open_store(path, phases=phases)
    groups = {name: getattr(stored, name) for name in GROUPS}
    digests = {phase: found["digest"] for phase, found in stored.attrs["fingerprint"].items()}
    return Study(
        {name: group for name, group in groups.items() if group is not None},
        {**stored.attrs, "fingerprint": digests},
        complete=stored.complete,
        pairs_as_stored=phases is not None,
    )


def analyze(
    store: str | Path,
    plan: AnalysisPlan | Plan | None = None,
    out: str | Path | None = None,
    *,
    registration: Registration | None = None,
    progress: Progress | None = None,
    explored: int | None = None,
) -> StudyResult:
    """Analyze a store by a plan; save ``study.json``, and facts to look through as ``explorer.json``.

    Parameters
    ----------
    store : str or Path
        A store, packed or not, or a URL.
    plan : AnalysisPlan or Plan or None
        What is asked, or a plan that says it; the defaults where it is None.
    out : str, Path or None, default None
        Folder of the result; the store's name with ``-results`` where it is None.
    registration : Registration or None, default None
        What was locked before looking.
    progress : Progress or None, default None
        Told of each question.
    explored : int or None, default None
        Facts that the report's explorer can show, 1,000 where it is not given; 0 for no explorer.

    Returns
    -------
    StudyResult
        The result that was saved.

    Raises
    ------
    SchemaError
        The path is not a store.
    InputError
        What was given as the plan is none, or ``out`` is a store or has the results of another one.
    FloorError
        The plan asks below what the store's panel keeps.
    StorageError
        The disk refused.
    """
    from qloc.analysis.analyze import analyze as analyzed
    from qloc.analysis.exploring import N_FACTS, explore

    study, asked = open_study(store), _asked(plan, registration)
    out = result_folders_for([store], out)[0]
    refuse_folder(out, "analysis", [store])
    result = analyzed(study, asked, registration=registration, progress=progress)
    result.save(out)
    Path(out, EXPLORATION).unlink(missing_ok=True)  # of the result that was here before
    if n_facts := N_FACTS if explored is None else explored:
        explore(study, asked, title=result.title, n_facts=n_facts).save(out)
    return result


@dataclass(frozen=True, kw_only=True)
class Analyzed:
    """What the analysis of several stores left.

    Attributes
    ----------
    results : dict of Path to StudyResult
        Folder of each result: the stores' in their order, then the comparison's where there is one.
    not_compared : str
        Why there is no comparison; empty where there is one, or one store only.
    """

    results: Mapping[Path, StudyResult]
    not_compared: str = ""


def analyze_stores(
    stores: Sequence[str | Path],
    plan: AnalysisPlan | None = None,
    out: str | Path | None = None,
    *,
    registration: Registration | None = None,
    progress: Progress | None = None,
    done: Callable[[StudyResult], None] | None = None,
    explored: int | None = None,
) -> Analyzed:
    """Analyze several stores, each by itself, and compare them on what all of them were asked.

    Parameters
    ----------
    stores : sequence of str or Path
        One at least. With one, nothing is compared.
    plan : AnalysisPlan or None
        What is asked; the defaults where it is None.
    out : str, Path or None
        Folder for the results; see :func:`result_folders_for`.
    registration : Registration or None, default None
        What was locked before looking.
    progress : Progress or None
        Told of each step.
    done : callable or None
        Called with each result when it is saved for good: tests are corrected over all stores.
    explored : int or None
        As for :func:`analyze`.

    Returns
    -------
    Analyzed
        The results. That nothing is common to the stores is no failure: each has its own.

    Raises
    ------
    SchemaError
        A path is not a store.
    InputError
        A folder is a store, or has the results of another one; told before anything is analyzed.
    FloorError
        The plan asks below what a store's panel keeps.
    StorageError
        The disk refused.
    """
    progress, done = progress or Progress(quiet=True), done or (lambda result: None)
    results: dict[Path, StudyResult] = {}
    folders = result_folders_for(stores, out)
    if out is not None and len(stores) > 1:
        refuse_parent(out)
    for store, folder in zip(stores, folders, strict=True):
        refuse_folder(folder, "analysis", [store])
    for store, folder in zip(stores, folders, strict=True):
        progress.say(f"Analyzing {store} …")
        results[folder] = analyze(
            store, plan, folder, registration=registration, progress=progress, explored=explored
        )
    if len(stores) > 1:
        results = _corrected_together(results, _asked(plan, registration))
    for result in results.values():
        done(result)
    if len(stores) < 2:
        return Analyzed(results=results)
    progress.say("Comparing them on what all were asked …")
    folder = Path(out, COMPARISON) if out else Path(f"{COMPARISON}-results")
    forget(folder)  # of what was there before: it may not be replaced
    try:
        results[folder] = compare(stores, _asked(plan, registration), folder)
    except InputError as error:
        return Analyzed(results=results, not_compared=str(error))
    done(results[folder])
    return Analyzed(results=results)


def _asked(plan: AnalysisPlan | Plan | None, registration: Registration | None) -> AnalysisPlan:
    """What is asked: the plan that is given, else the registered one, else the defaults."""
    if plan is None and registration is not None:
        return registration.plan.analysis
    return analysis_part(plan, "qloc.analyze")


def _corrected_together(results: Mapping[Path, StudyResult], plan: AnalysisPlan) -> dict[Path, StudyResult]:
    """Correct the tests of several stores in families over all of them, and save the results anew."""
    from qloc.analysis.inference.multiplicity import across_studies

    corrected = across_studies([*results.values()], plan)
    for folder, result in zip(results, corrected, strict=True):
        result.save(folder)
    return dict(zip(results, corrected, strict=True))


def result_folders_for(stores: Sequence[str | Path], out: str | Path | None) -> list[Path]:
    """Return where the results of each store go.

    Parameters
    ----------
    stores : sequence of str or Path
        Stores, or URLs of stores.
    out : str, Path or None
        Of one store, its folder; of several, the folder that theirs are made in. None: beside the caller,
        each by the store's name with ``-results``.

    Returns
    -------
    list of Path
        One a store, all different.

    Examples
    --------
    >>> [str(folder) for folder in result_folders_for([Path("a/gpt2.zarr"), Path("b/gpt2.zarr")], "results")]
    ['results/gpt2', 'results/gpt2-2']
    >>> [str(folder) for folder in result_folders_for(["s3://bucket/gpt2.zarr"], None)]
    ['gpt2-results']
    """
    if out and len(stores) == 1:
        return [Path(out)]
    names = [COMPARISON] if len(stores) > 1 else []
    for store in stores:
        place = str(store) if "://" in str(store) else str(Path(store).resolve())
        stem = place.rstrip("/").rpartition("/")[2].removesuffix(".zip").removesuffix(".zarr")
        again = sum(name == stem or name.startswith(f"{stem}-") for name in names)
        names.append(f"{stem}-{again + 1}" if stem in names else stem)
    return [Path(out, name) if out else Path(f"{name}-results") for name in names[-len(stores) :]]


def compare(
    stores: Sequence[str | Path],
    plan: AnalysisPlan | None = None,
    out: str | Path | None = None,
) -> StudyResult:
    """Compare several stores on the facts and templates that all were asked.

    Parameters
    ----------
    stores : sequence of str or Path
        Two at least.
    plan : AnalysisPlan or None
        What is asked; the defaults where it is None.
    out : str or Path or None, default None
        Folder that the result is saved in; None to save nothing.

    Returns
    -------
    StudyResult
        Measures of each model, and their differences.

    Raises
    ------
    SchemaError
        A path is not a store; every one.
    InputError
        Nothing in common, a store without the plan's method, or ``out`` is a store or has other results.
    FloorError
        The plan asks below what a store's panel keeps.
    """
    from qloc.analysis.comparison.models import compare_models as compared

    studies = open_study(stores)
    if out is not None:
        refuse_folder(out, "comparison", stores)
    result = compared(studies, analysis_part(plan, "qloc compare"))
    if out is not None:
        result.save(Path(out))
    return result


def load(results: str | Path) -> StudyResult:
    """Read the result that `qloc analyze` saved in a folder.

    Parameters
    ----------
    results : str or Path
        The folder.

    Returns
    -------
    StudyResult
        The result; ``to_frame()`` of a table or a test gives its numbers.

    Raises
    ------
    InputError
        There is no result in it, or one of another version of qloc.

    Examples
    --------
    >>> load("gpt2-results").question("ratio").table("ki_by_threshold").to_frame()   # doctest: +SKIP
    """
    from qloc.analysis.results import load as loaded

    return loaded(Path(results))


def report(
    results: str | Path | Sequence[str | Path], format: str | None = None, out: str | Path | None = None
) -> Path:
    """Write one report on all results in these folders; a folder of result folders stands for those.

    Parameters
    ----------
    results : str or Path or sequence of str or Path
        One folder, or several.
    format : str or None, default None
        ``html``, ``md``, ``latex`` or ``json``. None: as ``out`` ends, else ``html``.
    out : str, Path or None, default None
        The file; its ending, where it is one of a report, is that of the format. For LaTeX a folder.
        None: ``report.html``, ``.md`` or ``.json``, or the folder ``paper``.

    Returns
    -------
    Path
        The file; of LaTeX ``main.tex``, beside which the others lie.

    Raises
    ------
    InputError
        A folder without results, an unknown format, or a file's ending of another one; every problem.
    """
    from qloc.reports.render import ENDINGS, format_of, refuse_ending, render, write, write_paper

    format = format or (format_of(Path(out)) if out else None) or "html"
    default = "paper" if format == "latex" else f"report{ENDINGS.get(format, '')}"
    out = Path(out or default).expanduser()
    refuse_ending(out, format)
    folders = result_folders([results] if isinstance(results, str | Path) else results)
    loaded = [load(folder) for folder in folders]
    if format == "latex":
        return write_paper(loaded, out)
    explorations = [found for folder in folders if (found := load_exploration(folder))]
    text = render(loaded, format, explorations)  # type: ignore[arg-type]  # render refuses what is no format
    return write(text, out)


def result_folders(given: Sequence[str | Path]) -> list[Path]:
    """Find the folders with a ``study.json``; one without stands for the folders in it that have one.

    Parameters
    ----------
    given : sequence of str or Path
        Folders.

    Returns
    -------
    list of Path
        Each once, in the order given.

    Raises
    ------
    InputError
        A path that leads to none; every one.
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
