"""Blocks of a planted study have the shapes and the products of extraction."""

from typing import Any

import numpy as np
import pytest

from qloc.simulation.planted import plant

PLANTING: dict[str, Any] = {
    "facts": 30,
    "relations": 3,
    "templates": 4,
    "one_to_one": 1,
    "n_neurons": 32,
    "pairs": 5,
}


def test_blocks_have_the_shapes_of_the_outline():
    planted = plant(**PLANTING, unit_facts=8, methods=("ig", "grad_x_act"), seed=1)
    sizes, n_queries = planted.outline.sizes, 0
    for block in planted.blocks():
        unit = block.unit
        n, grid = unit.n_queries, (sizes["layer"], sizes["neuron"])
        n_queries += n
        assert block.attribution.shape == (2, n, *grid)
        assert block.activation.shape == block.gradient.shape == (n, *grid)
        assert block.completeness_gap.shape == (2, n, sizes["layer"])
        width = sizes["query_of_fact"]
        assert block.gram.shape == block.null_gram.shape == (2, unit.n_facts, width, width)
        assert block.attention["target_row"].shape == (n, sizes["layer"], sizes["head"], sizes["token"])
        assert block.queries["top_token_id"].shape == (n, sizes["top"])
        assert block.queries["candidate_log_probability"].shape == (n, sizes["candidate"])
        assert {len(column) for column in block.queries.values()} == {n}
    assert n_queries == sizes["query"] == planted.sets().n_queries


def test_grams_are_of_full_vectors():
    planted = plant(**PLANTING, seed=1)
    block = planted.block(planted.outline.units[0])
    own = block.queries["fact"] == 0
    rows = block.attribution[0, own].reshape(own.sum(), -1).astype(float)
    k = own.sum()
    assert block.gram[0, 0, :k, :k] == pytest.approx(rows @ rows.T, rel=1e-4)
    assert np.isnan(block.gram[0, 0, k:]).all()
