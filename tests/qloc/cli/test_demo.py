"""``qloc demo`` where torch is not installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import blocked, done

# Few draws, and no figures: those of both models are drawn in tests/qloc/workflows/test_demo.py.
QUICK = """
from qloc import shipped
whole = shipped.shipped_plan
few = {"n_permutations": 99, "n_bootstrap": 99, "n_splits": 2, "thresholds": (0.1, 0.2), "budgets": (5, 10)}
shipped.shipped_plan = lambda kind: (plan := whole(kind)).model_copy(
    update={"analysis": plan.analysis.model_copy(update=few)})
from qloc.reports.figures import svg
svg.svg = lambda figure, width: f"<svg><title>{figure.id}</title></svg>"
"""


@pytest.mark.slow
def test_without_torch_the_demo_starts_from_the_shipped_extraction(tmp_path: Path) -> None:
    from qloc.shipped import KINDS

    result = blocked("demo", "--out", tmp_path / "demo", first=QUICK)
    assert result.returncode == 0, result.stderr
    page = tmp_path / "demo" / "report.html"
    assert result.stdout.startswith(f"Report: {page}\n")
    text = page.read_text()
    for kind in KINDS:
        store = tmp_path / "demo" / f"{kind}.zarr"
        assert f"{store} starts from the shipped extraction, 4 facts a relation" in result.stderr
        assert done("store", "verify", store)
        assert f"embedded:{kind}" in text
