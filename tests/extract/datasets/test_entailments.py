"""Inverse, synonyms, neighborhood and generation of a fact: read as written, and every problem is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qloc.extract.datasets import read_facts
from qloc.facts import AnsweredQueries, Entailments, Query

WriteLines = Callable[..., Path]
FRANCE: dict[str, Any] = {
    "id": "a",
    "relation": "P36",
    "subject": "France",
    "object": "Paris",
    "queries": ["The capital of [X] is [Y]."],
}
FURTHER: dict[str, Any] = {
    "inverse": {"object": "France", "queries": ["[X] is the capital of [Y].", "Paris governs [Y]."]},
    "synonyms": [{"answer": "Parisian", "queries": [{"template": "s", "text": "[X] has [Y] rulers"}]}],
    "neighborhood": [{"answer": "Rome", "queries": ["The capital of Italy is [Y]."]}],
    "generation": ["[X] is governed from "],
}


def _query(text: str, template: str = "") -> Query:
    return Query(template=template or text, text=text)


def test_the_further_prompts_of_a_fact(tmp_path: Path, write_lines: WriteLines) -> None:
    found = read_facts(str(write_lines(tmp_path / "f.jsonl", {**FRANCE, **FURTHER}))).facts[0]
    inverse = _query("[X] is the capital of [Y]."), _query("[X] governs [Y].", "Paris governs [Y].")
    assert found.entailed == Entailments(
        inverse=AnsweredQueries(answer="France", queries=inverse),
        synonyms=(AnsweredQueries(answer="Parisian", queries=(_query("France has [Y] rulers", "s"),)),),
        neighborhood=(AnsweredQueries(answer="Rome", queries=(_query("The capital of Italy is [Y]."),)),),
        generation=("France is governed from",),
    )


def test_signals_do_not_depend_on_them(tmp_path: Path, write_lines: WriteLines) -> None:
    """Old stores keep their fingerprint, and the edits of new ones are told apart."""
    bare = read_facts(str(write_lines(tmp_path / "a.jsonl", FRANCE)))
    full = read_facts(str(write_lines(tmp_path / "b.jsonl", {**FRANCE, **FURTHER})))
    other = {**FURTHER, "generation": ["[X] is"]}
    changed = read_facts(str(write_lines(tmp_path / "c.jsonl", {**FRANCE, **other})))
    assert bare.digest() == full.digest() == changed.digest()
    assert bare.facts[0].entailed is None
    assert bare.entailments_digest() == ""
    assert len({full.entailments_digest(), changed.entailments_digest()}) == 2


def test_subjects_that_share_the_object_are_counted_before_a_sample_is_drawn(
    tmp_path: Path, write_lines: WriteLines
) -> None:
    entries = [
        {**FRANCE, "id": f"{n}", "subject": subject, "inverse": FURTHER["inverse"]}
        for n, subject in enumerate(("France", "Gaul", "France"))
    ]
    entries.append({**FRANCE, "id": "z", "subject": "Peru", "object": "Lima",
                    "inverse": {"object": "Peru", "queries": ["Lima: [Y]"]}})  # fmt: skip
    found = read_facts(str(write_lines(tmp_path / "f.jsonl", *entries)), max_facts=2).facts
    counts = {fact.subject: fact.entailed.n_subjects for fact in found if fact.entailed}
    assert len(counts) == 2
    assert counts.items() <= {"France": 2, "Gaul": 2, "Peru": 1}.items()


def test_every_problem_is_told(
    tmp_path: Path, write_lines: WriteLines, problems_of: Callable[..., list[str]]
) -> None:
    wrong: dict[str, Any] = {
        "inverse": {"object": "France", "queries": ["It is the capital of [Y]."]},
        "synonyms": {"answer": "x"},
        "neighborhood": [{"answer": "", "queries": ["[Y]"]}, {"queries": []}],
        "generation": ["[X] is [Y]"],
    }
    path = write_lines(tmp_path / "f.jsonl", {**FRANCE, **wrong})
    at = f"{path}, line 1"
    assert problems_of(str(path)) == [
        "query is 'It is the capital of [Y].'; expected one that names the object, or [X] in its place. "
        f"At {at}, inverse. Write the object as the fact does.",
        f"synonyms is {{'answer': 'x'}}; expected a list. At {at}. Write [ … ].",
        f"answer is ''; expected text that is not empty. At {at}, neighborhood 1. Fill it in.",
        f'prompts is {{\'queries\': []}}; expected {{"answer": …, "queries": [ … ]}}. At {at}, neighborhood 2. '
        "Correct it.",
        f"text is '[X] is [Y]'; expected a beginning without [Y]. At {at}, generation. Remove it.",
    ]


def test_an_object_within_other_words_is_not_taken_for_it(tmp_path: Path, write_lines: WriteLines) -> None:
    queries = ["Romeo loves Rome, of [Y]."]
    entry = {**FRANCE, "object": "Rome", "inverse": {"object": "Italy", "queries": queries}}
    entailed = read_facts(str(write_lines(tmp_path / "f.jsonl", entry))).facts[0].entailed
    assert entailed is not None
    assert entailed.inverse is not None
    assert [query.text for query in entailed.inverse.queries] == ["Romeo loves [X], of [Y]."]
