"""Sets of columns of attention: by their definition, and controls of equal mass."""

from __future__ import annotations

import numpy as np
import pytest

from qloc.extract.interventions import synapse_sets


@pytest.fixture
def mass(rng: np.random.Generator) -> np.ndarray:
    """Column masses, (layer, head, token)."""
    return rng.gamma(1.0, 1.0, (3, 4, 7))


def test_published_columns_have_more_than_alpha_times_the_mean_mass() -> None:
    mass = np.array([[[4.0, 1.0, 1.0], [2.0, 2.0, 2.0]]])  # mean 2
    assert synapse_sets.published(mass, 1.0).tolist() == [[[True, False, False], [False, False, False]]]
    assert not synapse_sets.published(mass, 2.0).any()


@pytest.mark.parametrize("causal", [True, False])
def test_even_attention_has_no_knowledge_synapses(causal: bool) -> None:
    """Attention that is spread evenly over what a token reads, the first token left out, is α = 1 times even."""
    n = 6
    rows = np.tril(np.ones((n, n))) if causal else np.ones((n, n))
    rows[:, 0] = 0
    rows = rows[1:] / rows[1:].sum(1, keepdims=True)
    even = rows.sum(0)[None, None]
    even[..., 0] = np.nan
    assert not synapse_sets.knowledge(even, 1 + 1e-9, causal=causal).any()
    found = synapse_sets.knowledge(even, 1 - 1e-9, causal=causal)
    assert found.tolist() == [[[False, *[True] * (n - 1)]]]


@pytest.mark.parametrize("draw", [synapse_sets.random_columns, synapse_sets.other_heads])
def test_controls_are_other_columns_of_the_same_mass_in_each_layer(mass: np.ndarray, draw) -> None:
    chosen = np.zeros(mass.shape, dtype=bool)
    chosen[0, 0, 2] = chosen[0, 1, 4] = chosen[2, 3, 5] = True  # none in layer 1
    mass[chosen] = 0.3  # well below what the other columns have
    mass[~chosen] += 0.3
    weight = draw(chosen, mass, np.random.default_rng(0))
    assert not weight[chosen].any()
    assert not weight[:, :, 0].any()
    assert ((weight >= 0) & (weight <= 1)).all()
    np.testing.assert_allclose((weight * mass).sum((1, 2)), [0.6, 0.0, 0.3], rtol=1e-12)
    if draw is synapse_sets.other_heads:
        assert set(np.argwhere(weight > 0)[:, 2]) <= {2, 4, 5}


def test_a_draw_is_fixed_by_its_generator(mass: np.ndarray) -> None:
    chosen = mass > np.quantile(mass, 0.9)
    first, again, other = (
        synapse_sets.random_columns(chosen, mass, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_cut_to_mass_takes_all_where_there_is_less() -> None:
    mass, free = np.array([1.0, 2.0, 4.0]), np.array([True, True, False])
    assert synapse_sets.cut_to_mass(free, mass, 10.0, np.random.default_rng(0)).tolist() == [1.0, 1.0, 0.0]
    assert not synapse_sets.cut_to_mass(free, mass, 0.0, np.random.default_rng(0)).any()
    assert not synapse_sets.cut_to_mass(~free & (mass < 0), mass, 1.0, np.random.default_rng(0)).any()


def test_columns_without_mass_are_no_controls() -> None:
    mass = np.array([[[1.0, 0.0, 2.0, 1.0]]])
    chosen = np.array([[[False, False, True, False]]])
    weight = synapse_sets.random_columns(chosen, mass, np.random.default_rng(0))
    assert weight.tolist() == [[[0.0, 0.0, 0.0, 1.0]]]  # all that there is, less than wanted
