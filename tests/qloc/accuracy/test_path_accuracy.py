"""Accuracy of paths: what is unknown, what has no path, and what did not converge."""

import numpy as np
import pytest
import xarray as xr

from qloc.accuracy.path_accuracy import PathAccuracy

MQL = ("attribution_method", "query", "layer")


def signals(**variables):
    return xr.Dataset({name: (MQL, np.array(values)) for name, values in variables.items()})


def test_an_older_store_leaves_all_unknown():
    accuracy = PathAccuracy.of(signals(maximum=[[[1.0, 2.0]], [[3.0, 4.0]]]), 1)
    assert accuracy.n_nodes.tolist() == accuracy.converged.tolist() == [[-1, -1]]
    assert np.isnan(accuracy.bounds()).all()
    assert accuracy.converged_queries().tolist() == [-1]
    assert accuracy.unbounded().tolist() == [True]
    assert accuracy.without_path().tolist() == [False]
    older = signals(maximum=[[[1.0, 2.0]], [[3.0, 4.0]]]).assign_coords(
        attribution_method=["ig", "grad_x_act"]
    )
    assert [bool(PathAccuracy.of(older, number).without_path()) for number in (0, 1)] == [False, True]


def test_a_method_is_read_by_its_place():
    group = signals(
        maximum=[[[1.0, 2.0]], [[3.0, 4.0]]],
        n_nodes=[[[4, 8]], [[0, 0]]],
        error_bound=[[[0.1, 0.2]], [[np.nan, np.nan]]],
        converged=[[[1, 0]], [[-1, -1]]],
    )
    integrated, plain = (PathAccuracy.of(group, number) for number in (0, 1))
    assert integrated.bounds().tolist() == [[0.1, 0.2]]
    assert integrated.converged_queries().tolist() == [0]
    assert not integrated.unbounded().any()
    assert plain.bounds().tolist() == [[0.0, 0.0]]
    assert (plain.without_path().tolist(), plain.unbounded().tolist()) == ([True], [False])


@pytest.mark.parametrize(
    ("converged", "expected"), [([1, 1], 1), ([1, 0], 0), ([0, -1], 0), ([1, -1], -1), ([-1, -1], -1)]
)
def test_a_query_converged_where_all_of_its_paths_did(converged, expected):
    nodes = np.array([[4, 4]])
    accuracy = PathAccuracy(n_nodes=nodes, error_bound=nodes / 100, converged=np.array([converged]))
    assert accuracy.converged_queries().tolist() == [expected]
