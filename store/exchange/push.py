"""Push a complete store to a URL; the manifest is put last, after each object was shown to be there.

``push.json``, put first and removed last, names the objects that an interrupted push may have left.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from qloc.canonical_json import canonical
from qloc.errors import InputError, RemoteError, VerificationError, message
from qloc.progress import Advance, Progress
from qloc.store.files.parallel import each
from qloc.store.files.place import Place
from qloc.store.files.url import Url, url_of
from qloc.store.integrity.verify import ListedObjects, verify
from qloc.store.names import MANIFEST
from qloc.store.places.object_store import Entry, Objects
from qloc.store.places.open_place import connect, place_of
from qloc.store.places.remote import MOST_MANIFEST_BYTES
from qloc.store.schema import manifest
from qloc.text.parsing import json_of

MARKER: Final = "push.json"
_MOST_TOGETHER: Final = 500
_HASHES: Final[Mapping[str, Callable[[bytes], str]]] = {
    "md5": lambda content: hashlib.md5(content, usedforsecurity=False).hexdigest(),
    "sha256": lambda content: hashlib.sha256(content).hexdigest(),
    "git": lambda content: hashlib.sha1(
        b"blob %d\0" % len(content) + content, usedforsecurity=False
    ).hexdigest(),
}


def push(store: str | Path, url: str, *, replace: bool = False, progress: Progress | None = None) -> Url:
    """Put a complete store that verifies at a URL; after an interruption, call again to put the rest.

    Parameters
    ----------
    store : str or Path
        A folder, or an archive, whose members are put.
    url : str
        A URL of the store's own: s3, gs, az, file, hf, or any other scheme of fsspec that can be written
        to.
    replace : bool
        Whether to replace another store, whose objects are then removed.
    progress : Progress, optional
        Shows the bytes that were put; silent by default.

    Returns
    -------
    Url
        Where the store is.

    Raises
    ------
    VerificationError
        If the store is unfinished, or differs from its manifest.
    InputError, MissingDependencyError
        If the URL cannot be used, or something else is there: another store without ``replace``, or objects
        that no push left; these are never touched.
    RemoteError
        If the service refused, did not answer, or gave back other bytes than it was given. The objects that
        arrived are kept for the next call.
    """
    target = connect(url_of(url), write=True)
    source = place_of(store)
    if problems := verify(source):
        raise VerificationError(problems)
    raw = source.read(MANIFEST)
    listed: ListedObjects = manifest.read(source)["objects"]
    with progress or Progress(quiet=True) as bar:
        _Push(source, target, raw, listed).run(bar, replace=replace)
    return target.url


class _Push:
    """One push of one store.

    Parameters
    ----------
    source : Place
        The store.
    target : Objects
        The objects at the URL.
    raw : bytes
        The manifest of the store.
    listed : ListedObjects
        Size and sha256 of each object, as the manifest lists them.
    """

    def __init__(self, source: Place, target: Objects, raw: bytes, listed: ListedObjects) -> None:
        self.source, self.target, self.raw, self.listed = source, target, raw, listed

    def run(self, progress: Progress, *, replace: bool) -> None:
        there = self._listing()
        before = self._read(MANIFEST, there)
        left = self._left(there, before, replace=replace)
        if before != self.raw:
            names = sorted(left | {*self.listed})
            self.target.put({MARKER: canonical({"names": names, "of": _sha256(self.raw)})})
        if before is not None and before != self.raw:
            self.target.delete([MANIFEST])
        self._objects(there, progress)
        if stale := sorted(left & {*there} - {*self.listed, MANIFEST, MARKER}):
            self.target.delete(stale)
        if before != self.raw:
            self.target.put({MANIFEST: self.raw})
            if self.target.read(MANIFEST) != self.raw:
                raise RemoteError(self._other([MANIFEST]))
        if before != self.raw or MARKER in there:
            self.target.delete([MARKER])

    def _listing(self) -> dict[str, Entry]:
        listing = self.target.listing()
        if listing is None:
            rule, action = "one that lists what it has", "Push to another"
            raise InputError(message("service", "without a listing", rule, self.target.url, action))
        return listing

    def _read(self, name: str, there: Mapping[str, Entry]) -> bytes | None:
        if name not in there:
            return None
        if there[name].size > MOST_MANIFEST_BYTES:
            raise InputError(self._foreign([name]))
        return self.target.read(name)

    def _left(self, there: Mapping[str, Entry], before: bytes | None, *, replace: bool) -> set[str]:
        """Return the names that a push of this store, or of a store to be replaced, may have left."""
        left, other = set(self.listed), False
        if before not in (None, self.raw):
            left |= {*self._manifest(before)}
            other = True
        marker = self._read(MARKER, there)
        if marker is not None:
            of, names = self._marker(marker)
            left |= names
            other = other or of != _sha256(self.raw)
        owned = left | {MANIFEST, MARKER}
        if marker is None and before is None:
            owned = set()
        if foreign := sorted({*there} - owned):
            raise InputError(self._foreign(foreign))
        if other and not replace:
            rule = "nothing, or this store, with manifest sha256 " + _sha256(self.raw)
            action = "Give another URL, or replace it with --replace"
            raise InputError(message("URL", "another store", rule, self.target.url, action))
        return left

    def _manifest(self, raw: bytes | None) -> ListedObjects:
        try:
            listed: ListedObjects = manifest.parsed(raw or b"", self.target.url / MANIFEST)["objects"]
        except VerificationError:
            raise InputError(self._foreign([MANIFEST])) from None
        return listed

    def _marker(self, raw: bytes) -> tuple[str, set[str]]:
        try:
            marker = json_of(raw)
            return str(marker["of"]), {str(name) for name in marker["names"]}
        except (ValueError, LookupError, TypeError):
            raise InputError(self._foreign([MARKER])) from None

    def _foreign(self, names: Sequence[str]) -> str:
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        rule, action = "nothing, or a store that qloc pushed", "Give a URL of the store's own"
        return message("URL", f"with {shown}", rule, self.target.url, action)

    def _other(self, names: Sequence[str]) -> str:
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        rule, action = "what was put", "Run the same command again; if it stays so, use another service"
        return message(f"objects {shown}", "something else", rule, self.target.url, action)

    def _objects(self, there: Mapping[str, Entry], progress: Progress) -> None:
        """Put the objects that are not there, and check that all of them are there then."""
        present = self._shown(there, self.listed)
        total = sum(entry["size"] for entry in self.listed.values())
        done = sum(self.listed[name]["size"] for name in present)
        lacking = [name for name in sorted(self.listed) if name not in present]
        with progress.stage("push", total, done=done, unit="bytes") as advance:
            self._put(lacking, advance)
        if lacking:
            arrived = self._shown(self._listing(), lacking)
            if wrong := [name for name in lacking if name not in arrived]:
                raise RemoteError(self._other(wrong))

    def _put(self, names: Sequence[str], advance: Advance) -> None:
        def put(batch: Sequence[str]) -> int:
            self.target.put({name: self.source.read(name) for name in batch})
            return sum(self.listed[name]["size"] for name in batch)

        for n_bytes in each(put, self._batches(names), self.target.at_once):
            advance(n_bytes)

    def _batches(self, names: Sequence[str]) -> Iterator[list[str]]:
        batch: list[str] = []
        for name in names:
            size = sum(self.listed[other]["size"] for other in (*batch, name))
            if batch and (size > self.target.batch_bytes or len(batch) == _MOST_TOGETHER):
                yield batch
                batch = []
            batch.append(name)
        if batch:
            yield batch

    def _shown(
        self, there: Mapping[str, Entry], names: Iterator[str] | Sequence[str] | ListedObjects
    ) -> set[str]:
        """Return the names that are there with our bytes.

        The service's own hash shows it, or else the bytes are read back.
        """
        likely = [n for n in names if n in there and there[n].size == self.listed[n]["size"]]
        same = each(lambda n: self._same(n, there[n]), likely, self.target.at_once)
        return {name for name, shown in zip(likely, same, strict=True) if shown}

    def _same(self, name: str, entry: Entry) -> bool:
        if entry.checksum is not None:
            kind, hexed = entry.checksum
            if _HASHES[kind](self.source.read(name)) == hexed:
                return True
        digest = hashlib.sha256()
        for piece in self.target.pieces(name):
            digest.update(piece)
        return digest.hexdigest() == str(self.listed[name]["sha256"])


def _sha256(raw: bytes) -> str:
    """Return the manifest's own sha256, which tells stores apart."""
    return str(json.loads(raw)["sha256"])
