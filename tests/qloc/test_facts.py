"""Facts and queries, before any tokenizer has seen them; and the errors that all rooms raise."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qloc import errors
from qloc.facts import Fact, FactSet, Query, candidates, fill

FRANCE = Fact(
    id="a",
    relation="P36",
    subject="France",
    object="Paris",
    queries=(Query(template="1", text="The capital of France is [Y]."),),
    objects=("Paris",),
    attributes={"count": 51},
)


def test_a_query_has_a_head_and_a_tail() -> None:
    (query,) = FRANCE.queries
    assert (query.head, query.tail) == ("The capital of France is ", ".")


@given(st.text(), st.text())
def test_filling_leaves_no_subject_mark_behind(text: str, subject: str) -> None:
    if "[X]" not in subject and "[" not in text + subject and "]" not in text + subject:
        assert fill(f"{text}[X]{text}", subject) == f"{text}{subject}{text}"


@pytest.mark.parametrize(
    ("subject", "answer", "leaks"),
    [("Paris Hilton", "paris", True), ("Nokia Lumia", "Nokia", True), ("France", "Paris", False)],
)
def test_an_answer_in_its_subject_leaks(subject: str, answer: str, leaks: bool) -> None:
    assert replace(FRANCE, subject=subject, object=answer).leaks is leaks


def test_a_pair_never_leaks() -> None:
    pair = replace(FRANCE, kind="minimal_pair", subject="books", object="book", bad="books")
    assert not pair.leaks


@pytest.mark.parametrize(
    "change",
    [
        {"id": "b"},
        {"relation": "P37"},
        {"subject": "Peru"},
        {"object": "Lima"},
        {"queries": ()},
        {"kind": "minimal_pair"},
        {"bad": "Rome"},
        {"feature": "singular"},
        {"objects": ("Paris", "Lyon")},
        {"attributes": {"count": 52}},
        {"cue_in_prefix": False},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_digest_sees_everything_of_a_fact(change: dict[str, object]) -> None:
    changed = replace(FRANCE, **change)  # type: ignore[arg-type]
    assert FactSet(facts=(changed,), source="").digest() != FactSet(facts=(FRANCE,), source="").digest()


def test_the_digest_sees_no_path() -> None:
    here = FactSet(facts=(FRANCE,), source="/here", merged=1, skipped={"x": 1})
    assert here.digest() == FactSet(facts=(FRANCE,), source="/there").digest()


def test_relations_and_candidates_are_in_order() -> None:
    facts = [
        replace(FRANCE, relation=relation, object=answer)
        for relation, answer in [("b", "z"), ("a", "y"), ("b", "x"), ("b", "x"), ("b", "a")]
    ]
    assert FactSet(facts=tuple(facts), source="").relations() == ["b", "a"]
    assert candidates(facts) == {"b": ("x", "a", "z"), "a": ("y",)}


# Errors

CODES = {
    errors.QlocError: 1,
    errors.InputError: 2,
    errors.FingerprintError: 2,
    errors.FloorError: 2,
    errors.SchemaError: 2,
    errors.LockedError: 2,
    errors.MissingDependencyError: 2,
    errors.ModelError: 1,
    errors.StorageError: 1,
    errors.RemoteError: 1,
    errors.WorkerError: 1,
    errors.VerificationError: 3,
}


@pytest.mark.parametrize(("kind", "code"), CODES.items(), ids=lambda value: getattr(value, "__name__", value))
def test_every_error_has_its_exit_code_and_its_builtin(kind: type[errors.QlocError], code: int) -> None:
    assert kind.exit_code == code
    builtin = [base for base in kind.__mro__ if base.__module__ == "builtins"][:1]
    assert kind is errors.QlocError or builtin != [Exception]
    assert str(kind("what is wrong")) == "what is wrong"


def test_no_error_is_forgotten() -> None:
    found = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert found == set(CODES)


def test_problems_are_kept_apart() -> None:
    error = errors.InputError(line for line in ("one", "two"))
    assert (error.problems, str(error)) == (("one", "two"), "one\ntwo")
