"""Prompts of what an edit entails: both sides of an inverse, synonyms by stem, neighborhood."""

from __future__ import annotations

from qloc.extract.edits.entailed_prompts import (
    entailed_prompts,
    is_entailing,
    n_prompts,
    shares_stem,
    synonym_table,
)
from qloc.facts import AnsweredQueries, Entailments, Fact, Query


def _asked(answer: str, *texts: str) -> AnsweredQueries:
    return AnsweredQueries(answer=answer, queries=tuple(Query(template=text, text=text) for text in texts))


def _fact(subject: str, answer: str, entailed: Entailments | None) -> Fact:
    return Fact(id=subject, relation="R", subject=subject, object=answer, queries=(), entailed=entailed)


FIELD = _fact(
    "Sapir",
    "linguistics",
    Entailments(
        inverse=_asked("Sapir", "[X] is done by [Y]", "Who does [X]? [Y]"),
        synonyms=(_asked("linguist", "He is a [Y]"), _asked("scholar", "They call him [Y]")),
        neighborhood=(_asked("algebra", "Noether does [Y]"),),
        generation=("Sapir wrote",),
    ),
)
OTHER = _fact(
    "Gauss",
    "mathematics",
    Entailments(
        inverse=_asked("Gauss", "[X] is done by [Y]"),
        synonyms=(_asked("mathematician", "He is a [Y]"), _asked("geometer", "They call him [Y]")),
    ),
)


def _rows(new_object: str, partner: Fact | None, asks: bool) -> list[tuple[str, str, str, str]]:
    found = entailed_prompts(FIELD, new_object, partner, asks, synonym_table([FIELD, OTHER]))
    return [(prompt.kind, prompt.query.text, prompt.old, prompt.new) for prompt in found]


def test_prompts_with_the_answers_before_and_after() -> None:
    others = [
        ("synonym_of_stem", "He is a [Y]", "linguist", "mathematician"),
        ("synonym", "They call him [Y]", "scholar", "geometer"),
        ("neighborhood", "Noether does [Y]", "algebra", "mathematics"),
    ]
    inverse = [
        ("new_inverse", "mathematics is done by [Y]", "Gauss", "Sapir"),
        ("old_inverse", "linguistics is done by [Y]", "Sapir", "Gauss"),
        ("new_inverse", "Who does mathematics? [Y]", "Gauss", "Sapir"),
        ("old_inverse", "Who does linguistics? [Y]", "Sapir", "Gauss"),
    ]
    assert _rows("mathematics", OTHER, True) == [*inverse, *others]
    assert _rows("mathematics", None, False) == others
    assert [row[2:] for row in _rows("magic", None, True)[:2]] == [("", "Sapir"), ("Sapir", "")]
    assert _rows("", None, True)[0][:2] == ("old_inverse", "linguistics is done by [Y]")  # erased alone
    assert n_prompts(FIELD) == 7
    assert is_entailing(FIELD)
    assert not is_entailing(_fact("x", "y", None))
    assert is_entailing(_fact("x", "y", Entailments(generation=("x is",))))


def test_stems() -> None:
    """A pair that shares a stem may be answered by copying it."""
    alike = [("linguistics", "linguist"), ("Law", "a lawyer"), ("art", "artist"), ("the law", "a lawyer")]
    apart = [("geology", "geographer"), ("physics", "scientist"), ("a", "ab"), ("", "x"), ("law", "la")]
    assert [shares_stem(*pair) for pair in alike] == [True] * 4
    assert [shares_stem(*pair) for pair in apart] == [False] * 5
