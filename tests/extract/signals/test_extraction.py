"""A planned extraction: what is asked, what is excluded, how it travels to another process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qloc.errors import InputError
from qloc.extract.signals.extraction import Extraction
from qloc.facts import Fact, FactSet, Query


def test_excluded_queries_are_counted_by_reason_and_facts_stay(
    extraction_of: Callable[..., Extraction],
) -> None:
    extraction = extraction_of("gpt2")
    assert extraction.outline.attrs["excluded"] == {"text after the answer (causal)": 1}
    assert extraction.outline.facts["n_queries"].tolist() == [3, 2, 1]
    assert extraction.outline.facts["first_query"].tolist() == [0, 3, 5]


def test_facts_of_which_nothing_can_be_asked_are_refused(extraction_of: Callable[..., Extraction]) -> None:
    query = Query(template="t", text="[Y] is a city.")
    facts = FactSet(
        source="t", facts=(Fact(id="a", relation="r", subject="s", object="Paris", queries=(query,)),)
    )
    with pytest.raises(InputError, match=r"left out: 1 text after the answer \(causal\)"):
        _ = extraction_of("gpt2", facts).outline
