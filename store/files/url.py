"""Addresses of remote stores."""

from __future__ import annotations

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from qloc.errors import InputError, message


class Url(str):
    """A URL with the path operations that :class:`pathlib.Path` has: ``/``, ``name`` and ``parent``.

    Examples
    --------
    >>> Url("s3://bucket/study.zarr/") / "manifest.json"
    's3://bucket/study.zarr/manifest.json'
    """

    __slots__ = ()

    def __truediv__(self, name: str) -> Self:
        return type(self)(f"{self.rstrip('/')}/{name}")

    @property
    def scheme(self) -> str:
        """The scheme in lower case, such as ``s3``."""
        return self.partition("://")[0].lower()

    @property
    def name(self) -> str:
        """The last part of the path."""
        return urlsplit(self).path.rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> Self:
        """The URL without the last part, ending with ``/``."""
        return type(self)(self.rstrip("/").rpartition("/")[0] + "/")


def is_url(text: object) -> bool:
    """Tell whether a text is a URL rather than a path.

    Parameters
    ----------
    text : object
        What a user gave; anything but a string is no URL.

    Returns
    -------
    bool
        Whether it begins with a scheme and ``://``.

    Examples
    --------
    >>> [is_url(text) for text in ("s3://bucket/a.zarr", "a.zarr", "/a/b://c", "c:/a")]
    [True, False, False, False]
    """
    scheme, separator, _ = text.partition("://") if isinstance(text, str) else ("", "", "")
    return bool(separator) and all(part.isalnum() for part in scheme.replace("+", "-").split("-"))


def local(path: str | Path, command: str) -> Path:
    """Return a path on this machine; refuse a URL, for commands that need a store as files.

    Parameters
    ----------
    path : str or Path
        What a user gave.
    command : str
        The command that needs files, for the message.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    InputError
        It is a URL.
    """
    if is_url(path):
        rule, action = "a path on this machine", f"Run qloc store pull {path} STORE, and give STORE"
        raise InputError(message("store", path, rule, command, action))
    return Path(path)


def url_of(text: str) -> Url:
    """Parse a text as a URL, without a slash at its end.

    Parameters
    ----------
    text : str
        What a user gave.

    Returns
    -------
    Url
        The URL.

    Raises
    ------
    InputError
        It is a path, or it has a user, a password, a query or a fragment: these would be ignored, or shown in
        messages.
    """
    if not is_url(text):
        rule, action = "a URL such as s3://bucket/study.zarr", "Give one"
        raise InputError(message("remote", text, rule, "qloc store push and pull", action))
    parts = urlsplit(text)
    if parts.username or parts.password or parts.query or parts.fragment:
        shown = f"{parts.scheme}://…{parts.path}"
        rule = "without user, password, query and fragment"
        action = "Give the bare URL, and credentials by the environment"
        raise InputError(message("URL", shown, rule, "the command line", action))
    return Url(text.rstrip("/"))
