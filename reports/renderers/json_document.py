"""A document as JSON, for programs: everything a reader is shown, at full precision."""

from __future__ import annotations

import json

from qloc.analysis.results import plain
from qloc.reports.document import Document

FORMAT_VERSION = 1
"""1: first form."""


def render(document: Document) -> str:
    """Write a document as JSON.

    Parameters
    ----------
    document : Document
        As data.

    Returns
    -------
    str
        The whole file; what is not available is null.
    """
    content = {"format": FORMAT_VERSION, **plain(document)}
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
