"""Objects at a URL: read, listed, put and deleted, whatever service keeps them.

obstore serves s3, gs, az, http, https and file: it needs nothing else, asks again where a service is busy,
and takes credentials from the environment. Any other scheme goes through fsspec
(:mod:`qloc.store.places.object_store_fsspec`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import chain
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote

from qloc.errors import QlocError, RemoteError, message
from qloc.store.files.url import Url

if TYPE_CHECKING:
    from obstore.store import ObjectStore

OBSTORE: Final = ("s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss", "http", "https", "file")
READ_ONLY: Final = ("http", "https")
_PIECE: Final = 2**23
_MOST_WHOLE: Final = 2**28
"""Fetched at once from a server that cannot give a part of an object."""

_RETRY: Final = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=5),
        "base": 2,
    },
}
_CLIENT: Final = {"allow_http": True, "connect_timeout": "10s", "read_timeout": "60s", "timeout": "900s"}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a service says of an object.

    Attributes
    ----------
    size : bytes.
    told : name of a hash (``md5``, ``sha256``, or ``git``, that of a git blob) and its hex digest, as the
        service says; None where it says none.
    """

    size: int
    told: tuple[str, str] | None = None


class Objects(Protocol):
    """Named objects under one URL. Every method may raise RemoteError."""

    url: Url
    at_once: int
    """How many may be put at the same time."""

    batch_bytes: int
    """How many bytes are put together; 0 where each object is put by itself."""

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes from start to stop; FileNotFoundError where there is no such object."""
        ...

    def pieces(self, name: str) -> Iterator[bytes]:
        """A whole object, piece by piece; FileNotFoundError where there is none."""
        ...

    def size(self, name: str) -> int:
        """Bytes of an object; FileNotFoundError where there is none."""
        ...

    def listing(self) -> dict[str, Entry] | None:
        """Every object by its name; None where the service does not tell."""
        ...

    def put(self, contents: Mapping[str, bytes]) -> None:
        """Write objects, in place of those of their names."""
        ...

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects that are there."""
        ...


@contextmanager
def speaking(url: str) -> Iterator[None]:
    """Turn what a service or its library raises into a RemoteError; what is missing stays FileNotFoundError.

    Raises
    ------
    RemoteError : for any other error inside.
    """
    try:
        yield
    except (FileNotFoundError, ImportError, QlocError):
        raise
    except Exception as error:  # libraries of services have no error in common
        said = str(error).partition("\n\nDebug source")[0].partition("\n")[0].strip()[:500]
        action = "Check URL, network and credentials and run the same command again: what arrived is kept"
        text = message("service", said or type(error).__name__, "an answer", url, action)
        raise RemoteError(text) from error


class ObstoreObjects:
    """Objects through obstore."""

    at_once, batch_bytes = 8, 0

    def __init__(self, url: Url, *, write: bool) -> None:
        import obstore

        self.url, self._write, self._obstore = url, write, obstore
        self._ranges, self._whole, self._fetching = True, ("", b""), Lock()
        self._made: ObjectStore | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), write=False), (self.url,)

    @property
    def _store(self) -> ObjectStore:
        if self._made is None:
            from obstore.store import from_url

            if self.url.scheme == "file":
                self._made = from_url(self.url, mkdir=self._write)
            else:
                self._made = from_url(self.url, client_options=_CLIENT, retry_config=_RETRY)  # type: ignore[call-overload]
        return self._made

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes from start to stop; where a server knows no ranges, cut from the whole."""
        with speaking(self.url / name):
            if (start, stop) == (0, None):
                return bytes(self._obstore.get(self._store, name).bytes())
            wanted: Any = {"offset": start} if stop is None else (start, stop)
            try:
                if self._ranges:
                    return bytes(self._obstore.get(self._store, name, options={"range": wanted}).bytes())
            except self._obstore.exceptions.NotSupportedError:
                self._ranges = False
            with self._fetching:  # once, however many ask for a part of it
                held, whole = self._whole
                if held != name:
                    whole = self._fetched(name)
                    self._whole = (name, whole)
            return whole[start:stop]

    def _fetched(self, name: str) -> bytes:
        found = self._obstore.get(self._store, name)
        if (size := found.meta["size"]) > _MOST_WHOLE:
            rule, action = "one that can read a part of a file", "Pull or download the store, and open that"
            got = f"without byte ranges, for {size} bytes"
            raise RemoteError(message("server", got, rule, self.url / name, action))
        return bytes(found.bytes())

    def pieces(self, name: str) -> Iterator[bytes]:
        """A whole object as it comes."""
        with speaking(self.url / name):
            for piece in self._obstore.get(self._store, name).stream(min_chunk_size=_PIECE):
                yield bytes(piece)

    def size(self, name: str) -> int:
        """Bytes of an object."""
        with speaking(self.url / name):
            return int(self._obstore.head(self._store, name)["size"])

    def listing(self) -> dict[str, Entry] | None:
        """Every object; None over HTTP, and where listing is forbidden."""
        if self.url.scheme in READ_ONLY:
            return None
        refused = (
            self._obstore.exceptions.PermissionDeniedError,
            self._obstore.exceptions.UnauthenticatedError,
        )
        with speaking(self.url):
            try:
                found = list(chain.from_iterable(self._obstore.list(self._store)))
            except refused:
                if self._write:
                    raise
                return None
        return {one["path"]: Entry(size=one["size"], told=_md5(one.get("e_tag"))) for one in found}

    def put(self, contents: Mapping[str, bytes]) -> None:
        """One request for each: a service then has an object whole or not at all."""
        for name, content in contents.items():
            with speaking(self.url / name):
                self._obstore.put(self._store, name, content, use_multipart=False)

    def delete(self, names: Iterable[str]) -> None:
        """One request for many, where the service can."""
        with speaking(self.url):
            self._obstore.delete(self._store, list(names))


def _md5(tag: str | None) -> tuple[str, str] | None:
    """The md5 that an ETag may be: S3's of an object put at once is. Compared, never believed."""
    bare = (tag or "").strip('"').lower()
    return ("md5", bare) if len(bare) == 32 and all(c in "0123456789abcdef" for c in bare) else None


def unquoted(url: Url) -> str:
    """The last part of a URL as the name of an object."""
    return unquote(url.name) if url.scheme in READ_ONLY else url.name
