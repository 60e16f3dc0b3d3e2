"""Tables of queries: lines are grouped into facts, and everything wrong with a table is reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from qloc.extract.datasets import read_facts
from qloc.extract.datasets.facts_csv import (
    KEPT_AS_TEXT,
    MARKED_MISSING,
    entries_of,
    is_table,
    numeric_columns,
)
from qloc.extract.datasets.json_lines import Problems
from qloc.facts import Fact, Query

ProblemsOf = Callable[..., list[str]]


def table(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_lines_of_one_triple_are_queries_of_one_fact(tmp_path: Path) -> None:
    path = table(
        tmp_path / "facts.csv",
        "relation,subject,object,query,template,count,share,name",
        "capital,France,Paris,The capital of [X] is [Y].,capital-1,51,1,x",
        "",
        'capital,France,Paris,"[X]\'s capital, [Y]",,51,,',
        "capital,Peru,Lima,The capital of [X] is [Y].,capital-1,,,7",
    )
    facts = read_facts(str(path)).facts
    assert facts == (
        Fact(
            id="capital:France:Paris",
            relation="capital",
            subject="France",
            object="Paris",
            objects=("Paris",),
            queries=(
                Query(template="capital-1", text="The capital of France is [Y]."),
                Query(template="[X]'s capital, [Y]", text="France's capital, [Y]"),
            ),
            attributes={"count": 51, "share": 1, "name": "x"},
        ),
        Fact(
            id="capital:Peru:Lima",
            relation="capital",
            subject="Peru",
            object="Lima",
            objects=("Lima",),
            queries=(Query(template="capital-1", text="The capital of Peru is [Y]."),),
            attributes={"name": "7"},  # text: not every cell of the column is a number
        ),
    )


def test_a_table_of_tabs_with_a_byte_order_mark_and_ids(tmp_path: Path) -> None:
    path = tmp_path / "FACTS.TSV"
    path.write_bytes(
        "\ufeffid\trelation\tsubject\tobject\tquery\r\na\tr\tCôte d'Ivoire\to, p\t[X]: [Y]\r\n".encode()
    )
    (fact,) = read_facts(str(path)).facts
    assert (fact.id, fact.subject, fact.object) == ("a", "Côte d'Ivoire", "o, p")


def test_columns_that_are_missing_or_doubled(tmp_path: Path, problems_of: ProblemsOf) -> None:
    path = table(tmp_path / "f.csv", "relation,subject,n,n")
    rule = "expected all of relation, subject, object, query"
    assert problems_of(path) == [
        f"column is 'object missing'; {rule}. At {path}, line 1. Add it to the first line.",
        f"column is 'query missing'; {rule}. At {path}, line 1. Add it to the first line.",
        f"column is 'n'; expected a name that no other column has. At {path}, line 1. Rename it.",
    ]
    assert len(problems_of(table(tmp_path / "empty.csv"))) == 4


def test_lines_that_are_broken(tmp_path: Path, problems_of: ProblemsOf) -> None:
    head = "relation,subject,object,query"
    path = table(tmp_path / "f.csv", head, "r,s,o,[X], [Y]", "r,s,o,[Y]", 'r,s,o,"[Y]"x')
    reason = "',' expected after '\"'"
    assert problems_of(path) == [
        f"cells is 5; expected 4, as in the first line. At {path}, line 2. Quote cells that have commas in them.",
        f"line is 'broken'; expected cells, quoted where they need it. At {path}, line 4: {reason}. "
        "Mend the line.",
    ]
    latin = tmp_path / "latin.csv"
    latin.write_bytes(b"relation,\xef")
    assert problems_of(latin) == [
        f"encoding is 'byte 10'; expected UTF-8. At {latin}. Save the file as UTF-8."
    ]


def test_lines_that_contradict_their_fact(tmp_path: Path, problems_of: ProblemsOf) -> None:
    path = table(
        tmp_path / "f.csv",
        "id,relation,subject,object,query,count",
        "a,r,s,o,[Y],1",
        "a,r,s,p,[X] [Y],2",
    )
    assert problems_of(path) == [
        f"object is 'p'; expected 'o', as at {path}, line 2. At {path}, line 3, fact a. "
        "Give the facts ids of their own.",
        f"count is 2; expected 1, as at {path}, line 2. At {path}, line 3, fact a. Give a fact one value.",
    ]


def test_numbers_are_those_that_every_filled_cell_is() -> None:
    rows = [
        (str(n), {"relation": "r", "subject": str(n), "object": "o", "query": "[Y]", "x": cell})
        for n, cell in enumerate(("+3", "-.5e-1", " "))
    ]
    problems = Problems()
    entries = entries_of(rows, numeric_columns(rows, problems), problems)
    assert [entry["attributes"] for _, entry in entries] == [{"x": 3}, {"x": -0.05}, {}]
    assert isinstance(entries[0][1]["attributes"]["x"], int)
    assert problems.found == []
    words = [*rows, *((str(n), {**rows[0][1], "subject": str(n), "x": "nan or not"}) for n in (3, 4))]
    (_, text), *_ = entries_of(words, numeric_columns(words, problems), problems)
    assert text["attributes"] == {"x": "+3"}  # as many words as numbers: a column of text
    assert problems.found == []


def _table(path: Path, **columns: Sequence[str]) -> Path:
    """A fact a line, with these columns besides."""
    n = len(next(iter(columns.values())))
    lines = [["relation", "subject", "object", "query", *columns]]
    lines += [
        ["r", f"s{row}", "o", "[X] is [Y]", *(cells[row] for cells in columns.values())] for row in range(n)
    ]
    path.write_text("".join("\t".join(line) + "\n" for line in lines))
    return path


def test_marks_of_missing_values_among_numbers_are_missing_and_counted(tmp_path: Path) -> None:
    path = _table(
        tmp_path / "f.tsv",
        count=("51", "NA", "nan", "7", "-", "N/A", "8", "9"),
        code=("00123", "77", "NA", "1", "2", "3", "4", "5"),
        iso=("NA", "FR", "DE", "AT", "NA", "IT", "ES", "PL"),
    )
    facts = read_facts(str(path))
    assert [fact.attributes.get("count") for fact in facts.facts] == [51, None, None, 7, None, None, 8, 9]
    assert facts.skipped == {MARKED_MISSING: 4, KEPT_AS_TEXT: 6}  # of code: all but 00123 and NA
    assert [fact.attributes["code"] for fact in facts.facts][:3] == ["00123", "77", "NA"]
    assert facts.facts[0].attributes["iso"] == "NA"  # Namibia


def test_numbers_that_would_not_stay_numbers_are_refused(tmp_path: Path, problems_of: ProblemsOf) -> None:
    path = _table(
        tmp_path / "f.tsv",
        share=("1,5", "2,5", "3"),
        count=("1", "about 2", "3"),
        big=("9007199254740992", "9007199254740993", "1"),
        bigger=("1", "2.5", "-9007199254740993.0"),
    )
    action = "Write it as 1.5, or leave it empty."
    exact = "at most 2⁵³ in size, up to which a column of numbers holds every integer"
    assert problems_of(path) == [
        f"share is '1,5'; expected a number, as in 1 other cell of the column, or empty. At {path}, line 2. {action}",
        f"share is '2,5'; expected a number, as in 1 other cell of the column, or empty. At {path}, line 3. {action}",
        f"count is 'about 2'; expected a number, as in 2 other cells of the column, or empty. At {path}, line 3. "
        + action,
        f"attribute is 9007199254740993; expected {exact}. At {path}, line 3, attribute big. Write it as text, with "
        "a letter before it.",
        f"attribute is -9007199254740993; expected {exact}. At {path}, line 4, attribute bigger. Write it as text, with "
        "a letter before it.",
    ]


@pytest.mark.parametrize(
    ("path", "expected"), [("a.csv", True), ("a.TSV", True), ("a.csv.jsonl", False), ("csv", False)]
)
def test_a_table_is_known_by_its_suffix(path: str, expected: bool) -> None:
    assert is_table(path) is expected
