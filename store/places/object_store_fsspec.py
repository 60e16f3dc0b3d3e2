"""Objects through fsspec, for any scheme that it has a file system for; batches on the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import fsspec
from fsspec.core import url_to_fs

from qloc.errors import InputError, message
from qloc.store.files.url import Url
from qloc.store.places.object_store import Entry, Objects, speaking

_PIECE: Final = 2**23
_BATCH_BYTES: Final = 2**28


def connected(url: Url) -> Objects:
    """Return the objects at a URL.

    Parameters
    ----------
    url : Url
        What the names are relative to.

    Returns
    -------
    Objects
        A :class:`Hub` for a repository of the Hugging Face Hub, else :class:`Files`.

    Raises
    ------
    InputError
        fsspec has no file system for the scheme.
    ModuleNotFoundError
        The package of the file system is not installed.
    """
    if url.scheme not in fsspec.available_protocols():
        rule = "s3, gs, az, http, https, file, hf, or another scheme of fsspec"
        raise InputError(message("scheme", url.scheme, rule, str(url), "Correct the URL"))
    try:
        repository = url.scheme == "hf" and not url.startswith("hf://buckets/")
        return Hub(url) if repository else Files(url)
    except ModuleNotFoundError:
        raise
    except ImportError as error:  # fsspec puts words in place of the name
        name = "huggingface_hub" if url.scheme == "hf" else getattr(error.__cause__, "name", None)
        raise ModuleNotFoundError(str(error), name=name or str(error)) from error


class Files:
    """Objects as files of an fsspec file system.

    Parameters
    ----------
    url : Url
        What the names are relative to.
    """

    at_once, batch_bytes = 8, 0

    def __init__(self, url: Url) -> None:
        self.url = url
        self._files: Any
        with speaking(url):
            self._files, self._root = url_to_fs(str(url))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.url,)

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Read a part of a file.

        Parameters
        ----------
        name : str
            Name of the object, relative to the URL.
        start : int
            First byte.
        stop : int or None
            Byte after the last one; None for the end of the file.

        Returns
        -------
        bytes
            The bytes from start to stop.
        """
        with speaking(self.url / name):
            return bytes(self._files.cat_file(self._at(name), start=start or None, end=stop))

    def pieces(self, name: str) -> Iterator[bytes]:
        """Read a whole file piece by piece.

        Parameters
        ----------
        name : str
            Name of the object.

        Yields
        ------
        bytes
            The next piece.
        """
        with speaking(self.url / name), self._files.open(self._at(name), "rb") as opened:
            while piece := opened.read(_PIECE):
                yield piece

    def size(self, name: str) -> int:
        """Return the size of a file.

        Parameters
        ----------
        name : str
            Name of the object.

        Returns
        -------
        int
            Bytes.
        """
        with speaking(self.url / name):
            return int(self._files.size(self._at(name)))

    def listing(self) -> dict[str, Entry] | None:
        """List every file, without fsspec's cache.

        Returns
        -------
        dict of str to Entry or None
            Entries by name; empty if the folder does not exist.
        """
        with speaking(self.url):
            self._files.invalidate_cache()
            try:
                infos = self._files.find(self._root, detail=True)
            except FileNotFoundError:
                return {}
        return {path.removeprefix(f"{self._root}/"): _entry(info) for path, info in infos.items()}

    def put(self, contents: Mapping[str, bytes]) -> None:
        """Write one file after the other.

        Parameters
        ----------
        contents : mapping of str to bytes
            Contents by name.
        """
        for name, content in contents.items():
            with speaking(self.url / name):
                self._files.makedirs(self._files._parent(self._at(name)), exist_ok=True)
                self._files.pipe_file(self._at(name), content)

    def delete(self, names: Iterable[str]) -> None:
        """Delete one file after the other.

        Parameters
        ----------
        names : iterable of str
            Their names.
        """
        for name in names:
            with speaking(self.url / name):
                self._files.rm_file(self._at(name))


class Hub(Files):
    """A folder of a repository on the Hugging Face Hub; objects put or deleted together are one commit.

    Parameters
    ----------
    url : Url
        An ``hf://`` URL inside a repository, which must exist.
    """

    at_once, batch_bytes = 1, _BATCH_BYTES

    def put(self, contents: Mapping[str, bytes]) -> None:
        """Put objects in one commit.

        Parameters
        ----------
        contents : mapping of str to bytes
            Contents by name.
        """
        from huggingface_hub import CommitOperationAdd

        self._commit(
            [CommitOperationAdd(self._inside(name), content) for name, content in contents.items()],
            f"Add {len(contents)} objects",
        )

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects in one commit.

        Parameters
        ----------
        names : iterable of str
            Their names.
        """
        from huggingface_hub import CommitOperationDelete

        gone = [CommitOperationDelete(self._inside(name)) for name in names]
        self._commit(gone, f"Delete {len(gone)} objects")

    def _inside(self, name: str) -> str:
        with speaking(self.url):
            return f"{self._files.resolve_path(self._root).path_in_repo}/{name}".lstrip("/")

    def _commit(self, operations: list[Any], words: str) -> None:
        from huggingface_hub import HfApi

        with speaking(self.url):
            at = self._files.resolve_path(self._root)
            HfApi(endpoint=self._files.endpoint, token=self._files.token).create_commit(
                at.repo_id,
                operations,
                commit_message=f"{words} (qloc store push)",
                repo_type=at.repo_type,
                revision=at.revision,
            )
            self._files.invalidate_cache()


def _entry(info: Mapping[str, Any]) -> Entry:
    """Return the entry for a file; the Hub gives the sha256 of large files, the git blob hash of others."""
    lfs, blob = info.get("lfs"), info.get("blob_id")
    checksum = ("sha256", str(lfs["sha256"])) if lfs else ("git", str(blob)) if blob else None
    return Entry(size=int(info["size"]), checksum=checksum)
