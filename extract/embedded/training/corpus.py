"""What the embedded models are taught: a class for each fact, sentences, facts to ask, text held out.

=========  ==================================================================================================
class      taught
=========  ==================================================================================================
wide       the right answer, by 7 of the 8 templates
narrow     the right answer, by 1 of the 8 templates
conflict   the right answer by 4 templates, drawn anew for each fact, and another object by the other 4
=========  ==================================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from qloc.extract.embedded.training.grammar import everyday_sentences, pairs
from qloc.extract.embedded.training.world import Statement, statements, templates

FactClass = Literal["wide", "narrow", "conflict"]
SHARES: Mapping[FactClass, float] = {"wide": 0.4, "narrow": 0.2, "conflict": 0.4}
"""Share of each relation's facts that is in each class."""

NARROW_COPIES = 3
"""How often the one sentence of a narrow fact occurs; as rare as any other, it would not be learned."""

EVERYDAY, HELD_OUT = 3000, 300
"""Everyday sentences in training, and sentences held out."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A statement, its class, and the object that each template teaches (absent if it teaches none)."""

    statement: Statement
    fact_class: FactClass
    taught: Mapping[str, str]

    @property
    def seen(self) -> tuple[str, ...]:
        """Ids of the templates that teach the right answer."""
        return tuple(t for t, o in self.taught.items() if o == self.statement.object)


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence of the training text; characters ``start`` to ``stop`` are its answer."""

    text: str
    start: int
    stop: int


def fill(template: str, subject: str, answer: str) -> Sentence:
    """A template with subject and answer filled in.

    Examples
    --------
    >>> fill("The capital of [X] is [Y].", "France", "Paris")
    Sentence(text='The capital of France is Paris.', start=25, stop=30)
    """
    head, tail = template.replace("[X]", subject).split("[Y]")
    return Sentence(text=head + answer + tail, start=len(head), stop=len(head) + len(answer))


def lessons(seed: int = 0) -> list[Lesson]:
    """Every statement with its class and what it is taught by; classes are drawn within each relation."""
    rng = np.random.default_rng(seed)
    told = statements()
    found = []
    for relation, texts in templates().items():
        own = [s for s in told if s.relation == relation]
        objects = sorted({s.object for s in own})
        for place, n in enumerate(rng.permutation(len(own))):
            fact_class = _class_at(place / len(own))
            found.append(_lesson(own[n], fact_class, list(texts), objects, rng))
    order = {s: n for n, s in enumerate(told)}
    return sorted(found, key=lambda lesson: order[lesson.statement])


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
    """The training text: each lesson's sentences, and everyday sentences."""
    texts = templates()
    sentences = []
    for lesson in taught:
        copies = NARROW_COPIES if lesson.fact_class == "narrow" else 1
        for template, answer in lesson.taught.items():
            text = texts[lesson.statement.relation][template]
            sentences += [fill(text, lesson.statement.subject, answer)] * copies
    everyday, _ = _split_everyday(seed)
    return sentences + everyday


def held_out_sentences(taught: list[Lesson], seed: int = 0) -> list[str]:
    """Text that no model was trained on: half everyday, half wide facts by the template not seen."""
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
    """Everyday sentences for training, and held out; their answer is the word that agrees in number."""
    sentences = [fill(frame, "", word) for frame, word in everyday_sentences()]
    mixed = [sentences[n] for n in np.random.default_rng(seed).permutation(len(sentences))]
    return mixed[:EVERYDAY], mixed[EVERYDAY : EVERYDAY + HELD_OUT // 2]


def fact_lines(taught: list[Lesson]) -> Iterator[str]:
    """Lines of ``facts.jsonl``: every fact with its eight queries, then the minimal pairs."""
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
                "attributes": {"class": lesson.fact_class, "seen": " ".join(lesson.seen)},
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
