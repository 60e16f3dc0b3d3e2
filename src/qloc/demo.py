"""The demonstration: the two embedded models, from extraction to report."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from qloc.extracting import extract_study
from qloc.pipeline import analyze, report
from qloc.plan import Plan
from qloc.progress import Progress

KINDS: Final = ("causal", "masked")
FACTS_OF_A_RELATION: Final = 24
"""Enough for the tests to have power, and few enough for two cores to extract in a few minutes."""


def demo(out: str | Path, *, progress: Progress | None = None) -> Path:
    """Extract, analyze and report on the embedded models; gives the report's path.

    Parameters
    ----------
    out : folder for ``causal.zarr``, ``masked.zarr``, ``results/causal``, ``results/masked`` and
        ``report.html``; what was extracted already is not extracted again.

    Raises
    ------
    MissingDependencyError : torch or its kin are not installed.
    """
    out, progress = Path(out), progress or Progress(quiet=True)
    folders = []
    for kind in KINDS:
        store, results = out / f"{kind}.zarr", out / "results" / kind
        plan = Plan(model=f"embedded:{kind}", facts="embedded", max_facts=FACTS_OF_A_RELATION)
        extract_study(plan, store, progress=progress)
        progress.say(f"Analyzing {store} …")
        analyze(store, plan.analysis, results)
        folders.append(results)
    return report(folders, "html", out / "report.html")
