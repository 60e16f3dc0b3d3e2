"""Edits of minimal pairs, by brute force: turned round, held out, beside matched neurons, and their words."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qloc.analysis.editing.edit_flips import EditFlips
from qloc.analysis.editing.outcomes import EditOutcomes
from qloc.analysis.editing.pair_edits import edited_pairs
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.paired import log_odds
from qloc.analysis.interventions.probe_word_effects import edited_word_effects

DRAWS = Draws(n_permutations=99)
AT = {"edit_operation": "update", "edit_set": "own"}
CONTROL = {"edit_operation": "update", "edit_set": "matched"}


@pytest.fixture(scope="module")
def edited(changed_study):
    """Two relations are paradigms; a third of their sentences prefer the bad form, which is their o′."""
    found, rng = changed_study.edits.load(), np.random.default_rng(8)
    relation = changed_study.column("queries", "relation").astype(str)
    pair = np.isin(relation, np.unique(relation)[1:3])
    base = found["base_log_probability"].values
    bad = base + np.where(np.arange(base.shape[1]) % 3 == 1, 0.5, -0.5)
    after = found["log_probability"].values + rng.uniform(-1, 1, found["log_probability"].shape)
    given = {
        "base_new_log_probability": (found["base_new_log_probability"].dims, bad.astype(np.float32)),
        "new_log_probability": (found["new_log_probability"].dims, after.astype(np.float32)),
    }
    queries = changed_study.queries.assign(
        kind=("query", np.where(pair, "minimal_pair", "fact")),
        bad_log_probability=("query", changed_study.column("queries", "log_probability") - 1),
    )
    groups = {"edits": found.assign(given), "queries": queries}
    return replace(changed_study, datasets={**changed_study.datasets, **groups})


def _cells(study, on: str) -> list[tuple[int, int]]:
    """Fact and place of the sentences of edited pairs that are right with nothing edited."""
    found, kind = study.edits, study.column("queries", "kind")
    first, leaks = (study.column("facts", name) for name in ("first_query", "leaks"))
    cells = []
    for fact, query in enumerate(found["edited_query"].values.tolist()):
        if query < 0 or kind[query] != "minimal_pair" or leaks[fact]:
            continue
        for place in np.flatnonzero(found["held_out"].values[fact] >= 0).tolist():
            is_edited = first[fact] + place == query
            counts = is_edited if on == "edited" else found["held_out"].values[fact, place] == 1
            good, bad = (found[f"base_{name}log_probability"].values[fact, place] for name in ("", "new_"))
            if counts and good > bad:
                cells.append((fact, place))
    return cells


@pytest.mark.parametrize("on", ["edited", "held_out"])
def test_what_is_turned_round_and_what_both_forms_lose(edited: Any, on: str) -> None:
    table = edited_pairs(edited, DRAWS)[0].to_frame().set_index(["change", "set", "sentences"])
    at: Any = ("update", "own", on.replace("_", " "))
    row: Any = table.loc[at]
    own, matched = (edited.edits.sel(edit) for edit in (AT, CONTROL))

    def flips(found, fact: int, place: int) -> float:
        good, bad = (found[name].values[fact, place] for name in ("log_probability", "new_log_probability"))
        return np.nan if np.isnan(good) else float(good < bad)

    by_fact: dict[int, list[tuple[float, ...]]] = {}
    for fact, place in _cells(edited, on):
        change = [
            own[name].values[fact, place] - edited.edits[f"base_{name}"].values[fact, place]
            for name in ("log_probability", "new_log_probability")
        ]
        by_fact.setdefault(fact, []).append((flips(own, fact, place), flips(matched, fact, place), *change))
    means = np.array([np.nanmean(np.array(values), axis=0) for values in by_fact.values()])
    flipped, control, good, bad = np.nanmean(means, axis=0)
    assert (row.flipped, row.control) == (pytest.approx(flipped), pytest.approx(control))
    assert (row.good, row.bad) == (pytest.approx(good, rel=1e-5), pytest.approx(bad, rel=1e-5))
    assert row.units == np.sum(~np.isnan(means[:, 0])) > 3
    assert 0 < row.flipped < 1
    assert row.flipped_low <= row.flipped <= row.flipped_high
    assert row.difference_low <= row.difference <= row.difference_high
    tested = table.p.notna()
    assert tested.any()
    assert (table.p_adjusted[tested] >= table.p[tested]).all()
    assert ("erase", "rome", "edited") not in table.index


def test_decisions_of_facts_are_kept_apart(edited):
    flips = EditFlips.of(edited, "preferred")
    assert flips is not None
    kind, query = edited.column("queries", "kind"), edited.edits["edited_query"].values
    of_pair = (query >= 0) & (kind[query] == "minimal_pair")
    assert not (flips.edited.probes_left & ~of_pair).any()
    of_facts = EditFlips.of(edited, "first")
    assert of_facts is not None
    assert not (of_facts.edited.probes_left & of_pair).any()


def test_success_of_pairs_compares_both_forms(edited):
    outcomes = EditOutcomes.of(edited, known=False, kind="minimal_pair")
    own, base = edited.edits.sel(AT), edited.edits
    there = outcomes.on["edited"] & ~np.isnan(own["log_probability"].values)
    bad_first = own["new_log_probability"].values > own["log_probability"].values
    for criterion in ("argmax", "probability"):
        assert (outcomes.success("update", "own", criterion)[there] == bad_first[there]).all()
    erased = edited.edits.sel(edit_operation="erase", edit_set="own")
    right = base["base_log_probability"].values > base["base_new_log_probability"].values
    lost = erased["new_log_probability"].values > erased["log_probability"].values
    found = outcomes.success("erase", "own", "argmax")
    made = ~np.isnan(erased["log_probability"].values)
    assert (found[made & right] == lost[made & right]).all()
    assert np.isnan(found[~right]).all()


def test_locality_is_told_of_pairs_and_of_facts(edited):
    outcomes = EditOutcomes.of(edited, known=False, kind="minimal_pair")
    probe, kind = edited.edits["probe_query"].values, edited.column("queries", "kind")
    after, before = edited.edits["probe_argmax"].sel(AT).values, edited.edits["base_probe_argmax"].values
    kl = edited.edits["probe_kl"].sel(AT).values
    for of in ("minimal_pair", "fact"):
        found = outcomes.unchanged("update", "own", of)
        for fact in np.flatnonzero(outcomes.probes_left):
            there = (probe[fact] >= 0) & (kind[probe[fact]] == of) & ~np.isnan(kl[fact])
            expected = np.mean(after[fact, there] == before[fact, there]) if there.any() else np.nan
            assert found[fact] == pytest.approx(expected, nan_ok=True)


def test_words_under_edits_are_compared_with_matched_neurons(edited):
    table = edited_word_effects(edited, DRAWS)
    assert table is not None
    assert {*table.word} == {"right answer", "good form", "bad form"}
    assert {*table.change} == {"erase", "update", "update_signed"}
    name = str(np.unique(edited.column("queries", "relation"))[1])
    row = table[(table.relation == name) & (table.word == "bad form") & (table.change == "update")].iloc[0]
    known = edited.column("queries", "known") == 1
    x = []
    for fact, place in _cells_of_paradigm(edited, name):
        query = int(edited.edits["edited_query"].values[fact])
        values = [edited.edits["new_log_probability"].sel(at).values[fact, place] for at in (AT, CONTROL)]
        odds = log_odds(np.array(values, dtype=np.float64))
        if known[query] and not np.isnan(odds).any():
            x.append(odds[0] - odds[1])
    assert row.difference == pytest.approx(np.mean(x), rel=1e-5)
    assert row.units == len(x) > 1


def _cells_of_paradigm(study, name: str) -> list[tuple[int, int]]:
    first, leaks = (study.column("facts", of) for of in ("first_query", "leaks"))
    query = study.edits["edited_query"].values
    there = (study.column("facts", "relation") == name) & (query >= 0) & (leaks == 0)
    return [(fact, int(query[fact] - first[fact])) for fact in np.flatnonzero(there).tolist()]


def test_without_pairs_and_probes_there_is_nothing_to_tell(changed_study):
    assert edited_pairs(changed_study, DRAWS) == ()
    bare = replace(changed_study, datasets={**changed_study.datasets, "edits": None})
    assert edited_pairs(bare, DRAWS) == ()
