"""The tables of Chen et al. 2025 in their layout, models side by side, published values beside ours.

As published, so for comparison with the paper only: classes of facts are split on the score that is compared,
and changes of probability are ratios. What qloc recommends in their place stands beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import pandas as pd

from qloc.analysis.analyze import PLAN_DIGEST, synthetic, versions, words
from qloc.analysis.asked import counted
from qloc.analysis.chen_rows import (
    SCORES,
    Row,
    Side,
    cas_rows,
    modification_rows,
    probability_rows,
    ratio_rows,
    sides_of,
    synapse_rows,
)
from qloc.analysis.compare import differently_extracted
from qloc.analysis.model_measures import few_models
from qloc.analysis.published_studies import NOT_ON_FILE, Published, published
from qloc.analysis.results import Question, StudyResult, Table
from qloc.analysis.studies import Studies, model_name
from qloc.analysis.study import Study
from qloc.canonical import digest
from qloc.plan import AnalysisPlan

EDIT_LABELS: Final = {
    "reliability": "Rel",
    "generalization": "Gen",
    "locality": "Loc",
    "average": "Avg, as published",
    "harmonic": "harmonic mean",
    "perplexity": "ΔPPL",
    "nats": "Δ nats a token",
}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A table of the paper.

    Attributes
    ----------
    group : of the store that it needs; phase : of the extraction that makes it.
    shown : its published columns.
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
        """The table of the models that have it; None where none has."""
        rows = [row for side in sides if side.study.datasets.get(self.group) for row in self.rows(side)]
        if not rows:
            return None
        return Table.from_frame(
            pd.DataFrame(rows), name=self.name, title=self.title, labels=self.labels, note=self.note
        )


_DESCRIPTIVE: Final = "Descriptive: the classes are split on consistency, and differ in more than that."

LAYOUTS: Final = (
    Layout(
        name="chen_ratio",
        title="Share of inconsistent facts, scores of the classes, and Welch's t",
        group="signals",
        phase="signals",
        rows=ratio_rows,
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
    Layout(
        name="chen_modification",
        title="Modification of N_i and N_u, consistent and inconsistent facts",
        group="edits",
        phase="edits",
        rows=modification_rows,
        shown=(*SCORES, "average", "perplexity"),
        labels=EDIT_LABELS,
        note=f"{_DESCRIPTIVE} Of three scores a wrecked model gets two for nothing: the harmonic mean is 0.",
    ),
    Layout(
        name="chen_probability",
        title="ΔProb when own or neighbor neurons are suppressed or enhanced",
        group="interventions",
        phase="interventions",
        rows=probability_rows,
        shown=("probability_own", "probability_neighbor"),
        labels={
            "probability_own": "ΔProb, own N_i",
            "probability_neighbor": "ΔProb, neighbor N_j",
            "log_odds_own": "Δ log-odds, own",
            "log_odds_neighbor": "Δ log-odds, neighbor",
        },
        note=f"{_DESCRIPTIVE} ΔProb = (after − before)/before: noise of mean zero alone raises it.",
    ),
    Layout(
        name="chen_synapses",
        title="What changing knowledge synapses does to N_i and to the answer",
        group="synapses",
        phase="interventions",
        rows=synapse_rows,
        shown=("activation", "probability"),
        labels={
            "activation": "Δ activation of N_i, less matched",
            "probability": "ΔProb",
            "log_odds": "Δ log-odds",
        },
        note="published: c > τ. knowledge: without sink and position. The others are controls that remove as "
        "much attention as knowledge.",
    ),
    Layout(
        name="chen_cas",
        title="Consistency-aware sets (CAS) beside others",
        group="edits",
        phase="edits",
        rows=cas_rows,
        shown=(*SCORES, "average", "perplexity"),
        labels=EDIT_LABELS,
        note="Sets of unequal size edit unequally: own_top, union_top and cas_top have one budget. "
        "in_context edits nothing: the query answered with o′ stands before the prompt. rome changes a whole "
        "layer, by an edit of rank one that is optimized for o′.",
    ),
)
"""The tables, in the paper's order."""


def reproduce(
    studies: Study | Studies, plan: AnalysisPlan | None = None, source: Published | None = None
) -> StudyResult:
    """The tables that the stores allow, each with its published values where they are on file.

    Parameters
    ----------
    studies : one, or several on the facts that all were asked.
    plan : threshold of neuron sets, static threshold of consistency, k₀; the defaults where it is None.
    source : the published study; ``chen`` of ``published.yaml`` where it is None.

    Returns
    -------
    StudyResult : a question for each table, without a test or verdict; what is missing stands in ``notes``.

    Examples
    --------
    >>> from qloc.simulate import simulate
    >>> result = reproduce(simulate(facts=20, relations=2, templates=4, seed=1))
    >>> [question.id for question in result.questions]
    ['chen_ratio', 'settings']
    """
    given, of = plan or AnalysisPlan(), source or published("chen")
    several = list(studies) if isinstance(studies, Studies) else [studies]
    sides = sides_of(studies, given, model_name(several[0]))
    found = [(layout, layout.table(sides)) for layout in LAYOUTS]
    made = [_question(layout, table, of) for layout, table in found if table]
    absent = dict.fromkeys(layout.phase for layout, table in found if not table)
    names = [side.model for side in sides]
    return StudyResult(
        title=f"{of.title}: {', '.join(names)}",
        model=", ".join(names),
        facts=f"{words(several[0].attrs.get('facts', 'unnamed facts'))} "
        f"({counted(len(sides[0].facts), 'fact')}{' common to all models' if len(names) > 1 else ''})",
        questions=(*made, _settings(of)),
        provenance={
            **{f"store fingerprint, {side.model}": side.study.fingerprint for side in sides},
            PLAN_DIGEST: digest(given.model_dump(mode="json")),
            **versions(),
        },
        counts={"facts": len(sides[0].facts)},
        plan=given.model_dump(mode="json"),
        synthetic=any(synthetic(study) for study in several),
        notes=(
            *(f"Tables that need phase {phase} are left out: no store has it." for phase in absent),
            *(note for side in sides for note in unlike(side, of)),
            *(differently_extracted(studies) if isinstance(studies, Studies) else ()),
            *([few_models(len(names))] if len(names) > 1 else []),
        ),
    )


def unlike(side: Side, of: Published) -> Iterator[str]:
    """One sentence for each setting of the store that is not that of the published plan."""
    edits = {f"edits.{name}": value for name, value in of.plan.get("edits", {}).items()}
    stored = {f"edits.{name}": value for name, value in side.study.edits.attrs.items()}
    wanted = {name: of.plan[name] for name in ("quadrature", "steps", "methods") if name in of.plan}
    for name, value in {**wanted, **(edits if side.study.datasets.get("edits") else {})}.items():
        have = {**side.study.attrs, **stored}.get(name)
        if have is not None and have != value:
            yield f"{side.model}: {name} is {_said(have)}; the published plan has {_said(value)}."


def _said(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _question(layout: Layout, table: Table, of: Published) -> Question:
    beside = _beside(layout, table, of)
    on_file = sum(cell != NOT_ON_FILE for cell in beside.columns["published"])
    n = len(beside.columns["published"])
    told = f"{on_file:,} of its {n:,} published values are on file."
    return Question(
        id=layout.name,
        title=layout.title,
        answer=f"{counted(len(table.columns['model']), 'row')} in the layout of the paper. {told}",
        tables=(table, *([beside] if on_file else [])),
        method=layout.note,
        references=(of.source,),
    )


def _beside(layout: Layout, table: Table, of: Published) -> Table:
    """Ours and the published value of every cell that the paper has."""
    frame = table.to_frame()
    keys = [name for name in KEYS if name in frame]
    rows: list[Row] = []
    for row in frame.to_dict("records"):
        for column in layout.shown:
            label = ", ".join(str(row[name]) for name in keys)
            cell = of.value(layout.name, {str(key): value for key, value in row.items()}, column)
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


KEYS: Final = ("model", "method", "score", "threshold", "operation", "set", "synapses", "class")
"""Columns that say what a row is."""


def _settings(of: Published) -> Question:
    frame = pd.DataFrame([setting.model_dump() for setting in of.settings])
    frame["value"] = frame["value"].map(str)
    return Question(
        id="settings",
        title="What was published, and how sure that is",
        answer=f"{int((frame['status'] == 'as published').sum())} of {len(frame)} settings stand so in the "
        "source; the others are uncertain, or ours.",
        tables=(Table.from_frame(frame, name="published_settings", title="Settings of the published study"),),
        references=(of.source,),
    )
