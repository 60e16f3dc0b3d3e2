"""Deviations from a registration: in the plan, the extraction, the version, and what had been seen."""

from __future__ import annotations

from dataclasses import replace

from qloc.analysis.deviations import deviations, registration_notes
from qloc.plan import AnalysisPlan, Plan
from qloc.registration import Registration
from qloc.simulation.simulate import simulate
from qloc.version import __version__

STUDY = simulate(facts=8, relations=2, templates=2, n_neurons=16, n_heads=0, seed=1)


def locked(plan: dict[str, object] | None = None, **more: object) -> Registration:
    given = {"locked": "2026", "versions": {"qloc": __version__}, "extracted": {}, "sha256": "0" * 64}
    return Registration(**{**given, "plan": Plan.model_validate(plan or {}), **more})  # type: ignore[arg-type]


def test_every_deviation_is_told() -> None:
    study = replace(STUDY, attrs={**STUDY.attrs, "steps": 20, "quadrature": "right", "methods": ["ig"]})
    registered = locked({"methods": ["ig"], "quadrature": "midpoint", "steps": 20}, versions={"qloc": "0.0"})
    found = deviations(registered, AnalysisPlan(threshold=0.3, confirmatory=("H1a",)), study)
    assert "Deviation from the registration: analysis.confirmatory: [] → ['H1a']." in found
    assert "Deviation from the registration: analysis.threshold: 0.2 → 0.3." in found
    assert "Deviation from the registration: quadrature: 'midpoint' → 'right'." in found
    assert f"Deviation from the registration: qloc: '0.0' → {__version__!r}." in found
    assert not any("steps" in line or "methods" in line for line in found)


def test_a_store_that_was_there_is_told() -> None:
    seen = locked(extracted={"a.zarr": {"signals": STUDY.fingerprint}})
    other = locked(extracted={"a.zarr": {"signals": "another"}})
    assert any(
        "had been extracted when the plan was locked" in line
        for line in deviations(seen, AnalysisPlan(), STUDY)
    )
    assert not any("had been extracted" in line for line in deviations(other, AnalysisPlan(), STUDY))


def test_notes_tell_how_the_plan_was_fixed() -> None:
    plan = AnalysisPlan(confirmatory=("H1a",))
    bare = replace(STUDY, attrs={"fingerprint": STUDY.fingerprint})
    assert registration_notes(None, AnalysisPlan(), STUDY) == ()
    assert registration_notes(None, plan, STUDY)[0].startswith("The plan was not registered")
    kept = locked({"analysis": {"confirmatory": ["H1a"]}})
    assert registration_notes(kept, plan, bare) == ("Registered 2026, sha256 000000000000, no deviation.",)
    assert len(registration_notes(kept, AnalysisPlan(confirmatory=("H1a",), k0=4), bare)) == 2
