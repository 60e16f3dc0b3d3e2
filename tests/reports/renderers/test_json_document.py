"""JSON: everything, at full precision."""

from __future__ import annotations

import json


def test_json_has_full_precision(rendered, study):
    found = json.loads(rendered["json", "rich"])
    part = found["parts"][0]
    assert found["format"] == 1
    assert part["sections"][0]["findings"][0]["test"]["estimate"] == 0.41234567
    assert part["sections"][0]["tables"][0]["columns"][2] == list(
        study.questions[0].tables[0].columns["kappa"]
    )
    assert json.loads(part["provenance"]["plan"]) == study.plan
    assert part["synthetic"] is True
