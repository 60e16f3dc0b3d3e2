"""The first sentence of a text, whose full stops may be those of initials and abbreviations."""

from __future__ import annotations

import re
from typing import Final

_ABBREVIATIONS: Final = frozenset(
    {
        *("St", "Ste", "Mt", "Ft", "Dr", "Mr", "Mrs", "Ms", "Prof", "Gen", "Col", "Capt", "Lt", "Sgt", "Rev"),
        *("Hon", "Sen", "Gov", "Jr", "Sr", "Bros", "Co", "Inc", "Ltd", "vs", "cf", "e.g", "i.e"),
    }
)
"""Behind which, with a full stop, no sentence ends."""


def first_sentence(text: str) -> str:
    """Return the first sentence of a text.

    No sentence ends behind an initial, a usual abbreviation, or a name with an exclamation mark that an arrow
    follows.

    Parameters
    ----------
    text : str
        Sentences, with a space between them.

    Returns
    -------
    str
        With its mark; the whole text where no sentence ends.

    Examples
    --------
    >>> first_sentence("By 0.4 at most. Yet not all.")
    'By 0.4 at most.'
    >>> first_sentence("Shown: J. R. R. Tolkien, of St. Ives. The mean is 0.6.")
    'Shown: J. R. R. Tolkien, of St. Ives.'
    """
    for end in re.finditer(r"[.!?](?=\s+[^\s→]|\s*$)", text):
        if not _abbreviated(text[: end.end()]):
            return text[: end.end()]
    return text


def _abbreviated(text: str) -> bool:
    """Say whether a text ends in initials (J., U.S.) or in a usual abbreviation."""
    word = re.split(r"[\s(\[\"'“‘-]", text)[-1]
    initials = word.isupper() and re.fullmatch(r"(?:[^\W\d_]\.)+", word) is not None
    return initials or word[:-1] in _ABBREVIATIONS
