"""Tokens that neurons promote and suppress: carried by units, gathered into /neurons.

The file of a unit carries the tokens of the neurons that its queries reach. Assembling takes those of each
neuron from the first unit that has them, so that the group is a function of the units alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qloc.arrays import Array
from qloc.block import Block
from qloc.errors import InputError, SchemaError, message
from qloc.store.files.npz_mmap import MappedUnit
from qloc.store.names import UNITS
from qloc.store.schema.layout import Layout
from qloc.store.schema.variables import NEURONS, STRING, Variable, as_stored
from qloc.store.units import ledger
from qloc.vocabulary import LAYER, N_PLACES, NEURON, NO_INDEX

TOKENS: Final = NEURONS[0].group
"""The group."""

_DTYPES: Final = {"number": "int32", "token_id": "int32", **{v.name: v.dtype for v in NEURONS}}
_TEXT: Final = next(variable for variable in NEURONS if variable.dtype == STRING)


def unit_tokens(block: Block, layout: Layout) -> dict[str, Array]:
    """Return what a unit adds to /neurons: members of its file.

    Parameters
    ----------
    block : Block
        The numbers of the unit.
    layout : Layout
        Sizes of the store.

    Returns
    -------
    dict of str to ndarray
        Under ``neurons/``, the arrays of :attr:`Block.tokens`. Empty if the store keeps no tokens.

    Raises
    ------
    InputError
        The block has other tokens than the outline says.
    """
    if not layout.vocabulary:
        return {}
    arrays = (
        {name: as_stored(block.tokens[name], dtype) for name, dtype in _DTYPES.items()}
        if set(block.tokens) == set(_DTYPES)
        else {}
    )
    if not arrays or not _fits(arrays, layout):
        got = {name: np.shape(values) for name, values in block.tokens.items()}
        rule = f"{', '.join(_DTYPES)} of {layout.n_network} neurons and {layout.vocabulary} tokens"
        where = f"the block of unit {block.unit.number}"
        raise InputError(message("tokens", got, rule, where, "Make blocks as qloc.block says"))
    return {f"{TOKENS}/{name}": values for name, values in arrays.items()}


def _fits(arrays: dict[str, Array], layout: Layout) -> bool:
    """Tell whether neurons and tokens are of the store, each once, and have as many tokens and texts."""
    number, token = arrays["number"], arrays["token_id"]
    listed = [arrays["promoted_token_id"], arrays["suppressed_token_id"]]
    return (
        _numbers(number, layout.n_network)
        and _numbers(token, layout.vocabulary)
        and all(ids.dtype == np.int32 and ids.shape == (len(number), N_PLACES) for ids in listed)
        and all(bool(((ids >= NO_INDEX) & (ids < layout.vocabulary)).all()) for ids in listed)
        and arrays["token"].shape == token.shape
        and all(isinstance(text, str) for text in arrays["token"])
    )


def _numbers(values: Array, size: int) -> bool:
    """Tell whether values are ascending numbers from 0 to below ``size``."""
    if values.dtype != np.int32 or values.ndim != 1:
        return False
    inside = not len(values) or (values[0] >= 0 and values[-1] < size)
    return bool(inside and (np.diff(values.astype(np.int64)) > 0).all())


def gathered(variable: Variable, folder: Path, layout: Layout, units: Sequence[ledger.UnitRecord]) -> Array:
    """Gather one variable of /neurons from every unit.

    Parameters
    ----------
    variable : Variable
        The variable.
    folder : Path
        The folder that has the unit files.
    layout : Layout
        Sizes of the store.
    units : sequence of UnitRecord
        The units, in order.

    Returns
    -------
    ndarray
        The whole array; missing values where no unit has the neuron or the token.

    Raises
    ------
    SchemaError
        A unit's file has not what :func:`unit_tokens` returns.
    """
    shape, texts = layout.shape(variable, 0), variable.dtype == STRING
    n_rows = layout.vocabulary if texts else layout.sizes[LAYER] * layout.sizes[NEURON]
    values: NDArray[np.generic] = (
        np.full(n_rows, "", dtype=object) if texts else np.full((n_rows, N_PLACES), NO_INDEX, np.int32)
    )
    for unit in reversed(units):  # the first that has a neuron decides
        with ledger.open_unit(folder, unit) as opened:
            arrays = _of_unit(opened, layout, folder / UNITS / unit.file)
        values[arrays["token_id" if texts else "number"]] = arrays[variable.name]
    return values.reshape(shape)


def _of_unit(opened: MappedUnit, layout: Layout, path: Path) -> dict[str, Array]:
    try:
        arrays = {
            name: ledger.member(opened, _TEXT) if dtype == STRING else np.array(opened[f"{TOKENS}/{name}"])
            for name, dtype in _DTYPES.items()
        }
        sound = _fits(arrays, layout)
    except (ValueError, LookupError, TypeError, RecursionError):
        sound = False
    if not sound:
        rule, action = "tokens of the unit's neurons", "Remove its record from the ledger: it is redone"
        raise SchemaError(message(f"arrays {TOKENS}/", "others", rule, str(path), action))
    return arrays
