"""Derive the feature of an agreement pair (a number or gender) and the words that its form agrees with.

A feature is derived by comparing the two forms of the pair (library/libraries, has/have), or from a
closed-class determiner before them, never from the spelling of one form: *lens*, *news* and *pass* end in s,
too. If neither source decides, or if they disagree, the feature is ``""``.
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
"""How many words before a noun may hold its determiner: the determiner and up to two adjectives."""


def feature_of(term: str, prefix: str, good: str, bad: str) -> str:
    """Return the feature of the good form.

    Parameters
    ----------
    term : str
        BLiMP's ``linguistics_term``, the kind of agreement.
    prefix : str
        The words before the form.
    good : str
        The form that agrees.
    bad : str
        The form that does not.

    Returns
    -------
    str
        ``"singular"``, ``"plural"``, ``"masculine"``, ``"feminine"`` or ``"neuter"``; ``""`` if it is not
        clear.

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
    """Return what the form agrees with: the determiner, the noun, or the noun phrase that opens the sentence.

    Parameters
    ----------
    term : str
        BLiMP's ``linguistics_term``, the kind of agreement.
    prefix : str
        The words before the form.
    suffix : str
        The words after the form.
    noun : str
        BLiMP's ``two_prefix_word``: the noun, if the pair differs in its determiner.

    Returns
    -------
    str
        The words that the form agrees with; the first word of ``suffix`` if nothing stands before the form.

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
        determiners = [word for word in words[-_NOUN_DETERMINER:] if word.lower() in _DETERMINERS]
        if determiners:
            return determiners[-1]
    if words:
        return " ".join(words[: _opening([word.lower() for word in words])])
    return suffix.strip(" .,;:!?").partition(" ")[0].rstrip(".,;:!?")


def _contrast(good: str, bad: str) -> str:
    """Return the good form's feature: number if the two forms differ in number, else gender."""
    if good == bad:
        return ""
    return SINGULAR if bad == PLURAL else good


def _by_forms(term: str, good: str, bad: str) -> str:
    """Return the good form's number from which of the two forms takes -s: a plural noun, a singular verb."""
    with_s = {"determiner_noun_agreement": PLURAL, "subject_verb_agreement": SINGULAR}.get(term)
    if with_s is None:
        return ""
    without = SINGULAR if with_s == PLURAL else PLURAL
    return with_s if good in _s_forms(bad) else without if bad in _s_forms(good) else ""


def _s_forms(word: str) -> set[str]:
    """Return what ``word`` may become when it takes -s."""
    forms = {word + "s"}
    if word.endswith(("s", "x", "z", "ch", "sh", "o")):
        forms.add(word + "es")
    if word.endswith("y"):
        forms.add(word[:-1] + "ies")
    if word.endswith(("f", "fe")):
        forms.add(word.rstrip("e")[:-1] + "ves")
    return forms


def _opening(words: list[str]) -> int:
    """Return how many words the noun phrase at the start of a sentence has."""
    if words[:3] == _A_LOT_OF:
        return 4
    return 2 if words[0] in _OPENERS else 1


def _by_determiner(term: str, words: list[str]) -> str:
    """Return the number of the determiner that rules a form: of a noun the nearest, of a verb the first."""
    if term == "determiner_noun_agreement":
        determiners = [word for word in words[-_NOUN_DETERMINER:] if word in _DETERMINERS]
        return _DETERMINERS[determiners[-1]] if determiners else ""
    if term == "subject_verb_agreement" and words and words[:3] != _A_LOT_OF:
        return _DETERMINERS.get(words[0], "")
    return ""
