"""ParaRel in each of its layouts, as published, and what may be wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from qloc.extract.datasets import read_facts

WriteLines = Callable[..., Path]
ProblemsOf = Callable[..., list[str]]


@pytest.fixture
def pararel(write_lines: WriteLines) -> Callable[..., Path]:
    """Write a small ParaRel: P9 and P36 have patterns and facts, P7 and P31 lack one of them."""

    def make(folder: Path, patterns: str = "patterns", triples: str = "facts") -> Path:
        (folder / patterns).mkdir(parents=True)
        (folder / triples).mkdir(parents=True)
        for relation in ("P36", "P9"):
            write_lines(
                folder / patterns / f"{relation}.jsonl",
                {"pattern": "[X] is [Y]."},
                "",
                {"pattern": "[Y]: [X]"},
            )
        write_lines(folder / patterns / "P7.jsonl", {"pattern": "[X] [Y]"})
        france = {"sub_label": "France", "obj_label": "Paris", "uuid": "u1"}
        write_lines(
            folder / triples / "P36.jsonl",
            france,
            {**france, "uuid": "u2"},
            {**france, "obj_label": "Lyon", "uuid": "u1"},
        )
        write_lines(
            folder / triples / "P9.jsonl",
            {"sub_label": "Peru", "obj_label": "Lima"},
            {**france, "sub_label": "Chad"},
        )
        write_lines(folder / triples / "P31.jsonl", france)
        return folder

    return make


@pytest.mark.parametrize("names", [("patterns", "facts"), ("graphs_json", "trex_lms_vocab"),
                                   ("pattern_data/graphs_json", "trex_lms_vocab"),
                                   ("data/pattern_data/graphs_json", "data/trex_lms_vocab")])  # fmt: skip
def test_pararel_is_read_in_all_its_layouts(
    tmp_path: Path, names: tuple[str, str], pararel: Callable[..., Path]
) -> None:
    found = read_facts(f"pararel:{pararel(tmp_path, *names)}")
    assert found.relations() == ["P9", "P36"]
    assert [fact.id for fact in found.facts] == ["P9-1", "u1", "u1-P36-1", "u1-P36-3"]
    assert [query.template for query in found.facts[2].queries] == ["P36-1", "P36-3"]  # lines of the file
    assert [query.text for query in found.facts[2].queries] == ["France is [Y].", "[Y]: France"]
    assert found.facts[2].objects == ("Paris", "Lyon")
    assert found.merged == 1
    assert found.skipped == {"relation without patterns": 1, "relation without facts": 1}


def test_what_is_wrong_with_pararel(
    tmp_path: Path, write_lines: WriteLines, problems_of: ProblemsOf, pararel: Callable[..., Path]
) -> None:
    folder = pararel(tmp_path / "p")
    assert problems_of(f"pararel:{folder}", relations=("P7",)) == [
        f"relation is 'P7'; expected one of P9, P36. At facts pararel:{folder}. Correct --relations."
    ]
    assert problems_of(f"pararel:{tmp_path}") == [
        f"ParaRel is '{tmp_path}'; expected a folder with patterns/ or graphs_json/ in it. At {tmp_path}. "
        "Check the path."
    ]
    patterns = write_lines(folder / "patterns" / "P36.jsonl", {"pattern": "[X] is"}, {"lemma": "be"})
    triples = write_lines(folder / "facts" / "P36.jsonl", {"sub_label": "a [Y]", "obj_label": ""})
    assert problems_of(f"pararel:{folder}") == [
        f"pattern is '[X] is'; expected exactly one [Y]. At {patterns}, line 1. Correct it.",
        f"key is 'pattern missing'; expected an object with pattern. At {patterns}, line 2. Add it.",
        f"obj_label is ''; expected text that is not empty. At {triples}, line 1. Correct it.",
        f"sub_label is 'a [Y]'; expected text without [Y]. At {triples}, line 1. Correct it.",
    ]
    (tmp_path / "none" / "patterns").mkdir(parents=True)
    (tmp_path / "none" / "facts").mkdir()
    assert problems_of(f"pararel:{tmp_path / 'none'}") == [
        "ParaRel is 'without relations'; expected relations with a file in patterns/ and in facts/. "
        f"At {tmp_path / 'none'}. Check the folder."
    ]


def test_pararel_as_published(published: Path) -> None:
    found = read_facts(f"pararel:{published / 'pararel'}")
    n_queries = sum(len(fact.queries) for fact in found.facts)
    assert (len(found.relations()), len(found), found.merged) == (39, 27_593, 17)
    assert n_queries == 224_468
    assert found.skipped == {"relation without patterns": 2}
    assert len({fact.id for fact in found.facts}) == len(found)
    assert all(len(fact.queries) == len({query.template for query in fact.queries}) for fact in found.facts)
    # With the 17 that were merged, each asked with its relation's patterns: the count in the data's README.
    lines = {
        path.stem: path.read_text().count("\n") for path in (published / "pararel" / "facts").glob("*.jsonl")
    }
    patterns = {
        path.stem: path.read_text().count("\n")
        for path in (published / "pararel" / "patterns").glob("*.jsonl")
    }
    assert sum(lines[relation] * patterns[relation] for relation in patterns) == 224_674


def test_a_filter_reads_the_same_facts_of_pararel(published: Path) -> None:
    source = f"pararel:{published / 'pararel'}"
    few = read_facts(source, relations=("P36", "P17"), max_facts=5, seed=1)
    assert few.relations() == ["P17", "P36"]
    assert [sum(fact.relation == r for fact in few.facts) for r in ("P17", "P36")] == [5, 5]
    assert few.facts[5:] == read_facts(source, relations=("P36",), max_facts=5, seed=1).facts
