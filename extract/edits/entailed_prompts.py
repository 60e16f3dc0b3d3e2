"""What an edit entails, and what it should leave alone: a fact's inverse, synonyms, neighborhood and texts.

The prompts are those that the fact's data gives beside its queries (:class:`qloc.facts.Entailments`). In the
inverse, an edit to o′ has two sides: who has o′ now (the *new inverse*), and that the subject has o no longer
(the *old inverse*). Where o′ is the object of another fact, that fact is edited to o along with it in these
prompts, so that what is asked stays one to one.

References
----------
Niu et al. 2024 (arXiv 2405.02421), §4: bijective symmetry and synonymous invariance. Meng et al. 2022
(arXiv 2202.05262), §3.3: neighborhood and generation prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from qloc.facts import Fact, Query, fill
from qloc.phase_plan import NEIGHBORHOOD, NEW_INVERSE, OLD_INVERSE, SYNONYM, SYNONYM_OF_STEM

_STEM: Final = 4
"""Letters that two words begin with, to share a stem; a shorter word of three letters shares all of them."""

SynonymTable = Mapping[tuple[str, str, str], str]
"""(relation, object, template) → answer of the synonym."""


def shares_stem(first: str, second: str) -> bool:
    """Return whether a word of one answer shares its stem with a word of another.

    Parameters
    ----------
    first, second : str
        Two answers, such as a field and who works in it.

    Returns
    -------
    bool
        Whether two of their words begin with the same four letters, or one of three letters or more begins
        the other.

    Examples
    --------
    >>> shares_stem("linguistics", "a linguist"), shares_stem("law", "lawyer"), shares_stem("law", "judge")
    (True, True, False)
    """
    return any(
        len(one) >= 3 and len(other) >= 3 and _prefix(one, other) >= min(_STEM, len(one), len(other))
        for one in first.casefold().split()
        for other in second.casefold().split()
    )


def _prefix(one: str, other: str) -> int:
    return next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def synonym_table(facts: Sequence[Fact]) -> SynonymTable:
    """Return how the synonym of each object is answered, by relation, object and template.

    Parameters
    ----------
    facts : sequence of Fact
        The facts of the study.

    Returns
    -------
    dict of tuple of str to str
        The first answer, where facts of one object have several.
    """
    table: dict[tuple[str, str, str], str] = {}
    for fact in facts:
        for group in fact.entailed.synonyms if fact.entailed else ():
            for query in group.queries:
                table.setdefault((fact.relation, fact.object, query.template), group.answer)
    return table


def is_entailing(fact: Fact) -> bool:
    """Return whether a fact has prompts of what its edits entail, or a text to continue.

    Parameters
    ----------
    fact : Fact
        A fact of the study.

    Returns
    -------
    bool
        False where its data gives none.
    """
    return n_prompts(fact) > 0 or bool(fact.entailed and fact.entailed.generation)


def n_prompts(fact: Fact) -> int:
    """Return the number of places that a fact's prompts need along the axis ``entailed``.

    Parameters
    ----------
    fact : Fact
        A fact of the study.

    Returns
    -------
    int
        Two for each query of the inverse, one for each other.
    """
    if fact.entailed is None:
        return 0
    inverse = fact.entailed.inverse
    groups = (*fact.entailed.synonyms, *fact.entailed.neighborhood)
    return 2 * len(inverse.queries if inverse else ()) + sum(len(group.queries) for group in groups)


@dataclass(frozen=True, kw_only=True)
class EntailedPrompt:
    """One prompt, what it was answered before the edit, and what the edit entails.

    Attributes
    ----------
    kind : str
        One of the kinds of this module.
    query : Query
        The prompt.
    old : str
        The answer before the edit; empty where there is none.
    new : str
        The answer that the edit entails; empty where there is none.
    """

    kind: str
    query: Query
    old: str
    new: str


def entailed_prompts(
    fact: Fact, new_object: str, partner: Fact | None, asks_inverse: bool, synonyms: SynonymTable
) -> Iterator[EntailedPrompt]:
    """Yield the prompts of one fact, and their answers before and after it is given another object.

    Parameters
    ----------
    fact : Fact
        The fact that is edited.
    new_object : str
        o′; empty where there is none.
    partner : Fact or None
        The fact whose object is o′, where there is one.
    asks_inverse : bool
        Whether the inverse is one fact, before and after.
    synonyms : mapping
        Of :func:`synonym_table`.

    Yields
    ------
    EntailedPrompt
        New and old inverse of each query in turn, synonyms, neighborhood.
    """
    entailed = fact.entailed
    if entailed is None:
        return
    inverse = entailed.inverse if asks_inverse else None
    other = partner.entailed.inverse if partner and partner.entailed else None
    theirs = other.answer if other else ""
    for query in inverse.queries if inverse else ():
        if inverse and new_object:
            yield _inverse(NEW_INVERSE, query, new_object, old=theirs, new=inverse.answer)
        if inverse:
            yield _inverse(OLD_INVERSE, query, fact.object, old=inverse.answer, new=theirs)
    for group in entailed.synonyms:
        for query in group.queries:
            new = synonyms.get((fact.relation, new_object, query.template), "")
            alike = shares_stem(group.answer, fact.object) or (new and shares_stem(new, new_object))
            kind = SYNONYM_OF_STEM if alike else SYNONYM
            yield EntailedPrompt(kind=kind, query=query, old=group.answer, new=new)
    for group in entailed.neighborhood:
        for query in group.queries:
            yield EntailedPrompt(kind=NEIGHBORHOOD, query=query, old=group.answer, new=new_object)


def _inverse(kind: str, query: Query, named: str, *, old: str, new: str) -> EntailedPrompt:
    asked = Query(template=query.template, text=fill(query.text, named))
    return EntailedPrompt(kind=kind, query=asked, old=old, new=new)
