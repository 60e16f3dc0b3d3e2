"""What suppressing N_i does to the answer, to a pair's bad form and to other words, beyond controls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.label_codes import codes
from qloc.analysis.inference.multiplicity import adjusted
from qloc.analysis.inference.paired import log_odds
from qloc.analysis.inference.screen import mean_columns, screened
from qloc.analysis.inputs.query_rows import QueryRows, rows_of
from qloc.analysis.inputs.study import Study
from qloc.arrays import Array, Floats
from qloc.random_streams import Stream
from qloc.vocabulary import NEURON_SET, OPERATION

ANSWER, GOOD, BAD, OTHERS = "right answer", "good form", "bad form", "other words, mean"
"""Rows of a relation beside its words."""

OWN, CONTROL, SUPPRESS = "own", "matched", "suppress"

COLUMNS: Final = ("relation", "feature", "word", "own", "matched", "difference", "p", "p_adjusted")


@dataclass(frozen=True)
class WordChanges:
    """Changes of log-odds under suppression of N_i and of matched neurons.

    Attributes
    ----------
    change : dict of str to float64 ndarray, shape (query, 2 + word)
        Of the answer, of the bad form and of each probe word, after less before, of the arms ``own`` and
        ``matched``. NaN where a word is not asked, or is the answer or the bad form of the query.
    words : dict of str to list of str
        The probe words of each relation.
    """

    change: dict[str, Floats]
    words: dict[str, list[str]]

    @classmethod
    def of(cls, study: Study) -> WordChanges | None:
        """Read them from a store.

        Parameters
        ----------
        study : Study
            The store that was opened.

        Returns
        -------
        WordChanges or None
            None where it has no probes, or not both arms under suppression.
        """
        group = study.interventions
        kept = [name for name in ("bad_log_probability", "word_log_probability") if name in group]
        arms = set(group[NEURON_SET].values.tolist()) if kept else set()
        if not {OWN, CONTROL} <= arms or SUPPRESS not in group[OPERATION].values:
            return None
        words = {name: list(of) for name, of in group.attrs.get("probes", {}).items()}
        at = {OPERATION: group[OPERATION].values.tolist().index(SUPPRESS)}
        base = _columns({name: group[f"base_{name}"].values for name in ("log_probability", *kept)})
        own_words = _own_words(study, words, base.shape[1] - 2)
        change = {}
        for arm in (OWN, CONTROL):
            here = {**at, NEURON_SET: group[NEURON_SET].values.tolist().index(arm)}
            after = _columns({name: group[name].isel(here).values for name in ("log_probability", *kept)})
            change[arm] = log_odds(after) - log_odds(base)
            change[arm][:, 2:][own_words] = np.nan
        return cls(change=change, words=words)


def _columns(by_name: dict[str, Array]) -> Floats:
    """Put the answer, the bad form and the words side by side: (query, 2 + word)."""
    answer = by_name["log_probability"].astype(np.float64)
    bad = by_name.get("bad_log_probability", np.full(len(answer), np.nan))
    words = by_name.get("word_log_probability", np.zeros((len(answer), 0)))
    return np.column_stack([answer, bad, words]).astype(np.float64)


def _own_words(study: Study, words: dict[str, list[str]], n_words: int) -> Array:
    """Return which probe words are a query's own answer or bad form: bool, (query, word).

    The bad form is no column of a store; it is the word whose log P is that of the bad continuation.
    """
    relation, answer = (study.column("queries", name).astype(str) for name in ("relation", "answer"))
    same = np.zeros((len(relation), n_words), dtype=bool)
    for name, of in words.items():
        here = relation == name
        same[np.ix_(here, np.arange(len(of)))] = answer[here, None] == np.array(of, dtype=str)
    group = study.interventions
    if {"base_bad_log_probability", "base_word_log_probability"} <= {*map(str, group)}:
        bad, word = group["base_bad_log_probability"].values, group["base_word_log_probability"].values
        same |= np.isclose(word, bad[:, None], rtol=1e-6, atol=0.0)
    return same


def word_effects(study: Study, draws: Draws) -> pd.DataFrame | None:
    """Return what suppressing N_i takes from words, beyond matched neurons, relation by relation.

    Facts: the right answer, and the mean of the relation's other words; the unit is the fact. Minimal pairs,
    by paradigm and feature: the good form, the bad form, and each other word; the unit is the pair, clustered
    by its good form.

    Parameters
    ----------
    study : Study
        With phase ``interventions``, extracted with probes.
    draws : Draws
        Number of flips of signs, confidence, α and seed.

    Returns
    -------
    pandas.DataFrame or None
        ``relation, feature, word, own, matched, difference`` (changes in log-odds; with intervals), ``p``
        (two-sided) and ``p_adjusted`` (Holm over the table). None where the store has no probes.
    """
    changes = WordChanges.of(study)
    if changes is None:
        return None
    rows: list[dict[str, Any]] = []
    for labels, unit_rows, values in (*_of_facts(study, changes), *_of_pairs(study, changes)):
        own, matched = (unit_rows.mean(values[arm]) for arm in (OWN, CONTROL))
        both = np.isnan(own - matched)
        row: dict[str, Any] = {**labels}
        for name, x in ((OWN, own), (CONTROL, matched)):
            x = np.where(both, np.nan, x)
            row |= mean_columns(name, x, unit_rows.clusters, draws.confidence)
        row |= screened(own - matched, unit_rows.clusters, draws, Stream.WORD_SCREEN, len(rows))
        rows.append({name: value for name, value in row.items() if name != "relations"})
    frame = pd.DataFrame(rows, columns=None if rows else list(COLUMNS)).rename(columns={"facts": "units"})
    if rows:
        frame["p_adjusted"] = adjusted(frame["p"].to_numpy(dtype=float), "holm")
    return frame


Part = tuple[dict[str, str], QueryRows, dict[str, Floats]]


def _of_facts(study: Study, changes: WordChanges) -> Iterator[Part]:
    """Yield, for each relation of facts, labels, rows and both arms' values by query."""
    rows, relation = rows_of(study, kind="fact"), study.column("queries", "relation").astype(str)
    for name in np.unique(relation[rows.used]):
        here = rows.used & (relation == name)
        for word, columns in ((ANSWER, slice(0, 1)), (OTHERS, slice(2, None))):
            values = {
                arm: np.where(here, _mean(change[:, columns]), np.nan)
                for arm, change in changes.change.items()
            }
            if not np.isnan(values[OWN]).all():
                yield {"relation": str(name), "feature": "", "word": word}, rows, values


def _of_pairs(study: Study, changes: WordChanges) -> Iterator[Part]:
    """Yield the same for each paradigm and feature; the unit is the pair."""
    rows = rows_of(study, kind="minimal_pair")
    relation, answer = (study.column("queries", name).astype(str) for name in ("relation", "answer"))
    feature = study.column("facts", "feature").astype(str)[rows.fact]
    units = QueryRows(
        fact=np.arange(len(relation)), used=rows.used, relation=codes(relation), answer=codes(answer)
    )
    cells = sorted({(str(r), str(f)) for r, f in zip(relation[rows.used], feature[rows.used], strict=True)})
    for name, of in cells:
        here = rows.used & (relation == name) & (feature == of)
        for place, word in enumerate((GOOD, BAD, *changes.words.get(name, ()))):
            values = {arm: np.where(here, change[:, place], np.nan) for arm, change in changes.change.items()}
            if not np.isnan(values[OWN]).all():
                yield {"relation": name, "feature": of, "word": word}, units, values


def _mean(values: Floats) -> Floats:
    """Return the mean along the last axis, NaN left out; NaN where there is nothing."""
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(there, values, 0.0).sum(axis=1) / there.sum(axis=1))
