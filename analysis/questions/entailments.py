"""The question "Do edits carry over to what they entail?" (H13)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from qloc.analysis.editing.edit_tests import UPDATE
from qloc.analysis.editing.entailment_outcomes import ENTAILED_SCORES, EntailmentOutcomes
from qloc.analysis.editing.entailment_tests import CARRIED, carried_test
from qloc.analysis.inference.means import mean
from qloc.analysis.inference.screen import SCREEN_NOTE, corrected, mean_columns, screened
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table, TestResult
from qloc.analysis.wording import percent
from qloc.arrays import Floats
from qloc.phase_plan import NEW_INVERSE, OLD_INVERSE, SYNONYM, SYNONYM_OF_STEM
from qloc.random_streams import Stream
from qloc.references import cited
from qloc.text.rounding import counted

_LABELS: Final = {
    "set": "edited set",
    "gained": "new inverse gained",
    "lost": "old inverse lost",
    "symmetry": "bijective symmetry: both",
    "synonymy": "synonymous invariance, no shared stem",
    "synonymy_of_stem": "the same, shared stem",
    "neighborhood": "neighborhood unchanged",
}
_TABLES: Final = (
    ("edit_entailments", "argmax", True, "by what ranks first, where the unedited model knows it"),
    ("edit_entailments_all", "argmax", False, "by what ranks first, known before or not"),
    (
        "edit_entailments_probability",
        "probability",
        True,
        "by probability, where the unedited model knows it",
    ),
)


def entailments_question(context: AnalysisContext) -> Question:
    """Report every edit by every criterion: the query itself, and what its edit entails.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    Question
        With its sentence, tests and tables.
    """
    outcomes = EntailmentOutcomes.of(context.study)
    everything = EntailmentOutcomes.of(context.study, known=False)
    scores = tuple(
        Table.from_frame(
            _scores(context, outcomes if conditional else everything, criterion, conditional),
            name=name,
            title=f"Edits and what they entail, {words}",
            labels=_LABELS,
            note="Means over facts; empty where an edit has no such prompt, or cannot be made. An inverse is "
            "asked only where it is one fact before and after; where o′ was another fact's object, both are "
            "swapped. What is lost is counted where it was there.",
        )
        for name, criterion, conditional, words in _TABLES
    )
    return Question(
        id="entailments",
        title="Do edits carry over to what they entail?",
        answer=_answer(outcomes),
        tests=_tests(context, outcomes),
        tables=(
            *scores,
            Table.from_frame(
                _moves(context, outcomes),
                name="edit_entailment_moves",
                title="How far updates move what they entail",
                labels={"difference": "log-odds gained", "difference_all": "the same, known before or not"},
                note="Of the subject at the new inverse, and of the synonym of o′ without a shared stem. "
                + SCREEN_NOTE,
            ),
        ),
        method=(
            "An edit of ⟨s, r, o⟩ to o′ entails that o′ is asked back to s and o no longer is (bijective "
            "symmetry), and that the same question in other words is answered with the synonym of o′ "
            "(synonymous invariance). The headline counts what the unedited model answers right; pairs of "
            "answers that share a stem stand apart. Reliability, generalization and locality are of "
            "the edit itself. Verdicts are on log-odds: what gains need not rank first; how often it does, a "
            "check of each test says."
        ),
        references=(
            *cited("niu2024", where="§4, who do not ask the unedited model"),
            *cited("meng2022", where="§3.3, for neighborhoods"),
        ),
    )


def _tests(context: AnalysisContext, outcomes: EntailmentOutcomes) -> tuple[TestResult, ...]:
    return tuple(
        carried_test(
            outcomes,
            entailment,
            edited,
            context.draws,
            margin=context.plan.effect_margin,
            store=context.study.fingerprint,
        )
        for entailment, edited in CARRIED
        if outcomes.edited.has(UPDATE, edited) and outcomes.n_facts(*_PROMPTS[entailment])
    )


_PROMPTS: Final = {"inverse": (NEW_INVERSE,), "synonym": (SYNONYM,)}


def _scores(
    context: AnalysisContext, outcomes: EntailmentOutcomes, criterion: str, conditional: bool
) -> pd.DataFrame:
    edited, rows = outcomes.edited, list[dict[str, Any]]()
    for operation in edited.operations:
        for name in edited.sets:
            if not edited.has(operation, name):
                continue
            success = edited.success(operation, name, criterion)
            by: dict[str, Floats] = {
                "reliability": edited.mean(success, "edited"),
                "generalization": edited.mean(success, "held_out"),
                "locality": edited.unchanged(operation, name),
            }
            by |= {
                entailed: outcomes.score(entailed, operation, name, criterion, conditional=conditional)
                for entailed in ENTAILED_SCORES
            }
            row: dict[str, Any] = {"operation": operation, "set": name}
            for score, values in by.items():
                row |= mean_columns(score, values, edited.rows.clusters, context.plan.confidence, "share")
            n_of = ("gained", "synonymy", "synonymy_of_stem", "neighborhood")
            row |= {f"facts_{score}": int(np.sum(~np.isnan(by[score]))) for score in n_of}
            rows.append(row)
    return pd.DataFrame(rows, columns=None if rows else ["set", "operation"])


def _moves(context: AnalysisContext, outcomes: EntailmentOutcomes) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for operation in outcomes.edited.operations:
        for name in outcomes.edited.sets if operation != "erase" else ():
            if not outcomes.edited.has(operation, name):
                continue
            for entailment in ("inverse", "synonym"):
                x = outcomes.moved(entailment, operation, name)
                row: dict[str, Any] = {"set": name, "operation": operation, "entailed": entailment}
                row |= screened(
                    x, outcomes.edited.rows.clusters, context.draws, Stream.ENTAILMENT_SCREEN, len(rows)
                )
                every = outcomes.moved(entailment, operation, name, conditional=False)
                rows.append({**row, "difference_all": mean(every)})
    return pd.DataFrame(corrected(rows), columns=None if rows else ["set", "operation", "entailed"])


def _answer(outcomes: EntailmentOutcomes) -> str:
    edited = outcomes.edited
    n_inverse = outcomes.n_facts(NEW_INVERSE, OLD_INVERSE)
    n_synonym = outcomes.n_facts(SYNONYM, SYNONYM_OF_STEM)
    asked = counted(n_inverse, "fact"), counted(n_synonym, "fact")
    told = [f"Of {asked[0]} the inverse is asked, of {asked[1]} a synonym."]
    for name, words in (("own", "an update of N_i"), ("rome", "ROME")):
        if not edited.has(UPDATE, name):
            continue
        shares = [mean(edited.mean(edited.success(UPDATE, name, "argmax"), "edited"))]
        shares += [mean(outcomes.score(score, UPDATE, name, "argmax")) for score in ("symmetry", "synonymy")]
        if np.isnan(shares[0]):
            continue
        parts = [f"{words} makes o′ the answer to {percent(shares[0])} of edited queries"]
        if not np.isnan(shares[1]):
            parts.append(f"turns {percent(shares[1])} of known inverses round")
        if not np.isnan(shares[2]):
            parts.append(f"carries over to {percent(shares[2])} of known synonyms without a shared stem")
        sentence = ", ".join(parts) + "."
        told.append(sentence[0].upper() + sentence[1:])
    if not edited.probes_left.any():
        return "No known query was edited."
    return " ".join(told)
