"""``qloc plan lock``, as users type it."""

from __future__ import annotations

import json
from pathlib import Path

from commands import done, refused

QUICK = "n_permutations: 99, n_bootstrap: 99, n_splits: 2, thresholds: [0.1, 0.2], budgets: [5, 10]"


def test_a_locked_plan_is_analyzed_and_deviations_are_listed(planted: Path, tmp_path: Path) -> None:
    plan, other = tmp_path / "plan.yaml", tmp_path / "other.yaml"
    plan.write_text(f"analysis: {{confirmatory: [H1a, H1b], {QUICK}}}\n")
    other.write_text(f"analysis: {{confirmatory: [H1a], {QUICK}}}\n")
    page = done("plan", "lock", plan, "--store", planted)
    registration = tmp_path / "plan.lock.json"
    assert page.startswith(f"Registration: {registration}\n")
    assert "never replaced" in refused("plan", "lock", plan)
    done(
        "analyze",
        planted,
        "--plan",
        other,
        "--registration",
        registration,
        "--out",
        tmp_path / "r",
        "--quiet",
    )
    study = json.loads((tmp_path / "r" / "study.json").read_text())
    assert any("analysis.confirmatory: ['H1a', 'H1b'] → ['H1a']" in note for note in study["notes"])
    assert any("had been extracted when the plan was locked" in note for note in study["notes"])
    roles = {test["name"]: test["role"] for question in study["questions"] for test in question["tests"]}
    assert (roles["H1a"], roles["H1b"]) == ("confirmatory", "exploratory")
    assert registration.read_text().count(study["provenance"]["registration"].split()[-1]) == 1
    said = refused("analyze", planted, "--registration", plan)
    assert said.startswith(f"Error: registration is '{plan}'; expected a file that `qloc plan lock` wrote.")
