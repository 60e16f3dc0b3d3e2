"""What travels from extract to store: units part facts and queries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qloc.block import Unit, units_of


@given(st.lists(st.integers(0, 5), max_size=20), st.integers(1, 7))
def test_units_part_facts_and_queries_without_gap_or_overlap(n_queries, unit_facts):
    units = units_of(np.array(n_queries, dtype=np.int64), unit_facts)
    assert [unit.number for unit in units] == list(range(len(units)))
    facts = [fact for unit in units for fact in range(unit.first_fact, unit.last_fact)]
    queries = [query for unit in units for query in range(unit.first_query, unit.last_query)]
    assert facts == list(range(len(n_queries)))
    assert queries == list(range(sum(n_queries)))
    assert all(unit.n_facts <= unit_facts for unit in units)
    assert [unit.n_queries for unit in units] == [
        sum(n_queries[unit.first_fact : unit.last_fact]) for unit in units
    ]


def test_a_unit_does_not_change():
    unit = Unit(number=0, first_fact=0, last_fact=2, first_query=0, last_query=3)
    with pytest.raises(AttributeError):
        unit.last_fact = 3  # type: ignore[misc]  # that it is refused is what is tested
