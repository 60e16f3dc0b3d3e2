"""Quadrature rules: nodes by hand, weights that sum to one, polynomials integrated."""

from __future__ import annotations

import numpy as np
import pytest

from qloc.extract.attribution.quadrature import clenshaw_curtis, quadrature


@pytest.mark.parametrize("rule", ["right", "left", "endpoints", "midpoint", "gauss", "adaptive"])
def test_weights_sum_to_one_and_nodes_lie_on_the_path(rule: str) -> None:
    found = quadrature(rule, 7)
    assert found.weights.sum() == pytest.approx(1, abs=1e-15)
    assert found.nodes.min() >= 0
    assert found.nodes.max() <= 1


@pytest.mark.parametrize(
    ("rule", "nodes"),
    [
        ("right", [0.25, 0.5, 0.75, 1]),
        ("left", [0, 0.25, 0.5, 0.75]),
        ("endpoints", [0, 1 / 3, 2 / 3, 1]),
        ("midpoint", [0.125, 0.375, 0.625, 0.875]),
    ],
)
def test_nodes_of_four_steps(rule: str, nodes: list[float]) -> None:
    np.testing.assert_allclose(quadrature(rule, 4).nodes, nodes, atol=1e-15)


def test_gauss_integrates_polynomials_of_degree_2m_minus_1() -> None:
    found = quadrature("gauss", 3)
    for degree in range(6):
        assert (found.weights * found.nodes**degree).sum() == pytest.approx(1 / (degree + 1), abs=1e-14)
    assert (found.weights * found.nodes**6).sum() != pytest.approx(1 / 7, abs=1e-5)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 12])
def test_clenshaw_curtis_integrates_polynomials_and_its_nodes_are_nested(n: int) -> None:
    found = clenshaw_curtis(n)
    for degree in range(n + 1):
        assert (found.weights * found.nodes**degree).sum() == pytest.approx(1 / (degree + 1), abs=1e-14)
    assert (found.nodes[0], found.nodes[-1]) == (0, 1)
    np.testing.assert_array_equal(clenshaw_curtis(2 * n).nodes[::2], found.nodes)  # to the bit
