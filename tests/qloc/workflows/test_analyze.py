"""Stores opened, analyzed and reported."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import qloc
from qloc.errors import FloorError, InputError, SchemaError
from qloc.plan import AnalysisPlan
from qloc.reports.figures import svg
from qloc.simulation.simulate import simulate
from qloc.workflows.analyze import analyze, load, open_study, report, result_folders, result_folders_for

QUICK = AnalysisPlan(n_permutations=99, n_bootstrap=99, n_splits=2, thresholds=(0.1, 0.2), budgets=(5, 10))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("planted") / "planted.zarr"
    simulate(path, facts=60, relations=3, templates=5, seed=1)
    return path


def test_an_opened_study_is_that_of_memory(planted: Path) -> None:
    there = open_study(planted)
    here = simulate(facts=60, relations=3, templates=5, seed=1)
    assert there.complete
    assert re.fullmatch("[0-9a-f]{64}", there.fingerprint)
    assert np.array_equal(there.neurons().member.toarray(), here.neurons().member.toarray())
    assert qloc.open(planted).fingerprint == there.fingerprint


def test_an_opened_study_is_read_lazily(planted: Path) -> None:
    study = open_study(planted)
    assert study.attribution.chunks is not None
    relation = study.facts["relation"].values[0]
    selected = study.attribution.sel(relation=relation)
    assert selected.sizes["query"] == (study.queries["relation"].values == relation).sum()


def test_what_is_no_store_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(SchemaError) as caught:
        open_study(tmp_path)
    assert str(caught.value) == (
        f"zarr.json is 'No such file or directory'; expected the root of a Zarr v3 hierarchy. At {tmp_path}. "
        "Give the path of a store that qloc extract wrote."
    )


def test_analysis_is_saved_and_reported(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Figures of such a study are drawn in tests/qloc/cli/test_analyze.py.
    monkeypatch.setattr(svg, "svg", lambda figure, width: f"<svg><title>{figure.id}, {width}</title></svg>")
    result = analyze(planted, QUICK, tmp_path / "results" / "a")
    assert (tmp_path / "results" / "a" / "study.json").exists()
    assert result.question("consistency") is not None
    assert (tmp_path / "results" / "a" / "explorer.json").exists()
    analyze(planted, QUICK, tmp_path / "results" / "b", explored=7)
    page = report([tmp_path / "results"], "html", tmp_path / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert page.count('class="exploration"') == 2
    assert "7 of the study's" in page
    assert load(tmp_path / "results" / "b") == load(str(tmp_path / "results" / "b"))
    assert load(tmp_path / "results" / "b").title == result.title
    analyze(planted, QUICK, tmp_path / "results" / "b", explored=0)
    assert not (tmp_path / "results" / "b" / "explorer.json").exists()


def test_nothing_is_saved_where_the_floor_is_asked_below(planted: Path, tmp_path: Path) -> None:
    with pytest.raises(FloorError, match=r"0\.01.*0\.05"):
        analyze(planted, QUICK.model_copy(update={"threshold": 0.01}), tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_an_unknown_format_leaves_no_file(tmp_path: Path) -> None:
    simulate(tmp_path / "s.zarr", facts=4, relations=1, templates=2, seed=1)
    analyze(tmp_path / "s.zarr", QUICK, tmp_path / "r")
    with pytest.raises(InputError) as caught:
        report([tmp_path / "r"], "pdf", tmp_path / "report.pdf")
    assert str(caught.value) == (
        "format is 'pdf'; expected html or md or latex or json. At qloc report --format. Name one of these."
    )
    assert not (tmp_path / "report.pdf").exists()


def test_a_folder_of_results_stands_for_them(tmp_path: Path) -> None:
    for name in ("one", "many/b", "many/a"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "study.json").touch()
    found = result_folders([tmp_path / "one", tmp_path / "many", tmp_path / "one"])
    assert [str(folder.relative_to(tmp_path)) for folder in found] == ["one", "many/a", "many/b"]


def test_results_of_several_stores_lie_apart() -> None:
    stores = [Path("a/x.zarr"), Path("b/x.zarr"), Path("y.zarr.zip")]
    assert result_folders_for(stores, Path("r")) == [Path("r/x"), Path("r/x-2"), Path("r/y")]
    assert result_folders_for(stores[2:], None) == [Path("y-results")]
    assert result_folders_for(stores[:1], Path("r")) == [Path("r")]
