"""Explored facts as lists and back."""

from __future__ import annotations

import json

import pytest

from qloc.exploration.explored_facts import (
    ExploredFact,
    ExploredQuery,
    as_tuples,
    fact_of_row,
    names_of,
    row_of,
)

FACT = ExploredFact(
    id="a",
    subject="s",
    relation="r",
    object="o",
    inconsistent=None,
    scores=(None, 0.5),
    queries=(ExploredQuery(prompt="p", template=1, known=False, log_probability=None, rank=-1),),
)


def test_a_row_leads_back_to_its_fact() -> None:
    row = row_of(FACT)
    assert fact_of_row(json.loads(json.dumps(row))) == FACT
    assert row[names_of(ExploredFact).index("queries")] == [["p", 1, False, None, -1, (), (), (), (), ()]]


@pytest.mark.parametrize("row", [[], ["a"], [*row_of(FACT), 1]])
def test_a_row_of_another_length_is_refused(row: list[object]) -> None:
    with pytest.raises(ValueError, match="zip"):
        fact_of_row(row)


def test_lists_become_tuples_at_any_depth() -> None:
    assert as_tuples({"a": [1, [2, []]], "b": "x"}) == {"a": (1, (2, ())), "b": "x"}
