"""What each phase takes on a real model, and how strong an update a real model survives.

Parts ``phases`` and ``strength`` of ``real_models.py``. Signals, interventions and edits of some facts of
five queries run in this process, in memory: the sets of the later phases come from the signals. CPU seconds
are those of all threads; the start of a run (weights, proofs of engines) stands by itself.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _countries import study_facts
from torch.utils.flop_counter import FlopCounterMode

from qloc.analysis.inputs.study import Study
from qloc.block import Block, PhaseBlock
from qloc.extract.signals.extraction import Extraction, prepare
from qloc.phase_plan import EditPlan
from qloc.plan import Plan
from qloc.simulation.in_memory_store import datasets_of
from qloc.workflows.phase_steps import STEPS

N_QUERIES = 5
STRENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


def plan_of(model: str, facts: Path, dtype: str = "float32", **given: Any) -> Plan:
    """A plan of all phases."""
    return Plan(model=model, facts=str(facts), dtype=dtype, device="cpu", unit_facts=1000, **given)


def study_of(extraction: Extraction, block: Block) -> Study:
    """The signals of a study whose facts are one unit, as analysis reads them."""
    plan = extraction.plan
    groups = datasets_of(
        extraction.outline, [block], tier=plan.tier, floor=plan.floor, capacity=plan.capacity
    )
    attrs = {**extraction.outline.attrs, "n_neurons": extraction.outline.sizes["neuron"]}
    signals = groups["signals"].assign_attrs(attrs)
    return Study(datasets={**groups, "signals": signals}, attrs=attrs)


def phase_of(extraction: Extraction, study: Study, phase: str) -> tuple[Any, Callable[[], PhaseBlock]]:
    """What runs a phase, and a function that runs it over the one unit."""
    arms_of, run = STEPS[phase](extraction, study)
    unit = extraction.outline.units[0]
    return run, lambda: run.extract(unit, arms_of(unit))


def measured(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Result, CPU seconds and GFLOP. Counting takes a few per cent itself."""
    before = time.process_time()
    with FlopCounterMode(display=False) as counter:
        result = work()
    return result, {
        "CPU seconds": time.process_time() - before,
        "GFLOP": counter.get_total_flops() / 1e9,
    }


def phases(model: str, n_facts: int) -> dict[str, list[dict[str, Any]]]:
    """CPU seconds and GFLOP a fact, of the start and of each phase."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        extraction = prepare(plan_of(model, study_facts(Path(folder), n_facts, N_QUERIES)))
        _, taken = measured(lambda: (extraction.engine, extraction.outline))
        rows.append({"what": "start, signals", **taken})
        block, taken = measured(lambda: extraction.extract(extraction.outline.units[0]))
        rows.append({"what": "signals", **_each(taken, n_facts)})
        study = study_of(extraction, block)
        for phase in ("interventions", "edits"):
            run, work = phase_of(extraction, study, phase)
            _, taken = measured(lambda run=run: run.engine)  # type: ignore[misc]
            rows.append({"what": f"start, {phase}", **taken})
            _, taken = measured(work)
            rows.append({"what": phase, **_each(taken, n_facts)})
    signals = next(row for row in rows if row["what"] == "signals")
    for row in rows:
        row["times signals (GFLOP)"] = row["GFLOP"] / signals["GFLOP"]
    return {f"{n_facts} facts of {N_QUERIES} queries: start as a whole, phases a fact": rows}


def _each(taken: dict[str, float], n: int) -> dict[str, float]:
    return {name: value / n for name, value in taken.items()}


def strength(model: str, n_facts: int) -> dict[str, list[dict[str, Any]]]:
    """Updates of N_i by λ2 (λ1 = λ2 / 8), slot norm: what becomes of the answer, and of everything else."""
    part = EditPlan(operations=("update", "update_signed"), sets=("own",), greedy_tokens=0)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        plan = plan_of(model, study_facts(Path(folder), n_facts, N_QUERIES), edits=part)
        extraction = prepare(plan)
        study = study_of(extraction, extraction.extract(extraction.outline.units[0]))
        for strong in STRENGTHS:
            own = part.model_copy(update={"lambda1": strong / 8, "lambda2": strong})
            again = replace(extraction, plan=plan.model_copy(update={"edits": own}))
            vars(again).update(
                {name: vars(extraction)[name] for name in ("asking", "loaded", "engine", "outline")}
            )
            block = phase_of(again, study, "edits")[1]()
            rows += [
                _effects(block.arrays, strong, number, name) for number, name in enumerate(part.operations)
            ]
    return {f"updates of N_i, {n_facts} facts": rows}


def _effects(arrays: Mapping[str, Any], strong: float, number: int, name: str) -> dict[str, Any]:
    found = {key.removeprefix("edits/"): values for key, values in arrays.items()}
    there = found["base_probe_argmax"] >= 0
    same = found["probe_argmax"][number, 0] == found["base_probe_argmax"]
    asked = found["new_rank"][number, 0] > 0
    held = asked & (found["held_out"] == 1)
    return {
        "λ2": strong,
        "operation": name,
        "unrelated prompts unchanged": float(same[there].mean()),
        "KL there": float(np.nanmean(found["probe_kl"][number, 0])),
        "Δ nats a token": float(np.nanmean(found["text_nats"][number, 0])),
        "o′ first, all queries": float((found["new_rank"][number, 0] == 1)[asked].mean()),
        "o′ first, held-out": float((found["new_rank"][number, 0] == 1)[held].mean())
        if held.any()
        else np.nan,
    }
