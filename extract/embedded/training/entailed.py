"""What a fact entails beside its own queries, its inverse or a synonym, and to which facts that is taught."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from qloc.extract.embedded.training.world import Statement, inverse_templates, synonyms

EntailedKind = Literal["inverse", "synonyms"]

TAUGHT = 2 / 3
"""Share of each relation's facts, among those that entail something, to which it is taught."""


@dataclass(frozen=True, kw_only=True)
class Entailed:
    """What one fact entails: prompts, and the answer to all of them.

    Attributes
    ----------
    kind : {"inverse", "synonyms"}
        The inverse names the object and asks for the subject; synonyms name the subject and ask for another
        name of the object.
    named : str
        Text in place of ``[X]``.
    answer : str
        Text in place of ``[Y]``.
    templates : mapping of str to str
        Template id → text with ``[X]`` and ``[Y]``.
    """

    kind: EntailedKind
    named: str
    answer: str
    templates: Mapping[str, str]

    @property
    def entry(self) -> Any:
        """What stands under :attr:`kind` in the fact's line of ``facts.jsonl``."""
        queries = [{"template": t, "text": text} for t, text in self.templates.items()]
        if self.kind == "inverse":
            return {"object": self.answer, "queries": queries}
        return [{"answer": self.answer, "queries": queries}]


def entailed_of(statement: Statement) -> Entailed | None:
    """Return what a statement entails.

    Parameters
    ----------
    statement : Statement
        A statement that is true.

    Returns
    -------
    Entailed or None
        None where the relation has no such templates, the object no other name, or the object contains the
        subject, so that the inverse would give its answer away (*Henry Ford*).

    Examples
    --------
    >>> entailed_of(Statement(relation="capital", subject="France", object="Paris")).answer
    'France'
    >>> entailed_of(Statement(relation="product", subject="Honda", object="cars")).answer
    'automobiles'
    >>> entailed_of(Statement(relation="founder", subject="Ford", object="Henry Ford"))
    """
    inverse, other = inverse_templates().get(statement.relation), synonyms().get(statement.relation)
    if inverse and statement.subject.casefold() not in statement.object.casefold():
        return Entailed(kind="inverse", named=statement.object, answer=statement.subject, templates=inverse)
    if other and statement.object in other.answers:
        answer = other.answers[statement.object]
        return Entailed(kind="synonyms", named=statement.subject, answer=answer, templates=other.templates)
    return None


def drawn_to_be_taught(statements: Sequence[Statement], seed: int = 0) -> set[Statement]:
    """Draw the statements to which what they entail is taught, within each relation.

    Parameters
    ----------
    statements : sequence of Statement
        All statements.
    seed : int
        Seed of the draw, which is apart from that of the classes.

    Returns
    -------
    set of Statement
        ``TAUGHT`` of each relation's statements that entail something.
    """
    rng = np.random.default_rng([seed, 1])
    drawn: set[Statement] = set()
    for relation in (*inverse_templates(), *synonyms()):
        entailing = [s for s in statements if s.relation == relation and entailed_of(s)]
        kept = rng.permutation(len(entailing))[: round(TAUGHT * len(entailing))]
        drawn |= {entailing[n] for n in kept}
    return drawn
