"""The layer of the greatest effect, by hand."""

from __future__ import annotations

import numpy as np

from qloc.analysis.tracing.greatest_effects import greatest_effects
from qloc.analysis.tracing.restoring_effects import RestoringEffects


def test_the_greatest_mean_over_facts_and_its_share_of_what_is_lost() -> None:
    indirect = np.full((1, 2, 3, 4), np.nan)  # part, role, layer, query; nobody has the second role
    indirect[0, 0] = [[0.0, 2.0, 0.0, 9.0], [3.0, 5.0, 2.0, 9.0], [1.0, 1.0, 4.0, 9.0]]
    effects = RestoringEffects(
        parts=("mlp",),
        roles=("last_subject", "first_subject"),
        fact=np.array([0, 0, 1, 2]),
        total=np.array([8.0, 4.0, 4.0, 1.0]),
        indirect=indirect,
        used=np.array([True, True, True, False]),
    )
    (row,) = greatest_effects(effects, (np.arange(3), np.arange(3)))
    # facts 0 and 1: layers (1, 0), (4, 2), (1, 4): means 0.5, 3, 2.5; totals 6 and 4
    assert {name: row[name] for name in ("part", "role", "layer", "indirect", "total", "facts")} == {
        "part": "mlp", "role": "last_subject", "layer": 1, "indirect": 3.0, "total": 5.0, "facts": 2,
    }  # fmt: skip
    assert row["normalized"] == 0.6
    assert float(row["indirect_low"]) < 3.0 < float(row["indirect_high"])
