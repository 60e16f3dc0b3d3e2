"""The tables of Chen et al. 2025 in the paper's layout: models side by side, published values beside ours.

Each table is a :class:`PublishedTable`: a function from one model (:class:`Side`) to rows, and the columns
that the paper has. :data:`LAYOUTS` lists the tables and :func:`reproduce` makes them.

The tables follow the paper and serve for comparison with it only: classes of facts are split on the score
that is compared, and changes of probability are ratios. Columns that qloc recommends instead stand beside
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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
from qloc.analysis.interventions.knowledge_synapses import synapse_effects
from qloc.analysis.interventions.neuron_effects import Measure, intervention_effects
from qloc.analysis.localization.consistency import consistency
from qloc.analysis.localization.inconsistent_share import STATIC
from qloc.analysis.localization.query_subsets import subset_scores
from qloc.analysis.localization.welch import welch_of
from qloc.analysis.reproductions.published import NOT_ON_FILE, Published, published, settings_question
from qloc.analysis.results import Question, StudyResult, Table
from qloc.arrays import Floats, Ints
from qloc.canonical_json import digest
from qloc.neurons import NeuronSets
from qloc.phase_plan import ROME_SETS
from qloc.plan import AnalysisPlan
from qloc.text.rounding import counted

Row = dict[str, Any]
Masks = Mapping[str, NDArray[np.bool_]]

PUBLISHED_EDIT_SCORES: Final = ("reliability", "generalization", "locality")
"""Scores of an edit that the paper averages."""

_CAS_SETS: Final = (
    *("own", "union", "refined", "cas", "cas_no_penalty"),
    *("own_top", "union_top", "cas_top", "in_context"),
    *ROME_SETS,
)
"""Edited sets that stand beside CAS, in the order of the rows."""

_EDIT_LABELS: Final = {
    "reliability": "Rel",
    "generalization": "Gen",
    "locality": "Loc",
    "average": "Avg, as published",
    "harmonic": "harmonic mean",
    "perplexity": "ΔPPL",
    "nats": "Δ nats a token",
}

_KEYS: Final = ("model", "method", "score", "threshold", "operation", "set", "synapses", "class")
"""Columns that label a row."""

_DESCRIPTIVE: Final = "Descriptive: the classes are split on consistency, and differ in more than that."


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
        Neuron sets by method, of the queries that all models were asked.
    facts : int64 ndarray, shape (fact,)
        Rows of the common facts in the study.
    plan : AnalysisPlan
        Method, thresholds and k₀.
    """

    model: str
    study: Study
    sets: Mapping[str, NeuronSets]
    facts: Ints
    plan: AnalysisPlan

    @cached_property
    def classes(self) -> Masks:
        """Classes of the study's facts by the consistency of their known queries: bool, shape (fact,)."""
        cs2 = np.full(self.study.facts.sizes["fact"], np.nan)
        cs2[self.facts] = consistency(self.sets[self.plan.method])["CS2"].values
        return self._split(cs2)

    def _split(self, cs2: Floats) -> Masks:
        """Return K_C, K_I and all, of the common facts."""
        common = np.zeros(len(cs2), dtype=bool)
        common[self.facts] = True
        cut = self.plan.consistency_threshold
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
        sets = {method: studies.neurons(method, plan.threshold) for method in studies.methods}
        return (Side(name, studies, sets, np.arange(studies.facts.sizes["fact"]), plan),)
    shared = [m for m in next(iter(studies)).methods if all(m in study.methods for study in studies)]
    by_method = {method: studies.neurons(method, plan.threshold) for method in shared}
    return tuple(
        Side(model, study, {method: of[model] for method, of in by_method.items()}, rows, plan)
        for (model, study), rows in zip(studies.studies.items(), studies.fact_rows, strict=True)
    )


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
    """

    name: str
    title: str
    group: str
    phase: str
    rows: Callable[[Side], Iterator[Row]]
    shown: tuple[str, ...]
    labels: Mapping[str, str]
    note: str

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


def _ratio_rows(side: Side) -> Iterator[Row]:
    """Yield share of K_I, mean scores of both classes, and Welch's t between them (Table 1)."""
    for method, sets in side.sets.items():
        d = consistency(sets)
        known = sets.known()
        subsets = subset_scores(
            known.member,
            known.queries["fact"],
            sets.n_facts,
            [side.plan.k0],
            side.plan.consistency_threshold,
        )
        beside = {"kappa": mean(d["kappa"].values), "ki_k0": mean(subsets.below_cs2[:, 0])}
        for score in ("CS1", "CS2"):
            for split in (None, *STATIC):
                welch = welch_of(d[score].values, score, split)[1].iloc[0]
                n = int(welch.n_consistent + welch.n_inconsistent)
                yield {
                    "model": side.model,
                    "method": method,
                    "score": score,
                    "threshold": "Otsu" if split is None else f"{split:g}",
                    "split": welch.split,
                    "ratio": welch.n_inconsistent / n if n else np.nan,
                    "mean_consistent": welch.mean_consistent,
                    "mean_inconsistent": welch.mean_inconsistent,
                    "t": welch.t,
                    "facts": n,
                    **beside,
                }


def _modification_rows(side: Side) -> Iterator[Row]:
    """Yield scores of erase and update × N_i and N_u × K_C and K_I."""
    yield from _edit_rows(side, ("own", "union"), side.edit_classes)


def _probability_rows(side: Side) -> Iterator[Row]:
    """Yield ΔProb when a query's own neurons, or its neighbor's, are suppressed or enhanced."""
    by: dict[Measure, xr.DataArray] = {
        measure: intervention_effects(side.study, measure=measure) for measure in ("probability", "log_odds")
    }
    for operation in _among(by["probability"], "operation", ("suppress", "enhance")):
        for name, among in side.classes.items():
            row: Row = {"model": side.model, "operation": operation, "class": name}
            facts = 0
            for measure, values in by.items():
                for arm in _among(values, "neuron_set", ("own", "neighbor")):
                    chosen = values.sel(operation=operation, neuron_set=arm).values[among]
                    row[f"{measure}_{arm}"] = mean(chosen)
                    facts = max(facts, int(np.sum(~np.isnan(chosen))))
            yield {**row, "facts": facts}


def _synapse_rows(side: Side) -> Iterator[Row]:
    """Yield effects on N_i and on the answer of changing each synapse set, as published or refined."""
    activation = synapse_effects(side.study, outcome="activation")
    probability = synapse_effects(side.study, outcome="probability")
    odds = synapse_effects(side.study, outcome="log_odds")
    for operation in map(str, activation["synapse_operation"].values):
        for arm in map(str, activation["synapse_set"].values):
            at = {"synapse_operation": operation, "synapse_set": arm}
            effects = [values.sel(at).values[side.facts] for values in (activation, probability, odds)]
            yield {
                "model": side.model,
                "operation": operation,
                "synapses": arm,
                **dict(zip(("activation", "probability", "log_odds"), map(mean, effects), strict=True)),
                "facts": int(np.sum(~np.isnan(effects[2]))),
            }


def _cas_rows(side: Side) -> Iterator[Row]:
    """Yield scores of edits of CAS and of the sets that it is compared with."""
    yield from _edit_rows(side, _CAS_SETS, {"all": side.edit_classes["all"]})


def _edit_rows(side: Side, names: tuple[str, ...], classes: Masks) -> Iterator[Row]:
    scores = side.edit_scores
    for operation in map(str, scores["edit_operation"].values):
        for name in _among(scores, "edit_set", names):
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
    return {"perplexity": float(np.exp(before) * np.expm1(change)), "nats": change}


def _among(values: xr.DataArray | xr.Dataset, dim: str, wanted: tuple[str, ...]) -> list[str]:
    have = [str(name) for name in values[dim].values]
    return [name for name in wanted if name in have]


LAYOUTS: Final = (
    PublishedTable(
        name="chen_ratio",
        title="Share of inconsistent facts, scores of the classes, and Welch's t",
        group="signals",
        phase="signals",
        rows=_ratio_rows,
        shown=("ratio", "mean_consistent", "mean_inconsistent", "t"),
        labels={
            "ratio": "share K_I",
            "mean_consistent": "mean score of K_C",
            "mean_inconsistent": "mean score of K_I",
            "t": "Welch's t",
            "kappa": "κ, beside",
            "ki_k0": "K_I(k₀), beside",
        },
        note="t is circular: the classes are split on the score that it compares. Otsu's threshold is "
        "another in every model: compare models by κ and K_I(k₀).",
    ),
    PublishedTable(
        name="chen_modification",
        title="Modification of N_i and N_u, consistent and inconsistent facts",
        group="edits",
        phase="edits",
        rows=_modification_rows,
        shown=(*PUBLISHED_EDIT_SCORES, "average", "perplexity"),
        labels=_EDIT_LABELS,
        note=f"{_DESCRIPTIVE} Of three scores a wrecked model gets two for nothing: the harmonic mean is 0.",
    ),
    PublishedTable(
        name="chen_probability",
        title="ΔProb when own or neighbor neurons are suppressed or enhanced",
        group="interventions",
        phase="interventions",
        rows=_probability_rows,
        shown=("probability_own", "probability_neighbor"),
        labels={
            "probability_own": "ΔProb, own N_i",
            "probability_neighbor": "ΔProb, neighbor N_j",
            "log_odds_own": "Δ log-odds, own",
            "log_odds_neighbor": "Δ log-odds, neighbor",
        },
        note=f"{_DESCRIPTIVE} ΔProb = (after − before)/before: noise of mean zero alone raises it.",
    ),
    PublishedTable(
        name="chen_synapses",
        title="What changing knowledge synapses does to N_i and to the answer",
        group="synapses",
        phase="interventions",
        rows=_synapse_rows,
        shown=("activation", "probability"),
        labels={
            "activation": "Δ activation of N_i, less matched",
            "probability": "ΔProb",
            "log_odds": "Δ log-odds",
        },
        note="published: c > τ. knowledge: without sink and position. The others are controls that remove as "
        "much attention as knowledge.",
    ),
    PublishedTable(
        name="chen_cas",
        title="Consistency-aware sets (CAS) beside others",
        group="edits",
        phase="edits",
        rows=_cas_rows,
        shown=(*PUBLISHED_EDIT_SCORES, "average", "perplexity"),
        labels=_EDIT_LABELS,
        note="Sets of unequal size edit unequally: own_top, union_top and cas_top have one budget. "
        "in_context edits nothing: the query answered with o′ stands before the prompt. rome changes a whole "
        "layer, by an edit of rank one that is optimized for o′.",
    ),
)
"""The tables, in the paper's order."""


def reproduce(
    studies: Study | Studies, plan: AnalysisPlan | None = None, source: Published | None = None
) -> StudyResult:
    """Make the tables for which the stores have data, with published values where they are on file.

    Parameters
    ----------
    studies : Study or Studies
        One study, or several on their common facts.
    plan : AnalysisPlan, optional
        Threshold of neuron sets, static threshold of consistency, and k₀; by default those of
        ``AnalysisPlan()``.
    source : Published, optional
        The published study; by default ``chen`` of ``published.yaml``.

    Returns
    -------
    StudyResult
        A question for each table, without tests or verdicts; ``notes`` name the tables left out.

    Examples
    --------
    >>> from qloc.simulation.simulate import simulate
    >>> result = reproduce(simulate(facts=20, relations=2, templates=4, seed=1))
    >>> [question.id for question in result.questions]
    ['chen_ratio', 'settings']
    """
    plan, source = plan or AnalysisPlan(), source or published("chen")
    several = list(studies) if isinstance(studies, Studies) else [studies]
    sides = _sides_of(studies, plan, model_name(several[0]))
    tables = [(layout, layout.table(sides)) for layout in LAYOUTS]
    questions = [_question(layout, table, source) for layout, table in tables if table]
    absent = dict.fromkeys(layout.phase for layout, table in tables if not table)
    held = {phase for side in sides for phase in side.study.phases}
    names = [side.model for side in sides]
    return StudyResult(
        title=f"{source.title}: {', '.join(names)}",
        model=", ".join(names),
        facts=f"{words(several[0].attrs.get('facts', 'unnamed facts'))} "
        f"({counted(len(sides[0].facts), 'fact')}{' common to all models' if len(names) > 1 else ''})",
        questions=(*questions, settings_question(source)),
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
            *(note for side in sides for note in _unlike(side, source)),
            *_unmatched(tables, source),
            *(differently_extracted(studies) if isinstance(studies, Studies) else ()),
            *([few_models(len(names))] if len(names) > 1 else []),
        ),
    )


def _why(phase: str, held: set[str]) -> str:
    return "no fact gives them a row, such as one that is known" if phase in held else "no store has it"


def _unlike(side: Side, source: Published) -> Iterator[str]:
    """Yield one sentence for each setting of the store that differs from the published plan."""
    edits = {f"edits.{name}": value for name, value in source.plan.get("edits", {}).items()}
    stored = {f"edits.{name}": value for name, value in side.study.edits.attrs.items()}
    wanted = {name: source.plan[name] for name in ("quadrature", "steps", "methods") if name in source.plan}
    for name, value in {**wanted, **(edits if side.study.datasets.get("edits") else {})}.items():
        have = {**side.study.attrs, **stored}.get(name)
        if have is not None and have != value:
            yield f"{side.model}: {name} is {_listed(have)}; the published plan has {_listed(value)}."


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _question(layout: PublishedTable, table: Table, source: Published) -> Question:
    beside = _beside(layout, table, source)
    on_file = sum(cell != NOT_ON_FILE for cell in beside.columns["published"])
    n = len(beside.columns["published"])
    filed = f"{on_file:,} of its {n:,} published values are on file."
    return Question(
        id=layout.name,
        title=layout.title,
        answer=f"{counted(len(table.columns['model']), 'row')} in the layout of the paper. {filed}",
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
    shown = pd.DataFrame(rows)
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
