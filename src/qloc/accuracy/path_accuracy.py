"""How exactly the paths of attributions were integrated, as stored (docs/extraction.md#quadrature)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qloc.arrays import Floats, Ints
from qloc.methods import BUILT_IN
from qloc.vocabulary import METHOD

UNKNOWN: Final = -1
"""Stands for a number or an answer that the store does not give."""

GUIDE: Final = "docs/extraction.md#quadrature"
"""Where error bounds are explained; named where a bound is missing or does not hold."""

_WITHOUT_PATH: Final = frozenset(method.name for method in BUILT_IN if method.path == "none")


@dataclass(frozen=True, kw_only=True)
class PathAccuracy:
    """How exactly one method's paths were integrated, by query and layer.

    Attributes
    ----------
    n_nodes : int64 ndarray, shape (query, layer)
        Gradients along the path; 0 where the method has no path, -1 where the store does not say.
    error_bound : float64 ndarray, shape (query, layer)
        Bound of the error of an attribution of the layer, relative to the query's largest; NaN where there is
        none.
    converged : int64 ndarray, shape (query, layer)
        1 where the path is as exact as was asked, 0 where not, -1 where nothing says so.

    Examples
    --------
    >>> accuracy = PathAccuracy(
    ...     n_nodes=np.array([[4, 8], [0, 0], [4, 4]]),
    ...     error_bound=np.array([[0.001, 0.01], [np.nan, np.nan], [np.nan, np.nan]]),
    ...     converged=np.array([[1, 0], [-1, -1], [-1, -1]]),
    ... )
    >>> accuracy.converged_queries().tolist(), accuracy.without_path().tolist()
    ([0, -1, -1], [False, True, False])
    >>> accuracy.bounds().max(axis=1).tolist()
    [0.01, 0.0, nan]
    """

    n_nodes: Ints
    error_bound: Floats
    converged: Ints

    @classmethod
    def of(cls, signals: Mapping[Any, Any], number: int) -> PathAccuracy:
        """Read the accuracy of one attribution method.

        Parameters
        ----------
        signals : xarray.Dataset
            Group /signals. Older stores lack the three variables; all is then unknown, but for methods that
            have no path.
        number : int
            The attribution method, as its place on the axis.

        Returns
        -------
        PathAccuracy
            In memory.
        """
        shape = signals["maximum"].isel({METHOD: number}).shape
        if "error_bound" not in signals:
            pathless = str(signals[METHOD].values[number]) in _WITHOUT_PATH
            return cls.no_path(*shape) if pathless else cls.unknown(*shape)
        read = {name: signals[name].isel({METHOD: number}).values for name in cls.__dataclass_fields__}
        return cls(
            n_nodes=np.asarray(read["n_nodes"], dtype=np.int64),
            error_bound=np.asarray(read["error_bound"], dtype=np.float64),
            converged=np.asarray(read["converged"], dtype=np.int64),
        )

    @classmethod
    def unknown(cls, n_queries: int, n_layers: int) -> PathAccuracy:
        """Return the accuracy of paths of which a store says nothing.

        Parameters
        ----------
        n_queries, n_layers : int
            Number of queries and of layers.

        Returns
        -------
        PathAccuracy
            All unknown.
        """
        nothing = np.full((n_queries, n_layers), UNKNOWN, dtype=np.int64)
        return cls(n_nodes=nothing, error_bound=np.full(nothing.shape, np.nan), converged=nothing)

    @classmethod
    def no_path(cls, n_queries: int, n_layers: int) -> PathAccuracy:
        """Return the accuracy of values that were not integrated, such as activations.

        Parameters
        ----------
        n_queries, n_layers : int
            Number of queries and of layers.

        Returns
        -------
        PathAccuracy
            Of paths without nodes.
        """
        nodes = np.zeros((n_queries, n_layers), dtype=np.int64)
        return cls(
            n_nodes=nodes, error_bound=np.full(nodes.shape, np.nan), converged=np.full_like(nodes, UNKNOWN)
        )

    def without_path(self) -> NDArray[np.bool_]:
        """Return which queries have no path at all, and so no error of integration.

        Returns
        -------
        bool ndarray, shape (query,)
            True where every layer took 0 gradients.
        """
        return np.asarray((self.n_nodes == 0).all(axis=1), dtype=bool)

    def unbounded(self) -> NDArray[np.bool_]:
        """Return which queries have paths but no error bound.

        They were integrated by a rule that gives none, or the store does not say; or their largest
        attribution is not positive, so that no bound can be relative to it.

        Returns
        -------
        bool ndarray, shape (query,)
            True where all bounds are NaN, and paths took gradients or are unknown.
        """
        return np.asarray(np.isnan(self.error_bound).all(axis=1) & ~self.without_path(), dtype=bool)

    def converged_queries(self) -> Ints:
        """Return whether all of a query's paths converged.

        Returns
        -------
        int64 ndarray, shape (query,)
            0 where a path did not; else -1 where nothing is said of a path; else 1.
        """
        failed, silent = (self.converged == 0).any(axis=1), (self.converged == UNKNOWN).any(axis=1)
        return np.where(failed, 0, np.where(silent, UNKNOWN, 1)).astype(np.int64)

    def bounds(self) -> Floats:
        """Return the error bounds, 0 where a query has no path.

        Returns
        -------
        float64 ndarray, shape (query, layer)
            Relative to the query's largest attribution; NaN where there is no bound.
        """
        return np.where(self.without_path()[:, None], 0.0, self.error_bound)
