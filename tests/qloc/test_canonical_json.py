"""Canonical JSON: equal values have equal bytes, and digests of them."""

import hashlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qloc.canonical_json import canonical, differences, digest, file_digest

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_reading_gives_the_value_and_writing_again_the_bytes(value):
    raw = canonical(value)
    assert json.loads(raw) == value
    assert canonical(json.loads(raw)) == raw


def test_order_of_keys_does_not_matter_and_letters_stay():
    assert canonical({"b": 1, "a": "κ"}) == canonical({"a": "κ", "b": 1}) == '{"a":"κ","b":1}'.encode()


def test_what_is_no_number_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        canonical(math.nan)


def test_digests_are_sha256(tmp_path):
    assert digest({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()
    path = tmp_path / "x"
    path.write_bytes(b"abc" * 100_000)
    assert file_digest(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_differences_name_what_is_missing_on_either_side():
    assert differences({"a": 1, "b": {"c": 2}}, {"b": {"c": 3}, "d": None}) == ["a: 1 → None", "b.c: 2 → 3"]
    assert differences({}, {}) == []
