"""Baselines of AMIG and SIG: which tokens are replaced, and the vectors that come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from qloc.errors import InputError
from qloc.extract.attribution.amig_sig_baselines import Replacing, baselines, refuse_without_baseline
from qloc.extract.prompts.tokenizing import Target, TokenizedQuery
from qloc.extract.signals.extraction import Extraction
from qloc.facts import Fact, FactSet, Query


class _Tokenizer:
    """As much of a tokenizer as is asked."""

    mask_token_id, eos_token_id, unk_token_id, pad_token_id = 4, 2, 3, 0
    bos_token_id = sep_token_id = cls_token_id = None
    all_special_ids = (0, 2, 3, 4)


def test_what_is_replaced() -> None:
    masked = Replacing.of(_Tokenizer(), "masked")
    target = Target(ids=(2, 3, 4, 9), position=2, token=1)
    assert masked.places(target) == [1, 3]
    assert [variant.ids for variant in masked.variants(target)] == [
        (2, 4, 4, 9),  # an unknown word is a word
        (2, 3, 4, 4),
    ]
    assert Replacing.of(_Tokenizer(), "causal").token == 2
    one_for_all = _Tokenizer()
    one_for_all.unk_token_id = 2  # GPT-2's unknown word is its end of sequence
    assert 2 in Replacing.of(one_for_all, "causal").kept


def test_variants_keep_the_answer_and_what_it_is_contrasted_with() -> None:
    target = Target(ids=(7, 8), position=1, token=5, against=6)
    for variant in Replacing(token=0, kept=frozenset()).variants(target):
        assert (variant.position, variant.token, variant.against) == (1, 5, 6)


def test_every_prompt_of_kept_tokens_is_refused_once() -> None:
    def query(text: str, *ids: int) -> TokenizedQuery:
        target = Target(ids=ids, position=len(ids) - 1, token=1)
        return TokenizedQuery(query=Query(template="t", text=text), answer="a", targets=(target,))

    replacing = Replacing(token=9, kept=frozenset({1, 2}))
    refuse_without_baseline(replacing, [query("a[Y]", 1, 7)])
    with pytest.raises(InputError) as caught:
        refuse_without_baseline(
            replacing, [query("b[Y]", 1, 2), query("a[Y]", 1, 7), query("c[Y]", 2), query("b[Y]", 2, 1)]
        )
    assert caught.value.problems == tuple(
        f"prompt is '{text}'; expected at least one token that is not special, for amig and sig. At facts. "
        "Leave it out, or these methods."
        for text in ("b[Y]", "c[Y]")
    )


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_baselines_in_a_batch_are_those_of_single_prompts(
    study: Callable[..., Extraction], plain: Any, close: Any, kind: str
) -> None:
    of_kind = study(kind)
    targets = [target for of_fact in of_kind.asking.asked for query in of_fact for target in query.targets][
        ::4
    ]
    replacing = Replacing.of(of_kind.source.tokenizer, of_kind.source.family)
    together = baselines(of_kind.engine, targets, replacing)
    tight = baselines(replace(of_kind.engine, memory=50_000), targets, replacing)
    specials = set(of_kind.source.tokenizer.all_special_ids)
    for target, found, other in zip(targets, together, tight, strict=True):
        one_prompt = plain(of_kind.loaded.model, list(of_kind.loaded.sites.downs), target)
        alone = one_prompt.baselines(replacing.token, specials)
        close(found, alone)
        close(other, alone)


def test_a_target_without_anything_to_replace_has_no_baselines(engine_of: Any) -> None:
    _, engine, targets = engine_of("gpt2", "float64")
    everything = Replacing(token=0, kept=frozenset(range(400)))
    with pytest.raises(RuntimeError, match="stack expects a non-empty TensorList"):
        baselines(engine, targets[:1], everything)
    assert torch.is_grad_enabled()


def test_a_tokenizer_without_an_end_is_refused_by_amig_and_sig_alone(
    fresh_study: Callable[..., Extraction],
) -> None:
    for methods in ("ig", "sig"):
        made = fresh_study("gpt2", methods=methods)
        made.source.tokenizer.eos_token = None
        if methods == "ig":
            assert made.outline.methods == ("ig",)
            continue
        with pytest.raises(InputError) as caught:
            _ = made.outline
        assert str(caught.value) == (
            "tokenizer is 'TokenizersBackend'; expected one with an end-of-sequence token, which amig and "
            "sig put in place of prompt tokens. At the model's tokenizer. Set its eos_token, or leave amig and "
            "sig out."
        )


def test_a_prompt_of_special_tokens_has_no_baseline(fresh_study: Callable[..., Extraction]) -> None:
    query = Query(template="t", text="</s>[Y]")
    facts = FactSet(
        source="t", facts=(Fact(id="a", relation="r", subject="s", object=" Paris", queries=(query,)),)
    )
    made = fresh_study("gpt2", facts, methods="amig", answer_tokens="first")
    with pytest.raises(InputError) as caught:
        _ = made.outline
    assert str(caught.value) == (
        "prompt is '</s>[Y]'; expected at least one token that is not special, for amig and sig. At facts. Leave "
        "it out, or these methods."
    )
