"""H10d: κ over the templates that chose the edits, and a slope that is planted."""

from dataclasses import replace

import numpy as np
import pytest

from qloc.analysis.editing.generalization import UsedConsistency, predicts_generalization
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.paired import log_odds
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import consistency
from qloc.errors import InputError
from qloc.simulation.interventions import log_p
from qloc.simulation.simulate import simulate


@pytest.fixture(scope="module")
def study(edited_study: Study) -> Study:
    return edited_study


def test_consistency_over_used_queries(study):
    sets = study.neurons()
    place = np.concatenate([np.arange(n) for n in study.facts["n_queries"].values])
    used = study.edits["held_out"].values[sets.queries["fact"], place] == 0
    expected = consistency(sets.select(used))
    found = UsedConsistency(study)
    assert found.kappa == pytest.approx(expected["kappa"].values, nan_ok=True)
    assert found.cs2 == pytest.approx(expected["CS2"].values, nan_ok=True)


def test_a_planted_slope_is_found(study):
    """Updates of N_i carry 8 log-odds further for each unit of κ."""
    kappa = np.nan_to_num(UsedConsistency(study).kappa)
    edits = study.edits
    odds = log_odds(edits["new_log_probability"].values)
    place = list(edits["edit_operation"].values).index("update"), list(edits["edit_set"].values).index("own")
    odds[place] += 8 * kappa[:, None]
    more = edits.assign(new_log_probability=(edits["new_log_probability"].dims, log_p(odds)))
    found, before = (
        predicts_generalization(
            replace(study, datasets={**study.datasets, "edits": group}), draws=Draws(n_bootstrap=99)
        )
        for group in (more, edits)
    )
    assert (found.name, found.verdict) == ("H10d", "holds")
    # Least squares is linear in the outcome, but float32 log-probabilities round it.
    assert found.estimate - before.estimate == pytest.approx(8, abs=0.01)
    assert found.checks[0].startswith("Held, within relations: log neurons edited, log-odds of o")


def test_edits_of_own_sets_are_needed(study):
    without = study.edits.sel(edit_set=["union", "cas"])
    with pytest.raises(InputError, match="expected sets own under update"):
        predicts_generalization(replace(study, datasets={**study.datasets, "edits": without}))
    with pytest.raises(InputError, match="expected a store with group /edits"):
        predicts_generalization(simulate(facts=4, relations=1, templates=3, seed=1))
