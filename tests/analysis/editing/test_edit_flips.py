"""Decisions that edits turn round, by brute force, and the table that shows them beside interventions'."""

from typing import Any

import numpy as np
import pytest

from qloc.analysis.editing.edit_flips import EditFlips
from qloc.analysis.editing.suppression_on_words import suppression_on_words
from qloc.analysis.inference.draws import Draws
from qloc.analysis.interventions.categorical_flips import flips_beyond_matched

DRAWS = Draws(n_permutations=99)


def test_the_edited_query_decides(changed_study):
    flips = EditFlips.of(changed_study, "first")
    assert flips is not None
    found = changed_study.edits
    erased = found["rank"].sel(edit_operation="erase", edit_set="own").values
    first, leaks = (changed_study.column("facts", name) for name in ("first_query", "leaks"))
    kind = changed_study.column("queries", "kind")
    shares = flips.shares("erase", "own")
    for fact, query in enumerate(found["edited_query"].values):
        counts = query >= 0 and not leaks[fact] and kind[query] == "fact"
        place = int(query - first[fact])
        if not counts or found["base_rank"].values[fact, place] != 1 or erased[fact, place] < 1:
            assert np.isnan(shares[fact])
        else:
            assert shares[fact] == (erased[fact, place] > 1)
    assert 0 < np.nanmean(shares) <= 1
    assert EditFlips.of(changed_study, "preferred") is None  # no bad forms were asked


def test_the_table_has_the_tests_numbers(changed_study):
    shown = suppression_on_words(changed_study, DRAWS)
    assert [test.name for test in shown.tests] == ["H14a"]
    assert [table.name for table in shown.tables] == ["suppression_flips"]
    frame = shown.tables[0].to_frame().set_index(["change", "set"])
    test = flips_beyond_matched(changed_study, decision="first", draws=DRAWS)
    row: Any = frame.loc[("suppress", "own")]
    assert row.difference == pytest.approx(test.estimate)
    assert row.flipped - row.control == pytest.approx(test.estimate, abs=0.05)  # other queries lack a control
    assert row.flipped_low <= row.flipped <= row.flipped_high
    assert ("erase, edit", "own") in frame.index
    assert (frame.p_adjusted >= frame.p).all()
