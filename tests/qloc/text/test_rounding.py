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


@pytest.mark.parametrize("digits", [1, 4])
@pytest.mark.parametrize(
    "value", [0.05, 0.1, 0.3, 0.31249999, 0.312412, 1 / 3, 0.99999, 1e-9, 12345.678, 0.0]
)
def test_a_bound_to_go_by_is_never_below_the_value(value, digits):
    """What a message asks for must be granted: %g rounds half of all floors down."""
    told = float(rounding.no_less(value, digits))
    assert value <= told <= value * (1 + 10 ** (1 - digits))


@pytest.mark.parametrize(
    ("value", "text"), [(0.05, "0.05"), (0.25, "0.25"), (0.312412, "0.3125"), (1e-9, "0.000000001")]
)
def test_a_bound_has_no_more_digits_than_it_needs(value, text):
    assert rounding.no_less(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0%"),
        (1e-9, "less than 0.1%"),
        (0.0004, "less than 0.1%"),
        (0.0006, "0.1%"),
        (0.0949, "9.5%"),
        (0.1249, "12%"),
        (0.9949, "99%"),
        (0.996, "99.6%"),
        (0.9996, "more than 99.9%"),
        (sum([0.1] * 10), "100%"),
        (1.0, "100%"),
        (1.004, "100%"),
        (-0.25, "−25%"),
        (None, "–"),
    ],
)
def test_what_is_not_quite_none_or_all_is_not_written_as_such(value, text):
    assert rounding.share(value) == text


@pytest.mark.parametrize(
    ("estimate", "texts"),
    [
        ((0.4, 0.003, 0.9), ("0.40", "0.003", "0.90")),
        ((-0.4, -0.9, -0.003), ("−0.40", "−0.90", "−0.003")),
        ((0.02, 0.004, 9.0), ("0.02", "0.004", "9.0")),
        ((0.4, -0.003, 0.9), ("0.40", "0.00", "0.90")),
        ((0.4, 0.0, 0.9), ("0.40", "0.00", "0.90")),
        ((0.5, 0.1, 0.9), ("0.50", "0.10", "0.90")),
    ],
)
def test_an_interval_that_excludes_0_does_not_begin_at_0(estimate, texts):
    assert rounding.estimated(*estimate) == texts


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ((0.0014, 0.0006), ("0.0014", "0.0006")),
        ((0.0005, 0.0004, 0.00051), ("0.00050", "0.00040", "0.00051")),
        ((0.0099, 0.00021), ("0.00990", "0.00021")),
        ((0.051, 0.0034), ("0.051", "0.003")),
        ((0.3, 0.0004), ("0.300", "4.0 × 10⁻⁴")),
        ((6e-7, 1e-8), ("6.0 × 10⁻⁷", "1.0 × 10⁻⁸")),
        ((1234.5, 0.25), ("1,234", "2.5 × 10⁻¹")),
        ((0.0, None, "a"), ("0", "–", "a")),
    ],
)
def test_a_column_of_small_numbers_keeps_their_digits(values, texts):
    assert rounding.aligned(values) == texts
