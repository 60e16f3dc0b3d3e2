"""Pull a complete store from a URL into a folder, and verify it before it is called a store.

The remote may be a stranger's: every byte is compared with its manifest. Arrived objects are kept in
``.OUT.partial`` until none is missing; the manifest is written there last.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from qloc.errors import InputError, RemoteError, StorageError, VerificationError, message
from qloc.progress import Progress
from qloc.store.files.durable import storing, write_bytes
from qloc.store.files.parallel import each
from qloc.store.files.place import Folder
from qloc.store.files.staging import folder_aside, refuse_present
from qloc.store.integrity import expansion
from qloc.store.integrity.verify import ListedObjects, require_present, sizes_of, verify
from qloc.store.names import MANIFEST
from qloc.store.places.open_place import remote
from qloc.store.places.remote import Remote, RemoteArchive
from qloc.store.schema import metadata

_SPARE_BYTES: Final = 2**20


def pull(url: str, out: str | Path, *, progress: Progress | None = None) -> Path:
    """Fetch a complete store, packed or not; called again after an interruption, it fetches what is missing.

    Parameters
    ----------
    url : str
        URL of the store: s3, gs, az, http, https, file, hf, or any other scheme of fsspec.
    out : str or Path
        The folder to write. If it is this very store already, nothing is done.
    progress : Progress, optional
        Shows the bytes that arrived; silent by default.

    Returns
    -------
    Path
        The folder of the store.

    Raises
    ------
    InputError, MissingDependencyError
        If the URL cannot be used, or something else is at ``out``.
    SchemaError
        If there is no complete store at the URL.
    VerificationError
        If manifest or metadata say what no store's say (lists each problem; nothing was written), or if
        objects differ from the manifest; those are not kept.
    RemoteError
        If the service refused or did not answer; the objects that arrived are kept for the next call.
    StorageError
        If there is no room, or the disk refused.
    LockedError
        If another process is pulling to ``out``.
    """
    out, source = Path(out), remote(url)
    if _is_there(out, source):
        return out
    refuse_present(out)
    listed: ListedObjects = source.manifest["objects"]
    if problems := metadata.problems(source) or expansion.problems(source, sizes_of(listed)):
        raise VerificationError(problems)
    with folder_aside(out, keep=True) as aside:
        kept = _kept(aside, listed)
        _require_room(out, sum(listed[name]["size"] for name in listed if name not in kept))
        with progress or Progress(quiet=True) as bar:
            _fetch(source, listed, kept, aside, bar)
        write_bytes(aside / MANIFEST, source.read(MANIFEST))
        if problems := verify(aside):
            (aside / MANIFEST).unlink()
            raise VerificationError(problems)
    return out


def _is_there(out: Path, source: Remote | RemoteArchive) -> bool:
    """Return whether this store was pulled before; refuse a path that has another store."""
    if not out.is_dir() or not (out / MANIFEST).is_file():
        return False
    if (out / MANIFEST).read_bytes() != source.read(MANIFEST):
        rule, action = "nothing, or the store of the URL", "Give another OUT"
        raise InputError(message("path", "another store", rule, str(out), action))
    require_present(out)
    return True


def _kept(aside: Path, listed: ListedObjects) -> set[str]:
    """Return the sound objects of earlier pulls, and remove everything else."""
    place, kept = Folder(aside), set()
    for name in list(place.names()):
        if (
            name in listed
            and place.size(name) == listed[name]["size"]
            and place.digest(name) == listed[name]["sha256"]
        ):
            kept.add(name)
        else:
            (aside / name).unlink()
    for folder in sorted((path for path in aside.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()  # one may be where a file has to be
    return kept


def _require_room(out: Path, needed: int) -> None:
    free = shutil.disk_usage(out.absolute().parent).free
    if needed + _SPARE_BYTES > free:
        rule, action = f"{needed} bytes, as the manifest says", "Make room, or give another OUT"
        raise StorageError(message("room on the disk", f"{free} bytes", rule, str(out), action))


def _fetch(
    source: Remote | RemoteArchive, listed: ListedObjects, kept: set[str], aside: Path, progress: Progress
) -> None:
    total, done = sum(entry["size"] for entry in listed.values()), sum(listed[name]["size"] for name in kept)
    lacking = [name for name in sorted(listed) if name not in kept]
    with progress.stage("pull", total, done=done, unit="bytes") as advance:
        for n_bytes in each(lambda name: _object(source, name, listed[name], aside), lacking, source.at_once):
            advance(n_bytes)


def _object(source: Remote | RemoteArchive, name: str, entry: Mapping[str, Any], aside: Path) -> int:
    """Write one object, and return its size; remove it again if it differs from the manifest."""
    digest, target = hashlib.sha256(), aside / name
    with storing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("wb") as written:
                for piece in _pieces(source, name):
                    digest.update(piece)
                    written.write(piece)
        except (RemoteError, VerificationError):
            target.unlink()
            raise
    if digest.hexdigest() != entry["sha256"]:
        target.unlink()
        expected = f"sha256 {entry['sha256']}"
        action = "Run the same command again; if it stays so, take the store from another source"
        got = f"sha256 {digest.hexdigest()}"
        raise VerificationError(message(f"object {name}", got, expected, str(source.path / name), action))
    return int(entry["size"])


def _pieces(source: Remote | RemoteArchive, name: str) -> Iterator[bytes]:
    try:
        yield from source.pieces(name)
    except FileNotFoundError:
        rule, action = "an object of the manifest", "Have the store pushed again"
        raise RemoteError(message("object", "missing", rule, str(source.path / name), action)) from None
