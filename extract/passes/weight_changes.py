"""Edits as rows: hundreds of changed down-projections in one forward pass of one unmodified model.

Slot (l, p) is row p of layer l's down-projection. Editing it adds act[row, token, p] · ΔW[row, p] to the
down-projection's output at every token: that is what an edited weight would give, bias and all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from qloc.arrays import Ints
from qloc.extract.models.architectures import Sites
from qloc.extract.models.hooks import hooked, in_turn, nothing


class Added(Protocol):
    """Any edit: what it adds to down-projections, layer by layer."""

    @property
    def n_slots(self) -> int:
        """How many rows of down-projections it changes."""

    def at(self, layer: int) -> Callable[[Tensor], Tensor] | None:
        """What it adds to a layer's output, of the layer's input (…, neuron); None where it adds nothing."""


@dataclass(frozen=True, kw_only=True)
class Edit:
    """What one edit adds to a model's down-projections.

    Attributes
    ----------
    layer, neuron : int64, (slot,), which rows.
    change : (slot, n_out), ΔW of each.
    """

    layer: Ints
    neuron: Ints
    change: Tensor

    @property
    def n_slots(self) -> int:
        """How many rows of down-projections it changes."""
        return len(self.neuron)

    def at(self, layer: int) -> Callable[[Tensor], Tensor] | None:
        """What it adds to a layer's output, of the layer's input (…, neuron); None where it adds nothing."""
        slots = np.flatnonzero(self.layer == layer)
        if not len(slots):
            return None
        neurons, change = torch.as_tensor(self.neuron[slots]), self.change[slots]
        return lambda given: given[..., neurons.to(given.device)] @ change.to(given)


@contextmanager
def edited(sites: Sites, edits: Sequence[Added | None], of_row: Sequence[int]) -> Iterator[None]:
    """Every forward pass inside runs row n of its batch on the model as ``edits[of_row[n]]`` edits it.

    Parameters
    ----------
    edits : None leaves the model as it is.
    of_row : the edit of each row of the batches that run inside.
    """
    rows = EditRows(sites, edits, np.asarray(of_row, dtype=np.int64))

    def hook(layer: int) -> Callable[..., Any]:
        def add(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            given, changed = (
                value.view(len(of_row), -1, value.shape[-1]) for value in (args[0], output.clone())
            )
            rows.outputs(layer, given, changed)
            return changed.view(output.shape)

        return add if rows.at(layer) else nothing

    with hooked(forward=in_turn((down, hook(layer)) for layer, down in enumerate(sites.downs))):
        yield


@dataclass(frozen=True)
class EditRows:
    """Rows that run on edited models, as :mod:`qloc.extract.passes.late_join` asks for them.

    Attributes
    ----------
    edits : None leaves the model as it is.
    of_row : int64, (row,), the edit of each row.
    """

    sites: Sites
    edits: Sequence[Added | None]
    of_row: Ints

    @property
    def first(self) -> Ints:
        """The first layer that each row's edit changes, (row,); the number of layers where it is none."""
        numbers, edit_of = np.unique(self.of_row, return_inverse=True)
        return np.array([self._lowest(self.edits[number]) for number in numbers], dtype=np.int64)[edit_of]

    @property
    def order(self) -> Ints:
        """Rows by their first layer, those of one edit together."""
        return np.lexsort((self.of_row, self.first))

    def of_rows(self, rows: Ints) -> EditRows:
        """Chosen rows, in that order."""
        return EditRows(self.sites, self.edits, self.of_row[rows])

    def at(self, layer: int) -> list[tuple[Callable[[Tensor], Tensor], slice]]:
        """What is added at a layer, of its input, and to which run of rows."""
        return self._at.get(layer, [])

    def inputs(self, layer: int, given: Tensor, place: Tensor) -> None:
        """Nothing: an edit changes what comes out of a down-projection."""

    def outputs(self, layer: int, given: Tensor, output: Tensor) -> None:
        """Add what each edit adds, (row, position, n_out), in place, for the first rows."""
        for added, rows in self.at(layer):
            if rows.stop <= len(output):
                output[rows] += added(given[rows]).to(output)

    def joined(
        self, layer: int, start: int, given: Tensor, query: Tensor, place: Tensor, output: Tensor
    ) -> None:
        """Add the same for rows from ``start`` on, which would have had their query's input."""
        for added, rows in self.at(layer):
            here = slice(rows.start - start, rows.stop - start)
            if 0 <= here.start and here.stop <= len(output):
                output[here] += added(given).to(output)[query[here].to(output.device)]

    def _lowest(self, edit: Added | None) -> int:
        layers = range(self.sites.n_layers) if edit is not None else ()
        return next((n for n in layers if edit is not None and edit.at(n)), self.sites.n_layers)

    @cached_property
    def _at(self) -> dict[int, list[tuple[Callable[[Tensor], Tensor], slice]]]:
        ends = np.flatnonzero(np.diff(self.of_row, prepend=-1, append=-1))
        found: dict[int, list[tuple[Callable[[Tensor], Tensor], slice]]] = {}
        for start, stop in pairwise(ends.tolist()):
            edit = self.edits[self.of_row[start]]
            for layer in range(self.sites.n_layers) if edit is not None else ():
                added = edit.at(layer)
                if added is not None:
                    found.setdefault(layer, []).append((added, slice(start, stop)))
        return found
