"""Pack a complete store into one file, with equal bytes for equal stores, and unpack it again.

An archive may come from a stranger: it is compared with its manifest before anything of it is written.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from qloc.errors import InputError, SchemaError, VerificationError, message
from qloc.store.files.durable import storing
from qloc.store.files.staging import file_aside, folder_aside, refuse_present
from qloc.store.files.url import local
from qloc.store.integrity.verify import verify
from qloc.store.names import MANIFEST
from qloc.store.places.zip_archive import SUFFIX, Archive
from qloc.store.schema import manifest
from qloc.text.ordinary_files import open_ordinary

_TIME: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip can say."""


def pack(store: str | Path, out: str | Path | None = None) -> Path:
    """Pack a complete store that verifies into one file that xarray, zarr and qloc read in place.

    Parameters
    ----------
    store : str or Path
        The folder of the store.
    out : str or Path, optional
        The file to write; by default the path of the store with ``.zip`` appended.

    Returns
    -------
    Path
        The archive. Its bytes depend on the bytes of the store only: members are sorted, uncompressed,
        without times.

    Raises
    ------
    InputError
        If the store is an archive already, or at a URL, or if something is at ``out``, or it is no name of
        an archive, by which readers know one.
    SchemaError
        If the path is no store.
    VerificationError
        If the store is unfinished, or differs from its manifest; lists each problem. Also if something
        changes it while it is packed: what was copied is compared once more.
    StorageError
        If the disk refused; nothing is left.
    """
    store = local(store, "qloc store pack")
    if store.is_file():
        rule = "a store's folder"
        raise InputError(message("store", "a file", rule, str(store), "Give the folder that is to be packed"))
    out = Path(out) if out else store.absolute().with_name(f"{store.absolute().name}{SUFFIX}")
    refuse_present(out)
    if out.suffix != SUFFIX:
        action = "Give a name such as study.zarr.zip"
        raise InputError(message("archive", out.name, f"a name that ends in {SUFFIX}", str(out), action))
    if problems := verify(store):
        raise VerificationError(problems)
    raw = (store / MANIFEST).read_bytes()
    expected = {name: str(entry["sha256"]) for name, entry in manifest.parsed(raw, store)["objects"].items()}
    expected[MANIFEST] = hashlib.sha256(raw).hexdigest()
    with file_aside(out) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as target:
        for name in sorted(expected):
            made = _add(target, store / name, name)
            if made != expected[name]:
                rule, action = f"sha256 {expected[name]}, as verified", "Pack it while nothing writes to it"
                raise VerificationError(message(f"object {name}", f"sha256 {made}", rule, str(store), action))
    return out


def _add(target: zipfile.ZipFile, path: Path, name: str) -> str:
    """Copy a file into an archive, and return the sha256 of what was copied."""
    digest = hashlib.sha256()
    with open_ordinary(path, links=False) as source:
        info = zipfile.ZipInfo(name, _TIME)
        info.create_system = 3  # Unix, wherever it is made
        info.external_attr = (stat.S_IFREG | 0o644) << 16
        info.file_size = os.fstat(source.fileno()).st_size
        with target.open(info, "w") as member:
            while piece := source.read(2**20):
                digest.update(piece)
                member.write(piece)
    return digest.hexdigest()


def unpack(archive: str | Path, out: str | Path | None = None) -> Path:
    """Unpack a store, after comparing every member with the manifest.

    Parameters
    ----------
    archive : str or Path
        The archive.
    out : str or Path, optional
        Where the store is to be; by default the path of the archive without ``.zip``.

    Returns
    -------
    Path
        The folder of the store.

    Raises
    ------
    InputError
        If the archive is a URL, its name gives no name for the store, or something is at ``out``.
    SchemaError
        If the file is no archive.
    VerificationError
        If the archive differs from its manifest, or has content that no store has; lists each problem.
        Nothing was written.
    StorageError
        If the disk refused; nothing is left.
    """
    archive = local(archive, "qloc store unpack")
    out = Path(out) if out else _named(archive)
    refuse_present(out)
    source = Archive.inspect(archive)
    if problems := [*source.problems, *_verify_problems(source)]:
        raise VerificationError(dict.fromkeys(problems))
    listed = manifest.read(source)["objects"]
    with folder_aside(out) as aside:
        for name in source.names():
            digest = _copy(source, name, aside / name)
            if name != MANIFEST and digest != listed[name]["sha256"]:
                expected = f"sha256 {listed[name]['sha256']}"
                text = message(f"member {name!r}", digest, expected, str(archive), "Unpack once more")
                raise VerificationError(text)
    return out


def _named(archive: Path) -> Path:
    if archive.suffix != SUFFIX or not archive.stem:
        where, action = str(archive), "Give OUT, the store's path"
        raise InputError(
            message("name of the archive", archive.name, f"one ending in {SUFFIX}", where, action)
        )
    return archive.with_suffix("")


def _verify_problems(source: Archive) -> Iterator[str]:
    try:
        yield from verify(source)
    except (SchemaError, VerificationError) as error:
        yield from error.problems


def _copy(source: Archive, name: str, target: Path) -> str:
    with storing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with target.open("xb") as written:
            for piece in source.pieces(name):
                digest.update(piece)
                written.write(piece)
    return digest.hexdigest()
