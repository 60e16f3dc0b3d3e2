"""Everyday sentences with number agreement, and minimal pairs of the same grammar with nouns of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

NOUNS = tuple(
    "book lamp chair table cup spoon basket letter coat ladder garden window door key boat horse dog cat "
    "bird apple candle bottle ticket hat ring hammer wheel bridge tree flower".split()
)
PAIR_NOUNS = NOUNS[:10]
"""Nouns of the minimal pairs. Training never shows them in the frames of the pairs."""

DETERMINERS = {"singular": ("this", "that"), "plural": ("these", "those")}
VERBS = {"singular": ("is", "was"), "plural": ("are", "were")}
_NAMES = "Anna Ben Clara David Emma Felix Greta Hugo Ida Jonas".split()
_CARRIED = "carried found sold painted lost wanted cleaned bought moved kept".split()
_STATES = "old new small clean broken heavy light red green blue".split()
_PLACES = ("near the door", "in the garden", "on the table", "by the window", "under the tree")
_DETERMINER_FRAMES = (
    "The girl carried [X] [Y].",
    "Yesterday the teacher found [X] [Y].",
    "My brother sold [X] [Y].",
    "Nobody wanted [X] [Y].",
)
_VERB_FRAMES = (
    "The [X] near the door [Y] old.",
    "The [X] in the garden [Y] broken.",
    "The [X] on the table [Y] small.",
)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A minimal pair: one prompt, with a good and a bad continuation that differ in number.

    Attributes
    ----------
    paradigm : {"determiner_noun", "subject_verb"}
        What agrees with what.
    feature : {"singular", "plural"}
        Number of the good continuation.
    cue : str
        The word in the prefix that decides, a determiner or a noun.
    noun : str
        Lemma of the noun that the pair is about.
    good : str
        The continuation that agrees with the cue.
    bad : str
        The continuation that does not.
    template : str
        Id of the frame.
    text : str
        The frame, with ``[X]`` for the cue and ``[Y]`` for the continuation.
    """

    paradigm: str
    feature: str
    cue: str
    noun: str
    good: str
    bad: str
    template: str
    text: str


def plural(noun: str) -> str:
    """Return the plural of one of ``NOUNS``, which are all regular.

    Parameters
    ----------
    noun : str
        A lemma.

    Returns
    -------
    str
        The plural form.

    Examples
    --------
    >>> plural("book")
    'books'
    """
    return noun + "s"


def pairs() -> list[Pair]:
    """Return the minimal pairs of both paradigms.

    Returns
    -------
    list of Pair
        First ``determiner_noun``, whose cue is the determiner; then ``subject_verb``, whose cue is the noun.
    """
    return [*_determiner_pairs(), *_verb_pairs()]


def _determiner_pairs() -> Iterator[Pair]:
    for n, noun in enumerate(PAIR_NOUNS):
        frame = n % len(_DETERMINER_FRAMES)
        for feature, determiners in DETERMINERS.items():
            forms = (noun, plural(noun)) if feature == "singular" else (plural(noun), noun)
            for determiner in determiners:
                yield Pair(
                    paradigm="determiner_noun",
                    feature=feature,
                    cue=determiner,
                    noun=noun,
                    good=forms[0],
                    bad=forms[1],
                    template=f"determiner_noun-{frame + 1}",
                    text=_DETERMINER_FRAMES[frame],
                )


def _verb_pairs() -> Iterator[Pair]:
    for n, noun in enumerate(PAIR_NOUNS):
        frame = n % len(_VERB_FRAMES)
        for feature, other in (("singular", "plural"), ("plural", "singular")):
            yield Pair(
                paradigm="subject_verb",
                feature=feature,
                cue=noun if feature == "singular" else plural(noun),
                noun=noun,
                good=VERBS[feature][0],
                bad=VERBS[other][0],
                template=f"subject_verb-{frame + 1}",
                text=_VERB_FRAMES[frame],
            )


def everyday_sentences() -> list[tuple[str, str]]:
    """Return every sentence of the grammar, in a fixed order, except those that a minimal pair asks for.

    Returns
    -------
    list of (str, str)
        A frame with ``[Y]`` for the word that agrees in number, and that word.

    Examples
    --------
    >>> everyday_sentences()[0]
    ('Anna carried this [Y].', 'book')
    """
    of_pairs = {
        (pair.text.replace("[X]", pair.cue), form) for pair in pairs() for form in (pair.good, pair.bad)
    }
    sentences = dict.fromkeys([*_determiner_sentences(), *_verb_sentences(), *_frame_sentences()])
    return [sentence for sentence in sentences if sentence not in of_pairs]


def _forms() -> Iterator[tuple[str, str, str]]:
    """Iterate over (number, lemma, form) of each noun."""
    for noun in NOUNS:
        yield "singular", noun, noun
        yield "plural", noun, plural(noun)


def _determiner_sentences() -> Iterator[tuple[str, str]]:
    for name, verb, (number, _, form) in product(_NAMES, _CARRIED, _forms()):
        for determiner in DETERMINERS[number]:
            yield f"{name} {verb} {determiner} [Y].", form


def _verb_sentences() -> Iterator[tuple[str, str]]:
    for (number, _, form), state in product(_forms(), _STATES):
        for place in _PLACES:
            yield f"The {form} {place} [Y] {state}.", VERBS[number][0]
        yield f"The {form} [Y] {state}.", VERBS[number][1]
        yield f"{DETERMINERS[number][0].capitalize()} {form} [Y] {state}.", VERBS[number][0]


def _frame_sentences() -> Iterator[tuple[str, str]]:
    """Iterate over the frames of the pairs, with the nouns that no pair asks for."""
    for number, noun, form in _forms():
        if noun in PAIR_NOUNS:
            continue
        for frame, determiner in product(_DETERMINER_FRAMES, DETERMINERS[number]):
            yield frame.replace("[X]", determiner), form
        for frame in _VERB_FRAMES:
            yield frame.replace("[X]", form), VERBS[number][0]
