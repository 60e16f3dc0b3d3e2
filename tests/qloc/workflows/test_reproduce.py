"""A published study's tables from a store."""

import pytest

from qloc.analysis.results import load
from qloc.errors import InputError
from qloc.plan import AnalysisPlan
from qloc.simulation.simulate import simulate
from qloc.workflows.reproduce import published_study, reproduce_study


def test_tables_are_made_and_saved(tmp_path):
    simulate(tmp_path / "s.zarr", facts=24, relations=2, templates=4, seed=1)
    result = reproduce_study(
        "chen", published_study("chen"), [tmp_path / "s.zarr"], AnalysisPlan(n_bootstrap=99), tmp_path / "r"
    )
    assert load(tmp_path / "r").questions == result.questions
    assert all(test.verdict == "descriptive" for question in result.questions for test in question.tests)


def test_an_unknown_study_is_refused():
    with pytest.raises(InputError, match=r"^study is 'smith'; expected "):
        published_study("smith")
