"""Signs and words that a report uses, explained where they are first used, and in a list at its end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from string import ascii_letters, digits
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Term:
    """A sign or word.

    Attributes
    ----------
    sign : str
        As reports write it.
    meaning : str
        What it means, in a sentence.
    source : str
        Document and heading that say more, such as ``docs/methods.md#neuron-sets``.
    """

    sign: str
    meaning: str
    source: str

    @property
    def anchor(self) -> str:
        """Anchor of its entry on a page."""
        plain = ascii_letters + digits
        letters = (letter if letter in plain else f"-{ord(letter):x}" for letter in self.sign)
        return "term-" + "".join(letters)


_SETS, _SCORES = "docs/methods.md#neuron-sets", "docs/methods.md#consistency-across-paraphrases"
_EDITS, _ARMS = "docs/methods.md#edits", "docs/methods.md#interventions"

TERMS: Final = tuple(
    Term(sign=sign, meaning=meaning, source=source)
    for source, sign, meaning in (
        (_SETS, "N_i", "The knowledge neurons of query i: those whose attribution is above the threshold."),
        (_SETS, "N_j", "The knowledge neurons of another query of the same fact."),
        (_SETS, "N_u", "The union of the knowledge neurons of a fact's queries."),
        (_EDITS, "o′", "The answer that an edit is to put in the place of the right answer o."),
        (
            _SCORES,
            "κ",
            "Agreement of a fact's queries on their knowledge neurons beyond chance: 0 is what different "
            "facts of the relation have in common, 1 the same neurons every time.",
        ),
        (_SCORES, "D₀", "Mean overlap (Dice) of queries of different facts of a relation: κ's chance."),
        (
            _SCORES,
            "CS1",
            "Score of Chen et al.: neurons that all of a fact's queries have, of those that any has.",
        ),
        (_SCORES, "CS2", "Score of Chen et al.: neurons that several queries have, of those that any has."),
        (_SCORES, "K_I", "Share of facts that are inconsistent: their score is below a threshold."),
        (_SCORES, "k₀", "Number of queries to which every fact is brought, so that scores compare."),
        (
            _SETS,
            "CAS",
            "Consistency-aware score of a neuron: mean attribution over a fact's queries, less their spread.",
        ),
        (_EDITS, "nats", "Unit of information, by natural logarithms: one bit is 0.69 nats."),
        (_ARMS, "log-odds", "log(P / (1 − P)): changes of small and of large probabilities P compare."),
        (
            _ARMS,
            "knowledge synapses",
            "Attention, by head and place, that is held to select knowledge neurons.",
        ),
        (_ARMS, "re-prompt", "A query almost in the same words: what two of them share is a ceiling."),
        (
            _SCORES,
            "Otsu",
            "Otsu's threshold: the cut that parts scores into two groups as far apart as can be.",
        ),
    )
)
"""Every term, in the order in which the list at the end has them."""

_BY_SIGN: Final = {term.sign: term for term in TERMS}
_FIND: Final = re.compile(
    "|".join(rf"(?<![\w-]){re.escape(sign)}(?![\w′₀-])" for sign in sorted(_BY_SIGN, key=len, reverse=True))
)


def first_uses(text: str, seen: set[str]) -> Iterator[tuple[str, Term | None]]:
    """Part a text where a term stands that was not seen before.

    Parameters
    ----------
    text : str
        One line or more.
    seen : set of str
        Signs seen so far; those of the text are added.

    Yields
    ------
    part : str
        A piece of the text; all of them make it whole.
    term : Term or None
        What the piece means, where it is the first use of a term.

    Examples
    --------
    >>> seen = set()
    >>> [(part, term and term.sign) for part, term in first_uses("κ is 0.4, and κ of N_i is", seen)]
    [('κ', 'κ'), (' is 0.4, and κ of ', None), ('N_i', 'N_i'), (' is', None)]
    """
    end = 0
    for found in _FIND.finditer(text):
        if found[0] in seen:
            continue
        seen.add(found[0])
        if found.start() > end:
            yield text[end : found.start()], None
        yield found[0], _BY_SIGN[found[0]]
        end = found.end()
    if end < len(text):
        yield text[end:], None
