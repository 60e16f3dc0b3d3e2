"""Files that an earlier report wrote into a folder for a paper, and that the present one does not write.

The folder keeps a list of them with their sha256, ``written.json``. A file is removed only if it is on that
list, is a table or a figure by its name, and has the listed sha256: whatever somebody changed or added stays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from qloc.text.ordinary_files import read_ordinary
from qloc.text.parsing import json_of

LIST: Final = "written.json"
"""Name of the list."""

_REMOVABLE: Final = re.compile(r"(tables|figures)/[A-Za-z0-9_-]+\.(tex|csv|pdf|svg)")


def listed(files: Mapping[str, bytes]) -> bytes:
    """Return the list of some files.

    Parameters
    ----------
    files : mapping of str to bytes
        Path within the folder → the whole file.

    Returns
    -------
    bytes
        JSON: path → sha256, in the order of the paths.
    """
    digests = {name: sha256(files[name]).hexdigest() for name in sorted(files)}
    return (json.dumps(digests, indent=1, ensure_ascii=False) + "\n").encode()


def remove_earlier(folder: Path, files: Collection[str]) -> tuple[str, ...]:
    """Remove tables and figures of an earlier report.

    Parameters
    ----------
    folder : Path
        Of a paper.
    files : collection of str
        Paths within the folder of the present report's files, which stay.

    Returns
    -------
    tuple of str
        What was removed; empty where the folder has no list, or one that cannot be read.
    """
    try:
        digests = json_of(read_ordinary(folder / LIST))
        earlier = [(name, digest) for name, digest in digests.items() if _REMOVABLE.fullmatch(name)]
    except (OSError, ValueError, AttributeError):
        return ()
    removed = []
    for name, digest in earlier:
        path = folder / name
        if name in files or not path.is_file() or path.is_symlink() or path.parent.is_symlink():
            continue
        if sha256(path.read_bytes()).hexdigest() == digest:
            path.unlink()
            removed.append(name)
    return tuple(removed)
