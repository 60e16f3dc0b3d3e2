"""Prompt and answer tokenized together and cut by offsets; reasons for what cannot be asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from qloc.errors import InputError
from qloc.extract.models.loading import source
from qloc.extract.prompts.tokenizing import Encoder, TokenizedQuery, askable
from qloc.facts import Fact, Query


def _encoder(tiny: Callable[[str], Any], kind: str) -> Encoder:
    return source(str(tiny(kind).folder)).encoder()


def test_token_that_straddles_prompt_and_answer_belongs_to_the_answer(tiny: Callable[[str], Any]) -> None:
    encoder = _encoder(tiny, "gpt2")
    asked = encoder.ask(Query(template="t", text="The capital of France is [Y]."), "Paris")
    assert isinstance(asked, TokenizedQuery)
    assert [encoder.tokenizer.decode([target.token]) for target in asked.targets] == [" Paris"]
    assert encoder.tokenizer.decode(list(asked.targets[0].ids)) == "The capital of France is"


def test_causal_answer_of_several_tokens_is_teacher_forced(tiny: Callable[[str], Any]) -> None:
    encoder = _encoder(tiny, "gpt2")
    asked = encoder.ask(Query(template="t", text="The capital of Peru is [Y]."), "Ouagadougou")
    assert isinstance(asked, TokenizedQuery)
    decode = encoder.tokenizer.decode
    assert decode([target.token for target in asked.targets]) == "Ouagadougou"
    assert len(asked.targets) > 1
    for number, target in enumerate(asked.targets):
        gold = [earlier.token for earlier in asked.targets[:number]]
        assert decode(list(target.ids)) == "The capital of Peru is " + decode(gold)
        assert target.position == len(target.ids) - 1


def test_masked_hides_every_answer_token_at_once(tiny: Callable[[str], Any]) -> None:
    encoder = _encoder(tiny, "bert")
    asked = encoder.ask(Query(template="t", text="[Y] is the capital of Peru."), "Ouagadougou")
    assert isinstance(asked, TokenizedQuery)
    mask = encoder.tokenizer.mask_token_id
    assert len({target.ids for target in asked.targets}) == 1
    assert [n for n, id in enumerate(asked.targets[0].ids) if id == mask] == [
        t.position for t in asked.targets
    ]
    assert encoder.tokenizer.decode([t.token for t in asked.targets]) == "Ouagadougou"


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("gpt2", "[Y] is the capital of Peru.", "text after the answer (causal)"),
        ("gpt2", "[Y]", "no prompt before the answer (causal)"),
        ("gpt2", "Peru " * 70 + "[Y]", "longer than the model's context"),
        ("bert", "Peru " * 70 + "[Y]", "longer than the model's context"),
    ],
)
def test_what_cannot_be_asked_is_given_a_reason(
    tiny: Callable[[str], Any], kind: str, text: str, reason: str
) -> None:
    assert _encoder(tiny, kind).ask(Query(template="t", text=text), "Lima") == reason


def test_minimal_pair_ignores_what_follows_and_needs_its_cue_before_the_answer(
    tiny: Callable[[str], Any],
) -> None:
    encoder = _encoder(tiny, "gpt2")
    pair = {
        "id": "p",
        "relation": "agreement",
        "subject": "cat",
        "object": "sits",
        "bad": "sit",
        "kind": "minimal_pair",
    }
    query = Query(template="t", text="A cat [Y] on the mat.")
    good, reasons = askable(Fact(**pair, queries=(query,)), encoder)
    assert (len(good), reasons) == (1, [])
    good, reasons = askable(Fact(**pair, queries=(query,), cue_in_prefix=False), encoder)
    assert (len(good), reasons) == (0, ["cue not before the answer (causal)"])


def test_slow_tokenizer_is_refused() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(InputError) as caught:
        Encoder(tokenizer=Slow(), family="causal", longest=8)
    assert str(caught.value) == (
        "tokenizer is 'Slow'; expected a fast tokenizer, the only kind that gives offsets. At the model's tokenizer"
        ". Convert it with transformers' AutoTokenizer."
    )
