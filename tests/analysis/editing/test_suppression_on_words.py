"""The table of flips: the tests' numbers, interventions' beside edits'; nothing where no arm was stored."""

from dataclasses import replace
from typing import Any

import pytest

from qloc.analysis.editing.suppression_on_words import Suppression, suppression_on_words
from qloc.analysis.inference.draws import Draws
from qloc.analysis.interventions.categorical_flips import flips_beyond_matched

DRAWS = Draws(n_permutations=99)


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


def test_without_interventions_there_is_nothing_to_tell(changed_study):
    bare = replace(changed_study, datasets={**changed_study.datasets, "interventions": None})
    assert suppression_on_words(bare, DRAWS) == Suppression()
