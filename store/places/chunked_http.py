"""Objects of web servers that do not say how long they are (``Transfer-Encoding: chunked``).

obstore refuses them.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Final

_PIECE: Final = 2**16
_SILENCE: Final = 60.0
"""Seconds for which a server may send nothing."""

_HANDLERS: Final = (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.HTTPErrorProcessor,
)
"""What web servers need; no handler of files or FTP, to which a server could redirect."""


def chunked_pieces(url: str) -> Iterator[bytes]:
    """Read an object as it arrives, however long it is.

    Parameters
    ----------
    url : str
        Its address, ``http`` or ``https``.

    Yields
    ------
    bytes
        The next piece.

    Raises
    ------
    FileNotFoundError
        There is no such object.
    OSError, http.client.HTTPException
        The server refused, was silent for too long, or ended amid a chunk.
    """
    opener = urllib.request.OpenerDirector()
    for handler in _HANDLERS:
        opener.add_handler(handler())
    try:
        response = opener.open(url, timeout=_SILENCE)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (404, 410):
            raise FileNotFoundError(2, "No such file or directory", url) from None
        raise
    with response:
        while piece := response.read1(_PIECE):
            yield piece
