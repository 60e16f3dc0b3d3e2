"""Where a text mentions a name: as a whole word, if it does anywhere."""

from __future__ import annotations

import re


def mentions(text: str, name: str) -> list[tuple[int, int]]:
    """Return where a name is mentioned, whole words preferred.

    Parameters
    ----------
    text : str
        Any text.
    name : str
        Not empty; a subject or an object.

    Returns
    -------
    list of tuple of (int, int)
        Start and end of each mention as a whole word, in characters; only where there is none, of every place
        where it stands, also within other words.

    Examples
    --------
    >>> mentions("Romeo is from Rome.", "Rome"), mentions("Romeo", "Rome"), mentions("Lima", "Rome")
    ([(14, 18)], [(0, 4)], [])
    """
    own = re.escape(name)
    whole = [found.span() for found in re.finditer(rf"(?<!\w){own}(?!\w)", text)]
    return whole or [found.span() for found in re.finditer(own, text)]


def renamed(text: str, name: str, other: str) -> str:
    """Put another name in place of one, wherever it is mentioned (:func:`mentions`).

    Parameters
    ----------
    text : str
        Any text.
    name : str
        Not empty.
    other : str
        Put in its place as it stands.

    Returns
    -------
    str
        The text; the same where the name is not mentioned.

    Examples
    --------
    >>> renamed("Romeo is from Rome.", "Rome", "[X]")
    'Romeo is from [X].'
    """
    parts, behind = [], 0
    for start, end in mentions(text, name):
        parts += [text[behind:start], other]
        behind = end
    return "".join([*parts, text[behind:]])
