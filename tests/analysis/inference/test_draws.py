"""Draws: one set of defaults, shared by tests and analysis plans."""

from dataclasses import FrozenInstanceError, asdict

import pytest

import qloc
from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.errors import InputError
from qloc.plan import AnalysisPlan


def test_defaults_are_those_of_a_plan():
    plan = AnalysisPlan().model_dump()
    assert asdict(DRAWS) == {name: plan[name] for name in asdict(DRAWS)}


def test_draws_are_named_and_do_not_change():
    with pytest.raises(TypeError):
        Draws(99)  # type: ignore[call-arg]  # the order of five numbers is nothing to rely on
    with pytest.raises(FrozenInstanceError):
        DRAWS.seed = 1  # type: ignore[misc]  # it is frozen
    assert Draws(seed=3) == Draws(seed=3) != DRAWS


def test_draws_are_public():
    assert qloc.Draws is Draws


def test_every_draw_outside_its_domain_is_named():
    with pytest.raises(InputError) as caught:
        Draws(n_permutations=0, n_bootstrap=-1, confidence=95, alpha="0.05", seed=1.5)  # type: ignore[arg-type]
    assert caught.value.problems == (
        "n_permutations is 0; expected a whole number ≥ 1. At qloc.Draws. Correct it.",
        "n_bootstrap is -1; expected a whole number ≥ 0. At qloc.Draws. Correct it.",
        "seed is 1.5; expected a whole number ≥ 0. At qloc.Draws. Correct it.",
        "confidence is 95; expected a number within (0, 1). At qloc.Draws. Correct it.",
        "alpha is '0.05'; expected a number within (0, 1). At qloc.Draws. Correct it.",
    )
