"""Sizes of memory and of files, as people write them."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
}


def bytes_of(size: str | int) -> int:
    """Return the bytes of a size such as ``8GB`` or ``512MiB``.

    Parameters
    ----------
    size : str or int
        A number alone is bytes; KB is 1000 of them, KiB 1024.

    Returns
    -------
    int
        Whole bytes.

    Raises
    ------
    ValueError
        The text is no size.

    Examples
    --------
    >>> bytes_of("8GB"), bytes_of("1.5 MiB"), bytes_of(100)
    (8000000000, 1572864, 100)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(size))
    if not found or found[2].upper() not in _UNITS:
        raise ValueError(
            f"{size!r} is no size; expected a number with B, KB, MB, GB, KiB, MiB or GiB, such as 8GB"
        )
    return int(float(found[1]) * _UNITS[found[2].upper()])
