"""ParaRel's bijective relations with inverses, and a user's synonyms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from qloc.errors import InputError
from qloc.extract.datasets import read_facts
from qloc.extract.datasets.pararel_entailments import NO_SYNONYM, SEVERAL

LINGUIST = {"relation": "P101", "object": "linguistics", "answer": "linguist", "queries": ["[X] is a [Y]."]}


@pytest.fixture
def folder(tmp_path: Path, write_lines: Callable[..., Path]) -> Path:
    """P36 with a shared capital and a country of two, P1376, and P101."""
    patterns = {
        "P36": "[X]'s capital is [Y].",
        "P1376": "[X] is the capital of [Y].",
        "P101": "[X] does [Y].",
    }
    facts = {
        "P36": [("France", "Paris"), ("Gaul", "Paris"), ("Peru", "Lima"), ("Bolivia", "Sucre"),
                ("Bolivia", "La Paz"), ("Peru", "Lima"), ("Italy", "Rome")],
        "P1376": [("Rome", "Italy"), ("Rome", "Lazio"), ("Lima", "Peru")],
        "P101": [("Sapir", "linguistics"), ("Gauss", "mathematics")],
    }  # fmt: skip
    for kind in ("patterns", "facts"):
        (tmp_path / kind).mkdir()
    for relation, text in patterns.items():
        write_lines(tmp_path / "patterns" / f"{relation}.jsonl", {"pattern": text})
        rows = [{"sub_label": subject, "obj_label": answer} for subject, answer in facts[relation]]
        write_lines(tmp_path / "facts" / f"{relation}.jsonl", *rows)
    return tmp_path


def test_only_one_to_one_facts_are_kept_each_with_its_inverse(folder: Path) -> None:
    found = read_facts(f"entailed:{folder}")
    assert [(fact.relation, fact.subject) for fact in found.facts] == [
        ("P36", "Peru"),
        ("P36", "Italy"),
        ("P1376", "Lima"),
    ]
    assert found.skipped == {SEVERAL: 6}  # of P36 four, of P1376 two
    capital, country = found.facts[0].entailed, found.facts[2].entailed
    assert capital is not None
    assert capital.inverse is not None
    assert (capital.inverse.answer, capital.n_subjects) == ("Peru", 1)
    assert [query.text for query in capital.inverse.queries] == ["[X] is the capital of [Y]."]
    assert country is not None
    assert country.inverse is not None
    assert [query.text for query in country.inverse.queries] == ["[X]'s capital is [Y]."]


def test_a_users_table_gives_synonyms(folder: Path, write_lines: Callable[..., Path]) -> None:
    write_lines(folder / "synonyms.jsonl", LINGUIST, {**LINGUIST, "answer": "philologist"})
    found = read_facts(f"entailed:{folder}", relations=("P101",))
    (fact,) = found.facts
    assert found.skipped == {NO_SYNONYM: 1}
    assert fact.entailed is not None
    assert [(group.answer, group.queries[0].text) for group in fact.entailed.synonyms] == [
        ("linguist", "Sapir is a [Y]."),
        ("philologist", "Sapir is a [Y]."),
    ]
    assert fact.queries[0].text == "Sapir does [Y]."


def test_what_is_wrong_is_told(folder: Path, write_lines: Callable[..., Path]) -> None:
    with pytest.raises(InputError) as unknown:
        read_facts(f"entailed:{folder}", relations=("P101",))
    assert str(unknown.value) == (
        f"relation is 'P101'; expected one of P1376, P36. At facts entailed:{folder}. "
        "Add lines to synonyms.jsonl."
    )
    path = write_lines(folder / "synonyms.jsonl", {"relation": "P101"}, {**LINGUIST, "queries": ["A [Y]"]})
    with pytest.raises(InputError) as wrong:
        read_facts(f"entailed:{folder}")
    assert str(wrong.value).splitlines() == [
        f"keys is ['relation']; expected all of relation, object, answer, queries. At {path}, line 1. "
        "Correct them.",
        "query is 'A [Y]'; expected one with [X] for the subject and [Y] for the answer. "
        f"At {path}, line 2. Correct it.",
    ]
