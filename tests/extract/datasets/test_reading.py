"""Every source is read by its own reader, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qloc.extract.datasets import read_facts

WriteLines = Callable[..., Path]
ProblemsOf = Callable[..., list[str]]


@pytest.mark.parametrize("source", ["", "builtin:x", "mine:x.json"])
def test_unknown_sources_are_refused(source: str, problems_of: ProblemsOf) -> None:
    assert problems_of(source) == [
        f"facts is '{source}'; expected embedded, pararel:DIR, entailed:DIR, blimp:FILE_OR_DIR, counterfact:FILE, zsre:FILE, "
        "hf:NAME, a facts.jsonl or a facts.csv. At --facts. Give one of these."
    ]


def test_the_embedded_facts_are_read() -> None:
    embedded = pytest.importorskip("qloc.extract.embedded")
    if not embedded.facts_path().exists():
        pytest.skip("the embedded facts are not made yet")
    found = read_facts("embedded")
    assert found.source == "embedded"
    assert len(found) > 100
    assert any(fact.kind == "minimal_pair" for fact in found.facts)
    assert found.digest() == read_facts("embedded").digest()


def test_reading_facts_loads_no_torch() -> None:
    code = (
        "import sys, qloc.extract.datasets; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("name", ["facts.csv", "facts.tsv", "facts.jsonl", "of:one.jsonl"])
def test_a_path_is_read_by_its_suffix(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fact = {"relation": "r", "subject": "s", "object": "o"}
    monkeypatch.chdir(tmp_path)
    if name.endswith("jsonl"):
        Path(name).write_text(json.dumps({**fact, "id": "r:s:o", "queries": ["[X] [Y]"]}))
    else:
        cells = ([*fact, "query"], [*fact.values(), "[X] [Y]"])
        Path(name).write_text("\n".join(("," if name.endswith("csv") else "\t").join(line) for line in cells))
    (read,) = read_facts(name).facts  # a prefix with a colon may be a file's name
    assert (read.id, read.queries[0].text) == ("r:s:o", "s [Y]")


def test_the_embedded_facts_can_be_sampled() -> None:
    drawn = read_facts("embedded", relations=("capital",), max_facts=2, seed=1)
    assert (drawn.relations(), len(drawn)) == (["capital"], 2)
