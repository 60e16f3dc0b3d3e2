"""What suppression and edits do to the answer, a pair's bad form and other words, beyond controls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.label_codes import codes
from qloc.analysis.inference.multiplicity import adjusted
from qloc.analysis.inference.paired import log_odds
from qloc.analysis.inference.screen import mean_columns, screened
from qloc.analysis.inputs.query_rows import QueryRows, rows_of
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.knowledge_synapses import COLUMN_CONTROLS, KNOWLEDGE, AttentionOutcomes
from qloc.arrays import Array, Floats
from qloc.random_streams import Stream
from qloc.vocabulary import (
    EDIT_OPERATION,
    EDIT_SET,
    NEURON_SET,
    OPERATION,
    PAIR,
    SYNAPSE_OPERATION,
    SYNAPSE_SET,
)

ANSWER, GOOD, BAD, OTHERS = "right answer", "good form", "bad form", "other words, mean"
"""Rows of a relation beside its words."""

OWN, CONTROL, SUPPRESS = "own", "matched", "suppress"

COLUMNS: Final = ("relation", "feature", "word", "own", "matched", "difference", "p", "p_adjusted")


@dataclass(frozen=True)
class WordChanges:
    """Changes of log-odds under one change of N_i and of matched neurons, or of attention and its control.

    Attributes
    ----------
    change : dict of str to float64 ndarray, shape (query, 2 + word)
        Of the answer, of the bad form and of each probe word, after less before, of the arms ``own`` and
        ``matched`` (of attention, its knowledge synapses and random columns). NaN where a word is not asked,
        or is the answer or the bad form of the query; of edits also at queries that are not edited, of
        attention where removed masses are not equal.
    words : dict of str to list of str
        The probe words of each relation.
    """

    change: dict[str, Floats]
    words: dict[str, list[str]]

    @classmethod
    def of(cls, study: Study) -> WordChanges | None:
        """Read those under suppression from a store.

        Parameters
        ----------
        study : Study
            The store that was opened.

        Returns
        -------
        WordChanges or None
            None where it has no probes, or not both arms under suppression.
        """
        return cls._under(study, study.interventions, (OPERATION, NEURON_SET), {OWN: OWN, CONTROL: CONTROL})

    @classmethod
    def of_synapses(cls, study: Study) -> WordChanges | None:
        """Read those under suppression of attention from a store, at queries whose removed masses are equal.

        Parameters
        ----------
        study : Study
            With phase ``interventions``.

        Returns
        -------
        WordChanges or None
            None where it has no probes, or not both sets of columns under suppression.
        """
        if not study.datasets.get("synapses"):
            return None
        control = COLUMN_CONTROLS[0]
        named = {OWN: KNOWLEDGE, CONTROL: control}
        found = cls._under(study, study.synapses, (SYNAPSE_OPERATION, SYNAPSE_SET), named)
        if found is None:
            return None
        unequal = ~AttentionOutcomes.of(study, known=False).equal_mass(control)
        change = {arm: np.where(unequal[:, None], np.nan, values) for arm, values in found.change.items()}
        return cls(change=change, words=found.words)

    @classmethod
    def _under(
        cls, study: Study, group: xr.Dataset, dims: tuple[str, str], named: Mapping[str, str]
    ) -> WordChanges | None:
        """Read both arms under suppression; what was there before is in /interventions."""
        before = study.interventions
        kept = [name for name in ("bad_log_probability", "word_log_probability") if name in group]
        sets = group[dims[1]].values.tolist() if kept else []
        if not {*named.values()} <= {*sets} or SUPPRESS not in group[dims[0]].values:
            return None
        words = {name: list(of) for name, of in before.attrs.get("probes", {}).items()}
        at = {dims[0]: group[dims[0]].values.tolist().index(SUPPRESS)}
        base = _columns({name: before[f"base_{name}"].values for name in ("log_probability", *kept)})
        own_words = _own_words(study, words, base)
        change = {}
        for arm, label in named.items():
            here = {**at, dims[1]: sets.index(label)}
            after = _columns({name: group[name].isel(here).values for name in ("log_probability", *kept)})
            change[arm] = log_odds(after) - log_odds(base)
            change[arm][:, 2:][own_words] = np.nan
        return cls(change=change, words=words)

    @classmethod
    def of_edits(cls, study: Study, operation: str) -> WordChanges | None:
        """Read those of edits from a store, at edited queries.

        Parameters
        ----------
        study : Study
            With phase ``edits``.
        operation : str
            What is done to the slots.

        Returns
        -------
        WordChanges or None
            None where neither probes are kept nor pairs edited, or not both sets.
        """
        group = study.edits
        query = group["edited_query"].values.astype(np.int64)
        fact = np.flatnonzero(query >= 0)
        pairs = bool((study.column("queries", "kind")[query[fact]] == PAIR).any())
        sets = group[EDIT_SET].values.tolist()
        if not {OWN, CONTROL} <= set(sets) or not (pairs or "word_log_probability" in group):
            return None
        place = query[fact] - study.column("facts", "first_query").astype(np.int64)[fact]
        words = {name: list(of) for name, of in group.attrs.get("probes", {}).items()}
        at = {EDIT_OPERATION: group[EDIT_OPERATION].values.tolist().index(operation)}

        def read(prefix: str, here: Mapping[str, int]) -> Floats:
            found = {
                name: group[f"{prefix}{stored}"].isel(here).values[fact, place]
                for name, stored in _OF_EDITS.items()
                if stored in group
            }
            values = np.full((len(study.column("queries", "kind")), 2 + _n_words(found)), np.nan)
            values[query[fact]] = _columns(found)
            return values

        base, change = read("base_", {}), {}
        own_words = _own_words(study, words, base)
        for arm in (OWN, CONTROL):
            change[arm] = log_odds(read("", {**at, EDIT_SET: sets.index(arm)})) - log_odds(base)
            change[arm][:, 2:][own_words] = np.nan
        return cls(change=change, words=words)


_OF_EDITS: Final[Mapping[str, str]] = {
    "log_probability": "log_probability",
    "bad_log_probability": "new_log_probability",
    "word_log_probability": "word_log_probability",
}
"""Variables of edits by their names in interventions: o′ of a minimal pair is its bad form."""


def _n_words(by_name: dict[str, Array]) -> int:
    words = by_name.get("word_log_probability")
    return 0 if words is None else int(words.shape[1])


def _columns(by_name: dict[str, Array]) -> Floats:
    """Put the answer, the bad form and the words side by side: (query, 2 + word)."""
    answer = by_name["log_probability"].astype(np.float64)
    bad = by_name.get("bad_log_probability", np.full(len(answer), np.nan))
    words = by_name.get("word_log_probability", np.zeros((len(answer), 0)))
    return np.column_stack([answer, bad, words]).astype(np.float64)


def _own_words(study: Study, words: dict[str, list[str]], base: Floats) -> Array:
    """Return which probe words are a query's own answer or bad form: bool, (query, word).

    The bad form is no column of a store; it is the word whose log P is that of the bad continuation.
    """
    relation, answer = (study.column("queries", name).astype(str) for name in ("relation", "answer"))
    same = np.zeros((len(relation), base.shape[1] - 2), dtype=bool)
    for name, of in words.items():
        here = relation == name
        same[np.ix_(here, np.arange(len(of)))] = answer[here, None] == np.array(of, dtype=str)
    pair = study.column("queries", "kind") == PAIR
    is_bad: Array = np.isclose(base[:, 2:], base[:, 1:2], rtol=1e-6, atol=0.0)
    return np.asarray(same | (pair[:, None] & is_bad))


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
    return None if changes is None else _tested(study, draws, {"": changes}, Stream.WORD_SCREEN)


def attended_word_effects(study: Study, draws: Draws) -> pd.DataFrame | None:
    """Return what suppressing knowledge synapses takes from words, beyond random columns of equal mass.

    Rows and units as of :func:`word_effects`, over queries whose removed masses are equal.

    Parameters
    ----------
    study : Study
        With phase ``interventions``, extracted with probes.
    draws : Draws
        Number of flips of signs, confidence, α and seed.

    Returns
    -------
    pandas.DataFrame or None
        The columns of :func:`word_effects`, ``own`` being the knowledge synapses and ``matched`` the random
        columns. None where the store has no words after changes of attention.
    """
    changes = WordChanges.of_synapses(study)
    return None if changes is None else _tested(study, draws, {"": changes}, Stream.SYNAPSE_WORD_SCREEN)


def edited_word_effects(study: Study, draws: Draws) -> pd.DataFrame | None:
    """Return what edits of N_i take from words and give to them, beyond edits of matched neurons.

    As of :func:`word_effects`, at edited queries.

    Parameters
    ----------
    study : Study
        The store that was opened.
    draws : Draws
        Number of flips of signs, confidence, α and seed.

    Returns
    -------
    pandas.DataFrame or None
        ``change`` (the edit's operation), then the columns of :func:`word_effects`; Holm over all. None where
        the store has no such edits, or neither probes nor edits of minimal pairs.
    """
    if not study.datasets.get("edits"):
        return None
    operations = map(str, study.edits[EDIT_OPERATION].values)
    found = {operation: WordChanges.of_edits(study, operation) for operation in operations}
    told = {operation: changes for operation, changes in found.items() if changes is not None}
    return _tested(study, draws, told, Stream.EDITED_WORD_SCREEN) if told else None


def _tested(study: Study, draws: Draws, by_change: Mapping[str, WordChanges], stream: Stream) -> pd.DataFrame:
    """Compare both arms, row by row, under each change; ``change`` is a column where changes have names."""
    rows: list[dict[str, Any]] = []
    parts = (
        ({"change": change} if change else {}, part)
        for change, changes in by_change.items()
        for part in (*_of_facts(study, changes), *_of_pairs(study, changes))
    )
    for named, (labels, unit_rows, values) in parts:
        own, matched = (unit_rows.mean(values[arm]) for arm in (OWN, CONTROL))
        both = np.isnan(own - matched)
        row: dict[str, Any] = {**named, **labels}
        for name, x in ((OWN, own), (CONTROL, matched)):
            x = np.where(both, np.nan, x)
            row |= mean_columns(name, x, unit_rows.clusters, draws.confidence)
        row |= screened(own - matched, unit_rows.clusters, draws, stream, len(rows))
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
