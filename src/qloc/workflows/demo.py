"""The demonstration: the two embedded models, from extraction, or from the shipped one, to report."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from qloc.errors import MissingDependencyError
from qloc.phase_plan import EDIT_SETS, ROME_TRACED, EditPlan, InterventionPlan, RomePlan, TracingPlan
from qloc.plan import IN_ORDER, Plan
from qloc.progress import Progress
from qloc.shipped import KINDS, Kind, place, shipped_plan
from qloc.workflows.analyze import COMPARISON, analyze, compare, report
from qloc.workflows.extract import extract_study

FACTS_OF_A_RELATION: Final = 8
"""Few enough for two cores to extract in minutes; H1b takes more to be told."""


EDITED_OF_A_RELATION: Final = 4
"""Edits are tested on every query of a fact, many at a time, and cost more than what was extracted before."""


TRACED_OF_A_RELATION: Final = 4
"""Each by one query: of a few dozen facts, clusters tell where restoring helps as well as of all."""


VIEWED: Final = 24
"""Facts whose neurons are kept one by one, synapses suppressed: those of figures, and some to explore."""


ROME: Final = RomePlan(layer=0.0, prefixes=2, steps=12)
"""These models of four layers look facts up in the first: an edit of a later one comes too late for many."""


def demo(out: str | Path, *, progress: Progress | None = None) -> Path:
    """Extract, analyze and report on the embedded models.

    Without torch or its kin it starts from the extraction that comes with qloc, and says so.

    Parameters
    ----------
    out : str or Path
        Folder for ``causal.zarr``, ``masked.zarr``, ``results/causal``, ``results/masked``,
        ``results/comparison`` and ``report.html``; what was extracted already is not extracted again.
    progress : Progress or None, default None
        Told of each step.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    FingerprintError
        There is a store of another extraction in ``out``, such as the shipped one where torch has been
        installed since.
    """
    out, progress = Path(out), progress or Progress(quiet=True)
    folders = []
    for kind in KINDS:
        store, results = out / f"{kind}.zarr", out / "results" / kind
        plan = _extracted(kind, store, progress)
        progress.say(f"Analyzing {store} …")
        analyze(store, plan.analysis, results, progress=progress)
        folders.append(results)
    folders.append(out / "results" / COMPARISON)
    compare([out / f"{kind}.zarr" for kind in KINDS], plan.analysis, folders[-1])
    return report(folders, "html", out / "report.html")


def _extracted(kind: Kind, store: Path, progress: Progress) -> Plan:
    """Extract into a store, or put the shipped one there; the plan that it is of."""
    plan = Plan(
        model=f"embedded:{kind}",
        facts="embedded",
        pairs="feature",
        max_facts=FACTS_OF_A_RELATION,
        phases=IN_ORDER,
        tracing=TracingPlan(max_facts=TRACED_OF_A_RELATION, queries=1),
        interventions=InterventionPlan(viewed_facts=VIEWED),
        edits=EditPlan(max_facts=EDITED_OF_A_RELATION, rome=ROME, sets=(*EDIT_SETS, ROME_TRACED)),
    )
    try:
        extract_study(plan, store, progress=progress)
    except MissingDependencyError:
        plan = shipped_plan(kind)
        few, many = plan.max_facts, FACTS_OF_A_RELATION
        progress.say(
            f"{store} starts from the shipped extraction, {few} facts a relation: torch or its kin are "
            f"missing. With qloc[extract], the demonstration extracts {many}."
        )
        place(kind, store)
    return plan
