"""Read arrays of unit files, once their dtypes, shapes and values are those of the schema.

A unit file may come from a stranger, in an unfinished store whose ledger fits it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from qloc.arrays import Array
from qloc.block import Unit
from qloc.errors import SchemaError, message
from qloc.store.names import UNITS
from qloc.store.schema.layout import Layout
from qloc.store.schema.value_domains import check_values
from qloc.store.schema.variables import STRING, Variable
from qloc.store.units import ledger

_ACTION = "Remove the unit's record from the ledger, and run the extraction again: the unit is redone"


def most_slots(folder: Path, records: Iterable[ledger.UnitRecord], layout: Layout) -> int:
    """Return the size of the largest panel of some units.

    Parameters
    ----------
    folder : Path
        The folder that has ``units/``, for the message.
    records : iterable of UnitRecord
        The units.
    layout : Layout
        The layout of the store.

    Returns
    -------
    int
        Number of slots; 0 without units.

    Raises
    ------
    SchemaError
        A record says more slots than a panel of the store may have.
    """
    most = max((record.n_slots for record in records), default=0)
    if most > (allowed := min(layout.capacity, layout.n_network)):
        raise SchemaError(message("slots of a unit", most, f"at most {allowed}", str(folder), _ACTION))
    return most


def unit_array(
    folder: Path, record: ledger.UnitRecord, variable: Variable, layout: Layout, unit: Unit
) -> Array:
    """Return one array of a unit.

    Parameters
    ----------
    folder : Path
        The folder that has ``units/``.
    record : UnitRecord
        The record of the unit, whose file verifies.
    variable : Variable
        The variable.
    layout : Layout
        The layout of the store.
    unit : Unit
        The unit.

    Returns
    -------
    ndarray
        Its values; strings as an object array of str.

    Raises
    ------
    FileNotFoundError
        The unit's file is there no more.
    SchemaError
        The array is missing, has another dtype or shape than the schema says, or values that no store has.
    """
    path = folder / UNITS / record.file
    expected = layout.shape(variable, record.n_slots, unit)
    try:
        with ledger.open_unit(folder, record) as opened:
            values = ledger.member(opened, variable)
    except FileNotFoundError:
        raise
    except (ValueError, LookupError, TypeError, OSError, RecursionError) as error:
        got = f"unreadable ({type(error).__name__}: {error})"
        raise SchemaError(
            message(f"array {variable.path}", got, "an array of the schema", str(path), _ACTION)
        ) from None
    dtype = np.dtype(object if variable.dtype == STRING else layout.dtype(variable))
    rows_only = variable.dtype == STRING and not expected[0]  # JSON does not tell the other axes of no rows
    if values.dtype != dtype or (values.shape != expected and not (rows_only and not values.size)):
        got, rule = f"{values.dtype} {values.shape}", f"{dtype} {expected}"
        raise SchemaError(message(f"array {variable.path}", got, rule, str(path), _ACTION))
    if variable.dtype == STRING and not all(isinstance(text, str) for text in values.flat):
        raise SchemaError(message(f"array {variable.path}", "not all texts", "texts", str(path), _ACTION))
    check_values(values, variable, layout, str(path))
    return values
