"""A study beside its negative controls: what is extracted, asked, and said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qloc.analysis.analyze import EVERY_QUERY
from qloc.errors import InputError
from qloc.plan import AnalysisPlan, Plan
from qloc.workflows.analyze import open_study
from qloc.workflows.controls import CONTROLS, Controlled, controls, controls_text
from qloc.workflows.extract import extract_study

FEW = AnalysisPlan(thresholds=(0.1, 0.2), budgets=(5,), n_permutations=99, n_bootstrap=99, n_splits=2)


@pytest.fixture(scope="module")
def controlled(
    signals: Path, tmp_path_factory: pytest.TempPathFactory, few_figures_of_a_module: None
) -> Controlled:
    """Give the controls of three facts."""
    return controls(signals, tmp_path_factory.mktemp("controls"), plan=FEW, device="cpu")


def test_both_controls_are_extracted_as_the_study_was(signals: Path, controlled: Controlled) -> None:
    folder = controlled.report.parent
    own = open_study(signals)
    for permuted, name in CONTROLS.items():
        control = open_study(folder / f"{name}.zarr")
        for part in ("model", "facts"):
            prefix = "permuted:" if part == permuted else ""
            assert control.attrs[part] == prefix + own.attrs[part]
        assert control.queries["prompt"].values.tolist() == own.queries["prompt"].values.tolist()
        assert not np.allclose(control.queries["log_probability"], own.queries["log_probability"])
    true, false = (
        open_study(path).facts["object"].values.tolist() for path in (signals, folder / "permuted-facts.zarr")
    )
    assert sorted(true) == sorted(false)
    assert all(one != other for one, other in zip(true, false, strict=True))


def test_every_query_of_all_three_counts(signals: Path, controlled: Controlled) -> None:
    assert [*controlled.results] == ["s", *CONTROLS.values()]
    for result in controlled.results.values():
        assert EVERY_QUERY in result.notes
        assert result.counts["queries known"] == result.counts["queries"] == 6
    assert controlled.report.is_file()
    assert "permuted:embedded:causal on" in controlled.report.read_text()


def test_each_test_stands_beside_those_of_the_controls(controlled: Controlled) -> None:
    frame = controlled.to_frame()
    own = controlled.results["s"]
    assert frame["test"].tolist() == [test.name for test in own.tests()]
    assert {f"{name}, verdict" for name in controlled.results} < {*frame.columns}
    page = controls_text(controlled)
    assert "permuted-weights" in page
    assert "With permuted facts nothing holds that holds in the study." in page


def test_a_second_run_extracts_nothing(
    signals: Path, controlled: Controlled, monkeypatch: pytest.MonkeyPatch
) -> None:
    import qloc.workflows.extract as extraction

    def refuse(*_: object) -> None:
        raise AssertionError("a model was read")

    monkeypatch.setattr(extraction, "_runner", refuse)
    again = controls(signals, controlled.report.parent, plan=FEW, device="cpu")
    assert again.to_frame().equals(controlled.to_frame())


def test_a_control_has_no_controls(controlled: Controlled, tmp_path: Path) -> None:
    store = controlled.report.parent / "permuted-weights.zarr"
    with pytest.raises(InputError, match=r"model is 'permuted:embedded:causal'; expected a study's own"):
        controls(store, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_permuted_facts_are_asked_of_the_same_model(signals_plan: Plan, tmp_path: Path) -> None:
    plan = signals_plan.model_copy(
        update={"facts": f"permuted:{signals_plan.facts}", "model": "permuted:embedded:causal"}
    )
    found = extract_study(plan, tmp_path / "both.zarr")
    assert open_study(found.path).attrs["model"] == "permuted:embedded:causal"
