"""Where a store lies, from what a user gave: a folder, a packed archive, or the URL of either."""

from __future__ import annotations

from pathlib import Path

from qloc.errors import InputError, MissingDependencyError, message
from qloc.store.files.place import Folder, Place
from qloc.store.files.url import Url, is_url, url_of
from qloc.store.places.object_store import OBSTORE, READ_ONLY, Objects, ObstoreObjects, unquoted
from qloc.store.places.remote import Remote, RemoteArchive
from qloc.store.places.zip_archive import SUFFIX, Archive


def place_of(path: str | Path | Place) -> Place:
    """The folder or the archive at a path, or the store at a URL.

    Raises
    ------
    SchemaError : a file that is no archive, or a URL without a complete store.
    VerificationError : an archive with members that no store has, or a manifest at a URL that says what no
        store's does; every problem.
    InputError, MissingDependencyError, RemoteError : a URL that cannot be read.
    """
    if not isinstance(path, (str, Path)):
        return path
    if is_url(path):
        return remote(str(path))
    path = Path(path)
    return Archive.open(path) if path.is_file() else Folder(path)


def connect(url: Url, *, write: bool = False) -> Objects:
    """The objects at a URL; asks the service for nothing yet.

    Raises
    ------
    MissingDependencyError : the extra is not installed.
    InputError : the URL's scheme is nobody's, or cannot be written to.
    """
    if write and url.scheme in READ_ONLY:
        rule = "a URL that can be written to, such as s3://bucket/study.zarr"
        action = "Push to the service itself; pull reads from https"
        raise InputError(message("URL", str(url), rule, "qloc store push", action))
    try:
        if url.scheme in OBSTORE:
            return ObstoreObjects(url, write=write)
        from qloc.store.places.object_store_fsspec import connected

        return connected(url)
    except ModuleNotFoundError as error:
        missing = error.name or "a package"
        extra = "qloc[remote]" if missing in ("obstore", "fsspec") else missing
        action = f"pip install '{extra}'"
        what = f"package {missing} for {url.scheme}://"
        text = message(what, "missing", "an installed one", str(url), action)
        raise MissingDependencyError(text) from None


def remote(text: str) -> Remote | RemoteArchive:
    """The store at a URL; a packed one where it ends in ``.zip``.

    Raises
    ------
    InputError, MissingDependencyError : the URL is of no use.
    RemoteError : the service refused, or could not be reached.
    SchemaError : there is no complete store.
    VerificationError : its manifest is broken, or says what no store's does; every problem.
    """
    url = url_of(text)
    if url.endswith(SUFFIX):
        return RemoteArchive(connect(url.parent), unquoted(url))
    return Remote(connect(url))
