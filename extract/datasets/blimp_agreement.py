"""What an agreement pair is about: its feature and the word that it agrees with.

A feature is told by comparing the pair's two forms (library/libraries, has/have) or by a closed-class
determiner before them, never by the spelling of one form: *lens*, *news* and *pass* end in s too. Where
neither tells, or they disagree, it is ``""``.
"""

from __future__ import annotations

from typing import Final

SINGULAR: Final = "singular"
PLURAL: Final = "plural"

_DETERMINERS: Final = {
    **dict.fromkeys(("a", "an", "this", "that", "each", "every", "another"), SINGULAR),
    **dict.fromkeys(("these", "those", "many", "most", "all", "few", "several", "both"), PLURAL),
}
_OPENERS: Final = {*_DETERMINERS, *"the some no any my your his her its our their".split()}
_A_LOT_OF: Final = ["a", "lot", "of"]
_VERBS: Final = {
    **dict.fromkeys(("is", "was", "has", "does", "isn't", "wasn't", "hasn't", "doesn't"), SINGULAR),
    **dict.fromkeys(("are", "were", "have", "do", "aren't", "weren't", "haven't", "don't"), PLURAL),
}
_REFLEXIVES: Final = {"himself": "masculine", "herself": "feminine", "itself": "neuter", "themselves": PLURAL}

_NOUN_DETERMINER: Final = 3
"""Words before a noun in which its determiner is looked for: it, and up to two adjectives."""


def feature_of(term: str, prefix: str, good: str, bad: str) -> str:
    """The feature of the good form, or ``""``.

    Parameters
    ----------
    term : BLiMP's ``linguistics_term``: what kind of agreement it is.
    prefix : what stands before the form.

    Examples
    --------
    >>> feature_of("determiner_noun_agreement", "Raymond is selling this", "sketch", "sketches")
    'singular'
    >>> feature_of("subject_verb_agreement", "The plays about literature", "astound", "astounds")
    'plural'
    >>> feature_of("determiner_noun_agreement", "The children liked the", "octopi", "octopus")
    ''
    """
    good, bad = good.lower(), bad.lower()
    for table in (_VERBS, _DETERMINERS, _REFLEXIVES):
        if good in table and bad in table:
            return _contrast(table[good], table[bad])
    forms = _by_forms(term, good, bad)
    cue = _by_determiner(term, prefix.lower().split())
    return "" if forms and cue and forms != cue else forms or cue


def subject_of(term: str, prefix: str, suffix: str, noun: str = "") -> str:
    """What the form agrees with: the determiner, the noun, or the noun phrase that opens the sentence.

    Parameters
    ----------
    noun : BLiMP's ``two_prefix_word``: the noun, where the pair differs in its determiner.

    Examples
    --------
    >>> subject_of("determiner_noun_agreement", "Raymond is selling this old", ".")
    'this'
    >>> subject_of("subject_verb_agreement", "The plays about literature", " Catherine.")
    'The plays'
    """
    words = prefix.split()
    if noun:
        return noun
    if term == "determiner_noun_agreement":
        found = [word for word in words[-_NOUN_DETERMINER:] if word.lower() in _DETERMINERS]
        if found:
            return found[-1]
    if words:
        return " ".join(words[: _opening([word.lower() for word in words])])
    return suffix.strip(" .,;:!?").partition(" ")[0].rstrip(".,;:!?")


def _contrast(good: str, bad: str) -> str:
    """The good form's feature against the bad one's: number where they differ in it, else gender."""
    if good == bad:
        return ""
    return SINGULAR if bad == PLURAL else good


def _by_forms(term: str, good: str, bad: str) -> str:
    """The good form's number, from which of the two takes -s: plural of a noun, singular of a verb."""
    with_s = {"determiner_noun_agreement": PLURAL, "subject_verb_agreement": SINGULAR}.get(term)
    if with_s is None:
        return ""
    without = SINGULAR if with_s == PLURAL else PLURAL
    return with_s if good in _s_forms(bad) else without if bad in _s_forms(good) else ""


def _s_forms(word: str) -> set[str]:
    """What ``word`` may become when it takes -s."""
    forms = {word + "s"}
    if word.endswith(("s", "x", "z", "ch", "sh", "o")):
        forms.add(word + "es")
    if word.endswith("y"):
        forms.add(word[:-1] + "ies")
    if word.endswith(("f", "fe")):
        forms.add(word.rstrip("e")[:-1] + "ves")
    return forms


def _opening(words: list[str]) -> int:
    """How many of a sentence's words make the noun phrase that it opens with."""
    if words[:3] == _A_LOT_OF:
        return 4
    return 2 if words[0] in _OPENERS else 1


def _by_determiner(term: str, words: list[str]) -> str:
    """The number of the determiner that rules a form: the nearest one of a noun, the first one of a verb."""
    if term == "determiner_noun_agreement":
        found = [word for word in words[-_NOUN_DETERMINER:] if word in _DETERMINERS]
        return _DETERMINERS[found[-1]] if found else ""
    if term == "subject_verb_agreement" and words and words[:3] != _A_LOT_OF:
        return _DETERMINERS.get(words[0], "")
    return ""
