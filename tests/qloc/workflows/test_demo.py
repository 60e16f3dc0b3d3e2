"""The demonstration, from extraction to report."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path

import pytest

from qloc.phase_plan import EditPlan, InterventionPlan, RomePlan
from qloc.plan import AnalysisPlan, Plan
from qloc.progress import Progress
from qloc.shipped import KINDS

FEW = partial(
    Plan,
    relations=("capital", "determiner_noun"),  # facts and minimal pairs
    pair_queries=3,
    quadrature="midpoint",
    steps=2,
    threads=1,
    interventions=InterventionPlan(operations=("suppress", "enhance"), synapse_operations=("suppress",)),
    analysis=AnalysisPlan(
        thresholds=(0.1, 0.2), budgets=(5, 10), n_permutations=99, n_bootstrap=99, n_splits=2
    ),
)
FEW_EDITS = partial(EditPlan, operations=("erase", "update"), n_probes=2, text_tokens=16, greedy_tokens=2)


@pytest.mark.slow
def test_the_demo_makes_everything_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few_figures: None
) -> None:
    pytest.importorskip("torch", reason="qloc[extract] is not installed")
    from qloc.extract.embedded import checkpoint
    from qloc.workflows import demo

    if not all((checkpoint(kind) / "config.json").exists() for kind in KINDS):
        pytest.skip("the embedded models are not made yet")
    monkeypatch.setattr(demo, "Plan", FEW)
    monkeypatch.setattr(demo, "EditPlan", FEW_EDITS)
    monkeypatch.setattr(demo, "ROME", RomePlan(layer=0.0, prefixes=1, steps=3, sample_tokens=64))
    monkeypatch.setattr(demo, "FACTS_OF_A_RELATION", 3)
    monkeypatch.setattr(demo, "EDITED_OF_A_RELATION", 1)
    monkeypatch.setattr(demo, "TRACED_OF_A_RELATION", 2)
    said = io.StringIO()
    page = demo.demo(tmp_path / "d", progress=Progress(stream=said))
    assert page == tmp_path / "d" / "report.html"
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == [
        "causal.zarr",
        "masked.zarr",
        "report.html",
        "results",
    ]
    text = page.read_text()
    for kind in KINDS:
        assert f"embedded:{kind}" in text
        assert (tmp_path / "d" / "results" / kind / "study.json").exists()
    for question in (
        "How do the models differ on the same facts?",
        "Does syntax localize as well as facts?",
        "Where does restoring help?",
    ):
        assert question in text
    first = page.read_bytes()
    again = io.StringIO()
    demo.demo(tmp_path / "d", progress=Progress(stream=again))
    assert again.getvalue().count("holds this extraction already.") == 2
    assert page.read_bytes() == first
