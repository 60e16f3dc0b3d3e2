"""Studies that can give no score: told of their facts, and of what a model knows of them."""

from __future__ import annotations

import json
from pathlib import Path

from qloc.plan import Plan
from qloc.workflows.analyze import open_study
from qloc.workflows.empty_studies import nothing_known, too_few_queries
from qloc.workflows.extract import prepared


def test_studies_without_a_score_are_told(signals_plan: Plan, signals: Path, tmp_path: Path) -> None:
    """One query of the fixture's six is known."""
    assert open_study(signals).queries["known"].values.tolist() == [0, 0, 0, 0, 1, 0]
    assert nothing_known(signals) == (
        "No fact has two known queries whose answer is not in its subject: no score of consistency can be computed."
    )
    assert too_few_queries(prepared(signals_plan)) == ""
    fact = {"id": "a", "relation": "capital", "subject": "France", "object": "Paris"}
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({**fact, "queries": ["The capital of [X] is [Y]."]}) + "\n")
    lone = prepared(signals_plan.model_copy(update={"facts": str(path)}))
    assert too_few_queries(lone) == (
        "No fact has two queries that can be asked: no score of consistency can be computed."
    )
