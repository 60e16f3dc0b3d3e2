"""Everyday sentences with number agreement, and minimal pairs of the same grammar, with nouns of our own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

NOUNS = tuple(
    "book lamp chair table cup spoon basket letter coat ladder garden window door key boat horse dog cat "
    "bird apple candle bottle ticket hat ring hammer wheel bridge tree flower".split()
)
PAIR_NOUNS = NOUNS[:10]
"""Nouns that minimal pairs ask for; training never shows them in the frames of the pairs."""

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
    """A minimal pair: one prompt, a good and a bad continuation that differ in number.

    Attributes
    ----------
    cue : the word in the prefix that decides, a determiner or a noun.
    noun : the lemma that the pair is about.
    template : id of the frame. text : the frame, with ``[X]`` for the cue and ``[Y]`` for the continuation.
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
    """Plural of one of ``NOUNS``, all of them regular.

    Examples
    --------
    >>> plural("book")
    'books'
    """
    return noun + "s"


def pairs() -> list[Pair]:
    """Minimal pairs of ``determiner_noun`` (its cue is the determiner) and ``subject_verb`` (the noun)."""
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
    """Every sentence of the grammar, in a fixed order, but for those that a minimal pair asks for.

    Each is a frame with ``[Y]`` for the word that agrees in number, and that word.

    Examples
    --------
    >>> everyday_sentences()[0]
    ('Anna carried this [Y].', 'book')
    """
    asked = {(pair.text.replace("[X]", pair.cue), form) for pair in pairs() for form in (pair.good, pair.bad)}
    made = dict.fromkeys([*_determiner_sentences(), *_verb_sentences(), *_frame_sentences()])
    return [sentence for sentence in made if sentence not in asked]


def _forms() -> Iterator[tuple[str, str, str]]:
    """Each noun's (number, lemma, form)."""
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
    """The frames of the pairs with the nouns that no pair asks for."""
    for number, noun, form in _forms():
        if noun in PAIR_NOUNS:
            continue
        for frame, determiner in product(_DETERMINER_FRAMES, DETERMINERS[number]):
            yield frame.replace("[X]", determiner), form
        for frame in _VERB_FRAMES:
            yield frame.replace("[X]", form), VERBS[number][0]
