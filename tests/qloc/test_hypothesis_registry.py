"""The registry of hypotheses: what it holds, what a plan may confirm of it, and that the docs say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qloc.hypothesis_registry import CONFIRMABLE, REGISTRY, hypothesis_of

DOCS = Path(__file__).resolve().parents[2] / "docs" / "statistics.md"
_NAMES = "H1a H1b H2 H3 H4 H5 H5a H5b H5c H6a H6b H7a H7b H8a H8b H8c H8d H8e H9 H10a H10b H10c H10d".split()


def test_every_hypothesis_is_registered_in_order_of_its_number() -> None:
    assert list(REGISTRY) == _NAMES
    assert [entry.name for entry in REGISTRY.values()] == _NAMES
    assert len({entry.question for entry in REGISTRY.values()}) == len(_NAMES)
    assert all(entry.question.endswith("?") for entry in REGISTRY.values())


def test_a_plan_may_confirm_what_has_a_test() -> None:
    assert set(REGISTRY) - set(CONFIRMABLE) == {"H2", "H4"}
    assert {REGISTRY[name].direction for name in ("H2", "H4")} == {"descriptive"}
    assert [name for name in REGISTRY if REGISTRY[name].direction == "less"] == ["H5c"]


def test_a_function_and_its_arguments_name_one_hypothesis() -> None:
    for name, entry in REGISTRY.items():
        assert hypothesis_of(entry.function, **entry.arguments).name == name
    with pytest.raises(KeyError, match=re.escape("own_against_control(control='nobody')")):
        hypothesis_of("own_against_control", control="nobody")
    with pytest.raises(KeyError, match=re.escape("dynamic_selection()")):
        hypothesis_of("dynamic_selection")


def test_the_table_of_the_documentation_says_the_same() -> None:
    section = DOCS.read_text(encoding="utf-8").partition("## The hypotheses\n")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in section.splitlines()
        if line.startswith("| H")
    ]
    assert [row[0] for row in rows] == list(REGISTRY)
    for name, question, direction, phase, call in rows:
        entry = REGISTRY[name]
        fixed = ", ".join(f'{key}="{value}"' for key, value in entry.arguments.items())
        assert (question, direction, phase) == (entry.question, entry.direction, entry.phase)
        assert call == f"`{entry.function}({fixed})`"
