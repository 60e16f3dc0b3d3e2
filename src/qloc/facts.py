"""Fact and Query: what is asked of a model, before any tokenizer has seen it.

A fact is a triple ⟨subject, relation, object⟩ with the prompts that ask for its object. A minimal pair
(BLiMP) is a sentence with a good and a bad continuation; its paradigm plays the relation's part. Pairs are
either facts of one query each, or a group of them is one fact: a paradigm and a feature, a sentence a query.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final, Literal

from qloc.canonical_json import digest

SUBJECT_MARK = "[X]"
ANSWER_MARK = "[Y]"

TARGET_NEW: Final = "target_new"
"""Attribute that names the new object which an edit should insert, as ROME's data has it."""

INVERSE: Final = "an inverse"
SYNONYMS: Final = "synonyms"
"""Of what edits entail, as it is counted."""

Attribute = str | int | float
"""What an attribute of a fact may be; it becomes a coordinate of ``/facts``."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """One prompt that asks for a fact's object.

    Attributes
    ----------
    template : str
        Id of the template; shared by the facts that it is asked of.
    text : str
        The prompt, subject filled in, with one ``[Y]`` where the answer stands.
    good : str or None
        The good continuation of this sentence, in a group of minimal pairs; None where the fact's object is
        the answer of all of its queries.
    bad : str or None
        Its bad continuation; None where ``good`` is.
    cue : str
        What the forms of this sentence agree with, in a group of minimal pairs; else empty.
    """

    template: str
    text: str
    good: str | None = None
    bad: str | None = None
    cue: str = ""

    @property
    def head(self) -> str:
        """What stands before the answer."""
        return self.text.partition(ANSWER_MARK)[0]

    @property
    def tail(self) -> str:
        """What stands behind the answer."""
        return self.text.partition(ANSWER_MARK)[2]


@dataclass(frozen=True, kw_only=True)
class AnsweredQueries:
    """Prompts and the answer that they ask for.

    Attributes
    ----------
    answer : str
        The right answer.
    queries : tuple of Query
        Prompts with one ``[Y]`` each.
    """

    answer: str
    queries: tuple[Query, ...]


@dataclass(frozen=True, kw_only=True)
class Entailments:
    """Prompts of one fact that an edit should change, or should leave alone. Signals are taken of none.

    Attributes
    ----------
    inverse : AnsweredQueries or None
        Prompts that name the object and ask for the subject. ``[X]`` stands for the object, so that the new
        object of an edit can take its place.
    n_subjects : int
        Number of subjects that have this object in the facts as read. The inverse is one fact only where it
        is 1.
    synonyms : tuple of AnsweredQueries
        Prompts that ask for the same in other words, with the answer in those words.
    neighborhood : tuple of AnsweredQueries
        Prompts of other subjects that an edit should leave alone.
    generation : tuple of str
        Beginnings of texts about the subject.
    """

    inverse: AnsweredQueries | None = None
    n_subjects: int = 1
    synonyms: tuple[AnsweredQueries, ...] = ()
    neighborhood: tuple[AnsweredQueries, ...] = ()
    generation: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A fact and its queries, a minimal pair, or a group of minimal pairs.

    Attributes
    ----------
    id : str
        Unique within a study.
    relation : str
        Its name or number, such as ``P36``.
    subject : str
        What is asked about.
    object : str
        The answer asked for; of a minimal pair, the good continuation; of a group of pairs, its feature.
    queries : tuple of Query
        Prompts that ask for the object.
    kind : {"fact", "minimal_pair"}
        ``fact`` or ``minimal_pair``.
    bad : str or None
        The bad continuation of a minimal pair; None of facts, and of groups, whose queries have their own.
    feature : str
        What a minimal pair is about, such as ``singular``; else empty.
    objects : tuple of str
        Every right answer for this subject and relation, ``object`` among them.
    attributes : dict of str to Attribute
        Free columns, such as a frequency.
    cue_in_prefix : bool
        Whether what decides a pair stands before ``[Y]``; a causal LM cannot be asked otherwise.
    entailed : Entailments or None
        Further prompts that edits are evaluated on, where the data has any.
    """

    id: str
    relation: str
    subject: str
    object: str
    queries: tuple[Query, ...]
    kind: Literal["fact", "minimal_pair"] = "fact"
    bad: str | None = None
    feature: str = ""
    objects: tuple[str, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    cue_in_prefix: bool = True
    entailed: Entailments | None = None

    @property
    def is_group(self) -> bool:
        """Whether this is a group of minimal pairs, whose queries have continuations of their own."""
        return any(query.good is not None for query in self.queries)

    def answer_of(self, query: Query) -> str:
        """Return the right answer of one of the fact's queries.

        Parameters
        ----------
        query : Query
            A query of this fact.

        Returns
        -------
        str
            The good continuation of a sentence of a group, else the object.
        """
        return self.object if query.good is None else query.good

    def subject_of(self, query: Query) -> str:
        """Return what one of the fact's queries is about.

        Parameters
        ----------
        query : Query
            A query of this fact.

        Returns
        -------
        str
            The cue of a sentence of a group, else the subject.
        """
        return query.cue or self.subject

    def bad_of(self, query: Query) -> str | None:
        """Return the bad continuation of one of the fact's queries.

        Parameters
        ----------
        query : Query
            A query of this fact.

        Returns
        -------
        str or None
            None where the fact is no minimal pair.
        """
        return self.bad if query.good is None else query.bad

    @property
    def leaks(self) -> bool:
        """Whether the answer is contained in the subject (case folded), so that copying would answer it.

        Examples
        --------
        >>> Fact(id="a", relation="made by", subject="Apple II", object="apple", queries=()).leaks
        True
        """
        return self.kind == "fact" and self.object.casefold() in self.subject.casefold()


@dataclass(frozen=True, kw_only=True)
class FactSet:
    """The facts of a study in their input order, with what reading them left out.

    Attributes
    ----------
    facts : tuple of Fact
        In the order of the input.
    source : str
        What was read, as the user named it.
    merged : int
        Number of facts dropped because an earlier one has the same subject, relation and object.
    skipped : dict of str to int
        Number of facts or queries that the reader could not use, by reason.
    """

    facts: tuple[Fact, ...]
    source: str
    merged: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)

    @property
    def has_pairs(self) -> bool:
        """Whether there are minimal pairs, or groups of them."""
        return any(fact.kind == "minimal_pair" for fact in self.facts)

    def digest(self) -> str:
        """Return the sha256 of all that signals could be taken of, and of the attributes.

        Returns
        -------
        str
            64 hexadecimal digits.
        """
        return digest([_plain(fact) for fact in self.facts])

    def entailments_digest(self) -> str:
        """Return the sha256 of the prompts that only edits are evaluated on.

        Returns
        -------
        str
            64 hexadecimal digits; empty where no fact has such prompts.
        """
        entailed = [asdict(fact.entailed) if fact.entailed else None for fact in self.facts]
        return digest(entailed) if any(entailed) else ""

    def cues_digest(self) -> str:
        """Return the sha256 of what each query of a group of minimal pairs is about, which tracing corrupts.

        Returns
        -------
        str
            64 hexadecimal digits; empty where no query has a cue of its own.
        """
        cues = [[query.cue for query in fact.queries] for fact in self.facts]
        return digest(cues) if any(map(any, cues)) else ""

    def relations(self) -> list[str]:
        """Return the relations in order of first appearance.

        Returns
        -------
        list of str
            Each once.
        """
        return list(dict.fromkeys(fact.relation for fact in self.facts))

    def __len__(self) -> int:
        return len(self.facts)


def fill(text: str, subject: str) -> str:
    """Write a template's prompt for one subject.

    Parameters
    ----------
    text : str
        With ``[X]`` for the subject, or the subject itself.
    subject : str
        Put in place of ``[X]``.

    Returns
    -------
    str
        The prompt; ``[Y]`` still marks the answer.

    Examples
    --------
    >>> fill("The capital of [X] is [Y].", "France")
    'The capital of France is [Y].'
    """
    return text.replace(SUBJECT_MARK, subject)


def candidates(facts: Sequence[Fact]) -> dict[str, tuple[str, ...]]:
    """Return the answers that occur in each relation, most frequent first, ties in alphabetical order.

    A group of minimal pairs has the good and the bad continuations of all of its queries.

    Parameters
    ----------
    facts : sequence of Fact
        Of a study.

    Returns
    -------
    dict of str to tuple of str
        Relation → answers.
    """
    counts: dict[str, dict[str, int]] = {}
    for fact in facts:
        of_relation = counts.setdefault(fact.relation, {})
        for answer in _answers(fact):
            of_relation[answer] = of_relation.get(answer, 0) + 1
    return {relation: tuple(sorted(of, key=lambda o: (-of[o], o))) for relation, of in counts.items()}


def entailment_counts(facts: Sequence[Fact]) -> dict[str, int]:
    """Return how many facts say what an edit of them entails, by what they give.

    Parameters
    ----------
    facts : sequence of Fact
        Of a study.

    Returns
    -------
    dict of str to int
        ``an inverse``, ``synonyms``, ``a neighborhood``, ``a text to continue``, those that are not 0.
    """
    entailed = [fact.entailed for fact in facts if fact.entailed is not None]
    counts = {
        INVERSE: sum(of.inverse is not None for of in entailed),
        SYNONYMS: sum(bool(of.synonyms) for of in entailed),
        "a neighborhood": sum(bool(of.neighborhood) for of in entailed),
        "a text to continue": sum(bool(of.generation) for of in entailed),
    }
    return {what: n for what, n in counts.items() if n}


def _answers(fact: Fact) -> list[str]:
    own = [answer for query in fact.queries for answer in (query.good, query.bad) if answer is not None]
    return own or [fact.object]


def _plain(fact: Fact) -> list[object]:
    queries = [[q.template, q.text, *([] if q.good is None else [q.good, q.bad])] for q in fact.queries]
    return [
        fact.id,
        fact.relation,
        fact.subject,
        fact.object,
        queries,
        fact.kind,
        fact.bad,
        fact.feature,
        list(fact.objects),
        dict(fact.attributes),
        fact.cue_in_prefix,
    ]
