"""Columns of /queries against what the model says when it is asked plainly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from qloc.block import Block
from qloc.errors import ModelError
from qloc.extract.signals.extraction import Extraction
from qloc.facts import Fact, FactSet, Query


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_answers_are_what_the_model_says(
    kind: str, extraction_of: Callable[..., Extraction], block_of: Callable[[Extraction], Block]
) -> None:
    extraction = extraction_of(kind)
    block, model = block_of(extraction), extraction.loaded.model
    asked = [one for of_fact in extraction.asking.asked for one in of_fact]
    for row, one in enumerate(asked):
        logs = [
            model(input_ids=torch.tensor([t.ids])).logits[0, t.position].log_softmax(-1) for t in one.targets
        ]
        each = [float(log[t.token]) for log, t in zip(logs, one.targets, strict=True)]
        ranks = [int((log > log[t.token]).sum()) + 1 for log, t in zip(logs, one.targets, strict=True)]
        assert block.queries["log_probability"][row] == pytest.approx(sum(each), rel=1e-6)  # kept as float32
        np.testing.assert_allclose(block.queries["token_log_probability"][row, : len(each)], each, rtol=1e-6)
        assert np.isnan(block.queries["token_log_probability"][row, len(each) :]).all()
        assert block.queries["token_rank"][row, : len(each)].tolist() == ranks
        assert block.queries["rank"][row] == max(ranks)
        assert block.queries["known"][row] == (max(ranks) == 1)
        assert block.queries["argmax"][row] == int(logs[0].argmax())
        top = logs[0].topk(20)
        assert block.queries["top_token_id"][row].tolist() == top.indices.tolist()
        np.testing.assert_allclose(block.queries["top_log_probability"][row], top.values.numpy(), rtol=1e-6)


def test_single_token_candidates_are_exact_and_others_missing(
    extraction_of: Callable[..., Extraction], block_of: Callable[[Extraction], Block]
) -> None:
    extraction = extraction_of("gpt2")
    block, encoder = block_of(extraction), extraction.source.encoder()
    names = extraction.outline.candidates["capital"]
    for row, one in enumerate(one for of_fact in extraction.asking.asked for one in of_fact):
        for number, answer in enumerate(names):
            other = encoder.ask(one.query, answer)
            got = block.queries["candidate_log_probability"][row, number]
            if (
                not isinstance(other, str)
                and len(other.targets) == 1
                and other.targets[0].ids == one.targets[0].ids
            ):
                logits = extraction.loaded.model(input_ids=torch.tensor([one.targets[0].ids])).logits[0, -1]
                assert got == pytest.approx(float(logits.log_softmax(-1)[other.targets[0].token]), rel=1e-6)
            else:
                assert np.isnan(got)
    assert np.isfinite(block.queries["candidate_log_probability"]).any()


def test_another_right_answer_makes_a_query_known(
    tiny: Callable[[str], Any],
    extraction_of: Callable[..., Extraction],
    block_of: Callable[[Extraction], Block],
) -> None:
    plain = extraction_of("gpt2")
    best = plain.source.tokenizer.decode([int(block_of(plain).queries["argmax"][0])])
    facts = tiny("gpt2").facts
    fact = replace(
        facts.facts[0], queries=(Query(template="t", text="The capital of France is[Y]"),), object=" Paris"
    )
    for objects, known in (((" Paris",), 0), ((" Paris", best), 1)):
        study = replace(facts, facts=(replace(fact, objects=objects),))
        assert block_of(extraction_of("gpt2", study)).queries["known"].tolist() == [known]


def test_minimal_pair_scores_its_bad_continuation(
    extraction_of: Callable[..., Extraction], block_of: Callable[[Extraction], Block]
) -> None:
    query = Query(template="t", text="A cat [Y] on the mat.")
    pair = Fact(
        id="p", relation="r", subject="cat", object="sits", bad="sit", kind="minimal_pair", queries=(query,)
    )
    swapped = replace(pair, id="q", object="sit", bad="sits")
    block = block_of(extraction_of("gpt2", FactSet(source="t", facts=(pair, swapped))))
    good, bad = block.queries["log_probability"], block.queries["bad_log_probability"]
    np.testing.assert_allclose(bad, good[::-1], rtol=1e-6)
    assert good[0] != pytest.approx(bad[0])


def test_nan_at_an_answer_token_that_is_only_scored_is_named_too(
    extraction_of: Callable[..., Extraction], block_of: Callable[[Extraction], Block]
) -> None:
    extraction = extraction_of("llama", answer_tokens="first")
    asked = extraction.asking.asked[2][0]
    assert len(asked.targets) > 1
    with torch.no_grad():
        extraction.loaded.model.model.embed_tokens.weight[asked.targets[0].token] = torch.nan
    assert all(
        asked.targets[0].token not in one.targets[0].ids for of in extraction.asking.asked for one in of
    )
    with pytest.raises(
        ModelError,
        match=f"^the model's output is 'NaN or infinite'; .* query {asked.prompt!r} of fact 'f2'".replace(
            "[", r"\["
        ).replace("]", r"\]"),
    ):
        block_of(extraction)


def test_a_group_of_pairs_knows_where_good_is_likelier(
    extraction_of: Callable[..., Extraction], block_of: Callable[[Extraction], Block]
) -> None:
    """Each sentence has an answer of its own; single pairs keep the rank's, which older stores have."""
    text = "A cat [Y] on the mat."
    queries = tuple(Query(template=t, text=text, good=good, bad=bad) for t, good, bad in (
        ("t", "sits", "sit"), ("t#2", "sit", "sits"),
    ))  # fmt: skip
    group = Fact(
        id="g", relation="r", subject="s", object="s", objects=("s",), kind="minimal_pair", queries=queries
    )
    block = block_of(extraction_of("gpt2", FactSet(source="t", facts=(group,))))
    good, bad = block.queries["log_probability"], block.queries["bad_log_probability"]
    assert block.queries["answer"].tolist() == ["sits", "sit"]
    assert block.queries["known"].tolist() == (good > bad).tolist()
    assert sum(block.queries["known"]) == 1
    assert sum(~np.isnan(block.queries["candidate_log_probability"][0])) <= 2
