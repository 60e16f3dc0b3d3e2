"""One unit, every number: against brute force, definitions, and hand-made cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from qloc.block import Block
from qloc.errors import InputError, ModelError
from qloc.extract.models.loading import source
from qloc.extract.signals.extraction import Extraction
from qloc.facts import Fact, FactSet, Query
from qloc.plan import Plan


def _extraction(tiny: Any, facts: FactSet | None = None, **plan: Any) -> Extraction:
    chosen = {"methods": "ig,grad_x_act", "steps": 4, "dtype": "float64", **plan}
    return Extraction(Plan(model=str(tiny.folder), **chosen), source(str(tiny.folder)), facts or tiny.facts)


def _block(extraction: Extraction) -> Block:
    return extraction.extract(extraction.outline.units[0])


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_answers_are_what_the_model_says(tiny: Callable[[str], Any], kind: str) -> None:
    extraction = _extraction(tiny(kind))
    block, model = _block(extraction), extraction.loaded.model
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


def test_single_token_candidates_are_exact_and_others_missing(tiny: Callable[[str], Any]) -> None:
    extraction = _extraction(tiny("gpt2"))
    block, encoder = _block(extraction), extraction.source.encoder()
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


def test_attribution_is_the_mean_over_answer_tokens_and_the_gap_their_largest(
    tiny: Callable[[str], Any],
) -> None:
    every, first = (_block(_extraction(tiny("gpt2"), answer_tokens=which)) for which in ("all", "first"))
    tokens = (every.queries["answer_token_id"] >= 0).sum(1)
    single = tokens == 1
    assert single.any()
    assert (~single).any()
    np.testing.assert_allclose(every.attribution[:, single], first.attribution[:, single], rtol=0, atol=1e-15)
    assert np.abs(every.attribution[:, ~single] - first.attribution[:, ~single]).max() > 1e-6
    assert (every.completeness_gap[0] >= first.completeness_gap[0] - 1e-6).all()
    np.testing.assert_allclose(every.queries["log_probability"], first.queries["log_probability"], rtol=1e-6)


def test_grad_x_act_is_activation_times_gradient_for_one_token(tiny: Callable[[str], Any]) -> None:
    block = _block(_extraction(tiny("gpt2"), answer_tokens="first"))
    np.testing.assert_allclose(block.attribution[1], block.activation * block.gradient, rtol=1e-12)
    assert np.isnan(block.completeness_gap[1]).all()


def test_grams_are_inner_products_of_full_vectors(tiny: Callable[[str], Any]) -> None:
    extraction = _extraction(tiny("gpt2"))
    block = _block(extraction)
    vectors = block.attribution.reshape(2, block.attribution.shape[1], -1)
    counts, start = extraction.outline.facts["n_queries"], 0
    for fact, k in enumerate(counts):
        own = vectors[:, start : start + k]
        np.testing.assert_allclose(block.gram[:, fact, :k, :k], own @ own.transpose(0, 2, 1), rtol=1e-12)
        assert np.isnan(block.gram[:, fact, k:]).all()
        start += k
    assert np.isfinite(
        block.null_gram[:, 2, 0, 0]
    ).all()  # one query: any other fact with that template serves
    assert np.isnan(block.null_gram[:, 0]).all()  # three templates, two other facts: too few


def test_another_right_answer_makes_a_query_known(tiny: Callable[[str], Any]) -> None:
    plain = _extraction(tiny("gpt2"))
    best = plain.source.tokenizer.decode([int(_block(plain).queries["argmax"][0])])
    facts = tiny("gpt2").facts
    fact = replace(
        facts.facts[0], queries=(Query(template="t", text="The capital of France is[Y]"),), object=" Paris"
    )
    for objects, known in (((" Paris",), 0), ((" Paris", best), 1)):
        study = replace(facts, facts=(replace(fact, objects=objects),))
        assert _block(_extraction(tiny("gpt2"), study)).queries["known"].tolist() == [known]


def test_minimal_pair_scores_its_bad_continuation(tiny: Callable[[str], Any]) -> None:
    query = Query(template="t", text="A cat [Y] on the mat.")
    pair = Fact(
        id="p", relation="r", subject="cat", object="sits", bad="sit", kind="minimal_pair", queries=(query,)
    )
    swapped = replace(pair, id="q", object="sit", bad="sits")
    block = _block(_extraction(tiny("gpt2"), FactSet(source="t", facts=(pair, swapped))))
    good, bad = block.queries["log_probability"], block.queries["bad_log_probability"]
    np.testing.assert_allclose(bad, good[::-1], rtol=1e-6)
    assert good[0] != pytest.approx(bad[0])


def test_nan_is_named_by_query_not_hidden(tiny: Callable[[str], Any]) -> None:
    extraction = _extraction(tiny("llama"), answer_tokens="first")  # its embeddings are not tied to its head
    first_facts_ids = extraction.asking.asked[0][0].targets[0].ids
    kenya = next(id for id in extraction.asking.asked[1][0].targets[0].ids if id not in first_facts_ids)
    assert extraction.outline.sizes["query"] == 6
    with torch.no_grad():
        extraction.loaded.model.model.embed_tokens.weight[kenya] = torch.nan
    with pytest.raises(ModelError) as caught:
        _block(extraction)
    words = (
        "the model's output is 'NaN or infinite'; expected finite numbers. At query {!r} of fact 'f1'. Try --dtype "
        "float32, or leave the query out."
    )
    assert str(caught.value) in {words.format(one.prompt) for one in extraction.asking.asked[1]}


def test_nan_at_an_answer_token_that_is_only_scored_is_named_too(tiny: Callable[[str], Any]) -> None:
    extraction = _extraction(tiny("llama"), answer_tokens="first")
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
        _block(extraction)


def test_excluded_queries_are_counted_by_reason_and_facts_stay(tiny: Callable[[str], Any]) -> None:
    extraction = _extraction(tiny("gpt2"))
    assert extraction.outline.attrs["excluded"] == {"text after the answer (causal)": 1}
    assert extraction.outline.facts["n_queries"].tolist() == [3, 2, 1]
    assert extraction.outline.facts["first_query"].tolist() == [0, 3, 5]


def test_facts_of_which_nothing_can_be_asked_are_refused(tiny: Callable[[str], Any]) -> None:
    query = Query(template="t", text="[Y] is a city.")
    facts = FactSet(
        source="t", facts=(Fact(id="a", relation="r", subject="s", object="Paris", queries=(query,)),)
    )
    with pytest.raises(InputError, match=r"left out: 1 text after the answer \(causal\)"):
        _ = _extraction(tiny("gpt2"), facts).outline


def test_units_do_not_depend_on_each_other(tiny: Callable[[str], Any]) -> None:
    whole = _block(_extraction(tiny("gpt2")))
    apart = _extraction(tiny("gpt2"), unit_facts=1)
    again = apart.extract(apart.outline.units[1])
    np.testing.assert_allclose(again.attribution, whole.attribution[:, 3:5], rtol=0, atol=1e-12)
    assert again.queries["fact"].tolist() == [1, 1]
    once_more = apart.extract(apart.outline.units[1])
    assert all(
        np.array_equal(getattr(again, n), getattr(once_more, n))
        for n in ("attribution", "activation", "gradient")
    )
