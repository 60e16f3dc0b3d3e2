"""Open the place of a store that a user named: a folder, a packed archive, or the URL of either."""

from __future__ import annotations

from pathlib import Path

from qloc.errors import InputError, MissingDependencyError, message
from qloc.store.files.place import Folder, Place
from qloc.store.files.url import Url, is_url, url_of
from qloc.store.places.object_store import OBSTORE, READ_ONLY, Objects, ObstoreObjects, unquoted
from qloc.store.places.remote import Remote, RemoteArchive
from qloc.store.places.zip_archive import SUFFIX, Archive


def place_of(path: str | Path | Place) -> Place:
    """Return the folder or archive at a path, or the store at a URL.

    Parameters
    ----------
    path : str, Path or Place
        What a user gave; a place is returned unchanged.

    Returns
    -------
    Place
        The place; a folder need not exist.

    Raises
    ------
    SchemaError
        A file is no archive, or a URL has no complete store.
    VerificationError
        An archive has members that no store has, or a manifest at a URL has entries that no store's has;
        every problem.
    InputError, MissingDependencyError, RemoteError
        A URL cannot be read.
    """
    if not isinstance(path, (str, Path)):
        return path
    if is_url(path):
        return remote(str(path))
    path = Path(path).expanduser()
    return Archive.open(path) if path.is_file() else Folder(path)


def connect(url: Url, *, write: bool = False) -> Objects:
    """Return the objects at a URL; the service is not asked for anything yet.

    Parameters
    ----------
    url : Url
        The URL of a store, or of the folder that has its archive.
    write : bool
        Whether objects will be put.

    Returns
    -------
    Objects
        The objects.

    Raises
    ------
    MissingDependencyError
        The package for this scheme is not installed.
    InputError
        The scheme is unknown, or cannot be written to.
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
    """Open the store at a URL; one that ends in ``.zip`` is a packed store.

    Parameters
    ----------
    text : str
        The URL.

    Returns
    -------
    Remote or RemoteArchive
        The store, with its manifest read.

    Raises
    ------
    InputError, MissingDependencyError
        The URL is not usable.
    RemoteError
        The service refused, or could not be reached.
    SchemaError
        There is no complete store.
    VerificationError
        The manifest is broken, or has entries that no store's has; every problem.
    """
    url = url_of(text)
    if url.endswith(SUFFIX):
        return RemoteArchive(connect(url.parent), unquoted(url))
    return Remote(connect(url))
