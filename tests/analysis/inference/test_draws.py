"""Draws: one set of defaults, shared by tests and analysis plans."""

from dataclasses import FrozenInstanceError, asdict

import pytest

import qloc
from qloc.analysis.inference.draws import DRAWS, Draws
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
