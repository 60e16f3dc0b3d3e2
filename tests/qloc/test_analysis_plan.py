"""What is asked of a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from qloc.errors import InputError
from qloc.hypothesis_registry import CONFIRMABLE
from qloc.plan import plan_from


def test_a_misspelt_hypothesis_is_refused_not_demoted(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("analysis: {confirmatory: [h1a], thresholds: [0.2, 7]}\n")
    with pytest.raises(InputError) as caught:
        plan_from(path)
    names = "".join(f"'{name}', " for name in CONFIRMABLE[:-1])
    assert caught.value.problems == (
        f"analysis.thresholds.1 is 7; expected less than 1. At plan {path}. Correct it.",
        f"analysis.confirmatory.0 is 'h1a'; expected {names[:-2]} or '{CONFIRMABLE[-1]}'. At plan {path}. Correct it.",
    )
