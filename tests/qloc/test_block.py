"""What travels from extract to store: units part facts and queries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qloc.block import Shard, Unit, units_of
from qloc.errors import InputError


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


def test_shards_part_the_units_evenly():
    units = units_of(np.ones(23, dtype=np.int64), 1)
    parts = [Shard(number=number, of=5).units(units) for number in range(1, 6)]
    assert sorted(unit.number for part in parts for unit in part) == list(range(23))
    assert [len(part) for part in parts] == [5, 5, 5, 4, 4]


@pytest.mark.parametrize(
    "text", ["0/16", "17/16", "3", "3/", "/3", "3/16 ", "-1/3", "a/b", "3/0", "03/16", ""]
)
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(InputError) as caught:
        Shard.read(text)
    assert str(caught.value) == (
        f"shard is {text!r}; expected K/N with 1 ≤ K ≤ N, such as 3/16. At --shard. Correct it."
    )
