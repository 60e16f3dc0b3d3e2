"""The public list of hypotheses: every name is a test of the package, and returns the result that it is named for."""

import inspect
from dataclasses import replace

import pytest

from qloc import hypotheses
from qloc.analysis.inference.draws import Draws
from qloc.analysis.results import TestResult

DRAWS = Draws(n_permutations=19, n_bootstrap=19)
OF_SETS = {
    "beyond_template": "H1a",
    "beyond_answer": "H1b",
    "inconsistent_share": "H2",
    "stable_consistency": "H3",
    "kinds_of_facts": "H4",
}
OF_A_STUDY = {**OF_SETS, "methods_agree": "H9", "predicts_behaviour": "H10a"}


def test_the_list_is_complete_and_sorted():
    names = [name for name in hypotheses.__all__ if name not in ("Draws", "REGISTRY")]
    assert names == sorted(names)
    for name in names:
        assert inspect.getdoc(getattr(hypotheses, name)), name


@pytest.mark.parametrize("name", OF_A_STUDY)
def test_a_study_gives_the_result_that_is_named(study, name):
    result = getattr(hypotheses, name)(study, draws=DRAWS)
    assert isinstance(result, TestResult)
    assert (result.name, result.seed, result.store) == (OF_A_STUDY[name], 0, study.fingerprint)


@pytest.mark.parametrize("name", OF_SETS)
def test_neuron_sets_give_what_their_study_gives(study, name):
    function = getattr(hypotheses, name)
    of_sets, of_study = function(study.neurons(), draws=DRAWS), function(study, draws=DRAWS)
    assert of_sets.store == ""
    # Compared as text: a result that is not defined is not equal to itself.
    assert repr(replace(of_sets, store=study.fingerprint)) == repr(of_study)
