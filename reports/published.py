"""What is *as published*, told apart from what is corrected: a tag in words, from which the mark follows.

Whatever shows a published score, ratio or test says "as published" in its name. Figures draw what says so
gray and hollow, tables and headings put a gray tag beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

TAG: Final = "as published"
"""The words of the tag."""

COLUMNS: Final = frozenset({"cs1", "cs2", "mean_cs1", "mean_cs2", "arithmetic"})
"""Columns that are as published in every table that has them."""

_FIND: Final = re.compile(r",? ?\(?\bas published\)?", re.I)


def is_published(name: object) -> bool:
    """Return whether a name says that it is as published.

    Parameters
    ----------
    name : object
        Of a series, row, column, test or question.

    Returns
    -------
    bool
        Whether it has the tag.

    Examples
    --------
    >>> is_published("CS2 < 0.1, as published"), is_published("As published, 24%"), is_published("κ")
    (True, True, False)
    >>> is_published("What was published")
    False
    """
    return _FIND.search(str(name)) is not None


def tagged(heading: str, column: str) -> str:
    """Return the heading of a column, with the tag where the column is as published.

    Parameters
    ----------
    heading : str
        Without it, or with it.
    column : str
        Its name.

    Returns
    -------
    str
        Ends in ``, as published`` where it is.

    Examples
    --------
    >>> tagged("CS1", "cs1"), tagged("κ", "kappa")
    ('CS1, as published', 'κ')
    """
    return f"{heading}, {TAG}" if column in COLUMNS and not is_published(heading) else heading


def untagged(name: str) -> str:
    """Return a name without the tag, which is shown beside it.

    Parameters
    ----------
    name : str
        With or without it.

    Returns
    -------
    str
        Without.

    Examples
    --------
    >>> untagged("CS2 < 0.1, as published"), untagged("Do they differ, as published?")
    ('CS2 < 0.1', 'Do they differ?')
    """
    return _FIND.sub("", name)


SCORES: Final[Mapping[str, str]] = {"cs1": f"CS1, {TAG}", "cs2": f"CS2, {TAG}"}
"""Names of published scores where they stand as rows."""
