"""H13: planted gains are found, and what does not move is no gain."""

import numpy as np
import pytest

from qloc.analysis.editing.entailment_outcomes import EntailmentOutcomes
from qloc.analysis.editing.entailment_tests import CARRIED, carries_over
from qloc.analysis.inference.draws import Draws
from qloc.analysis.wording import percent
from qloc.errors import InputError

DRAWS = Draws(n_permutations=199, n_bootstrap=19)


@pytest.mark.parametrize(("entailment", "edited"), CARRIED)
def test_the_estimate_is_the_mean_over_facts(edited_study, entailment, edited):
    """Planted: a tenth of what an update moves at the inverse, half of it at synonyms."""
    test = carries_over(edited_study, entailment=entailment, edited=edited, draws=DRAWS)
    moved = EntailmentOutcomes.of(edited_study).moved(entailment, "update", edited)
    assert test.estimate == pytest.approx(np.nanmean(moved))
    planted = {"own": 6.0, "rome": 9.0}[edited] * {"inverse": 0.1, "synonym": 0.5}[entailment]
    assert abs(test.estimate - planted) < 0.6
    if entailment == "synonym":
        assert test.verdict == "holds"
    assert test.n["facts"] == np.sum(~np.isnan(moved))


def test_a_gain_that_does_not_rank_first_says_so(edited_study):
    """Whatever ranks second everywhere gains as much as before, and a check of the test tells the reader."""
    before = carries_over(edited_study, entailment="synonym", edited="rome", draws=DRAWS)
    group = edited_study.entailments
    lower = group.assign(new_rank=group["new_rank"].where(group["new_rank"] < 0, 2))
    study = type(edited_study)({**edited_study.datasets, "entailments": lower}, edited_study.attrs)
    test = carries_over(study, entailment="synonym", edited="rome", draws=DRAWS)
    assert (test.estimate, test.verdict) == (before.estimate, "holds")
    told = "The verdict is on log-odds. What is entailed ranks first after the edit in {} of prompts."
    assert told.format("0%") in test.checks
    share = float(
        np.nanmean(EntailmentOutcomes.of(edited_study).score("synonymy", "update", "rome", "argmax"))
    )
    assert share > 0
    assert told.format(percent(share)) in before.checks


def test_an_update_that_was_not_made_is_refused(edited_study):
    fewer = edited_study.edits.sel(edit_set=["own", "matched"])
    study = type(edited_study)({**edited_study.datasets, "edits": fewer}, edited_study.attrs)
    with pytest.raises(InputError, match="expected sets rome under update"):
        carries_over(study, edited="rome", draws=DRAWS)
