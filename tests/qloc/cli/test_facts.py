"""``qloc facts check``, as users type it."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import done, refused

from qloc.extract.datasets import read_facts


def test_check_knows_what_the_store_knows(tmp_path: Path, embedded: None) -> None:
    """Forward passes here, the gradient engine's there: one number of known queries, fact by fact."""
    from qloc.plan import Plan
    from qloc.workflows.analyze import open_study
    from qloc.workflows.extract import extract_study

    known = [f for f in read_facts("embedded", max_facts=2).facts if f.kind == "fact"][:10]
    rows: list[dict[str, Any]] = [
        {
            "id": f.id,
            "relation": f.relation,
            "subject": f.subject,
            "object": f.object,
            "queries": [q.text for q in f.queries],
        }
        for f in known
    ]
    rows.append({**rows[0], "id": "again", "queries": [rows[0]["queries"][0]]})
    rows.append(
        {
            **rows[1],
            "id": "leak",
            "subject": f"{rows[1]['object']} Town",
            "queries": ["[X] is in [Y].", "[Y] is in [X]."],
        }
    )
    rows[0]["inverse"] = {"object": rows[0]["subject"], "queries": ["Nobody told of [X] [Y]."]}
    path = tmp_path / "facts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = done(
        "facts", "check", path, "--model", "embedded:causal", "--device", "cpu", "--out", tmp_path / "t.csv"
    )
    study_plan = Plan(
        model="embedded:causal",
        facts=str(path),
        quadrature="midpoint",
        steps=1,
        device="cpu",
        phases=("signals",),
    )
    extract_study(study_plan, tmp_path / "s.zarr")
    study = open_study(tmp_path / "s.zarr")
    fact = study.column("queries", "fact")
    expected = np.bincount(
        fact[study.column("queries", "known") == 1], minlength=len(study.column("facts", "id"))
    )
    with (tmp_path / "t.csv").open() as lines:
        found = list(csv.DictReader(lines))
    assert [row["id"] for row in found] == study.column("facts", "id").tolist()
    assert [int(row["known"]) for row in found] == expected.tolist()
    assert 0 < expected.sum() < len(fact)
    assert [int(row["askable"]) for row in found] == study.column("facts", "n_queries").tolist()
    assert [row["id"] for row in found if row["leaking"] == "1"] == ["leak"]
    assert all(int(row["left"]) == (0 if row["id"] == "leak" else int(row["known"])) for row in found)
    assert "  duplicate 1 fact, merged with an earlier one\n" in page
    n_traceable = sum(int(row["left"]) > 0 for row in found)
    assert f"  traceable {n_traceable} of {len(found)} (" in page
    assert "  entailed  1 fact with an inverse, which edits are tried on\n" in page
    assert "            known before any edit: 0 of 1 (0%) of these prompts\n" in page
    assert "1 not: text after the answer (causal)\n" in page


def test_check_needs_a_model(tmp_path: Path) -> None:
    assert refused("facts", "check", "embedded") == (
        "Error: model is None; expected a value of --model. At qloc facts check. "
        "Add one, such as --model embedded:causal."
    )


def test_check_does_not_write_over_the_facts(tmp_path: Path) -> None:
    path = tmp_path / "facts.csv"
    path.write_text("relation,subject,object,query\n")
    (tmp_path / "link").symlink_to(path)
    assert refused("facts", "check", path, "--model", "m", "--out", tmp_path / "link") == (
        f"Error: out is '{tmp_path / 'link'}'; expected another file than the facts, which it would replace. "
        "At qloc facts check --out. Give another name."
    )


@pytest.mark.parametrize("command", [["facts", "check"], ["show"], ["compare"]])
def test_help_is_a_page_to_act_on(command: list[str]) -> None:
    page = done(*command, "--help")
    assert page.startswith(f"Usage: {' '.join(['qloc', *command])} ")
    assert "\b" not in page
    assert re.search(r"\n +qloc [a-z]+", page)
