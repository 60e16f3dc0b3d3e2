"""Every source is read by its own reader, without torch."""

from __future__ import annotations

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
        f"facts is '{source}'; expected embedded, pararel:DIR, blimp:FILE_OR_DIR, counterfact:FILE, zsre:FILE, "
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
