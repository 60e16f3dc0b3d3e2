"""Objects at a URL: read, list, put and delete them, whatever service keeps them.

obstore serves s3, gs, az, http, https and file: it needs no other package, retries while a service is busy,
and takes credentials from the environment. Any other scheme goes through fsspec
(:mod:`qloc.store.places.object_store_fsspec`).
"""

from __future__ import annotations

import time
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
from qloc.store.places.chunked_http import chunked_pieces

if TYPE_CHECKING:
    from obstore.store import ObjectStore

OBSTORE: Final = ("s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss", "http", "https", "file")
"""Schemes that go through obstore."""

READ_ONLY: Final = ("http", "https")
"""Schemes that can be neither listed nor written to."""

_PIECE: Final = 2**23
_MOST_WHOLE: Final = 2**28
"""Largest object fetched whole from a server that cannot give a part of it, in bytes."""

_RETRY: Final = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=5),
        "base": 2,
    },
}
_SLOWEST: Final = 2**10
"""Fewest bytes a second that may arrive of an object, on average, once :data:`_GRACE` is over."""

_GRACE: Final = 60.0
"""Seconds for which an object may arrive more slowly."""

_CLIENT: Final = {"allow_http": True, "connect_timeout": "10s", "read_timeout": "60s", "timeout": "900s"}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a service's listing says of one object.

    Attributes
    ----------
    size : int
        Bytes.
    checksum : tuple of (str, str) or None
        Name of a hash (``md5``, ``sha256``, or ``git``, the hash of a git blob) and its hexadecimal digest,
        as the service gives it; None if it gives none.
    """

    size: int
    checksum: tuple[str, str] | None = None


class Objects(Protocol):
    """Named objects under one URL. Every method may raise RemoteError."""

    url: Url
    at_once: int
    """How many may be put at the same time."""

    batch_bytes: int
    """How many bytes are put together; 0 where each object is put by itself."""

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Read a part of an object; raise FileNotFoundError if there is no such object.

        Parameters
        ----------
        name : str
            Name of the object, relative to the URL.
        start : int
            First byte.
        stop : int or None
            Byte after the last one; None for the end of the object.

        Returns
        -------
        bytes
            The bytes from start to stop.
        """
        ...

    def pieces(self, name: str) -> Iterator[bytes]:
        """Read a whole object piece by piece; raise FileNotFoundError if there is no such object.

        Parameters
        ----------
        name : str
            Name of the object.

        Yields
        ------
        bytes
            The next piece.
        """
        ...

    def size(self, name: str) -> int:
        """Return the size of an object; raise FileNotFoundError if there is no such object.

        Parameters
        ----------
        name : str
            Name of the object.

        Returns
        -------
        int
            Bytes.
        """
        ...

    def listing(self) -> dict[str, Entry] | None:
        """List every object.

        Returns
        -------
        dict of str to Entry or None
            Entries by name; None if the service does not list objects.
        """
        ...

    def put(self, contents: Mapping[str, bytes]) -> None:
        """Write objects, in place of any of the same names.

        Parameters
        ----------
        contents : mapping of str to bytes
            Contents by name.
        """
        ...

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects, which exist.

        Parameters
        ----------
        names : iterable of str
            Their names.
        """
        ...


@contextmanager
def speaking(url: str) -> Iterator[None]:
    """Turn errors of a service or its library into a RemoteError; FileNotFoundError stays as it is.

    Parameters
    ----------
    url : str
        The address, for the message.

    Yields
    ------
    None
        Nothing; talk to the service inside the block.

    Raises
    ------
    RemoteError
        For any other error inside the block, except ImportError and qloc's own errors.
    """
    try:
        yield
    except (FileNotFoundError, ImportError, QlocError):
        raise
    except Exception as error:  # libraries of services have no error in common
        reason = str(error).partition("\n\nDebug source")[0].partition("\n")[0].strip()[:500]
        action = "Check URL, network and credentials and run the same command again: what arrived is kept"
        text = message("service", reason or type(error).__name__, "an answer", url, action)
        raise RemoteError(text) from error


class ObstoreObjects:
    """Objects through obstore.

    Parameters
    ----------
    url : Url
        What the names are relative to.
    write : bool
        Whether objects will be put; a folder at a ``file`` URL is then created, and must be listable.
    """

    at_once, batch_bytes = 8, 0

    def __init__(self, url: Url, *, write: bool) -> None:
        import obstore

        self.url, self._write, self._obstore = url, write, obstore
        self._ranges, self._whole, self._fetching, self._chunked = True, ("", b""), Lock(), False
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
        """Read a part of an object; if a server has no byte ranges, cut it from the whole object.

        Parameters
        ----------
        name : str
            Name of the object, relative to the URL.
        start : int
            First byte.
        stop : int or None
            Byte after the last one; None for the end of the object.

        Returns
        -------
        bytes
            The bytes from start to stop.
        """
        with speaking(self.url / name):
            if (start, stop) == (0, None):
                return b"".join(self._arriving(name))
            wanted: Any = {"offset": start} if stop is None else (start, stop)
            try:
                if self._ranges:
                    return b"".join(self._arriving(name, range=wanted))
            except self._obstore.exceptions.NotSupportedError:
                self._ranges = False
            with self._fetching:  # once, however many ask for a part of it
                held, whole = self._whole
                if held != name:
                    whole = self._fetched(name)
                    self._whole = (name, whole)
            return whole[start:stop]

    def _fetched(self, name: str) -> bytes:
        """Fetch a whole object that only a part is wanted of; refuse one too large to keep in memory."""
        whole = bytearray()
        for piece in self._arriving(name, most=_MOST_WHOLE):
            whole += piece
            if len(whole) > _MOST_WHOLE:
                raise self._too_large(name, f"more than {_MOST_WHOLE}")
        return bytes(whole)

    def _too_large(self, name: str, size: object) -> RemoteError:
        rule, action = "one that can read a part of a file", "Pull or download the store, and open that"
        return RemoteError(
            message("server", f"without byte ranges, for {size} bytes", rule, self.url / name, action)
        )

    def _arriving(self, name: str, *, most: int | None = None, **options: Any) -> Iterator[bytes]:
        """Yield the bytes of an object as they arrive; end a server that sends next to nothing.

        An object that is said to have more than ``most`` bytes is not begun.
        """
        waited, arrived, began = 0.0, 0, time.monotonic()
        for piece in self._sent(name, most, options):
            waited, arrived = waited + time.monotonic() - began, arrived + len(piece)
            if waited > _GRACE and arrived < _SLOWEST * waited:
                got = f"{arrived} bytes in {waited:.0f} seconds"
                rule, action = f"at least {_SLOWEST} bytes a second", "Try again later, or from another place"
                raise RemoteError(message("answer", got, rule, self.url / name, action))
            yield piece
            began = time.monotonic()

    def _sent(self, name: str, most: int | None, options: Any) -> Iterator[bytes]:
        try:
            if not self._chunked:
                response = self._obstore.get(self._store, name, options=options or None)
                if most is not None and response.meta["size"] > most:
                    raise self._too_large(name, response.meta["size"])
                yield from map(bytes, response.stream(min_chunk_size=1))
                return
        except self._obstore.exceptions.GenericError as error:
            if self.url.scheme not in READ_ONLY or "Content-Length" not in str(error):
                raise
            self._chunked, self._ranges = True, False
        if options:  # a part, of a server that does not even say how long the whole is
            raise self._obstore.exceptions.NotSupportedError("no byte ranges")
        yield from chunked_pieces(self.url / name)

    def pieces(self, name: str) -> Iterator[bytes]:
        """Read a whole object as it arrives.

        Parameters
        ----------
        name : str
            Name of the object.

        Yields
        ------
        bytes
            The next piece.
        """
        with speaking(self.url / name):
            gathered = bytearray()
            for piece in self._arriving(name):
                gathered += piece
                if len(gathered) >= _PIECE:
                    yield bytes(gathered)
                    gathered.clear()
            if gathered:
                yield bytes(gathered)

    def size(self, name: str) -> int:
        """Return the size of an object.

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
            try:
                return int(self._obstore.head(self._store, name)["size"])
            except self._obstore.exceptions.GenericError as error:
                if self.url.scheme not in READ_ONLY or "Content-Length" not in str(error):
                    raise
            self._chunked, self._ranges = True, False
            return len(self.read(name, 0, _MOST_WHOLE))

    def listing(self) -> dict[str, Entry] | None:
        """List every object.

        Returns
        -------
        dict of str to Entry or None
            Entries by name; None over HTTP, and if listing is forbidden to a reader.
        """
        if self.url.scheme in READ_ONLY:
            return None
        refused = (
            self._obstore.exceptions.PermissionDeniedError,
            self._obstore.exceptions.UnauthenticatedError,
        )
        with speaking(self.url):
            try:
                infos = list(chain.from_iterable(self._obstore.list(self._store)))
            except refused:
                if self._write:
                    raise
                return None
        return {info["path"]: Entry(size=info["size"], checksum=_md5(info.get("e_tag"))) for info in infos}

    def put(self, contents: Mapping[str, bytes]) -> None:
        """Put each object in one request: the service then has it whole or not at all.

        Parameters
        ----------
        contents : mapping of str to bytes
            Contents by name.
        """
        for name, content in contents.items():
            with speaking(self.url / name):
                self._obstore.put(self._store, name, content, use_multipart=False)

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects, many in one request if the service can.

        Parameters
        ----------
        names : iterable of str
            Their names.
        """
        with speaking(self.url):
            self._obstore.delete(self._store, list(names))


def _md5(tag: str | None) -> tuple[str, str] | None:
    """Return the md5 that an ETag may be, as it is on S3 for an object put in one request; never trusted."""
    bare = (tag or "").strip('"').lower()
    return ("md5", bare) if len(bare) == 32 and all(c in "0123456789abcdef" for c in bare) else None


def unquoted(url: Url) -> str:
    """Return the last part of a URL as the name of an object.

    Parameters
    ----------
    url : Url
        The URL of an object.

    Returns
    -------
    str
        Its name; percent escapes are decoded over HTTP only.
    """
    return unquote(url.name) if url.scheme in READ_ONLY else url.name
