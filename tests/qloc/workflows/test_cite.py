"""Whom to cite for stores and results, from Python."""

import pytest

from qloc.errors import InputError
from qloc.plan import AnalysisPlan
from qloc.references import cited
from qloc.simulation.simulate import simulate
from qloc.workflows.analyze import analyze
from qloc.workflows.cite import cite


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "s.zarr"
    simulate(path, facts=24, relations=2, templates=4, pairs=3)
    return path


def test_a_store_cites_its_methods_and_kinds_of_queries(store):
    assert cite([store]) == cited("sundararajan2017", "dai2022", "chen2025", "niu2024")


def test_edits_cite_rome_where_the_store_has_it(tmp_path):
    simulate(
        tmp_path / "s.zarr", facts=12, relations=2, templates=3, phases=("signals", "interventions", "edits")
    )
    assert cite([tmp_path / "s.zarr"]) == cited(
        "sundararajan2017", "dai2022", "chen2025", "niu2024", "meng2022"
    )


def test_results_cite_what_their_questions_do(store, tmp_path):
    plan = AnalysisPlan(n_permutations=99, n_bootstrap=99, n_splits=2, thresholds=(0.2,), budgets=(5, 10))
    result = analyze(store, plan, tmp_path / "results")
    expected = dict.fromkeys(line for question in result.questions for line in question.references)
    assert cite([tmp_path / "results"]) == tuple(expected)
    assert set(expected) & set(cited("otsu1979"))


def test_every_path_that_is_neither_is_named(tmp_path):
    with pytest.raises(InputError) as caught:
        cite([tmp_path, tmp_path / "none"])
    assert caught.value.problems == tuple(
        f"path is '{path}'; expected a store, or a folder with results. At {path}. "
        "Give what qloc extract or qloc analyze wrote."
        for path in (tmp_path, tmp_path / "none")
    )
