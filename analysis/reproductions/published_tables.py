"""A published study's tables in its layout: models side by side, published values beside ours.

Each table is a :class:`PublishedTable`: a function from one model (:class:`Side`) to rows, and the columns
that the paper has. :func:`reproduce` makes the tables of a study.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from qloc.analysis.analyze import PLAN_DIGEST, synthetic, versions, words
from qloc.analysis.comparison.measures import few_models
from qloc.analysis.comparison.models import differently_extracted
from qloc.analysis.comparison.studies import Studies, model_name
from qloc.analysis.editing.generalization import UsedConsistency
from qloc.analysis.editing.outcomes import edit_scores, harmonic
from qloc.analysis.inference.means import mean
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import consistency
from qloc.analysis.reproductions.published import NOT_ON_FILE, Published, settings_question
from qloc.analysis.results import Question, StudyResult, Table
from qloc.arrays import Floats, Ints
from qloc.canonical_json import digest
from qloc.neurons import NeuronSets
from qloc.plan import AnalysisPlan
from qloc.text.rounding import counted
from qloc.vocabulary import FACT, QUERY

Row = dict[str, Any]
Masks = Mapping[str, NDArray[np.bool_]]

PUBLISHED_EDIT_SCORES: Final = ("reliability", "generalization", "locality")
"""Scores of an edit that the paper averages."""

EDIT_LABELS: Final = {
    "reliability": "Rel",
    "generalization": "Gen",
    "locality": "Loc",
    "average": "Avg, as published",
    "harmonic": "harmonic mean",
    "perplexity": "ΔPPL",
    "relative": "ΔPPL / PPL",
    "nats": "Δ nats a token",
}

_OWN_QUERIES: Final = (
    "Neuron sets, flips and tracing are of common queries; means of a fact's effects and edits, and words of "
    "paradigms, are over all that its model was asked and knows."
)

_KEYS: Final = (
    "model",
    "method",
    "score",
    "threshold",
    "operation",
    "set",
    "decision",
    "synapses",
    "class",
    "relation",
    "feature",
    "word",
    "neurons",
)
"""Columns that label a row."""


@dataclass(frozen=True)
class Side:
    """One model's part of the tables.

    Attributes
    ----------
    model : str
        Name of the model.
    study : Study
        Its study.
    sets : mapping of str to NeuronSets
        Neuron sets by method, of the queries that all models were asked: their facts and queries are numbered
        as the common ones.
    facts, queries : int64 ndarray, shape (fact,) and (query,)
        Rows of the common facts and queries in the study.
    plan : AnalysisPlan
        Method, thresholds and k₀.
    select : callable
        From a method that the store has, in ``sets`` or not, to such neuron sets.
    """

    model: str
    study: Study
    sets: Mapping[str, NeuronSets]
    facts: Ints
    queries: Ints
    plan: AnalysisPlan
    select: Callable[[str], NeuronSets]

    @cached_property
    def is_common(self) -> NDArray[np.bool_]:
        """Which of the study's facts are common: bool, shape (fact,)."""
        return _places(self.facts, self.study.facts.sizes["fact"])

    @cached_property
    def is_asked(self) -> NDArray[np.bool_]:
        """Which of the study's queries are common: bool, shape (query,)."""
        return _places(self.queries, self.study.queries.sizes["query"])

    @cached_property
    def classes(self) -> Masks:
        """Classes of the study's facts by the consistency of their known queries: bool, shape (fact,)."""
        cs2 = np.full(self.study.facts.sizes["fact"], np.nan)
        cs2[self.facts] = consistency(self.sets[self.plan.method])["CS2"].values
        return self._split(cs2)

    def _split(self, cs2: Floats) -> Masks:
        """Return K_C, K_I and all, of the common facts."""
        common, cut = self.is_common, self.plan.consistency_threshold
        with np.errstate(invalid="ignore"):
            return {"all": common, "K_C": common & (cs2 >= cut), "K_I": common & (cs2 < cut)}

    @cached_property
    def edit_scores(self) -> xr.Dataset:
        """Scores of every edit of every fact, by whether the answer ranks first."""
        return edit_scores(self.study).sel(criterion="argmax")

    @cached_property
    def edit_classes(self) -> Masks:
        """Classes by the consistency over the templates that chose the edited sets: bool, shape (fact,)."""
        return self._split(UsedConsistency(self.study).cs2)


def _sides_of(studies: Study | Studies, plan: AnalysisPlan, name: str) -> tuple[Side, ...]:
    """Return every model with its neuron sets: of one study all queries, of several the common ones."""
    if isinstance(studies, Study):
        selects: list[Callable[[str], NeuronSets]] = [partial(studies.neurons, threshold=plan.threshold)]
        named = {name: studies}
        facts, queries = (
            [np.arange(group.sizes[dim])] for group, dim in ((studies.facts, FACT), (studies.queries, QUERY))
        )
    else:
        named = dict(studies.studies)
        selects = [partial(studies.neurons_of, model, threshold=plan.threshold) for model in named]
        facts, queries = list(studies.fact_rows), list(studies.rows)
    methods = studies.methods
    return tuple(
        Side(model, study, {method: select(method) for method in methods}, common, asked, plan, select)
        for (model, study), select, common, asked in zip(named.items(), selects, facts, queries, strict=True)
    )


def _places(rows: Ints, n: int) -> NDArray[np.bool_]:
    found = np.zeros(n, dtype=bool)
    found[rows] = True
    return found


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """A table of the paper.

    Attributes
    ----------
    name, title : str
        Identifier, such as ``chen_ratio``, and title in one line.
    group : str
        Group of the store that it needs.
    phase : str
        Phase of the extraction that makes that group.
    rows : callable
        From one model to its rows.
    shown : tuple of str
        Columns that the paper has.
    labels : mapping of str to str
        Headings of columns.
    note : str
        What a reader must know to read it.
    finding : callable or None
        From the rows to what they say, in a sentence; empty where they say nothing.
    """

    name: str
    title: str
    group: str
    phase: str
    rows: Callable[[Side], Iterator[Row]]
    shown: tuple[str, ...]
    labels: Mapping[str, str]
    note: str
    finding: Callable[[Sequence[Mapping[str, Any]]], str] | None = None

    def table(self, sides: tuple[Side, ...]) -> Table | None:
        """Make the table of the models that have it.

        Parameters
        ----------
        sides : tuple of Side
            The models.

        Returns
        -------
        Table or None
            None where no model has the group.
        """
        rows = [row for side in sides if side.study.datasets.get(self.group) for row in self.rows(side)]
        if not rows:
            return None
        return Table.from_frame(
            pd.DataFrame(rows), name=self.name, title=self.title, labels=self.labels, note=self.note
        )


def edit_rows(side: Side, names: tuple[str, ...], classes: Masks) -> Iterator[Row]:
    """Yield scores of every edit of some sets, by class of facts.

    Parameters
    ----------
    side : Side
        A model whose store has phase ``edits``.
    names : tuple of str
        Edited sets; those that the store lacks are left out.
    classes : mapping of str to bool ndarray, shape (fact,)
        Classes of facts.

    Yields
    ------
    dict
        A row of a table.
    """
    scores = side.edit_scores
    for operation in map(str, scores["edit_operation"].values):
        for name in among_labels(scores, "edit_set", names):
            here = scores.sel(edit_operation=operation, edit_set=name)
            for label, among in classes.items():
                facts = int(np.sum(~np.isnan(here["reliability"].values[among])))
                if not facts:
                    continue
                three = [mean(here[score].values[among]) for score in PUBLISHED_EDIT_SCORES]
                row: Row = {"model": side.model, "operation": operation, "set": name, "class": label}
                row |= dict(zip(PUBLISHED_EDIT_SCORES, three, strict=True))
                row |= {"average": float(np.mean(three)), "harmonic": harmonic(three)}
                yield row | _damage(side, here["nats"].values, among) | {"facts": facts}


def _damage(side: Side, nats: Floats, among: NDArray[np.bool_]) -> Row:
    """Return Δ perplexity of the mean Δ nats a token: a mean of Δ perplexities is that of the worst few."""
    there = among & ~np.isnan(nats)
    before = mean(side.study.edits["base_text_nats"].values[there])
    change = mean(nats[there])
    relative = float(np.expm1(change))
    return {"perplexity": float(np.exp(before) * relative), "relative": relative, "nats": change}


def among_labels(values: xr.DataArray | xr.Dataset, dim: str, wanted: tuple[str, ...]) -> list[str]:
    """Return those of some labels that an axis has.

    Parameters
    ----------
    values : xarray.DataArray or xarray.Dataset
        With the axis.
    dim : str
        Name of the axis.
    wanted : tuple of str
        The labels, in order.

    Returns
    -------
    list of str
        In the order of ``wanted``.
    """
    have = [str(name) for name in values[dim].values]
    return [name for name in wanted if name in have]


def reproduce(
    studies: Study | Studies,
    layouts: Sequence[PublishedTable],
    source: Published,
    plan: AnalysisPlan | None = None,
    *,
    further: Callable[[Side], Question] | None = None,
) -> StudyResult:
    """Make the tables for which the stores have data, with published values where they are on file.

    Parameters
    ----------
    studies : Study or Studies
        One study, or several on their common facts.
    layouts : sequence of PublishedTable
        Tables of the study, in the paper's order.
    source : Published
        What is on file of the published study.
    plan : AnalysisPlan, optional
        Threshold of neuron sets, static threshold of consistency, and k₀; by default those of
        ``AnalysisPlan()``.
    further : callable, optional
        From one model to what else the paper shows of it.

    Returns
    -------
    StudyResult
        A question for each table, without tests or verdicts; ``notes`` name the tables left out.
    """
    plan = plan or AnalysisPlan()
    several = list(studies) if isinstance(studies, Studies) else [studies]
    sides = _sides_of(studies, plan, model_name(several[0]))
    tables = [(layout, layout.table(sides)) for layout in layouts]
    questions = [_question(layout, table, source) for layout, table in tables if table]
    absent = dict.fromkeys(layout.phase for layout, table in tables if not table)
    held = {phase for side in sides for phase in side.study.phases}
    names = [side.model for side in sides]
    return StudyResult(
        title=f"{source.title}: {', '.join(names)}",
        model=", ".join(names),
        facts=f"{words(several[0].attrs.get('facts', 'unnamed facts'))} "
        f"({counted(len(sides[0].facts), 'fact')}{' common to all models' if len(names) > 1 else ''})",
        questions=(*questions, *_further(sides, further), settings_question(source)),
        provenance={
            **{f"store fingerprint, {side.model}": side.study.fingerprint for side in sides},
            PLAN_DIGEST: digest(plan.model_dump(mode="json")),
            **versions(),
        },
        counts={"facts": len(sides[0].facts)},
        plan=plan.model_dump(mode="json"),
        synthetic=any(synthetic(study) for study in several),
        notes=(
            *(f"Tables that need phase {phase} are left out: {_why(phase, held)}." for phase in absent),
            *(f"Not made: {part}." for part in source.missing),
            *_unlike_published(sides, source),
            *_unmatched(tables, source),
            *(differently_extracted(studies) if isinstance(studies, Studies) else ()),
            *([_OWN_QUERIES] if len(names) > 1 and _of_effects(tables) else []),
            *([few_models(len(names))] if len(names) > 1 else []),
        ),
    )


def _further(sides: Sequence[Side], further: Callable[[Side], Question] | None) -> Iterator[Question]:
    """Yield what else is shown of each model; of several, each under its name."""
    for number, side in enumerate(sides if further else (), start=1):
        question = further(side)  # type: ignore[misc]
        if len(sides) == 1:
            yield question
            continue
        tables = tuple(replace(table, name=f"{table.name}_{number}") for table in question.tables)
        title = f"{question.title} ({side.model})"
        yield replace(question, id=f"{question.id}_{number}", title=title, tables=tables)


def _of_effects(tables: Sequence[tuple[PublishedTable, Table | None]]) -> bool:
    return any(table is not None and layout.group != "signals" for layout, table in tables)


def _why(phase: str, held: set[str]) -> str:
    return "no fact gives them a row, such as one that is known" if phase in held else "no store has it"


def _unlike_published(sides: Sequence[Side], source: Published) -> Iterator[str]:
    """Yield one sentence for the models whose stores differ from the published plan in the same settings."""
    by_settings: dict[tuple[str, ...], list[str]] = {}
    for side in sides:
        by_settings.setdefault(tuple(_unlike(side, source)), []).append(side.model)
    for settings, models in by_settings.items():
        if settings:
            yield f"{', '.join(models)}: unlike the published plan, {'; '.join(settings)}."


def _unlike(side: Side, source: Published) -> Iterator[str]:
    """Yield each setting of the store that differs from the published plan, and the plan's in brackets."""
    edits = {f"edits.{name}": value for name, value in source.plan.get("edits", {}).items()}
    stored = {f"edits.{name}": value for name, value in side.study.edits.attrs.items()}
    wanted = {name: source.plan[name] for name in ("quadrature", "steps", "methods") if name in source.plan}
    for name, value in {**wanted, **(edits if side.study.datasets.get("edits") else {})}.items():
        have = {**side.study.attrs, **stored}.get(name)
        if have is not None and have != value:
            yield f"{name} is {_listed(have)} (published: {_listed(value)})"


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _question(layout: PublishedTable, table: Table, source: Published) -> Question:
    beside = _beside(layout, table, source)
    on_file = sum(cell != NOT_ON_FILE for cell in beside.columns["published"])
    n = len(beside.columns["published"])
    filed = f"{on_file:,} of its {n:,} published values are on file." if n else "The paper has no such cells."
    cells = [dict(zip(table.columns, row, strict=True)) for row in zip(*table.columns.values(), strict=True)]
    said = layout.finding(cells) if layout.finding else ""
    return Question(
        id=layout.name,
        title=layout.title,
        answer=" ".join(filter(None, (said, filed))),
        tables=(table, *([beside] if on_file else [])),
        method=layout.note,
        references=(source.source,),
    )


def _beside(layout: PublishedTable, table: Table, source: Published) -> Table:
    """Return a table of our value and the published one, of every cell that the paper has."""
    frame = table.to_frame()
    keys = [name for name in _KEYS if name in frame]
    rows: list[Row] = []
    for row in frame.to_dict("records"):
        for column in layout.shown:
            label = ", ".join(str(row[name]) for name in keys)
            cell = source.value(layout.name, {str(key): value for key, value in row.items()}, column)
            rows.append(
                {
                    "row": label,
                    "value": layout.labels.get(column, column),
                    "ours": row[column],
                    "published": cell,
                }
            )
    shown = pd.DataFrame(rows, columns=["row", "value", "ours", "published"])
    return Table.from_frame(
        shown, name=f"{layout.name}_published", title=f"{layout.title}: ours and published"
    )


def _unmatched(tables: Sequence[tuple[PublishedTable, Table | None]], source: Published) -> Iterator[str]:
    """Yield one sentence for each published value that belongs to no cell of the tables that are made."""
    cells = [
        (layout.name, column, {str(key): str(value) for key, value in row.items()})
        for layout, table in tables
        if table
        for row in table.to_frame().to_dict("records")
        for column in layout.shown
    ]
    for value in source.values:
        if not any(
            (value.table, value.column) == (name, column) and value.row.items() <= row.items()
            for name, column, row in cells
        ):
            labels = ", ".join(f"{name} {label}" for name, label in value.row.items())
            yield f"The published value of {value.table}, {value.column}, {labels} matches no cell of ours."
