"""Move files that are no part of a store into a folder beside it: nothing that is not ours is deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_REMOVED: Final = ".removed"


def set_aside(store: Path, name: str) -> Path:
    """Move a file or folder out of a store, into ``STORE.removed``.

    Parameters
    ----------
    store : Path
        The store.
    name : str
        Path inside the store.

    Returns
    -------
    Path
        Its new path; a number is appended where that is taken.
    """
    beside = store.absolute().parent / f"{store.absolute().name}{_REMOVED}"
    target, n = beside / name, 0
    while target.exists() or target.is_symlink():
        n += 1
        target = beside / f"{name}.{n}"
    target.parent.mkdir(parents=True, exist_ok=True)
    (store / name).rename(target)
    return target
