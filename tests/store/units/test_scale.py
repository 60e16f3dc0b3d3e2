"""The benchmark's study: what it writes without the network is what the whole network leads to."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from qloc.store.schema.layout import Layout
from qloc.store.units.panel import unit_arrays

SOURCE = Path(__file__).resolve().parents[3] / "benchmarks" / "studies" / "heavy_tailed.py"


@pytest.fixture(scope="module")
def heavy_tailed():
    spec = importlib.util.spec_from_file_location("heavy_tailed", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["heavy_tailed"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("capacity", [1024, 100])
def test_arrays_without_the_network_are_those_of_the_network(heavy_tailed, capacity):
    study = heavy_tailed.HeavyTailed(
        n_facts=80, n_queries=650, n_layers=4, n_neurons=900, capacity=capacity, unit_facts=4
    )
    outline = study.outline()
    assert sum(unit.n_queries for unit in outline.units) == 650
    assert 10 < study.k.max() <= 20
    layout = Layout.of(outline, tier="panel", floor=study.floor, capacity=capacity, store_dtype="float32")
    overflown = 0
    for unit in outline.units[::5]:
        expected, found = unit_arrays(study.block(unit), layout), study.arrays(unit, layout)
        assert list(found) == list(expected)
        for path, values in expected.items():
            assert found[path].dtype == values.dtype, path
            if path == "signals/total":  # added up in another order before it is rounded
                np.testing.assert_allclose(found[path], values, rtol=1e-6)
            else:
                np.testing.assert_array_equal(found[path], values, err_msg=path)
        overflown += int(np.sum(expected["signals/panel_floor"] > study.floor))
    assert (overflown > 0) == (capacity == 100)
