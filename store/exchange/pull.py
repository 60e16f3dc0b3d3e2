"""pull: a complete store from a URL into a folder, verified before it is called a store.

A remote is a stranger until every byte has been compared with its manifest. What has arrived is kept aside as
``.OUT.partial`` until nothing is missing; no manifest is in it before.
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
from qloc.store.integrity.verify import require_present, verify
from qloc.store.names import MANIFEST
from qloc.store.places.open_place import remote
from qloc.store.places.remote import Remote, RemoteArchive
from qloc.store.schema import metadata

_SPARE_BYTES: Final = 2**20
ListedObjects = Mapping[str, Mapping[str, Any]]


def pull(url: str, out: str | Path, *, progress: Progress | None = None) -> Path:
    """Fetch a complete store, packed or not; called again after an interruption, what is missing of it.

    Parameters
    ----------
    url : of the store: s3, gs, az, http, https, file, hf, or any other scheme of fsspec.
    out : the folder to write. Where it is this very store already, nothing is done.

    Returns
    -------
    Path : the store's folder.

    Raises
    ------
    InputError, MissingDependencyError : the URL is of no use, or something else is at ``out``.
    SchemaError : there is no complete store at the URL.
    VerificationError : the remote says or has what no store does: every problem. Nothing was written where
        its manifest or metadata say so; objects that are not what the manifest says are not kept.
    RemoteError : the service refused, or was not there; what arrived is kept for the next time.
    StorageError : no room, or the disk refused.
    LockedError : another process is pulling to ``out``.
    """
    out, source = Path(out), remote(url)
    if _is_there(out, source):
        return out
    refuse_present(out)
    if problems := metadata.problems(source):
        raise VerificationError(problems)
    said: ListedObjects = source.manifest["objects"]
    with folder_aside(out, keep=True) as aside:
        have = _kept(aside, said)
        _require_room(out, sum(said[name]["size"] for name in said if name not in have))
        with progress or Progress(quiet=True) as told:
            _fetch(source, said, have, aside, told)
        write_bytes(aside / MANIFEST, source.read(MANIFEST))
        if problems := verify(aside):
            (aside / MANIFEST).unlink()
            raise VerificationError(problems)
    return out


def _is_there(out: Path, source: Remote | RemoteArchive) -> bool:
    """Whether this store was pulled before; another store at the path is refused."""
    if not out.is_dir() or not (out / MANIFEST).is_file():
        return False
    if (out / MANIFEST).read_bytes() != source.read(MANIFEST):
        rule, action = "nothing, or the store of the URL", "Give another OUT"
        raise InputError(message("path", "another store", rule, str(out), action))
    require_present(out)
    return True


def _kept(aside: Path, said: ListedObjects) -> set[str]:
    """The objects that earlier pulls left and that are as they should; the rest is removed."""
    place, have = Folder(aside), set()
    for name in list(place.names()):
        if (
            name in said
            and place.size(name) == said[name]["size"]
            and place.digest(name) == said[name]["sha256"]
        ):
            have.add(name)
        else:
            (aside / name).unlink()
    for folder in sorted((path for path in aside.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()  # one may be where a file has to be
    return have


def _require_room(out: Path, needed: int) -> None:
    free = shutil.disk_usage(out.absolute().parent).free
    if needed + _SPARE_BYTES > free:
        rule, action = f"{needed} bytes, as the manifest says", "Make room, or give another OUT"
        raise StorageError(message("room on the disk", f"{free} bytes", rule, str(out), action))


def _fetch(
    source: Remote | RemoteArchive, said: ListedObjects, have: set[str], aside: Path, progress: Progress
) -> None:
    total, done = sum(one["size"] for one in said.values()), sum(said[name]["size"] for name in have)
    lacking = [name for name in sorted(said) if name not in have]
    with progress.stage("pull", total, done=done, unit="bytes") as advance:
        for n_bytes in each(lambda name: _object(source, name, said[name], aside), lacking, source.at_once):
            advance(n_bytes)


def _object(source: Remote | RemoteArchive, name: str, said: Mapping[str, Any], aside: Path) -> int:
    """Write one object; removed again where it is not what the manifest says."""
    made, target = hashlib.sha256(), aside / name
    with storing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("wb") as written:
                for piece in _pieces(source, name):
                    made.update(piece)
                    written.write(piece)
        except (RemoteError, VerificationError):
            target.unlink()
            raise
    if made.hexdigest() != said["sha256"]:
        target.unlink()
        expected = f"sha256 {said['sha256']}"
        action = "Run the same command again; if it stays so, take the store from another source"
        got = f"sha256 {made.hexdigest()}"
        raise VerificationError(message(f"object {name}", got, expected, str(source.path / name), action))
    return int(said["size"])


def _pieces(source: Remote | RemoteArchive, name: str) -> Iterator[bytes]:
    try:
        yield from source.pieces(name)
    except FileNotFoundError:
        rule, action = "an object of the manifest", "Have the store pushed again"
        raise RemoteError(message("object", "missing", rule, str(source.path / name), action)) from None
