"""Edits as rows: hundreds of changed down-projections in one forward pass of one unmodified model.

Slot (l, p) is row p of layer l's down-projection. Editing it adds act[row, token, p] · ΔW[row, p] to the
down-projection's output at every token: exactly what an edited weight would give, bias and all.
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
        """Number of rows of down-projections that it changes."""

    def at(self, layer: int) -> Callable[[Tensor], Tensor] | None:
        """Return what the edit adds to a layer's output.

        Parameters
        ----------
        layer : int
            Layer of the down-projection.

        Returns
        -------
        callable or None
            Input of the down-projection, (…, neuron) → what is added to its output, (…, n_out); None where
            the edit adds nothing.
        """


@dataclass(frozen=True, kw_only=True)
class Edit:
    """What one edit adds to rows of a model's down-projections.

    Attributes
    ----------
    layer : int64 ndarray, shape (slot,)
        Layer of each changed row.
    neuron : int64 ndarray, shape (slot,)
        Neuron of each changed row, within its layer.
    change : Tensor, shape (slot, n_out)
        ΔW of each row.
    """

    layer: Ints
    neuron: Ints
    change: Tensor

    @property
    def n_slots(self) -> int:
        """Number of rows of down-projections that it changes."""
        return len(self.neuron)

    @property
    def same(self) -> tuple[bytes, ...]:
        """What two edits have in common if and only if they are the same, bit by bit."""
        change = self.change.detach().cpu().contiguous().view(torch.uint8).numpy()
        return self.layer.tobytes(), self.neuron.tobytes(), change.tobytes()

    def at(self, layer: int) -> Callable[[Tensor], Tensor] | None:
        """Return what the edit adds to a layer's output.

        Parameters
        ----------
        layer : int
            Layer of the down-projection.

        Returns
        -------
        callable or None
            Input of the down-projection, (…, neuron) → what is added to its output, (…, n_out); None where
            the edit adds nothing.
        """
        slots = np.flatnonzero(self.layer == layer)
        if not len(slots):
            return None
        neurons, change = torch.as_tensor(self.neuron[slots]), self.change[slots]
        return lambda activation: activation[..., neurons.to(activation.device)] @ change.to(activation)


def distinct_edits(edits: Sequence[Added]) -> tuple[list[Added], list[int]]:
    """Find edits that are the same, so that each is run once.

    Sets of a fact may have the same slots, and signs may all be positive, so that two operations or two sets
    are one edit.

    Parameters
    ----------
    edits : sequence of Added
        The edits.

    Returns
    -------
    distinct : list of Added
        The different ones, in order.
    number : list of int
        For each of ``edits``, its number among ``distinct``.
    """
    distinct, numbers = list[Added](), dict[object, int]()
    which = []
    for edit in edits:
        key = edit.same if isinstance(edit, Edit) else id(edit)
        if key not in numbers:
            numbers[key] = len(distinct)
            distinct.append(edit)
        which.append(numbers[key])
    return distinct, which


@contextmanager
def edited(sites: Sites, edits: Sequence[Added | None], of_row: Sequence[int]) -> Iterator[None]:
    """Run row n of every batch inside on the model as ``edits[of_row[n]]`` edits it.

    Parameters
    ----------
    sites : Sites
        Down-projections of the model.
    edits : sequence of Added or None
        The edits; None leaves the model as it is.
    of_row : sequence of int
        Number of the edit of each row of the batches that run inside.

    Yields
    ------
    None
        The context in which rows are edited.
    """
    rows = EditRows(sites, edits, np.asarray(of_row, dtype=np.int64))

    def hook(layer: int) -> Callable[..., Any]:
        def add(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            activation, changed = (
                value.view(len(of_row), -1, value.shape[-1]) for value in (args[0], output.clone())
            )
            rows.outputs(layer, activation, changed)
            return changed.view(output.shape)

        return add if rows.at(layer) else nothing

    with hooked(forward=in_turn((down, hook(layer)) for layer, down in enumerate(sites.downs))):
        yield


@dataclass(frozen=True)
class EditRows:
    """Rows that run on edited models: a :class:`qloc.extract.passes.late_join.RowChange`.

    Attributes
    ----------
    sites : Sites
        Down-projections of the model.
    edits : sequence of Added or None
        The edits; None leaves the model as it is.
    of_row : int64 ndarray, shape (row,)
        Number of the edit of each row.
    """

    sites: Sites
    edits: Sequence[Added | None]
    of_row: Ints

    @property
    def first(self) -> Ints:
        """The first layer that each row's edit changes, (row,); the number of layers where there is none."""
        numbers, edit_of = np.unique(self.of_row, return_inverse=True)
        return np.array([self._lowest(self.edits[number]) for number in numbers], dtype=np.int64)[edit_of]

    @property
    def order(self) -> Ints:
        """The rows by their first layer, those of one edit together."""
        return np.lexsort((self.of_row, self.first))

    def of_rows(self, rows: Ints) -> EditRows:
        """Return chosen rows, in the order given.

        Parameters
        ----------
        rows : int64 ndarray, shape (chosen row,)
            Numbers of the rows.

        Returns
        -------
        EditRows
            These rows, numbered from 0.
        """
        return EditRows(self.sites, self.edits, self.of_row[rows])

    def at(self, layer: int) -> list[tuple[Callable[[Tensor], Tensor], slice]]:
        """Return what is added at a layer, and to which runs of rows.

        Parameters
        ----------
        layer : int
            Layer of the down-projection.

        Returns
        -------
        list of tuple of (callable, slice)
            What is added, as by :meth:`Edit.at`, and the consecutive rows that it is added to.
        """
        return self._at.get(layer, [])

    def inputs(self, layer: int, activation: Tensor, place: Tensor) -> None:
        """Do nothing: an edit changes what comes out of a down-projection.

        Parameters
        ----------
        layer : int
            Layer of the down-projection.
        activation : Tensor, shape (row, position, neuron)
            Its input.
        place : int64 Tensor, shape (row,)
            Position of each row's target.
        """

    def outputs(self, layer: int, activation: Tensor, output: Tensor) -> None:
        """Add what each edit adds, in place, for the first ``len(output)`` rows.

        Parameters
        ----------
        layer : int
            Layer of the down-projection.
        activation : Tensor, shape (row, position, neuron)
            Its input.
        output : Tensor, shape (row, position, n_out)
            Its output.
        """
        for added, rows in self.at(layer):
            if rows.stop <= len(output):
                output[rows] += added(activation[rows]).to(output)

    def joined(
        self, layer: int, start: int, activation: Tensor, query: Tensor, place: Tensor, output: Tensor
    ) -> None:
        """Add what each edit adds for rows from ``start`` on, which would have had their query's input.

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
            Position of each row's target; not used, since an edit acts at every position.
        output : Tensor, shape (row, position, n_out)
            Output of the block for the rows that join; changed in place.
        """
        for added, rows in self.at(layer):
            here = slice(rows.start - start, rows.stop - start)
            if 0 <= here.start and here.stop <= len(output):
                output[here] += added(activation).to(output)[query[here].to(output.device)]

    def _lowest(self, edit: Added | None) -> int:
        layers = range(self.sites.n_layers) if edit is not None else ()
        return next((n for n in layers if edit is not None and edit.at(n)), self.sites.n_layers)

    @cached_property
    def _at(self) -> dict[int, list[tuple[Callable[[Tensor], Tensor], slice]]]:
        ends = np.flatnonzero(np.diff(self.of_row, prepend=-1, append=-1))
        by_layer: dict[int, list[tuple[Callable[[Tensor], Tensor], slice]]] = {}
        for start, stop in pairwise(ends.tolist()):
            edit = self.edits[self.of_row[start]]
            for layer in range(self.sites.n_layers) if edit is not None else ():
                added = edit.at(layer)
                if added is not None:
                    by_layer.setdefault(layer, []).append((added, slice(start, stop)))
        return by_layer
