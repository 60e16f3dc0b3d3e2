"""What facts check counts is what a store would hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from qloc.block import Block
from qloc.errors import InputError
from qloc.extract.prompts.tokenizing import TokenizedQuery
from qloc.extract.signals import facts_check
from qloc.extract.signals.extraction import Extraction
from qloc.extract.signals.facts_check import Checked, checked
from qloc.facts import AnsweredQueries, Entailments, Fact, FactSet, Query
from qloc.workflows.check_facts import FactsCheck


def test_counts_are_those_of_the_columns_of_a_store(
    tiny: Callable[[str], Any],
    extraction_of: Callable[..., Extraction],
    block_of: Callable[[Extraction], Block],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One fact is made known by a second right answer: the model's own."""
    monkeypatch.setattr(facts_check, "AT_A_TIME", 2)  # three facts: two batches
    plain, facts = extraction_of("gpt2"), tiny("gpt2").facts
    best = plain.source.tokenizer.decode([int(block_of(plain).queries["argmax"][0])])
    query = Query(template="t", text="The capital of France is[Y]")
    first, second, third = facts.facts
    first = replace(first, queries=(query,), object=" Paris", objects=(" Paris", best))
    extraction = extraction_of("gpt2", replace(facts, facts=(first, second, third)))
    block = block_of(extraction)
    known = np.bincount(block.queries["fact"], weights=block.queries["known"], minlength=3)
    found = list(checked(extraction))
    assert [one.fact.id for one in found] == ["f0", "f1", "f2"]
    assert [one.n_askable for one in found] == [1, 2, 1]
    assert [one.n_known for one in found] == known.tolist()
    assert known[0] == 1


def test_another_right_answer_may_have_another_number_of_tokens(
    tiny: Callable[[str], Any],
    extraction_of: Callable[..., Extraction],
    block_of: Callable[[Extraction], Block],
) -> None:
    """A masked model reads two masks for one answer and one for the other: argmax tells of its own prompt alone."""
    extraction = extraction_of("bert")
    encoder, model = extraction.source.encoder(), extraction.loaded.model
    query = Query(template="t", text="Paris is[Y]")

    def best_of(object: str) -> int:
        asked = encoder.ask(query, object)
        assert isinstance(asked, TokenizedQuery)
        target = asked.targets[0]
        return int(model(input_ids=torch.tensor([target.ids])).logits[0, target.position].argmax())

    best, long = encoder.tokenizer.decode([best_of("s")]), " Paris Nairobi"
    assert best_of(best) == best_of("s") != best_of(long)
    fact = Fact(id="f", relation="r", subject="Lima", object=long, objects=(long, best), queries=(query,))
    extraction = extraction_of("bert", FactSet(source="t", facts=(fact,)))
    block = block_of(extraction)
    assert block.queries["known"].tolist() == [1]
    assert [found.n_known for found in checked(extraction)] == [1]


def test_a_leaking_fact_is_left_out_of_headlines() -> None:
    query = Query(template="t", text="Paris Match is from [Y].")
    fact = Fact(id="a", relation="r", subject="Paris Match", object="Paris", queries=(query,))
    assert fact.leaks
    assert Checked(fact=fact, n_askable=2, n_known=1).left == 0
    assert Checked(fact=replace(fact, subject="A paper"), n_askable=2, n_known=1).left == 1


def test_nothing_to_ask_is_refused(extraction_of: Callable[..., Extraction]) -> None:
    query = Query(template="t", text="[Y] is a city.")
    fact = Fact(id="a", relation="r", subject="s", object="Paris", queries=(query,))
    with pytest.raises(InputError, match=r"left out: 1 text after the answer \(causal\)"):
        list(checked(extraction_of("gpt2", FactSet(source="t", facts=(fact,)))))


def test_pairs_are_known_where_good_is_likelier_also_as_whole_sentences(
    extraction_of: Callable[..., Extraction], block_of: Callable[[Extraction], Block]
) -> None:
    """Where the prefix does not decide, both sentences are scored token by token, by hand here."""
    forms = (("Paris", "Rome"), ("Rome", "Paris"))
    queries = tuple(
        Query(template=f"{n}", text="The capital of France is [Y] now", good=good, bad=bad)
        for n, (good, bad) in enumerate(forms)
    )
    group = Fact(
        id="g", relation="r", subject="s", object="s", objects=("s",), kind="minimal_pair", queries=queries
    )
    refused = replace(group, id="h", cue_in_prefix=False)
    extraction = extraction_of("gpt2", FactSet(source="t", facts=(group, refused)))
    asked, whole = checked(extraction, whole_sentences=True)
    assert (asked.n_askable, asked.n_known, asked.n_whole) == (
        2,
        sum(block_of(extraction).queries["known"]),
        0,
    )
    ids = [
        extraction.source.tokenizer(f"The capital of France is {form} now")["input_ids"] for form in forms[0]
    ]
    logs = [extraction.loaded.model(torch.tensor([row])).logits[0].log_softmax(-1) for row in ids]
    total = [sum(float(log[n, t]) for n, t in enumerate(row[1:])) for log, row in zip(logs, ids, strict=True)]
    assert total[0] != total[1]
    assert (whole.n_askable, whole.n_whole, whole.n_whole_known) == (0, 2, 1)
    assert facts_check._whole(extraction, refused) == [total[0] > total[1], total[1] > total[0]]
    assert list(checked(extraction))[1].n_whole == 0


def test_what_facts_entail_is_asked_before_any_edit(extraction_of: Callable[..., Extraction]) -> None:
    """The model's own answers are known, another is not; an inverse is asked where it is one fact."""
    plain = extraction_of("gpt2")
    encoder, model = plain.source.encoder(), plain.loaded.model

    def best_of(prompt: str) -> str:
        ids = torch.tensor([encoder.tokenizer(prompt)["input_ids"]])
        return str(encoder.tokenizer.decode([int(model(ids).logits[0, -1].argmax())]))

    def group(text: str, answer: str, mark: str = "") -> AnsweredQueries:
        return AnsweredQueries(answer=answer, queries=(Query(template=text, text=mark + text + "[Y]"),))

    inverse = group(" is the capital of", best_of("Paris is the capital of"), "[X]")
    right, wrong = group("France is", best_of("France is")), group("France is", best_of("France is") + "s")
    entailed = Entailments(inverse=inverse, synonyms=(right, wrong))
    query = Query(template="t", text="The capital of France is[Y]")
    fact = Fact(id="a", relation="r", subject="France", object="Paris", queries=(query,), entailed=entailed)
    shared = replace(fact, id="b", entailed=replace(entailed, n_subjects=2))
    of = FactSet(source="t", facts=(fact, shared, replace(fact, id="c", entailed=None)))
    found = list(checked(extraction_of("gpt2", of)))
    synonyms = {"synonyms": (2, 1)}
    assert [one.entailed for one in found] == [{"an inverse": (1, 1), **synonyms}, synonyms, {}]
    counts = FactsCheck(facts=tuple(found), relations=("r",), excluded={}, merged=0, skipped={})
    assert (counts.entailed("an inverse"), counts.entailed("synonyms")) == ((1, 1), (4, 2))
    assert counts.n_shared_objects == 1
    assert counts.n_traceable == sum(one.n_known > 0 for one in found)
