"""Figures of reports in Python: axes of Matplotlib in, axes out, drawn by the recipes of reports.

Each function takes what ``qloc.analyze`` gives, one of its tables, or an open study, of which it then
computes what it draws. Without ``ax`` it makes a figure of pyplot, which notebooks show.

Examples
--------
>>> import qloc
>>> ax = qloc.plot.layers(qloc.open("gpt2.zarr"))                   # doctest: +SKIP
>>> ax.figure.savefig("layers.pdf")                                 # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from qloc.analysis.analyze import OF_PHASES
from qloc.analysis.formula import Fit
from qloc.analysis.inputs.study import Study
from qloc.analysis.questions.consistency import consistency_question
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.questions.edits import edits_question
from qloc.analysis.questions.interventions import interventions_question
from qloc.analysis.questions.layers import layers_question
from qloc.analysis.questions.overlap import overlap_question
from qloc.analysis.questions.single_facts import heatmap_question
from qloc.analysis.results import Question, StudyResult, Table, TestResult
from qloc.errors import InputError, message
from qloc.plan import AnalysisPlan
from qloc.reports.document import Finding
from qloc.reports.figures.from_table import figure
from qloc.reports.figures.on_axes import on_axes
from qloc.reports.forest import forest as forest_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["decomposition", "dose_response", "editing", "forest", "heatmap", "layers", "table", "violins"]

_MADE_BY: Final[dict[str, Callable[[AnalysisContext], Question]]] = {
    "consistency_by_fact": consistency_question,
    "overlap_decomposition": overlap_question,
    "layer_profile": layers_question,
    "heatmap_typical": heatmap_question,
    "heatmap_most_consistent": heatmap_question,
    "heatmap_least_consistent": heatmap_question,
    "dose_response": interventions_question,
    "edit_scores": edits_question,
}
"""Table → the question that makes it of an open study."""


def violins(source: Study | StudyResult | Table | xr.Dataset, *, score: str = "kappa", ax: Any = None) -> Any:
    """Draw the consistency of single facts, by relation.

    Parameters
    ----------
    source : Study, StudyResult, Table or Dataset
        What was analyzed, or what ``qloc.consistency`` returns.
    score : {"kappa", "cs2"}, default "kappa"
        κ, or the published CS2.
    ax : Axes, optional
        Where it is drawn.

    Returns
    -------
    Axes
        With a violin for each relation, a point for each fact, and the median.

    Raises
    ------
    InputError
        Another score, or nothing to draw.
    """
    panels = {"kappa": "κ", "cs2": "CS2, as published"}
    if score not in panels:
        action = "Choose one"
        raise InputError(message("score", score, " or ".join(panels), "qloc.plot.violins", action))
    return table(_of_scores(source), "consistency_by_fact", panel=panels[score], ax=ax)


def _of_scores(source: Any) -> Any:
    """The table that violins are drawn from, of consistency scores along facts; anything else as it is."""
    if not hasattr(source, "data_vars"):
        return source
    frame = source[["kappa", "CS2"]].to_dataframe().reset_index().rename(columns={"CS2": "cs2"})
    frame = frame[frame["kappa"].notna()].sort_values(["relation", "kappa"])
    return Table.from_frame(
        frame[["relation", "kappa", "cs2"]], name="consistency_by_fact", title="Consistency of single facts"
    )


def forest(source: StudyResult | TestResult | Fit | Sequence[TestResult], *, ax: Any = None) -> Any:
    """Draw effects in standardized units, with their intervals, those of the plan first.

    Parameters
    ----------
    source : StudyResult, TestResult, Fit, or sequence of TestResult
        What was tested.
    ax : Axes, optional
        Where it is drawn.

    Returns
    -------
    Axes
        A row for each effect.

    Raises
    ------
    InputError
        No test has a standardized effect.
    """
    tests: Sequence[TestResult]
    if isinstance(source, StudyResult):
        tests = source.tests()
    elif isinstance(source, Fit):
        tests = source.tests
    else:
        tests = [source] if isinstance(source, TestResult) else list(source)
    findings = [Finding(test=test, sentence=test.sentence(), section="") for test in tests]
    drawn = forest_of([("", findings)], "forest", "Effects, standardized")
    if drawn is None:
        rule, action = "tests with a standardized effect", "Give others, or qloc.analyze's result"
        raise InputError(message("tests", len(tests), rule, "qloc.plot.forest", action))
    return on_axes(drawn, ax)


def decomposition(source: Study | StudyResult | Table, *, ax: Any = None) -> Any:
    """Draw what paraphrases share: of their template, of their answer, of the fact, with intervals.

    Parameters
    ----------
    source : Study, StudyResult or Table
        What was analyzed.
    ax : Axes, optional
        Where it is drawn.

    Returns
    -------
    Axes
        A row for each part, over all relations.
    """
    return table(source, "overlap_decomposition", recipe="decomposition", ax=ax)


def heatmap(source: Study | StudyResult | Table, *, fact: str = "typical", ax: Any = None) -> Any:
    """Draw the attribution of a fact's strongest neurons in each of its queries.

    Parameters
    ----------
    source : Study, StudyResult or Table
        What was analyzed.
    fact : {"typical", "most_consistent", "least_consistent"}, default "typical"
        Which fact.
    ax : Axes, optional
        Where it is drawn.

    Returns
    -------
    Axes
        A row for each query, a column for each neuron.
    """
    return table(source, f"heatmap_{fact}", ax=ax)


def layers(source: Study | StudyResult | Table, *, ax: Any = None) -> Any:
    """Draw the share of a query's knowledge neurons in each layer.

    Parameters
    ----------
    source : Study, StudyResult or Table
        What was analyzed.
    ax : Axes, optional
        Where it is drawn.

    Returns
    -------
    Axes
        A bar for each layer, with its interval.
    """
    return table(source, "layer_profile", ax=ax)


def dose_response(source: Study | StudyResult | Table, *, ax: Any = None) -> Any:
    """Draw how much an answer loses as more of its knowledge neurons are suppressed, beside matched ones.

    Parameters
    ----------
    source : Study, StudyResult or Table
        What was analyzed; it needs interventions.
    ax : Axes, optional
        Where it is drawn.

    Returns
    -------
    Axes
        A line for each set.
    """
    return table(source, "dose_response", ax=ax)


def editing(source: Study | StudyResult | Table, *, ax: Any = None) -> Any:
    """Draw the matrix of edits: a row for each edit, a column for each criterion.

    Parameters
    ----------
    source : Study, StudyResult or Table
        What was analyzed; it needs edits.
    ax : Axes, optional
        Where it is drawn.

    Returns
    -------
    Axes
        Reliability, generalization, locality, their harmonic mean, and Δ nats a token.
    """
    return table(source, "edit_scores", recipe="edit_matrix", ax=ax)


def table(
    source: Study | StudyResult | Table, name: str = "", *, recipe: str = "", panel: str = "", ax: Any = None
) -> Any:
    """Draw any table of an analysis as a report draws it.

    Parameters
    ----------
    source : Study, StudyResult or Table
        What was analyzed.
    name : str, default ""
        Name of the table; of no matter where ``source`` is one.
    recipe : str, default ""
        Another recipe than that of the table's name.
    panel : str, default ""
        Title of one of several panels; the first where it is empty.
    ax : Axes, optional
        Where it is drawn.

    Returns
    -------
    Axes
        With the figure on them.

    Raises
    ------
    InputError
        There is no such table, or nothing to draw in it.
    """
    found = _table(source, name)
    drawn = figure(found, found.name, recipe)
    if drawn is None:
        rule, action = "a table with something to draw", "Look at it with to_frame()"
        raise InputError(message("table", found.name, rule, "qloc.plot", action))
    return on_axes(drawn, ax, panel)


def _table(source: Any, name: str) -> Table:
    if isinstance(source, Table):
        return source
    if isinstance(source, Study):
        questions = [_asked(source, name)]
    elif isinstance(source, StudyResult):
        questions = list(source.questions)
    else:
        rule, action = "a Study, a StudyResult or a Table", "Give what qloc.open or qloc.analyze returned"
        raise InputError(message("source", type(source).__name__, rule, "qloc.plot", action))
    tables = {table.name: table for question in questions for table in question.tables}
    if name not in tables:
        rule = f"one of {', '.join(tables)}"
        raise InputError(
            message("table", name, rule, "qloc.plot", "Choose one; phases that were not run have none")
        )
    return tables[name]


def _asked(study: Study, name: str) -> Question:
    """The answer to the one question that has a table."""
    if name not in _MADE_BY:
        rule, action = f"one of {', '.join(_MADE_BY)}", "Give qloc.analyze's result for any other"
        raise InputError(message("table", name, rule, "qloc.plot", action))
    question = _MADE_BY[name]
    group = OF_PHASES.get(question)
    if group is not None and study.datasets.get(group) is None:
        rule, action = f"one of a store with {group}", "Extract that phase"
        raise InputError(message("table", name, rule, "qloc.plot", action))
    return question(AnalysisContext(study, AnalysisPlan()))
