"""Addresses of remote stores."""

from __future__ import annotations

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from qloc.errors import InputError, message


class Url(str):
    """A URL that ``/`` leads on from, as it does from a path.

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
        """What the URL begins with, in small letters: ``s3``."""
        return self.partition("://")[0].lower()

    @property
    def name(self) -> str:
        """The last part of its path."""
        return urlsplit(self).path.rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> Self:
        """What is above the last part, with ``/`` at the end."""
        return type(self)(self.rstrip("/").rpartition("/")[0] + "/")


def is_url(text: object) -> bool:
    """Whether a text is a URL and no path.

    Examples
    --------
    >>> [is_url(text) for text in ("s3://bucket/a.zarr", "a.zarr", "/a/b://c", "c:/a")]
    [True, False, False, False]
    """
    scheme, found, _ = text.partition("://") if isinstance(text, str) else ("", "", "")
    return bool(found) and all(part.isalnum() for part in scheme.replace("+", "-").split("-"))


def local(path: str | Path, command: str) -> Path:
    """A path on this machine, for what reads or writes a store as files.

    Parameters
    ----------
    command : names what needs it, for the error.

    Raises
    ------
    InputError : it is a URL.
    """
    if is_url(path):
        rule, action = "a path on this machine", f"Run qloc store pull {path} STORE, and give STORE"
        raise InputError(message("store", path, rule, command, action))
    return Path(path)


def url_of(text: str) -> Url:
    """The URL that a text is.

    Raises
    ------
    InputError : it is a path, or has a user, a query or a fragment: these would be read by nobody, or shown.
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
