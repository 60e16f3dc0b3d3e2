"""Activations that rows change at their target: which, to what, and what that adds behind them."""

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
    """Which activations each row changes, at its target position: a ← factor · a + offset.

    Attributes
    ----------
    row, layer, neuron : int64, (cell,); rows ascending, no cell twice in a row.
    factor, offset : float64, (cell,)
    """

    row: Ints
    layer: Ints
    neuron: Ints
    factor: NDArray[np.float64]
    offset: NDArray[np.float64]

    @classmethod
    def none(cls) -> Cells:
        """No change at all."""
        index, value = np.zeros(0, dtype=np.int64), np.zeros(0)
        return cls(row=index, layer=index, neuron=index, factor=value, offset=value)

    def of_rows(self, rows: Ints) -> Cells:
        """The cells of chosen rows, numbered by their place among these."""
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
        """The cells of one layer."""
        return self._where(self.layer == layer)

    def between(self, start: int, stop: int) -> Cells:
        """The cells of rows ``start``, …, ``stop`` − 1, numbered from 0."""
        found = self._where((self.row >= start) & (self.row < stop))
        return replace(found, row=found.row - start)

    def changed(self, given: Tensor) -> Tensor:
        """What the cells' activations, (cell,), become."""
        factor, offset = (torch.as_tensor(v, device=given.device) for v in (self.factor, self.offset))
        return factor.to(given.dtype) * given + offset.to(given.dtype)

    def _where(self, here: NDArray[np.bool_]) -> Cells:
        return Cells(**{name: value[here] for name, value in vars(self).items()})


@dataclass(frozen=True)
class CellRows:
    """Rows that change cells, as :mod:`qloc.extract.passes.late_join` asks for them."""

    sites: Sites
    cells: Cells
    n_rows: int

    @cached_property
    def first(self) -> Ints:
        """The first layer that each row changes, (row,); the number of layers where it changes none."""
        found = np.full(self.n_rows, self.sites.n_layers, dtype=np.int64)
        np.minimum.at(found, self.cells.row, self.cells.layer)
        return found

    @property
    def order(self) -> Ints:
        """Rows by their first layer."""
        return np.argsort(self.first, kind="stable")

    def of_rows(self, rows: Ints) -> CellRows:
        """Chosen rows, in that order."""
        return CellRows(self.sites, self.cells.of_rows(rows), len(rows))

    def inputs(self, layer: int, given: Tensor, place: Tensor) -> None:
        """Change activations, (row, position, neuron), of the first rows in place."""
        cells = self._of_layer[layer].between(0, len(given))
        where = _at(cells, place, given)
        if len(cells.row):
            given[where] = cells.changed(given[where])

    def outputs(self, layer: int, given: Tensor, output: Tensor) -> None:
        """Nothing: what is put into a down-projection comes out of it."""

    def joined(
        self, layer: int, start: int, given: Tensor, query: Tensor, place: Tensor, output: Tensor
    ) -> None:
        """Add what the change adds behind the down-projection: (a′ − a) · W, of rows from ``start`` on."""
        cells = self._of_layer[layer].between(start, start + len(output))
        neurons, column = np.unique(cells.neuron, return_inverse=True)
        if not len(neurons):
            return
        row, at, neuron = _at(cells, place, given)
        own = given[query.to(given.device)[row], at, neuron]
        step = given.new_zeros(len(output), len(neurons))
        step[row, torch.as_tensor(column, device=given.device)] = cells.changed(own) - own
        weight = down_weight(self.sites.downs[layer])[:, torch.as_tensor(neurons)]
        rows = torch.arange(len(output), device=output.device)
        output[rows, place.to(output.device)] += (step.to(weight.device) @ weight.T).to(output.device)

    @cached_property
    def _of_layer(self) -> list[Cells]:
        return [self.cells.of_layer(layer) for layer in range(self.sites.n_layers)]


def _at(cells: Cells, place: Tensor, given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Row, position and neuron of each cell, on the device of what they index."""
    row, neuron = (torch.as_tensor(v, device=given.device) for v in (cells.row, cells.neuron))
    return row, place.to(given.device)[row], neuron
