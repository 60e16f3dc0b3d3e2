"""Datasets of the Hub's form, from a local folder: the same facts as from the files that they were made of."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from qloc.errors import InputError, MissingDependencyError
from qloc.extract.datasets import read_facts

datasets = pytest.importorskip("datasets")

FACTS: list[dict[str, Any]] = [
    {
        "id": name,
        "relation": "capital",
        "subject": name,
        "object": city,
        "queries": ["The capital of [X] is [Y].", "[X], whose capital is [Y]"],
        "attributes": {"count": count} if count else {},
    }
    for name, city, count in (("France", "Paris", 51), ("Italy", "Rome", 0), ("Spain", "Madrid", 3))
]
PAIR = {
    "id": "p",
    "relation": "agreement",
    "kind": "minimal_pair",
    "good": "book",
    "bad": "books",
    "queries": ["I like this [Y]."],
}


@pytest.fixture(autouse=True)
def _cached_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_rows_of_facts_are_the_facts_of_the_file(tmp_path: Path) -> None:
    path = lines(tmp_path / "set" / "train.jsonl", *FACTS, PAIR)
    ours, theirs = read_facts(f"hf:{path.parent}"), read_facts(str(path))
    assert ours.facts == theirs.facts
    assert len(ours.facts) == 4


def test_rows_of_queries_are_the_facts_of_the_table(tmp_path: Path) -> None:
    path = tmp_path / "set" / "train.csv"
    path.parent.mkdir()
    path.write_text(
        "relation,subject,object,query,count\n"
        "capital,France,Paris,The capital of [X] is [Y].,51\n"
        'capital,France,Paris,"[X], whose capital is [Y]",51\n'
        "capital,Italy,Rome,The capital of [X] is [Y].,7\n",
        encoding="utf-8",
    )
    assert read_facts(f"hf:{path.parent}").facts == read_facts(str(path)).facts


def test_rows_of_counterfact_are_its_facts(tmp_path: Path) -> None:
    rewrite = {
        "prompt": "{} is in",
        "relation_id": "P30",
        "subject": "Vinson Massif",
        "target_true": {"str": "Antarctica"},
        "target_new": {"str": "Europe"},
    }
    record = {"case_id": 7, "requested_rewrite": rewrite, "paraphrase_prompts": ["Vinson Massif lies in"]}
    folder = lines(tmp_path / "set" / "train.jsonl", record).parent
    whole = tmp_path / "counterfact.json"
    whole.write_text(json.dumps([record]), encoding="utf-8")
    assert read_facts(f"hf:{folder}").facts == read_facts(f"counterfact:{whole}").facts


def test_a_split_is_named_where_there_are_several(tmp_path: Path) -> None:
    folder = lines(tmp_path / "set" / "train.jsonl", *FACTS[:2]).parent
    lines(folder / "test.jsonl", FACTS[2])
    assert [fact.id for fact in read_facts(f"hf:{folder}:test").facts] == ["Spain"]
    for split in ("", ":dev"):
        told = f"split is '{split[1:]}'; expected one of train, test. At facts hf:{folder}. Write hf:{folder}:train."
        with pytest.raises(InputError, match=re.escape(told)):
            read_facts(f"hf:{folder}{split}")


def test_other_columns_and_no_dataset_are_refused(tmp_path: Path) -> None:
    folder = lines(tmp_path / "set" / "train.jsonl", {"question": "?", "answer": "!"}).parent
    with pytest.raises(
        InputError, match=re.escape("columns is 'answer, question'; expected a column queries")
    ):
        read_facts(f"hf:{folder}")
    with pytest.raises(
        InputError, match=re.escape(f"facts is 'hf:{tmp_path}/none'; expected a dataset that")
    ):
        read_facts(f"hf:{tmp_path}/none")


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependencyError, match=re.escape("pip install -c constraints.txt '.[hub]'")):
        read_facts("hf:me/facts")
