"""Every query is asked once, the others counted; columns of facts by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from qloc.extract.prompts.askable import Asking, ask_facts
from qloc.extract.prompts.tokenizing import Encoder, TokenizedQuery
from qloc.facts import Fact, FactSet, Query

EncoderOf = Callable[[str], Encoder]


def test_queries_stay_with_their_fact_and_the_others_are_counted(
    tiny: Callable[[str], Any], encoder_of: EncoderOf
) -> None:
    facts: FactSet = tiny("gpt2").facts
    asking = ask_facts(facts, encoder_of("gpt2"))
    # The last query of the third fact starts with its answer.
    assert [[query.query for query in of_fact] for of_fact in asking.asked] == [
        list(facts.facts[0].queries),
        list(facts.facts[1].queries),
        [facts.facts[2].queries[0]],
    ]
    assert asking.excluded == {"text after the answer (causal)": 1}
    masked = ask_facts(facts, encoder_of("bert"))
    assert [len(of_fact) for of_fact in masked.asked] == [3, 2, 2]
    assert masked.excluded == {}


def test_some_targets_are_those_of_the_first_facts(tiny: Callable[[str], Any], encoder_of: EncoderOf) -> None:
    asking = ask_facts(tiny("gpt2").facts, encoder_of("gpt2"))
    every = [target for of_fact in asking.asked for query in of_fact for target in query.targets]
    assert asking.some_targets() == every
    (query,) = asking.asked[2]
    many = Asking(asked=((), *[(query,)] * 100), excluded={})
    n_facts = -(-64 // len(query.targets))
    assert many.some_targets() == list(query.targets) * n_facts


def test_columns_of_facts() -> None:
    query = Query(template="t", text="[X] [Y]")
    fact = Fact(id="a", relation="r", subject="s", object="o", queries=(query,), objects=("o", "p"))
    pair = replace(fact, id="b", kind="minimal_pair", bad="x", feature="plural", objects=())
    none = replace(fact, id="c", attributes={"n": 2, "name": "x"})
    facts = FactSet(
        facts=(replace(fact, attributes={"n": 1.5}), pair, none), source="test", merged=0, skipped={}
    )
    tokenized = TokenizedQuery(query=query, answer="o", targets=())
    columns = Asking(asked=((tokenized,) * 2, (tokenized,), ()), excluded={}).fact_columns(facts)
    assert columns["id"].tolist() == ["a", "b", "c"]
    assert columns["kind"].tolist() == ["fact", "minimal_pair", "fact"]
    assert columns["feature"].tolist() == ["", "plural", ""]
    assert columns["n_queries"].tolist() == [2, 1, 0]
    assert columns["first_query"].tolist() == [0, 2, -1]  # nothing of the last can be asked
    assert columns["n_objects"].tolist() == [2, 1, 2]
    assert columns["leaks"].tolist() == [int(fact.leaks), int(pair.leaks), int(none.leaks)]
    np.testing.assert_array_equal(columns["n"], [1.5, np.nan, 2.0])
    assert columns["name"].tolist() == ["", "", "x"]
    assert {columns[name].dtype for name in ("n_queries", "first_query", "n_objects")} == {np.dtype(np.int32)}
