"""``qloc analyze``, as users type it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from commands import done, refused, run

from qloc.simulation.simulate import simulate

QUICK = {"n_permutations": 99, "n_bootstrap": 99, "n_splits": 2, "thresholds": [0.1, 0.2], "budgets": [5, 10]}


def test_analyze_and_report(planted: Path, tmp_path: Path) -> None:
    pytest.importorskip("qloc.analysis.analyze")
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump({"analysis": QUICK}))
    results, page = tmp_path / "results", tmp_path / "report.html"
    said = done("analyze", planted, "--plan", plan, "--out", results)
    assert said.endswith(f"Results: {results}\nNext:\n  qloc report {results}\n")
    assert done("report", results, "--out", page) == (f"Report: {page}\nNext:\n  open {page} in a browser\n")
    assert page.read_text().startswith("<!DOCTYPE html>")
    first = page.read_bytes()
    done("analyze", planted, "--plan", plan, "--out", results, "--quiet")
    done("report", results, "--out", page)
    assert page.read_bytes() == first
    for format, name in (("md", "r.md"), ("json", "r.json")):
        assert done("report", results, "--format", format, "--out", tmp_path / name) == (
            f"Report: {tmp_path / name}\n"
        )
    assert done("cite", results)


def test_a_threshold_below_the_floor_is_refused(planted: Path, tmp_path: Path) -> None:
    pytest.importorskip("qloc.analysis.analyze")
    plan = tmp_path / "plan.yaml"
    plan.write_text("analysis: {threshold: 0.01, thresholds: [0.2], n_permutations: 99, n_bootstrap: 99}\n")
    said = refused("analyze", planted, "--plan", plan, "--out", tmp_path / "r", "--quiet")
    assert re.match(r"Error: threshold is 0\.01; expected .*0\.05", said), said
    assert not (tmp_path / "r").exists()


def test_flags_stand_in_the_place_of_the_plan(planted: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("analysis: {threshold: 0.3, thresholds: [0.2], n_permutations: 99, n_bootstrap: 99}\n")
    said = refused(
        "analyze", planted, "--plan", plan, "--threshold", "0.01", "--out", tmp_path / "r", "--quiet"
    )
    assert re.match(r"Error: threshold is 0\.01; expected .*0\.05", said), said
    said = refused("analyze", planted, "--plan", plan, "--method", "none", "--out", tmp_path / "r", "--quiet")
    assert "none" in said
    said = refused("analyze", planted, "--threshold", "7", "--out", tmp_path / "r", "--quiet")
    assert said.startswith("Error: analysis.threshold is 7")


@pytest.fixture(scope="module")
def analyzed(stores: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a plan and the results of two stores, which no test may change."""
    folder = tmp_path_factory.mktemp("analyzed")
    (folder / "plan.yaml").write_text(yaml.safe_dump({"analysis": QUICK}))
    done("analyze", *stores, "--plan", folder / "plan.yaml", "--out", folder / "r", "--quiet")
    return folder


def test_analyze_of_several_compares_them(analyzed: Path, tmp_path: Path) -> None:
    assert sorted(path.parent.name for path in analyzed.glob("r/*/study.json")) == [
        "comparison",
        "early",
        "late",
    ]
    done("report", analyzed / "r", "--format", "json", "--out", tmp_path / "r.json")
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["parts"][0]["title"] == "early, late compared"
    heads = found["comparison"]["table"]["heads"]
    assert len(heads) == len(set(heads)) == 5  # test, unit, role, and each study


def test_stores_with_nothing_in_common_are_analyzed_and_not_compared(
    stores: tuple[Path, Path], analyzed: Path, tmp_path: Path
) -> None:
    plan = analyzed / "plan.yaml"
    shutil.copytree(analyzed / "r", tmp_path / "r")
    simulate(tmp_path / "comparison.zarr", facts=8, relations=1, templates=2, seed=2)
    assert (tmp_path / "r" / "comparison" / "study.json").exists()
    result = run("analyze", stores[0], tmp_path / "comparison.zarr", "--plan", plan, "--out", tmp_path / "r")
    assert result.exit_code == 0, result.output
    assert "Not compared: common queries is 0; expected at least one query" in result.stderr
    assert not (tmp_path / "r" / "comparison").exists()  # of other stores, and not replaced
    assert "analyze: 12 of 12 questions" in result.stderr
    names = sorted(path.parent.name for path in tmp_path.glob("r/*/study.json"))
    assert names == ["comparison-2", "early", "late"]
    assert refused("compare", stores[0], tmp_path / "comparison.zarr").startswith(
        "Error: common queries is 0;"
    )
