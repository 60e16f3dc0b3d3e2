"""Translate the name of a stored object into what it holds: its array, cells and rows, and their units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qloc.block import Unit
from qloc.errors import SchemaError
from qloc.store.files.place import Place
from qloc.store.integrity import check
from qloc.store.names import CARD, ROOT, piece_of
from qloc.store.places.open_place import place_of
from qloc.store.schema.layout import Layout
from qloc.store.schema.variables import FACTS, Variable
from qloc.text.parsing import json_of
from qloc.vocabulary import FACT

Region = tuple[slice, ...]
"""Cells of an array: one slice for each axis."""


class Contents:
    """What the objects of one store hold, as far as the store's metadata can be read.

    Parameters
    ----------
    path : str, Path or Place
        The store.

    Attributes
    ----------
    layout : Layout or None
        The layout of the store; None where the root cannot be read.
    """

    def __init__(self, path: str | Path | Place) -> None:
        self._place = place_of(path)
        try:
            self.layout: Layout | None = check.layout_of(self._place)
        except SchemaError:
            self.layout = None

    def words(self, name: str) -> str:
        """Describe an object in words, such as ``array signals/attribution, queries 6 to 11 (units 1 to 2)``.

        Parameters
        ----------
        name : str
            Path of the object inside the store.

        Returns
        -------
        str
            A description for error messages.
        """
        array, chunk = piece_of(name)
        if name == CARD:
            return "the card"
        if not chunk:
            return f"metadata of {name.removesuffix(ROOT).strip('/') or 'the root'}"
        rows = self._rows_in_words(name)
        return f"array {array}" + (f", {rows}" if rows else "")

    def variable(self, name: str) -> Variable | None:
        """Return the variable that an object stores a piece of.

        Parameters
        ----------
        name : str
            Path of the object inside the store.

        Returns
        -------
        Variable or None
            None for metadata, for the card, and for arrays that the schema does not have.
        """
        array, chunk = piece_of(name)
        ours = (*FACTS, *(self.layout.variables() if self.layout else ()))
        return next((variable for variable in ours if chunk and variable.path == array), None)

    def region(self, name: str) -> Region | None:
        """Return the cells of its array that an object holds.

        Parameters
        ----------
        name : str
            Path of the object inside the store.

        Returns
        -------
        tuple of slice, or None
            One slice for each axis, cut off at the end of the array. None where the object is no piece of
            an array, or where the array's metadata cannot be read.
        """
        array, chunk = piece_of(name)
        try:
            metadata: dict[str, Any] = json_of(self._place.read(f"{array}/{ROOT}"))
            steps = metadata["chunk_grid"]["configuration"]["chunk_shape"]
            cells = [
                slice(int(number) * step, min((int(number) + 1) * step, size))
                for number, step, size in zip(chunk.split("/"), steps, metadata["shape"], strict=True)
            ]
        except (OSError, ValueError, LookupError, TypeError):
            return None
        return tuple(cells)

    def units(self, name: str) -> tuple[Unit, ...]:
        """Return the units that the rows of an object come from.

        Parameters
        ----------
        name : str
            Path of the object inside the store.

        Returns
        -------
        tuple of Unit
            In ascending order; empty where the object does not come from units.
        """
        variable, region = self.variable(name), self.region(name)
        if self.layout is None or region is None or variable is None or variable in FACTS:
            return ()
        if variable.row is None:
            return ()
        rows = region[variable.row]
        of_facts = variable.dims[variable.row] == FACT
        ends = [
            (u.first_fact, u.last_fact) if of_facts else (u.first_query, u.last_query)
            for u in self.layout.units
        ]
        touched = zip(self.layout.units, ends, strict=True)
        return tuple(unit for unit, (first, last) in touched if first < rows.stop and last > rows.start)

    def _rows_in_words(self, name: str) -> str | None:
        variable, region = self.variable(name), self.region(name)
        if variable is None or variable.row is None or region is None:
            return None
        rows, units = region[variable.row], self.units(name)
        noun = "facts" if variable.dims[variable.row] == FACT else "queries"
        held = f" (units {units[0].number} to {units[-1].number})" if units else ""
        return f"{noun} {rows.start} to {rows.stop - 1}{held}"
