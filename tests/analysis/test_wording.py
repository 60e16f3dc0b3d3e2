"""Numbers as words: percentages, counts and estimates, by hand."""

import numpy as np
import pytest

from qloc.analysis.wording import number, percent
from qloc.text.rounding import counted


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.0, "0%"),
        (0.0004, "less than 0.1%"),
        (0.004, "0.4%"),
        (0.0999, "10.0%"),
        (0.1, "10%"),
        (0.455, "46%"),
        (0.9, "90%"),
        (0.905, "90.5%"),
        (0.996, "99.6%"),
        (0.9996, "more than 99.9%"),
        (1.0, "100%"),
        (-0.25, "−25.0%"),
        (float("nan"), "an unknown share"),
        (np.float32(0.5), "50%"),
    ],
)
def test_percent(share, expected):
    assert percent(share) == expected


@pytest.mark.parametrize(
    ("n", "noun", "expected"),
    [
        (0, "fact", "0 facts"),
        (1, "query", "1 query"),
        (2, "query", "2 queries"),
        (12345, "fact", "12,345 facts"),
        (np.int64(1000), "model", "1,000 models"),
    ],
)
def test_counted(n, noun, expected):
    assert counted(n, noun) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.416, "0.42"),
        (-0.416, "−0.42"),
        (0.0, "0.00"),
        (1234.5, "1,234.50"),
        (0.0004, "4.0 × 10⁻⁴"),
        (float("nan"), "not defined"),
        (np.float64(2), "2.00"),
    ],
)
def test_number(value, expected):
    assert number(value) == expected
