"""Quadrature rules in words."""

import pytest

from qloc.accuracy.rule_in_words import effective_error, rule_in_words


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({}, "a rule that the store does not name"),
        ({"quadrature": "gauss", "steps": 8}, "gauss 8: no error bound"),
        (
            {"quadrature": "adaptive", "gap_tolerance": 0.002, "steps": 8},
            "adaptive, completeness gap ≤ 0.002: no error bound",
        ),
        (
            {"quadrature": "certified", "quadrature_error": 0.001, "dtype": "float16"},
            "certified, error bound ≤ 0.003906 of each query's largest (0.001 asked; float16 allows no finer)",
        ),
    ],
)
def test_rules_in_words(attributes, words):
    assert rule_in_words(attributes) == words


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("asked", [1e-9, 0.001, 0.1])
def test_the_bound_in_half_precision_is_that_of_extraction(dtype, asked):
    torch = pytest.importorskip("torch", reason="qloc[extract] is not installed")
    from qloc.extract.attribution.error_bound import Certified

    certified = Certified.named(asked, 0.05, 4, getattr(torch, dtype))
    assert effective_error(asked, dtype) == certified.error
