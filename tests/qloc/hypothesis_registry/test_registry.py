"""The registry of hypotheses: what it holds, what a plan may confirm of it, and that the docs say the same."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qloc import hypotheses
from qloc.analysis.inputs.study import Study
from qloc.hypothesis_registry.registry import CONFIRMABLE, REGISTRY, hypothesis_of
from qloc.phase_plan import EDIT_SETS, ROME_TRACED
from qloc.simulation.edits import planted_edits
from qloc.simulation.interventions import Effects
from qloc.simulation.phases import PLANTED_PHASES
from qloc.simulation.planted import plant
from qloc.simulation.simulate import simulate

DOCS = Path(__file__).resolve().parents[3] / "docs" / "statistics.md"
DRAWS = hypotheses.Draws(n_permutations=99, n_bootstrap=19)
_NAMES = (
    *"H1a H1b H2 H3 H4 H5 H5a H5b H5c H6a H6b H7a H7b H8a H8b H8c H8d H8e H9".split(),
    *"H10a H10b H10c H10d H11a H11b H11c H12a H12b H12c H13a H13b H13c H13d H14a H14b".split(),
)


def test_every_hypothesis_is_registered_in_order_of_its_number() -> None:
    assert tuple(REGISTRY) == _NAMES
    assert tuple(entry.name for entry in REGISTRY.values()) == _NAMES
    assert len({entry.question for entry in REGISTRY.values()}) == len(_NAMES)
    assert all(entry.question.endswith("?") for entry in REGISTRY.values())


def test_a_plan_may_confirm_what_has_a_test() -> None:
    assert set(REGISTRY) - set(CONFIRMABLE) == {"H2", "H4", "H5c"}
    assert {REGISTRY[name].direction for name in ("H2", "H4", "H5c")} == {"descriptive"}


def test_a_function_and_its_arguments_name_one_hypothesis() -> None:
    for name, entry in REGISTRY.items():
        assert hypothesis_of(entry.function, **entry.arguments).name == name
    with pytest.raises(KeyError, match=re.escape("own_against_control(control='nobody')")):
        hypothesis_of("own_against_control", control="nobody")
    with pytest.raises(KeyError, match=re.escape("dynamic_selection()")):
        hypothesis_of("dynamic_selection")


def test_the_table_of_the_documentation_says_the_same() -> None:
    section = DOCS.read_text(encoding="utf-8").partition("## The hypotheses\n")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in section.splitlines()
        if line.startswith("| H")
    ]
    assert [row[0] for row in rows] == list(REGISTRY)
    for name, question, direction, phase, call in rows:
        entry = REGISTRY[name]
        fixed = ", ".join(f'{key}="{value}"' for key, value in entry.arguments.items())
        assert (question, direction, phase) == (entry.question, entry.direction, entry.phase)
        assert call == f"`{entry.function}({fixed})`"


@pytest.fixture(scope="module")
def study() -> Study:
    """Small, with two methods and every phase, and ROME at the layer that tracing names."""
    given: dict[str, Any] = {"facts": 24, "relations": 4, "templates": 5, "n_neurons": 32, "seed": 1}
    given["methods"] = ("ig", "grad_x_act")
    made = simulate(**given, effects=Effects(), phases=PLANTED_PHASES)
    edits = planted_edits(plant(**given), Effects(), sets=(*EDIT_SETS, ROME_TRACED))
    return replace(made, datasets={**made.datasets, "edits": edits})


@pytest.mark.parametrize("name", _NAMES)
def test_the_registered_function_gives_a_result_of_that_name_and_question(study: Study, name: str) -> None:
    entry = hypotheses.REGISTRY[name]
    function = getattr(hypotheses, entry.function)
    given: dict[str, Any] = dict(entry.arguments)
    if "draws" in inspect.signature(function).parameters:
        given["draws"] = DRAWS
    result = function(study, **given)
    assert (result.name, result.question) == (name, entry.question)
    assert (result.role == "descriptive") == (entry.direction == "descriptive")
    if result.p is not None and "-sided" in result.method:
        assert ("one-sided" in result.method) == (entry.direction in ("more", "less"))


def test_every_public_hypothesis_is_registered() -> None:
    functions = {entry.function for entry in REGISTRY.values()}
    public = {name for name in hypotheses.__all__ if inspect.isfunction(getattr(hypotheses, name))}
    # One runs two registered ones at once; the published test is shown, and confirms nothing.
    assert public - functions == {"overlap_tests", "published_welch"}
    assert functions <= public
