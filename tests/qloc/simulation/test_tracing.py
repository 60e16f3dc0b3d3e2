"""Planted tracing: what is lost, what comes back where, and what is missing."""

from __future__ import annotations

import numpy as np
import pytest

from qloc.phase_plan import TOKEN_ROLES, TRACING_PARTS
from qloc.simulation.interventions import Effects
from qloc.simulation.planted import plant
from qloc.simulation.tracing import BROUGHT_BACK, EVERYWHERE, LOST, SITE, planted_tracing

STILL = Effects(relation=0.0, answer=0.0, template=0.0, fact=0.0)


def test_the_last_layer_s_mlp_at_the_subject_brings_back_what_is_planted() -> None:
    planted = plant(facts=60, relations=4, templates=4, pairs=4, n_neurons=32, seed=2)
    found = planted_tracing(planted, STILL)
    lost = (found["clean_log_odds"] - found["corrupted_log_odds"]).mean(skipna=True)
    assert float(lost) == pytest.approx(LOST, abs=0.1)
    back = (found["log_odds"] - found["corrupted_log_odds"]).transpose(*found["log_odds"].dims).values
    mean = np.nanmean(back, axis=(3, 4))
    expected = np.full_like(mean, EVERYWHERE * LOST)
    rising = np.linspace(0, BROUGHT_BACK[SITE], mean.shape[2])
    expected[TRACING_PARTS.index("mlp"), TOKEN_ROLES.index("last_subject")] += rising
    assert mean == pytest.approx(expected, abs=0.1)
    known, count = planted.columns.known, found["n_role_tokens"].values
    assert np.array_equal(np.isfinite(found["clean_log_odds"].values), known)
    assert np.array_equal(np.isnan(back[0, 0, 0, 0]), count[0] <= 0)
    assert ((count == -1) == ~known).all()
