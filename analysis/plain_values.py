"""Values in the types of JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from qloc.text.rounding import Cell


def plain(value: Any) -> Any:
    """Return a value in the types of JSON.

    Parameters
    ----------
    value : object
        A dataclass, mapping, list, tuple or scalar, nested to any depth.

    Returns
    -------
    object
        Dataclasses as dicts, tuples as lists, NaN and infinities as None, NumPy scalars as Python's, other
        objects as text.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return cell(value)


def cell(value: Any) -> Cell:
    """Return a scalar as a table or JSON holds it.

    Parameters
    ----------
    value : object
        A scalar, also NumPy's.

    Returns
    -------
    str, float, int, bool or None
        None for NaN and infinities; the text of what is no scalar.

    Examples
    --------
    >>> cell(float("nan")), cell(2.5), cell("a")
    (None, 2.5, 'a')
    """
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
