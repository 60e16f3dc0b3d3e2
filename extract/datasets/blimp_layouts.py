"""Layouts of minimal-pair sets in the manner of BLiMP: BLiMP itself, SLING (Chinese) and JBLiMP (Japanese).

All have one pair a line; names of keys differ. SLING and JBLiMP do not say whether what decides a pair stands
before the difference. It certainly does if only punctuation follows the difference.

References
----------
Song et al., "SLING: Sino Linguistic Evaluation of Large Language Models", EMNLP 2022.
Someya and Oseki, "JBLiMP: Japanese Benchmark of Linguistic Minimal Pairs", Findings of EACL 2023.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any, Final

_NAMES: Final = {
    "sentence_good": ("sentence_good", "good_sentence"),
    "sentence_bad": ("sentence_bad", "bad_sentence"),
    "UID": ("UID", "paradigm"),
    "pairID": ("pairID", "pair_ID", "ID"),
}
"""BLiMP's names of what every layout has, and the names of the others."""


def in_blimp_layout(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry under BLiMP's names.

    Parameters
    ----------
    entry : mapping
        A line of BLiMP, SLING or JBLiMP.

    Returns
    -------
    dict
        The entry with BLiMP's names in place of the others'; numbers that name a pair are made text.

    Examples
    --------
    >>> in_blimp_layout({"ID": 4, "good_sentence": "a", "bad_sentence": "b", "paradigm": "case"})
    {'sentence_good': 'a', 'sentence_bad': 'b', 'UID': 'case', 'pairID': '4'}
    """
    named = {}
    used = set()
    for name, names in _NAMES.items():
        own = next((other for other in names if other in entry), None)
        if own is not None:
            named[name] = entry[own]
            used.add(own)
    if isinstance(named.get("pairID"), int) and not isinstance(named["pairID"], bool):
        named["pairID"] = str(named["pairID"])
    return {**named, **{key: value for key, value in entry.items() if key not in used}}


def is_without_spaces(sentence: str) -> bool:
    """Return whether a sentence is of a script that puts no space between words.

    Parameters
    ----------
    sentence : str
        A sentence.

    Returns
    -------
    bool
        Whether most of its letters are Han, kana, Thai, Lao, Khmer or Burmese.

    Examples
    --------
    >>> is_without_spaces("太郎が花子に会う。"), is_without_spaces("Taro met Hanako.")
    (True, False)
    """
    letters = [character for character in sentence if character.isalpha()]
    return 2 * sum(map(_joins, letters)) > len(letters)


def _joins(letter: str) -> bool:
    name = unicodedata.name(letter, "")
    return name.startswith(("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR"))
