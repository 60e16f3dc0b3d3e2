"""Edits of minimal pairs: what is turned round, in edited and in held-out sentences, and what stays.

o is the good form of each sentence, o′ its bad form (docs/methods.md#edits-of-minimal-pairs).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from qloc.analysis.editing.edit_flips import BAD, CONTROL, EditFlips
from qloc.analysis.editing.outcomes import On
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.means import mean
from qloc.analysis.inference.screen import corrected, mean_columns, screened
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.probe_word_effects import edited_word_effects
from qloc.analysis.results import Table
from qloc.arrays import Floats
from qloc.random_streams import Stream
from qloc.vocabulary import PAIR

METHOD: Final = (
    " Minimal pairs are edited from the good form of one sentence (o) to its bad form (o′); every other "
    "sentence is asked with its own two forms. A pair is turned round where its good form was the likelier "
    "one and its bad form now is."
)
"""What a question says of this part."""

SENTENCES: Final[tuple[tuple[On, str], ...]] = (("edited", "edited"), ("held_out", "held out"))
"""Sentences of a group, and their words: reliability is told on the one, generalization on the others."""


def edited_pairs(study: Study, draws: Draws) -> tuple[Table, ...]:
    """Tell what edits of minimal pairs do, and what edits do to words.

    Parameters
    ----------
    study : Study
        The store that was opened.
    draws : Draws
        Number of flips of signs, confidence, α and seed.

    Returns
    -------
    tuple of Table
        ``edited_pairs`` where pairs were edited, ``edited_words`` where these or probe words were kept; none
        where the store has no matched control.
    """
    tables = []
    flips = EditFlips.of(study, "preferred")
    if flips is not None:
        tables.append(_pairs_table(flips, draws))
    words = edited_word_effects(study, draws)
    if words is not None and len(words):
        tables.append(_words_table(words))
    return tuple(tables)


def _pairs_table(flips: EditFlips, draws: Draws) -> Table:
    rows: list[dict[str, Any]] = []
    for operation, name in flips.edits():
        for on, words in SENTENCES:
            labels = {"change": operation, "set": name, "sentences": words}
            row = labels | _flip_columns(flips, operation, name, on, draws, len(rows))
            if not np.isnan(row["flipped"]):
                rows.append(row | _other_columns(flips, operation, name, on, draws.confidence))
    return Table.from_frame(
        pd.DataFrame(corrected(rows), columns=None if rows else ["change", "set", "sentences"]),
        name="edited_pairs",
        title="Minimal pairs whose good form is edited into the bad one",
        labels={
            "flipped": "share turned round",
            "control": "under edits of matched neurons",
            "difference": "difference, sentence by sentence",
            "good": "Δ log P(good)",
            "bad": "Δ log P(bad)",
            "locality": "other pairs' prompts unchanged",
            "locality_facts": "facts' prompts unchanged",
            "units": "groups or pairs",
        },
        note="Of sentences whose good form was likelier; turned round where the bad one is. Held out: "
        "sentences of the group that chose no set. Unchanged: the most likely token stays. p: two-sided, "
        "signs of whole paradigms flipped; adjusted by Benjamini–Hochberg over the table. Niu et al. 2024 "
        "report 5.2% at most under suppression, without a control.",
    )


def _flip_columns(
    flips: EditFlips, operation: str, name: str, on: On, draws: Draws, number: int
) -> dict[str, Any]:
    """Share turned round, that of the control, and their difference."""
    shares, control = (flips.shares(operation, of, on) for of in (name, CONTROL))
    row = mean_columns("flipped", shares, flips.clusters, draws.confidence, "share")
    row |= mean_columns("control", control, flips.clusters, draws.confidence, "share")
    beyond = flips.beyond(operation, name, on)
    tested = screened(beyond, flips.clusters, draws, Stream.EDITED_PAIR_SCREEN, number)
    row |= {column: value for column, value in tested.items() if column not in ("relations", "facts")}
    return row | {"units": int(np.sum(~np.isnan(shares)))}


def _other_columns(
    flips: EditFlips, operation: str, name: str, on: On, confidence: float
) -> dict[str, float]:
    """What both forms lose or gain at those sentences, and locality."""
    edited, row = flips.edited, dict[str, float]()
    for column, variable in (("good", "log_probability"), ("bad", BAD)):
        base = edited.found[f"base_{variable}"].values.astype(np.float64)
        change = np.where(flips.right, edited.picked(variable, operation, name) - base, np.nan)
        row |= mean_columns(column, edited.mean(change, on), flips.clusters, confidence)
    there = ~np.isnan(flips.shares(operation, name, on))

    def stays(kind: str) -> float:
        values: Floats = edited.unchanged(operation, name, kind)
        return mean(values[there])

    return row | {"locality": stays(PAIR), "locality_facts": stays("fact")}


def _words_table(frame: pd.DataFrame) -> Table:
    return Table.from_frame(
        frame,
        name="edited_words",
        title="Words under edits of N_i and of matched neurons",
        labels={
            "word": "word asked in the answer's place",
            "own": "Δ log-odds, N_i edited",
            "matched": "Δ log-odds, matched neurons edited",
            "difference": "N_i less matched",
            "units": "facts or pairs",
        },
        note="At edited queries that are known. Of facts, means over facts; of a paradigm and feature, over "
        "its pairs, clustered by good form. p: signs of whole clusters flipped, two-sided; adjusted by Holm "
        "over the table.",
    )
