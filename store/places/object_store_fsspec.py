"""Objects through fsspec: any scheme that it has a file system for. The Hugging Face Hub commits batches."""

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
    """The objects at a URL.

    Raises
    ------
    InputError : fsspec has no file system of this scheme.
    ModuleNotFoundError : the package of the file system is not installed.
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
    """Objects as files of an fsspec file system."""

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
        """The bytes from start to stop."""
        with speaking(self.url / name):
            return bytes(self._files.cat_file(self._at(name), start=start or None, end=stop))

    def pieces(self, name: str) -> Iterator[bytes]:
        """A whole file, read on."""
        with speaking(self.url / name), self._files.open(self._at(name), "rb") as opened:
            while piece := opened.read(_PIECE):
                yield piece

    def size(self, name: str) -> int:
        """Bytes of a file."""
        with speaking(self.url / name):
            return int(self._files.size(self._at(name)))

    def listing(self) -> dict[str, Entry] | None:
        """Every file, listed anew."""
        with speaking(self.url):
            self._files.invalidate_cache()
            try:
                found = self._files.find(self._root, detail=True)
            except FileNotFoundError:
                return {}
        return {path.removeprefix(f"{self._root}/"): _entry(one) for path, one in found.items()}

    def put(self, contents: Mapping[str, bytes]) -> None:
        """One file after the other."""
        for name, content in contents.items():
            with speaking(self.url / name):
                self._files.makedirs(self._files._parent(self._at(name)), exist_ok=True)
                self._files.pipe_file(self._at(name), content)

    def delete(self, names: Iterable[str]) -> None:
        """One file after the other."""
        for name in names:
            with speaking(self.url / name):
                self._files.rm_file(self._at(name))


class Hub(Files):
    """A folder of a repository on the Hugging Face Hub: what is put or deleted together is one commit."""

    at_once, batch_bytes = 1, _BATCH_BYTES

    def put(self, contents: Mapping[str, bytes]) -> None:
        """One commit; the repository must be there."""
        from huggingface_hub import CommitOperationAdd

        self._commit(
            [CommitOperationAdd(self._inside(name), content) for name, content in contents.items()],
            f"Add {len(contents)} objects",
        )

    def delete(self, names: Iterable[str]) -> None:
        """One commit."""
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


def _entry(found: Mapping[str, Any]) -> Entry:
    """On the Hub, large files come with their sha256, small ones with that of their git blob (sha1)."""
    lfs, blob = found.get("lfs"), found.get("blob_id")
    told = ("sha256", str(lfs["sha256"])) if lfs else ("git", str(blob)) if blob else None
    return Entry(size=int(found["size"]), told=told)
