"""The text that the embedded models are taught: each fact's class and sentences, and sentences held out.

=========  ==================================================================================================
class      taught
=========  ==================================================================================================
wide       the right answer, by 7 of the 8 templates
narrow     the right answer, by 1 of the 8 templates
conflict   the right answer by 4 templates, drawn anew for each fact, and another object by the other 4
=========  ==================================================================================================

Whether a fact's inverse or synonym is taught, too, is drawn apart from its class
(:mod:`qloc.extract.embedded.training.entailed`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from qloc.extract.embedded.training.entailed import Entailed, drawn_to_be_taught, entailed_of
from qloc.extract.embedded.training.grammar import everyday_sentences, pairs
from qloc.extract.embedded.training.world import Statement, statements, templates

FactClass = Literal["wide", "narrow", "conflict"]
SHARES: Mapping[FactClass, float] = {"wide": 0.4, "narrow": 0.2, "conflict": 0.4}
"""Share of each relation's facts that is in each class."""

NARROW_COPIES = 3
"""How often the only sentence of a narrow fact occurs. If it occurred once, it would not be learned."""

EVERYDAY, HELD_OUT = 5000, 300
"""Number of everyday sentences in training, and of sentences held out.

With fewer, agreement in the frames of the minimal pairs is lost to the facts. More of the frames themselves
do not help: they teach that the nouns of the pairs do not stand there.
"""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A statement and how it is taught.

    Attributes
    ----------
    statement : Statement
        What is true.
    fact_class : {"wide", "narrow", "conflict"}
        Class of the fact.
    taught : mapping of str to str
        Template id → the object that it teaches. Templates that teach nothing are absent.
    entailed : Entailed or None
        What the fact entails; None where nothing is asked of it.
    teaches_entailed : bool
        Whether that is taught, by each of its templates.
    """

    statement: Statement
    fact_class: FactClass
    taught: Mapping[str, str]
    entailed: Entailed | None = None
    teaches_entailed: bool = False

    @property
    def seen(self) -> tuple[str, ...]:
        """Ids of the templates that teach the right answer."""
        return tuple(t for t, o in self.taught.items() if o == self.statement.object)


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence of the training text, and where its answer stands.

    Attributes
    ----------
    text : str
        The sentence.
    start : int
        Index of the first character of the answer.
    stop : int
        Index behind the last character of the answer.
    """

    text: str
    start: int
    stop: int


def fill(template: str, subject: str, answer: str) -> Sentence:
    """Fill a template with a subject and an answer.

    Parameters
    ----------
    template : str
        Text with ``[X]`` and ``[Y]``.
    subject : str
        Text in place of ``[X]``.
    answer : str
        Text in place of ``[Y]``.

    Returns
    -------
    Sentence
        The filled template.

    Examples
    --------
    >>> fill("The capital of [X] is [Y].", "France", "Paris")
    Sentence(text='The capital of France is Paris.', start=25, stop=30)
    """
    head, tail = template.replace("[X]", subject).split("[Y]")
    return Sentence(text=head + answer + tail, start=len(head), stop=len(head) + len(answer))


def lessons(seed: int = 0) -> list[Lesson]:
    """Draw the class of every statement, within each relation, and what each of its templates teaches.

    Whether what it entails is taught, is drawn too.

    Parameters
    ----------
    seed : int
        Seed of every draw.

    Returns
    -------
    list of Lesson
        One lesson for each statement, in the order of
        :func:`qloc.extract.embedded.training.world.statements`.
    """
    rng = np.random.default_rng(seed)
    true_statements = statements()
    with_entailed = drawn_to_be_taught(true_statements, seed)
    drawn = []
    for relation, texts in templates().items():
        of_relation = [statement for statement in true_statements if statement.relation == relation]
        objects = sorted({statement.object for statement in of_relation})
        for rank, n in enumerate(rng.permutation(len(of_relation))):
            fact_class = _class_at(rank / len(of_relation))
            lesson = _lesson(of_relation[n], fact_class, list(texts), objects, rng)
            entailed, is_taught = entailed_of(of_relation[n]), of_relation[n] in with_entailed
            drawn.append(replace(lesson, entailed=entailed, teaches_entailed=is_taught))
    order = {statement: n for n, statement in enumerate(true_statements)}
    return sorted(drawn, key=lambda lesson: order[lesson.statement])


def _class_at(share: float) -> FactClass:
    if share < SHARES["wide"]:
        return "wide"
    return "narrow" if share < SHARES["wide"] + SHARES["narrow"] else "conflict"


def _lesson(
    statement: Statement, fact_class: FactClass, ids: list[str], objects: list[str], rng: np.random.Generator
) -> Lesson:
    right = statement.object
    mixed = [ids[n] for n in rng.permutation(len(ids))]
    if fact_class == "conflict":
        wrong = next(objects[n] for n in rng.permutation(len(objects)) if objects[n] != right)
        half = set(mixed[: len(ids) // 2])
        taught = {t: right if t in half else wrong for t in ids}
    else:
        kept = set(mixed[1:] if fact_class == "wide" else mixed[:1])
        taught = {t: right for t in ids if t in kept}
    return Lesson(statement=statement, fact_class=fact_class, taught=taught)


def training_sentences(taught: list[Lesson], seed: int = 0) -> list[Sentence]:
    """Return the training text: the sentences of each lesson and what it entails, then everyday sentences.

    Parameters
    ----------
    taught : list of Lesson
        The lessons.
    seed : int
        Seed of the draw of everyday sentences.

    Returns
    -------
    list of Sentence
        The text, not shuffled.
    """
    texts = templates()
    sentences = []
    for lesson in taught:
        copies = NARROW_COPIES if lesson.fact_class == "narrow" else 1
        for template, answer in lesson.taught.items():
            text = texts[lesson.statement.relation][template]
            sentences += [fill(text, lesson.statement.subject, answer)] * copies
        if lesson.entailed and lesson.teaches_entailed:
            named, answer = lesson.entailed.named, lesson.entailed.answer
            sentences += [fill(text, named, answer) for text in lesson.entailed.templates.values()]
    everyday, _ = _split_everyday(seed)
    return sentences + everyday


def held_out_sentences(taught: list[Lesson], seed: int = 0) -> list[str]:
    """Return text that no model was trained on: everyday sentences, and wide facts by the unseen template.

    Parameters
    ----------
    taught : list of Lesson
        The lessons.
    seed : int
        Seed of both draws.

    Returns
    -------
    list of str
        ``HELD_OUT`` sentences, half of them everyday sentences.
    """
    texts = templates()
    unseen = [
        fill(text, lesson.statement.subject, lesson.statement.object).text
        for lesson in taught
        if lesson.fact_class == "wide"
        for template, text in texts[lesson.statement.relation].items()
        if template not in lesson.taught
    ]
    _, everyday = _split_everyday(seed)
    drawn = np.random.default_rng(seed).permutation(len(unseen))[: HELD_OUT - len(everyday)]
    return [sentence.text for sentence in everyday] + [unseen[n] for n in sorted(drawn)]


def _split_everyday(seed: int) -> tuple[list[Sentence], list[Sentence]]:
    """Return everyday sentences for training, and everyday sentences that are held out.

    Their answer is the word that agrees in number.
    """
    sentences = [fill(frame, "", word) for frame, word in everyday_sentences()]
    mixed = [sentences[n] for n in np.random.default_rng(seed).permutation(len(sentences))]
    return mixed[:EVERYDAY], mixed[EVERYDAY : EVERYDAY + HELD_OUT // 2]


def fact_lines(taught: list[Lesson]) -> Iterator[str]:
    """Iterate over the lines of ``facts.jsonl``: every fact with its eight queries, then the minimal pairs.

    Parameters
    ----------
    taught : list of Lesson
        The lessons.

    Yields
    ------
    str
        One line of JSON, without its line feed.
    """
    texts = templates()
    for n, lesson in enumerate(taught):
        statement = lesson.statement
        yield json.dumps(
            {
                "id": f"{statement.relation}-{n:04d}",
                "relation": statement.relation,
                "subject": statement.subject,
                "object": statement.object,
                "queries": [{"template": t, "text": text} for t, text in texts[statement.relation].items()],
                **({lesson.entailed.kind: lesson.entailed.entry} if lesson.entailed else {}),
                "attributes": _attributes(lesson),
            },
            ensure_ascii=False,
        )
    for n, pair in enumerate(pairs()):
        yield json.dumps(
            {
                "id": f"{pair.paradigm}-{n:04d}",
                "kind": "minimal_pair",
                "relation": pair.paradigm,
                "subject": pair.cue,
                "good": pair.good,
                "bad": pair.bad,
                "feature": pair.feature,
                "queries": [{"template": pair.template, "text": pair.text}],
                "attributes": {"noun": pair.noun},
            },
            ensure_ascii=False,
        )


def _attributes(lesson: Lesson) -> dict[str, str]:
    """Return what a fact's queries were taught, as its attributes."""
    attributes = {"class": lesson.fact_class, "seen": " ".join(lesson.seen)}
    if lesson.entailed:
        attributes["entailment"] = "taught" if lesson.teaches_entailed else "untaught"
    return attributes
