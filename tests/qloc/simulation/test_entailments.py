"""Planted outcomes of what edits entail: a share of what the edit moves, and nothing of an edit not made."""

import numpy as np

from qloc.simulation.edits import planted_edits
from qloc.simulation.entailments import KINDS, planted_entailments
from qloc.simulation.interventions import Effects
from qloc.simulation.planted import Planted, plant


def test_entailed_answers_move_by_their_share() -> None:
    planted: Planted = plant(facts=24, relations=3, templates=4, n_neurons=32, seed=1)
    still = Effects(relation=0.0, answer=0.0, template=0.0, fact=0.0, query=0.0)
    edits = planted_edits(planted, still)
    found = planted_entailments(planted, still, edits)

    rome = found.sel(edit_operation="update", edit_set="rome")
    log_p = [v.values.astype(float) for v in (rome["new_log_probability"], found["base_new_log_probability"])]
    after, before = (values - np.log(-np.expm1(values)) for values in log_p)
    moved = after - before
    edited = edits["edited_query"].values >= 0
    np.testing.assert_allclose(moved[edited][:, KINDS.index("synonym")], 4.5, atol=1e-4)
    np.testing.assert_allclose(moved[edited][:, KINDS.index("new_inverse")], 0.9, atol=1e-4)
    erased = found.sel(edit_operation="erase")
    assert np.isnan(erased["log_probability"].sel(edit_set="rome")).all()
    assert (found["base_rank"].values[edited][:, 1:] == 1).all()
