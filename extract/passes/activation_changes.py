"""Changes of activations at the target position: which neurons, to what, and what that adds behind them.

:class:`Cells` says what each row changes; :class:`CellRows` applies it during a pass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qloc.arrays import Ints
from qloc.extract.models.architectures import Sites, down_weight


@dataclass(frozen=True, kw_only=True)
class Cells:
    """The activations that each row changes at its target position: a ← factor · a + offset.

    Attributes
    ----------
    row : int64 ndarray, shape (cell,)
        Row of each cell, ascending. No cell occurs twice in a row.
    layer : int64 ndarray, shape (cell,)
        Layer of each cell.
    neuron : int64 ndarray, shape (cell,)
        Neuron of each cell, within its layer.
    factor : float64 ndarray, shape (cell,)
        What the activation is multiplied by.
    offset : float64 ndarray, shape (cell,)
        What is then added.
    """

    row: Ints
    layer: Ints
    neuron: Ints
    factor: NDArray[np.float64]
    offset: NDArray[np.float64]

    @classmethod
    def none(cls) -> Cells:
        """Return no change at all.

        Returns
        -------
        Cells
            No cells.
        """
        index, value = np.zeros(0, dtype=np.int64), np.zeros(0)
        return cls(row=index, layer=index, neuron=index, factor=value, offset=value)

    def of_rows(self, rows: Ints) -> Cells:
        """Return the cells of chosen rows, numbered by their place among these rows.

        Parameters
        ----------
        rows : int64 ndarray, shape (chosen row,)
            Rows, in any order; a row may occur more than once.

        Returns
        -------
        Cells
            The cells of these rows.
        """
        first, last = np.searchsorted(self.row, rows), np.searchsorted(self.row, rows, side="right")
        count = last - first
        start = np.repeat(first - np.concatenate([[0], np.cumsum(count)[:-1]]), count)
        chosen = np.arange(count.sum()) + start
        return Cells(
            row=np.repeat(np.arange(len(rows)), count),
            layer=self.layer[chosen],
            neuron=self.neuron[chosen],
            factor=self.factor[chosen],
            offset=self.offset[chosen],
        )

    def of_layer(self, layer: int) -> Cells:
        """Return the cells of one layer.

        Parameters
        ----------
        layer : int
            The layer.

        Returns
        -------
        Cells
            Its cells, with their row numbers unchanged.
        """
        return self._where(self.layer == layer)

    def between(self, start: int, stop: int) -> Cells:
        """Return the cells of the rows ``start``, …, ``stop`` − 1, numbered from 0.

        Parameters
        ----------
        start : int
            First row.
        stop : int
            Row behind the last one.

        Returns
        -------
        Cells
            The cells of these rows.
        """
        cells = self._where((self.row >= start) & (self.row < stop))
        return replace(cells, row=cells.row - start)

    def changed(self, activation: Tensor) -> Tensor:
        """Return what the activations of the cells become.

        Parameters
        ----------
        activation : Tensor, shape (cell,)
            Activation of each cell before the change.

        Returns
        -------
        Tensor, shape (cell,)
            factor · a + offset, in the dtype of ``activation``.
        """
        factor, offset = (torch.as_tensor(v, device=activation.device) for v in (self.factor, self.offset))
        return factor.to(activation.dtype) * activation + offset.to(activation.dtype)

    def _where(self, here: NDArray[np.bool_]) -> Cells:
        return Cells(**{name: value[here] for name, value in vars(self).items()})


@dataclass(frozen=True)
class CellRows:
    """Rows that change activations: a :class:`qloc.extract.passes.late_join.RowChange`.

    Attributes
    ----------
    sites : Sites
        Down-projections of the model.
    cells : Cells
        What each row changes.
    n_rows : int
        Number of rows, those that change nothing included.
    """

    sites: Sites
    cells: Cells
    n_rows: int

    @cached_property
    def first(self) -> Ints:
        """The first layer that each row changes, (row,); the number of layers where it changes none."""
        first = np.full(self.n_rows, self.sites.n_layers, dtype=np.int64)
        np.minimum.at(first, self.cells.row, self.cells.layer)
        return first

    @property
    def order(self) -> Ints:
        """The rows by their first layer."""
        return np.argsort(self.first, kind="stable")

    def of_rows(self, rows: Ints) -> CellRows:
        """Return chosen rows, in the order given.

        Parameters
        ----------
        rows : int64 ndarray, shape (chosen row,)
            Numbers of the rows.

        Returns
        -------
        CellRows
            These rows, numbered from 0.
        """
        return CellRows(self.sites, self.cells.of_rows(rows), len(rows))

    def inputs(self, layer: int, activation: Tensor, place: Tensor) -> None:
        """Change the activations of the first ``len(activation)`` rows in place.

        Parameters
        ----------
        layer : int
            Layer of the down-projection.
        activation : Tensor, shape (row, position, neuron)
            Input of the down-projection.
        place : int64 Tensor, shape (row,)
            Position of each row's target.
        """
        cells = self._of_layer[layer].between(0, len(activation))
        where = _at(cells, place, activation)
        if len(cells.row):
            activation[where] = cells.changed(activation[where])

    def outputs(self, layer: int, activation: Tensor, output: Tensor) -> None:
        """Do nothing: what is put into a down-projection comes out of it.

        Parameters
        ----------
        layer : int
            Layer of the down-projection.
        activation : Tensor, shape (row, position, neuron)
            Input of the down-projection.
        output : Tensor, shape (row, position, n_out)
            Its output.
        """

    def joined(
        self, layer: int, start: int, activation: Tensor, query: Tensor, place: Tensor, output: Tensor
    ) -> None:
        """Add what the change adds behind the down-projection, (a′ − a) · W, for rows from ``start`` on.

        Parameters
        ----------
        layer : int
            Layer of the down-projection.
        start : int
            First of the rows that join.
        activation : Tensor, shape (query, position, neuron)
            Unchanged input of the down-projection.
        query : int64 Tensor, shape (row,)
            The query whose input each row would have had.
        place : int64 Tensor, shape (row,)
            Position of each row's target.
        output : Tensor, shape (row, position, n_out)
            Output of the block for the rows that join; changed in place.
        """
        cells = self._of_layer[layer].between(start, start + len(output))
        neurons, column = np.unique(cells.neuron, return_inverse=True)
        if not len(neurons):
            return
        row, at, neuron = _at(cells, place, activation)
        own = activation[query.to(activation.device)[row], at, neuron]
        step = activation.new_zeros(len(output), len(neurons))
        step[row, torch.as_tensor(column, device=activation.device)] = cells.changed(own) - own
        weight = down_weight(self.sites.downs[layer])[:, torch.as_tensor(neurons)]
        rows = torch.arange(len(output), device=output.device)
        output[rows, place.to(output.device)] += (step.to(weight.device) @ weight.T).to(output.device)

    @cached_property
    def _of_layer(self) -> list[Cells]:
        return [self.cells.of_layer(layer) for layer in range(self.sites.n_layers)]


def _at(cells: Cells, place: Tensor, activation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the row, position and neuron of each cell, on the device of what they index."""
    row, neuron = (torch.as_tensor(v, device=activation.device) for v in (cells.row, cells.neuron))
    return row, place.to(activation.device)[row], neuron
