"""Plans locked with what had been extracted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from qloc.registration import registration_from
from qloc.simulation.simulate import simulate
from qloc.version import __version__
from qloc.workflows.register import lock_plan


def test_a_registration_has_date_plan_versions_and_what_was_there(tmp_path: Path) -> None:
    plan, store = tmp_path / "plan.yaml", tmp_path / "a.zarr"
    plan.write_text("analysis: {confirmatory: [H1a]}\n")
    study = simulate(store, facts=8, relations=2, templates=2, n_neurons=16, n_heads=0, seed=1)
    path = lock_plan(plan, stores=[store])
    assert path == tmp_path / "plan.lock.json"
    found = registration_from(path)
    assert found is not None
    assert datetime.fromisoformat(found.locked) <= datetime.now(UTC)
    assert found.plan.analysis.confirmatory == ("H1a",)
    assert found.versions["qloc"] == __version__
    assert found.extracted[str(store)]["signals"]
    assert study.complete
