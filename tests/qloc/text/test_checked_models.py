"""Parts of a plan that are made in Python say what is wrong with them, in words of their own."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from qloc.analysis_plan import AnalysisPlan
from qloc.errors import InputError
from qloc.phase_plan import EditPlan, InterventionPlan, RomePlan, TracingPlan
from qloc.text.checked_models import CheckedModel


@pytest.mark.parametrize(
    ("part", "fields", "problems"),
    [
        (
            InterventionPlan,
            {"alpha": -1, "sets": ("mine",), "typo": 1},
            [
                "sets.0 is 'mine'; expected ",
                "alpha is -1; expected greater than 0. At InterventionPlan. Correct it.",
                "key is 'typo'; expected one of method, threshold, ",
            ],
        ),
        (
            InterventionPlan,
            {"reprompt": "also "},
            ["reprompt is 'also '; expected signs and white space, no "],
        ),
        (
            EditPlan,
            {"rome": {"steps": 0, "typo": 1}},
            [
                "rome.steps is 0; expected greater than or equal to 1. At EditPlan. Correct it.",
                "key is 'rome.typo'; expected one of layer, prefixes, ",
            ],
        ),
        (RomePlan, {"layer": 2}, ["layer is 2; expected less than or equal to 1. At RomePlan. Correct it."]),
        (TracingPlan, {"queries": None}, ["queries is None; expected a valid integer. At TracingPlan. "]),
        (AnalysisPlan, {"confirmatory": ("H99",)}, ["confirmatory.0 is 'H99'; expected 'H"]),
        (
            AnalysisPlan,
            {"threshold": 1},
            ["threshold is 1; expected less than 1. At AnalysisPlan. Correct it."],
        ),
    ],
)
def test_every_problem_is_told(part: type[CheckedModel], fields: dict[str, Any], problems: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        part(**fields)
    assert len(caught.value.problems) == len(problems)
    for told, begun in zip(caught.value.problems, problems, strict=True):
        assert told.startswith(begun)


def test_what_is_right_is_made_copied_and_sent() -> None:
    part = EditPlan(rome=RomePlan(steps=3), sets=("own", "rome"))
    assert (part.rome.steps, part.sets) == (3, ("own", "rome"))
    assert EditPlan(rome={"steps": 3}, sets=["own", "rome"]) == part
    assert copy.deepcopy(part) == pickle.loads(pickle.dumps(part)) == part
    assert part.model_copy(update={"lambda1": 2.0}).lambda1 == 2.0
