"""Texts that are shown: what acts on a terminal or turns lines around is escaped, all else is left."""

from __future__ import annotations

import sys
import unicodedata

from qloc.text.printable import printable


def test_every_character_that_acts_is_escaped_and_no_other() -> None:
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    changed = {character for character in every if printable(character) != character}
    bidi = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    acts = {
        character
        for character in every
        if (unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") and character not in "\t\n")
        or unicodedata.bidirectional(character) in bidi
        or character in "\u061c\u200e\u200f"
        or 0xE0000 <= ord(character) <= 0xE007F
    }
    assert changed == acts
    assert all(printable(character).isascii() and printable(character).isprintable() for character in acts)
    assert printable("\x1b]0;x\x07\r\u202e\ud800") == r"\x1b]0;x\x07\r\u202e\ud800"
