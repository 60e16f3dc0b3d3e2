"""Canonical JSON and its digest: equal content gives equal bytes, on every machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qloc.text.ordinary_files import open_ordinary


def canonical(value: Any) -> bytes:
    """Write JSON with sorted keys, no spaces, UTF-8 and no NaN.

    Parameters
    ----------
    value : Any
        What JSON can hold.

    Returns
    -------
    bytes
        Equal for equal values.

    Examples
    --------
    >>> canonical({"b": 1, "a": [True, None]})
    b'{"a":[true,null],"b":1}'
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest(value: Any) -> str:
    """Return the sha256 of the canonical JSON of a value.

    Parameters
    ----------
    value : Any
        What JSON can hold.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    return hashlib.sha256(canonical(value)).hexdigest()


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, read in pieces.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    with open_ordinary(path) as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Tell where two nested mappings differ, one line a key: ``key: before → now``.

    Parameters
    ----------
    before : dict of str to Any
        The one.
    now : dict of str to Any
        The other.
    prefix : str, default ""
        What stands before each key.

    Returns
    -------
    list of str
        Lines, sorted by key; none where they are equal.

    Examples
    --------
    >>> differences({"steps": 20, "model": {"dtype": "f32"}}, {"steps": 40, "model": {"dtype": "f32"}})
    ['steps: 20 → 40']
    """
    lines: list[str] = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            lines.append(f"{prefix}{key}: {old!r} → {new!r}")
    return lines
