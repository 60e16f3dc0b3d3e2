"""What suppressing N_i does to decisions and to words; questions on syntax and interventions show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from qloc.analysis.editing.edit_flips import EditFlips
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.screen import corrected, mean_columns, screened
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.categorical_flips import Decision, Flips, flips_test
from qloc.analysis.interventions.probe_word_effects import word_effects
from qloc.analysis.results import Table, TestResult
from qloc.random_streams import Stream

_DECISIONS: Final[tuple[tuple[Decision, str], ...]] = (
    ("first", "answers of facts that rank first"),
    ("preferred", "pairs whose good form is likelier"),
)
_COLUMNS: Final = (
    "decision",
    "change",
    "set",
    "flipped",
    "control",
    "difference",
    "p",
    "p_adjusted",
    "units",
)

METHOD: Final = (
    "A decision flips where an answer that ranked first no longer does, or a pair's good form that was "
    "likelier than the bad one no longer is; shares are means over facts, or groups of pairs, of their right "
    "decisions. H14a and H14b compare N_i with as many neurons of the same layers and strength, decision "
    "by decision. "
    "Log-odds of words are compared likewise."
)
"""What a question says of this part."""


@dataclass(frozen=True)
class Suppression:
    """Tests and tables of this part; both empty where the store tells nothing of it.

    Attributes
    ----------
    tests : tuple of TestResult
        H14a and H14b, as far as the store has the arms.
    tables : tuple of Table
        ``suppression_flips``, and ``suppressed_words`` where there are probes.
    """

    tests: tuple[TestResult, ...] = ()
    tables: tuple[Table, ...] = ()


def suppression_on_words(study: Study, draws: Draws) -> Suppression:
    """Count flips under every change, test those of N_i against matched neurons, and compare words.

    Parameters
    ----------
    study : Study
        The store that was opened.
    draws : Draws
        Number of flips of signs, confidence, α and seed.

    Returns
    -------
    Suppression
        Empty where the store has no suppression of N_i and of matched neurons.
    """
    if not study.datasets.get("interventions"):
        return Suppression()
    flips = {decision: Flips.of(study, decision) for decision, _ in _DECISIONS}
    if not flips["first"].changed.has("suppress", "own", "matched"):
        return Suppression()
    told = [decision for decision in flips if not flips[decision].lacks_bad]
    tables = [_flips_table(study, draws, flips)]
    words = word_effects(study, draws)
    if words is not None and len(words):
        tables.append(_words_table(words))
    store = study.fingerprint
    return Suppression(
        tests=tuple(flips_test(flips[decision], "suppress", draws, store=store) for decision in told),
        tables=tuple(tables),
    )


def _flips_table(study: Study, draws: Draws, flips: dict[Decision, Flips]) -> Table:
    rows: list[dict[str, Any]] = []
    for decision, words in _DECISIONS:
        of = flips[decision]
        arms = [name for name in of.changed.arms if name != "matched"] if of.right.any() else []
        for operation in of.changed.operations:
            for arm in arms:
                labels = {"decision": words, "change": operation, "set": arm}
                values = of.shares(operation, arm), of.shares(operation, "matched")
                x = of.beyond(operation, arm, "matched")
                rows.append(_row(draws, labels, *values, x, of.changed.rows.clusters, len(rows)))
    edited = EditFlips.of(study, "first")
    if edited is not None:
        for operation, name in edited.edits():
            labels = {"decision": _DECISIONS[0][1], "change": f"{operation}, edit", "set": name}
            values = edited.shares(operation, name), edited.shares(operation, "matched")
            x = edited.beyond(operation, name)
            rows.append(_row(draws, labels, *values, x, edited.clusters, len(rows)))
    rows = [row for row in rows if not np.isnan(row["flipped"])]
    return Table.from_frame(
        pd.DataFrame(corrected(rows), columns=None if rows else list(_COLUMNS)),
        name="suppression_flips",
        title="Decisions that changes turn round",
        labels={
            "flipped": "share turned round",
            "control": "under matched neurons",
            "difference": "difference, decision by decision",
            "units": "facts or groups of pairs",
        },
        note="Of decisions that are right with nothing changed; of edits, at a fact's edited query. p: "
        "two-sided, signs of whole relations or paradigms flipped; adjusted by Benjamini–Hochberg over the "
        "table. Niu et al. 2024 report 5.2% at most, without a control.",
    )


def _row(
    draws: Draws,
    labels: dict[str, str],
    shares: Any,
    control: Any,
    beyond: Any,
    clusters: Any,
    number: int,
) -> dict[str, Any]:
    confidence, row = draws.confidence, dict[str, Any](labels)
    row |= mean_columns("flipped", shares, clusters, confidence, "share")
    row |= mean_columns("control", control, clusters, confidence, "share")
    row |= screened(beyond, clusters, draws, Stream.FLIP_SCREEN, number)
    row["units"] = row.pop("facts")
    return {name: value for name, value in row.items() if name != "relations"}


def _words_table(frame: pd.DataFrame) -> Table:
    return Table.from_frame(
        frame,
        name="suppressed_words",
        title="Words under suppression of N_i and of matched neurons",
        labels={
            "word": "word asked in the answer's place",
            "own": "Δ log-odds under N_i",
            "matched": "Δ log-odds under matched neurons",
            "difference": "N_i less matched",
            "units": "facts or pairs",
        },
        note="Over known queries. Of facts, means over facts; of a paradigm and feature, over its pairs, "
        "clustered by good form: for new sentences of it. p: signs of whole clusters flipped, two-sided; "
        "adjusted by Holm over the table.",
    )
