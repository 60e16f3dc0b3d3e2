"""What users hand to the public functions by mistake is refused in the house form, never by a raw error."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import qloc
from qloc.analysis.inputs.public_arguments import described
from qloc.errors import InputError

OPEN = "Open a store with qloc.open, and give what it returns"


def said(call: Callable[[], Any]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize("value", ["0.2", True, 1, -0.1, float("nan"), [0.2]])
def test_a_threshold_is_a_number_in_its_range(study, value):
    rule = (
        f"threshold is {value!r}; expected a number in [0, 1). At neuron sets. Give a share of the maximum."
    )
    assert said(lambda: study.neurons("ig", value)) == rule
    assert said(lambda: study.neurons_at([0.3, value])) == rule


@pytest.mark.parametrize("value", ["5", 2.5, True, 0])
def test_a_budget_is_a_whole_number(study, value):
    assert said(lambda: study.neurons(top=value)) == (
        f"top is {value!r}; expected a whole number ≥ 1. At neuron sets. Give a budget of neurons."
    )


@pytest.mark.parametrize("value", [0.2, "0.2"])
def test_several_thresholds_are_a_list(study, value):
    assert said(lambda: study.neurons_at(value)) == (
        f"thresholds is {value!r}; expected a list of numbers in [0, 1). At neuron sets. "
        "Give a list, or ask neurons for one threshold."
    )


def test_consistency_takes_neuron_sets(study):
    assert said(lambda: qloc.consistency(study)) == (
        "sets is 'Study'; expected neuron sets. At qloc.consistency. "
        "Give study.neurons(), or of several studies their consistency()."
    )
    assert said(lambda: qloc.consistency("x.zarr")).startswith("sets is 'x.zarr'; expected neuron sets.")  # type: ignore[arg-type]


def test_hypotheses_take_a_study_and_some_its_sets(study):
    sets = study.neurons()
    for name in qloc.hypotheses.__all__:
        if name in ("Draws", "REGISTRY", "overlap_tests"):
            continue
        problem = said(partial(getattr(qloc.hypotheses, name), "x.zarr"))
        assert problem.startswith("study is 'x.zarr'; expected a study that qloc.open returned"), name
        assert problem.endswith(f"At qloc.hypotheses.{name}. {OPEN}."), name
    assert said(lambda: qloc.hypotheses.query_kn_mapping(sets)).startswith(
        "study is 'NeuronSets'; expected a study that qloc.open returned. At qloc.hypotheses.query_kn_mapping."
    )
    assert said(lambda: qloc.hypotheses.methods_agree(sets)).startswith(
        "study is 'NeuronSets'; expected a study that qloc.open returned, or a list of the neuron sets of"
    )
    assert said(lambda: qloc.hypotheses.overlap_tests(study)).startswith("sets is 'Study'; expected neuron")
    assert said(lambda: qloc.hypotheses.beyond_answer(study, draws=99)) == (  # type: ignore[arg-type]
        "draws is 99; expected qloc.Draws. At qloc.hypotheses.beyond_answer. "
        "Write qloc.Draws(n_permutations=…, seed=…)."
    )


def test_fit_takes_a_study_and_a_text(study):
    assert said(lambda: qloc.fit(study.neurons(), "kappa ~ k")).startswith("study is 'NeuronSets'; expected")
    assert said(lambda: qloc.fit("x.zarr", "kappa ~ k")).startswith("study is 'x.zarr'; expected a study")  # type: ignore[arg-type]
    assert said(lambda: qloc.fit(study, 5)) == (  # type: ignore[arg-type]
        "formula is 5; expected a text. At qloc.fit. Write one, such as 'kappa ~ log_k'."
    )


def test_paths_and_plans_are_told_from_what_they_lead_to(study, tmp_path):
    action = "Give where the store lies; what qloc.open returned is open already"
    rule = f"expected a path or URL, or a list of them. At qloc.open. {action}."
    assert said(lambda: qloc.open(5)) == f"store is 'int'; {rule}"  # type: ignore[call-overload]
    assert said(lambda: qloc.analyze(study, None, tmp_path)) == f"store is 'Study'; {rule}"
    assert said(lambda: qloc.extract_study("x", tmp_path)).startswith("plan is 'x'; expected a qloc.Plan.")  # type: ignore[arg-type]
    assert said(lambda: qloc.report("nowhere", "html", tmp_path / "r.html")).startswith(
        "results is 'nowhere'; expected a folder that `qloc analyze` wrote"
    )


def test_values_are_shown_and_others_by_their_type():
    assert [described(value) for value in (None, "x", 0.5, {"a": 1})] == [None, "x", 0.5, "dict"]
