"""Texts of others, made safe to show: nothing in them moves a cursor, colors a screen or turns a line."""

from __future__ import annotations

import re
from typing import Final

_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for tab and line feed; ESC begins commands
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # Unicode's Bidi_Control: they reorder what is shown
    "\u2028\u2029"  # further line ends
    "\ud800-\udfff"  # halves of characters, which no file can hold
    "\U000e0000-\U000e007f]"  # invisible copies of ASCII
)


def printable(text: str) -> str:
    r"""Write characters that would act on whatever shows a text as escapes, which only look odd.

    Parameters
    ----------
    text : str
        Any text, such as a subject in a store of somebody else's. Tabs and line feeds stay.

    Returns
    -------
    str
        The same where nothing in it acts: control characters, bidirectional controls, line and paragraph
        separators, surrogates and tag characters are escaped as in Python.

    Examples
    --------
    >>> print(printable("Paris\x1b[2J"), printable("a\u202eb"), printable("κ = 0.4, שלום"))
    Paris\x1b[2J a\u202eb κ = 0.4, שלום
    """
    return _UNSAFE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return repr(found[0])[1:-1] if found[0] > "\x1f" or found[0] in "\r" else f"\\x{ord(found[0]):02x}"
