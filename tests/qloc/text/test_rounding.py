"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest

from qloc.text import rounding


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (-0.5, "−0.5"),
        (1234.5, "1,234"),
        (99999, "99,999"),
        (1e-7, "1.00 × 10⁻⁷"),
        (math.inf, "–"),
    ],
)
def test_numbers(value, text):
    assert rounding.number(value) == text
