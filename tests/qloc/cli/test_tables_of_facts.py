"""Tables of facts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qloc.errors import InputError
from qloc.extract.datasets import read_facts

LINES = """relation,subject,object,query,template,count,region
capital,France,Paris,The capital of [X] is [Y].,c1,51,Europe
capital,Kenya,Nairobi,The capital of [X] is [Y].,c1,7.5,
capital,France,Paris,"[X], whose capital is [Y]",c2,51,Europe
"""


def test_a_table_gives_the_facts_of_its_jsonl(tmp_path: Path) -> None:
    (tmp_path / "facts.csv").write_text(LINES)
    same = [
        {
            "id": "capital:France:Paris",
            "relation": "capital",
            "subject": "France",
            "object": "Paris",
            "queries": [
                {"template": "c1", "text": "The capital of [X] is [Y]."},
                {"template": "c2", "text": "[X], whose capital is [Y]"},
            ],
            "attributes": {"count": 51, "region": "Europe"},
        },
        {
            "id": "capital:Kenya:Nairobi",
            "relation": "capital",
            "subject": "Kenya",
            "object": "Nairobi",
            "queries": [{"template": "c1", "text": "The capital of [X] is [Y]."}],
            "attributes": {"count": 7.5},
        },
    ]
    (tmp_path / "facts.jsonl").write_text("".join(json.dumps(fact) + "\n" for fact in same))
    table, lines = (read_facts(str(tmp_path / f"facts.{end}")) for end in ("csv", "jsonl"))
    assert table.facts == lines.facts
    assert table.digest() == lines.digest()
    (tmp_path / "facts.tsv").write_text("relation\tsubject\tobject\tquery\nr\ts\to\t[X] is [Y]\n")
    (fact,) = read_facts(str(tmp_path / "facts.tsv")).facts
    assert (fact.id, fact.queries[0].template, fact.queries[0].text) == ("r:s:o", "[X] is [Y]", "s is [Y]")


BAD = {
    "no query": (
        "relation,subject,object\nr,s,o\n",
        "column is 'query missing'; expected all of relation, subject, object, query. At {facts}, line 1. "
        "Add it to the first line.",
    ),
    "unquoted comma": (
        "relation,subject,object,query\nr,s,o,[X], so [Y]\n",
        "cells is 5; expected 4, as in the first line. At {facts}, line 2. Quote cells that have commas in them.",
    ),
    "no [Y]": (
        "relation,subject,object,query\nr,s,o,[X] is\n",
        "query is 's is'; expected exactly one [Y]. At {facts}, line 2, query 1. Put it where the answer stands.",
    ),
    "one id, two facts": (
        "id,relation,subject,object,query\na,r,s,o,[X] is [Y]\na,r,s,p,[X] was [Y]\n",
        "object is 'p'; expected 'o', as at {facts}, line 2. At {facts}, line 3, fact a. "
        "Give the facts ids of their own.",
    ),
    "two values": (
        "relation,subject,object,query,n\nr,s,o,[X] is [Y],1\nr,s,o,[X] was [Y],2\n",
        "n is 2; expected 1, as at {facts}, line 2. At {facts}, line 3, fact r:s:o. Give a fact one value.",
    ),
    "empty object": (
        "relation,subject,object,query\nr,s,,[X] is [Y]\n",
        "object is ''; expected text that is not empty. At {facts}, line 2. Fill it in.",
    ),
}


@pytest.mark.parametrize(("lines", "expected"), BAD.values(), ids=BAD.keys())
def test_bad_tables_are_refused(tmp_path: Path, lines: str, expected: str) -> None:
    path = tmp_path / "facts.csv"
    path.write_text(lines)
    with pytest.raises(InputError) as caught:
        read_facts(str(path))
    assert str(caught.value) == expected.replace("{facts}", str(path))
