"""Sizes as people write them."""

from __future__ import annotations

import pytest

from qloc.text.byte_sizes import bytes_of


@pytest.mark.parametrize(
    ("given", "n_bytes"), [("8GB", 8 * 10**9), ("1.5 MiB", 1572864), (100, 100), ("2kB", 2000), (" 7 b ", 7)]
)
def test_sizes(given: str | int, n_bytes: int) -> None:
    assert bytes_of(given) == n_bytes
