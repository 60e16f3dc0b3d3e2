"""qloc.plot: axes in, axes out, from what was analyzed, from tables, scores and tests."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure as Canvas

import qloc
from qloc.analysis.hypothesis_test import EffectSize, TestResult
from qloc.analysis.results import Question, StudyResult, Table
from qloc.errors import InputError
from qloc.simulation.simulate import simulate


@pytest.fixture(scope="module")
def study():
    return simulate(facts=30, relations=2, templates=4, seed=1)


def axes():
    return Canvas().add_subplot()


def effect(name: str, value: float) -> TestResult:
    return TestResult(
        name=name, question="Do they?", estimand="e", unit="fact", n={"facts": 9}, estimate=1.0, interval=None,
        effect=EffectSize(name="rank-biserial", value=value), method="", p=0.01, role="exploratory", verdict="holds",
    )  # fmt: skip


def result(*tables: Table) -> StudyResult:
    question = Question(id="q", title="?", answer="", tables=tables, tests=(effect("H1a", 0.5),))
    return StudyResult(
        title="t", model="m", facts="f", questions=(question,), provenance={}, counts={}, plan={}
    )


def test_a_study_is_analyzed_for_what_is_drawn_and_the_values_are_its_own(study):
    ax = axes()
    assert qloc.plot.violins(study, ax=ax) is ax
    scores = qloc.consistency(study.neurons(method="ig", threshold=0.2))
    drawn = np.sort(
        [x for line in ax.get_lines() if line.get_marker() == "o" for x in np.asarray(line.get_xdata())]
    )
    np.testing.assert_allclose(drawn, np.sort(scores["kappa"].values[~np.isnan(scores["kappa"].values)]))
    same = qloc.plot.violins(scores, ax=axes())
    again = np.sort(
        [x for line in same.get_lines() if line.get_marker() == "o" for x in np.asarray(line.get_xdata())]
    )
    np.testing.assert_allclose(again, drawn)


def test_layers_of_a_study_are_bars(study):
    assert (
        len(qloc.plot.layers(study, ax=axes()).patches) >= study.neurons(method="ig", threshold=0.2).n_layers
    )


def test_forest_takes_tests_and_results():
    for source in (effect("H1a", 0.5), [effect("H1a", 0.5)], result()):
        ax = qloc.plot.forest(source, ax=axes())
        assert "✓ H1a: Do they?" in {text.get_text() for text in ax.texts}
    with pytest.raises(InputError, match="expected tests with a standardized effect"):
        qloc.plot.forest([])


def test_tables_are_drawn_by_the_recipes_of_reports():
    scores = Table(
        name="edit_scores", title="Edits",
        columns={"operation": ("update",) * 2, "set": ("own", "rome"), "reliability": (1.0, 0.5), "locality": (0.2, 0.9)},
    )  # fmt: skip
    ax = qloc.plot.editing(result(scores), ax=axes())
    assert [label.get_text() for label in ax.get_xticklabels()] == ["Reliability", "Locality"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["own", "ROME"]
    assert {"1.00", "0.90"} <= {text.get_text() for text in ax.texts}


def test_what_cannot_be_drawn_is_refused_in_the_house_form(study):
    with pytest.raises(InputError) as raised:
        qloc.plot.layers(result())
    assert str(raised.value) == (
        "table is 'layer_profile'; expected one of . At qloc.plot. Choose one; phases that were not run have none."
    )
    with pytest.raises(InputError) as raised:
        qloc.plot.editing(study)
    assert str(raised.value) == (
        "table is 'edit_scores'; expected one of a store with edits. At qloc.plot. Extract that phase."
    )
    with pytest.raises(InputError, match="expected kappa or cs2"):
        qloc.plot.violins(study, score="d")
    with pytest.raises(InputError, match="expected a Study, a StudyResult or a Table"):
        qloc.plot.layers("gpt2.zarr")  # type: ignore[arg-type]


def test_reprs_fit_a_screen_and_notebooks_get_html():
    whole = result()
    test = whole.tests()[0]
    assert repr(test) == "<TestResult H1a: holds; 1; p = 0.01; 9 facts; exploratory>"
    assert repr(whole) == "<StudyResult of t: 1 questions, 1 tests, 0 tables>\n  H1a ✓"
    assert "<th>verdict</th><td>✓ Holds</td>" in test._repr_html_()
    assert whole._repr_html_().startswith("<b>t</b>")
