"""Move files that are no part of a store into a folder beside it: nothing that is not ours is deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from qloc.store.files.own_names import own_folder

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

    Raises
    ------
    InputError
        Somebody put a link or a file at ``STORE.removed``.
    """
    whole = store.resolve()  # of a link to another file system, its own: a rename stays on one
    beside = whole.parent / f"{whole.name}{_REMOVED}"
    own_folder(beside)
    target, n = beside / name, 0
    while target.exists() or target.is_symlink():
        n += 1
        target = beside / f"{name}.{n}"
    target.parent.mkdir(parents=True, exist_ok=True)
    (whole / name).rename(target)
    return target
