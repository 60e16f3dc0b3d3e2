"""Three facts for the embedded causal model, and the store of their signals, made once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from qloc.plan import Plan
from qloc.workflows.extract import extract_study


@pytest.fixture(scope="session")
def signals_plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Give a plan of three facts, one a unit, for the embedded causal model."""
    pytest.importorskip("torch", reason="qloc[extract] is not installed")
    from qloc.extract.embedded import checkpoint

    if not (checkpoint("causal") / "config.json").exists():
        pytest.skip("the embedded models are not made yet")
    path = tmp_path_factory.mktemp("three") / "facts.jsonl"
    with path.open("w") as lines:
        for subject, answer in (("France", "Paris"), ("Kenya", "Nairobi"), ("Peru", "Lima")):
            fact = {"id": subject, "relation": "capital", "subject": subject, "object": answer}
            queries = ["The capital of [X] is [Y].", "[X] has its capital in [Y]."]
            lines.write(json.dumps({**fact, "queries": queries}) + "\n")
    given = {"quadrature": "midpoint", "steps": 3, "unit_facts": 1, "device": "cpu", "phases": ("signals",)}
    given["threads"] = 1
    return Plan(model="embedded:causal", facts=str(path), **given)


@pytest.fixture(scope="session")
def signals(signals_plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the store of the plan, which no test may change."""
    return extract_study(signals_plan, tmp_path_factory.mktemp("signals") / "s.zarr").path


@pytest.fixture
def copied(signals: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Copy that store, to append to it."""
    return lambda name: Path(shutil.copytree(signals, tmp_path / name))
