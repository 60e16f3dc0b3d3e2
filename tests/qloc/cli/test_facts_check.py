"""qloc facts check, show and compare, as users type them; tables of facts."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from qloc.cli import app
from qloc.cli.text_tables import table
from qloc.errors import InputError
from qloc.extract.datasets import read_facts
from qloc.simulation.simulate import simulate

LINES = """relation,subject,object,query,template,count,region
capital,France,Paris,The capital of [X] is [Y].,c1,51,Europe
capital,Kenya,Nairobi,The capital of [X] is [Y].,c1,7.5,
capital,France,Paris,"[X], whose capital is [Y]",c2,51,Europe
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="qloc")


def done(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    return result.stderr.removesuffix("\n")


@pytest.fixture
def embedded() -> None:
    pytest.importorskip("torch", reason="qloc[extract] is not installed")
    from qloc.extract.embedded import checkpoint

    if not (checkpoint("causal") / "config.json").exists():
        pytest.skip("the embedded models are not made yet")


# Tables of facts


def test_a_table_gives_the_facts_of_its_jsonl(tmp_path: Path) -> None:
    (tmp_path / "facts.csv").write_text(LINES)
    same = [
        {
            "id": "capital:France:Paris",
            "relation": "capital",
            "subject": "France",
            "object": "Paris",
            "queries": [
                {"template": "c1", "text": "The capital of [X] is [Y]."},
                {"template": "c2", "text": "[X], whose capital is [Y]"},
            ],
            "attributes": {"count": 51, "region": "Europe"},
        },
        {
            "id": "capital:Kenya:Nairobi",
            "relation": "capital",
            "subject": "Kenya",
            "object": "Nairobi",
            "queries": [{"template": "c1", "text": "The capital of [X] is [Y]."}],
            "attributes": {"count": 7.5},
        },
    ]
    (tmp_path / "facts.jsonl").write_text("".join(json.dumps(fact) + "\n" for fact in same))
    table, lines = (read_facts(str(tmp_path / f"facts.{end}")) for end in ("csv", "jsonl"))
    assert table.facts == lines.facts
    assert table.digest() == lines.digest()
    (tmp_path / "facts.tsv").write_text("relation\tsubject\tobject\tquery\nr\ts\to\t[X] is [Y]\n")
    (fact,) = read_facts(str(tmp_path / "facts.tsv")).facts
    assert (fact.id, fact.queries[0].template, fact.queries[0].text) == ("r:s:o", "[X] is [Y]", "s is [Y]")


BAD = {
    "no query": (
        "relation,subject,object\nr,s,o\n",
        "column is 'query missing'; expected all of relation, subject, object, query. At {facts}, line 1. "
        "Add it to the first line.",
    ),
    "unquoted comma": (
        "relation,subject,object,query\nr,s,o,[X], so [Y]\n",
        "cells is 5; expected 4, as in the first line. At {facts}, line 2. Quote cells that have commas in them.",
    ),
    "no [Y]": (
        "relation,subject,object,query\nr,s,o,[X] is\n",
        "query is 's is'; expected exactly one [Y]. At {facts}, line 2, query 1. Put it where the answer stands.",
    ),
    "one id, two facts": (
        "id,relation,subject,object,query\na,r,s,o,[X] is [Y]\na,r,s,p,[X] was [Y]\n",
        "object is 'p'; expected 'o', as at {facts}, line 2. At {facts}, line 3, fact a. "
        "Give the facts ids of their own.",
    ),
    "two values": (
        "relation,subject,object,query,n\nr,s,o,[X] is [Y],1\nr,s,o,[X] was [Y],2\n",
        "n is 2; expected 1, as at {facts}, line 2. At {facts}, line 3, fact r:s:o. Give a fact one value.",
    ),
    "empty object": (
        "relation,subject,object,query\nr,s,,[X] is [Y]\n",
        "object is ''; expected text that is not empty. At {facts}, line 2. Fill it in.",
    ),
}


@pytest.mark.parametrize(("lines", "expected"), BAD.values(), ids=BAD.keys())
def test_bad_tables_are_refused(tmp_path: Path, lines: str, expected: str) -> None:
    path = tmp_path / "facts.csv"
    path.write_text(lines)
    with pytest.raises(InputError) as caught:
        read_facts(str(path))
    assert str(caught.value) == expected.replace("{facts}", str(path))


# facts check


def test_check_knows_what_the_store_knows(tmp_path: Path, embedded: None) -> None:
    """Forward passes here, the gradient engine's there: one number of known queries, fact by fact."""
    from qloc.plan import Plan
    from qloc.workflows.analyze import open_study
    from qloc.workflows.extract import extract_study

    known = [f for f in read_facts("embedded", max_facts=2).facts if f.kind == "fact"][:10]
    rows = [
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
    path = tmp_path / "facts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = done(
        "facts", "check", path, "--model", "embedded:causal", "--device", "cpu", "--out", tmp_path / "t.csv"
    )
    study_plan = Plan(model="embedded:causal", facts=str(path), steps=1, device="cpu")
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
    assert "1 not: text after the answer (causal)\n" in page


def test_check_needs_a_model(tmp_path: Path) -> None:
    assert refused("facts", "check", "embedded") == (
        "Error: model is None; expected a value of --model. At qloc facts check. "
        "Add one, such as --model embedded:causal."
    )


@pytest.mark.parametrize("command", [["facts", "check"], ["show"], ["compare"]])
def test_help_is_a_page_to_act_on(command: list[str]) -> None:
    page = done(*command, "--help")
    assert page.startswith(f"Usage: {' '.join(['qloc', *command])} ")
    assert "\b" not in page
    assert re.search(r"\n +qloc [a-z]+", page)


# show and compare


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("stores")
    for name, strength in (("early", 0.1), ("late", 0.5)):
        simulate(folder / f"{name}.zarr", facts=30, relations=3, templates=4, fact_strength=strength, seed=1)
    return folder / "early.zarr", folder / "late.zarr"


def test_show_gives_a_page(stores: tuple[Path, Path]) -> None:
    page = done("show", stores[1], "F00003")
    assert page.splitlines()[0].endswith("(F00003)")
    for head in ("Queries", "Knowledge neurons (ig, threshold 0.2)", "Scores over known queries"):
        assert f"\n{head}\n" in page
    assert "Interventions" not in page
    assert max(map(len, page.splitlines())) <= 100
    several = done("show", stores[1], "F0001")
    assert several.startswith("10 facts with 'F0001' in id or subject:\n")


def test_show_refuses_what_is_not_there(stores: tuple[Path, Path]) -> None:
    said = refused("show", stores[1], "nobody at all")
    assert said.startswith("Error: fact is 'nobody at all'; expected an id, a subject, or a part of one.")


def test_compare_saves_what_report_reads(stores: tuple[Path, Path], tmp_path: Path) -> None:
    page = done("compare", *stores, "--out", tmp_path / "c")
    assert "early, late compared\n" in page
    assert "support no claim about larger models" in page
    done("report", tmp_path / "c", "--format", "md", "--out", tmp_path / "c.md")
    assert "How do the models differ on the same facts?" in (tmp_path / "c.md").read_text()


def test_analyze_of_several_compares_them(stores: tuple[Path, Path], tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("analysis: {n_permutations: 99, n_bootstrap: 99, n_splits: 2}\n")
    done("analyze", *stores, "--plan", plan, "--out", tmp_path / "r", "--quiet")
    assert sorted(path.parent.name for path in tmp_path.glob("r/*/study.json")) == [
        "comparison",
        "early",
        "late",
    ]
    done("report", tmp_path / "r", "--format", "json", "--out", tmp_path / "r.json")
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["parts"][0]["title"] == "early, late compared"
    heads = found["comparison"]["table"]["heads"]
    assert len(heads) == len(set(heads)) == 3


def test_stores_with_nothing_in_common_are_analyzed_and_not_compared(
    stores: tuple[Path, Path], tmp_path: Path
) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("analysis: {n_permutations: 99, n_bootstrap: 99, n_splits: 2}\n")
    simulate(tmp_path / "comparison.zarr", facts=8, relations=1, templates=2, seed=2)
    done("analyze", *stores, "--plan", plan, "--out", tmp_path / "r", "--quiet")
    assert (tmp_path / "r" / "comparison" / "study.json").exists()
    result = run("analyze", stores[0], tmp_path / "comparison.zarr", "--plan", plan, "--out", tmp_path / "r")
    assert result.exit_code == 0, result.output
    assert "Not compared: common queries is 0; expected at least one query" in result.stderr
    assert not (tmp_path / "r" / "comparison").exists()  # of other stores, and not replaced
    assert "analyze: 11 of 11 questions" in result.stderr
    names = sorted(path.parent.name for path in tmp_path.glob("r/*/study.json"))
    assert names == ["comparison-2", "early", "late"]
    assert refused("compare", stores[0], tmp_path / "comparison.zarr").startswith(
        "Error: common queries is 0;"
    )


def test_numbers_align() -> None:
    lines = table(["a", "b"], [["x", 1], ["yy", 1000]]).splitlines()
    assert lines == ["  a       b", "  x       1", "  yy  1,000"]
