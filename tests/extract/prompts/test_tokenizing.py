"""Prompt and answer tokenized together and cut by offsets; reasons for what cannot be asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from qloc.errors import InputError
from qloc.extract.prompts.tokenizing import Encoder, TokenizedQuery, Tokens, askable
from qloc.facts import Fact, Query

EncoderOf = Callable[[str], Encoder]


def test_token_that_straddles_prompt_and_answer_belongs_to_the_answer(encoder_of: EncoderOf) -> None:
    encoder = encoder_of("gpt2")
    asked = encoder.ask(Query(template="t", text="The capital of France is [Y]."), "Paris")
    assert isinstance(asked, TokenizedQuery)
    assert [encoder.tokenizer.decode([target.token]) for target in asked.targets] == [" Paris"]
    assert encoder.tokenizer.decode(list(asked.targets[0].ids)) == "The capital of France is"


def test_causal_answer_of_several_tokens_is_teacher_forced(encoder_of: EncoderOf) -> None:
    encoder = encoder_of("gpt2")
    asked = encoder.ask(Query(template="t", text="The capital of Peru is [Y]."), "Ouagadougou")
    assert isinstance(asked, TokenizedQuery)
    decode = encoder.tokenizer.decode
    assert decode([target.token for target in asked.targets]) == "Ouagadougou"
    assert len(asked.targets) > 1
    for number, target in enumerate(asked.targets):
        gold = [earlier.token for earlier in asked.targets[:number]]
        assert decode(list(target.ids)) == "The capital of Peru is " + decode(gold)
        assert target.position == len(target.ids) - 1


def test_masked_hides_every_answer_token_at_once(encoder_of: EncoderOf) -> None:
    encoder = encoder_of("bert")
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
    encoder_of: EncoderOf, kind: str, text: str, reason: str
) -> None:
    assert encoder_of(kind).ask(Query(template="t", text=text), "Lima") == reason


def test_minimal_pair_ignores_what_follows_and_needs_its_cue_before_the_answer(
    encoder_of: EncoderOf,
) -> None:
    encoder = encoder_of("gpt2")
    pair: dict[str, Any] = {
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
    assert (len(good), reasons) == (0, ["cue not before the answer (causal): agreement"])


def test_slow_tokenizer_is_refused() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(InputError) as caught:
        Encoder(tokenizer=Slow(), family="causal", longest=8)
    assert str(caught.value) == (
        "tokenizer is 'Slow'; expected a fast tokenizer, the only kind that gives offsets. At the model's tokenizer"
        ". Convert it with transformers' AutoTokenizer."
    )


def test_a_masked_model_needs_a_mask_token(encoder_of: EncoderOf) -> None:
    with pytest.raises(InputError) as caught:
        Encoder(tokenizer=encoder_of("gpt2").tokenizer, family="masked", longest=8)
    name = type(encoder_of("gpt2").tokenizer).__name__
    assert str(caught.value) == (
        f"tokenizer is '{name}'; expected one with a mask token, as masked language models need. "
        "At the model's tokenizer. Set its mask_token."
    )


def test_both_forms_of_a_pair_must_be_askable(encoder_of: EncoderOf) -> None:
    long = Fact(
        id="p",
        relation="agreement",
        subject="cat",
        object="sits",
        bad="Peru " * 70,
        kind="minimal_pair",
        queries=(Query(template="t", text="A cat [Y]."),),
    )
    assert askable(long, encoder_of("gpt2")) == ([], ["longer than the model's context"])


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_many_queries_are_cut_as_each_alone(kind: str, encoder_of: EncoderOf) -> None:
    encoder = encoder_of(kind)
    asked = [
        (Query(template=text, text=text), answer)
        for text in ("The capital of France is [Y].", "[Y]", "Peru's capital, [Y]")
        for answer in ("Paris", "Ouagadougou")
    ]
    assert encoder.ask_all(asked) == [encoder.ask(query, answer) for query, answer in asked]
    assert encoder.ask_all([]) == []


def _fast(model: Any, pre: Any, decoder: Any, post: Any = None) -> Encoder:
    cut = Tokenizer(model)
    cut.pre_tokenizer, cut.decoder = pre, decoder
    if post is not None:
        cut.post_processor = post
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=cut, eos_token="</s>", unk_token="<unk>")
    return Encoder(tokenizer=tokenizer, family="causal", longest=64)


def _byte_level(*, prefix: bool, trim: bool) -> Encoder:
    """Bytes, and one merge: a letter P with the space before it."""
    every = [*pre_tokenizers.ByteLevel.alphabet(), "ĠP", "</s>", "<unk>"]
    model = models.BPE(vocab={token: n for n, token in enumerate(every)}, merges=[("Ġ", "P")])
    pre, post = pre_tokenizers.ByteLevel(add_prefix_space=prefix), processors.ByteLevel(trim_offsets=trim)
    return _fast(model, pre, decoders.ByteLevel(), post)


def _metaspace() -> Encoder:
    """XLM-R's kind: words that are no pieces with their space get a piece for the space."""
    pieces = ["<unk>", "</s>", "▁", "▁Paris", *"PThecapitlofs Lm", "リ"]
    model = models.Unigram(
        [(piece, -1.0 - 0.1 * n) for n, piece in enumerate(dict.fromkeys(pieces))], unk_id=0
    )
    pre = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    return _fast(model, pre, decoders.Metaspace())


@pytest.mark.parametrize(
    ("encoder", "text", "answer", "tokens", "prompt_ends", "space_apart", "recut"),
    [
        (_metaspace(), "The capital is [Y]", "Paris", ["▁Paris"], "s", False, False),
        (_metaspace(), "The capital is [Y]", "Lima", ["L", "i", "m", "a"], "▁", True, True),
        (_metaspace(), "The capital is [Y]", "リ", ["リ"], "▁", True, True),
        (_byte_level(prefix=False, trim=False), "is [Y]", "P", ["ĠP"], "s", False, False),
        (_byte_level(prefix=False, trim=False), "is [Y]", "L", ["L"], "Ġ", True, False),
        (_byte_level(prefix=True, trim=True), "is [Y]", "L", ["L"], "Ġ", True, False),
        # An added token before: the space that is put behind it is not in the text, and ĠP is trimmed to nothing.
        (_byte_level(prefix=True, trim=True), "a</s>[Y]", "P", ["ĠP"], "</s>", False, True),
        (_byte_level(prefix=True, trim=True), "a</s>[Y]", "Pa", ["ĠP", "a"], "</s>", False, True),
        (_byte_level(prefix=True, trim=True), "a</s>[Y]", "L", ["L"], "Ġ", True, False),
        # A lone space within the answer is trimmed to nothing, too.
        (_byte_level(prefix=True, trim=True), "is [Y]", "a L", ["a", "Ġ", "L"], "Ġ", True, True),
    ],
)
def test_the_answers_tokens_decode_to_the_answer_and_a_lone_space_is_the_prompts(
    encoder: Encoder,
    text: str,
    answer: str,
    tokens: list[str],
    prompt_ends: str,
    space_apart: bool,
    recut: bool,
) -> None:
    asked = encoder.ask(Query(template="t", text=text), answer)
    assert isinstance(asked, TokenizedQuery)
    names = encoder.tokenizer.convert_ids_to_tokens
    assert names([target.token for target in asked.targets]) == tokens
    assert names(asked.targets[0].ids[-1]) == prompt_ends
    assert encoder.tokenizer.decode([target.token for target in asked.targets]).strip() == answer
    assert (asked.space_apart, asked.recut) == (space_apart, recut)


def test_a_subject_that_the_tokenizer_does_not_know_is_not_asked() -> None:
    """Both would be one prompt; an unknown word of the template is in every fact's."""
    encoder = _metaspace()
    query = Query(template="t", text="The capital of 木 is [Y]")
    fact = Fact(id="f", relation="r", subject="木", object="Paris", queries=(query,))
    assert askable(fact, encoder) == ([], ["subject unknown to the tokenizer"])
    known, reasons = askable(replace(fact, subject="capital"), encoder)
    assert (len(known), reasons) == (1, [])


def test_tokens_of_queries_by_hand(encoder_of: EncoderOf) -> None:
    encoder = encoder_of("gpt2")
    query = Query(template="t", text="The capital of Peru is [Y].")
    one, several = encoder.ask(query, "Paris"), encoder.ask(query, "Ouagadougou")
    assert isinstance(one, TokenizedQuery)
    assert isinstance(several, TokenizedQuery)
    n = len(several.targets)
    tokens = Tokens.of([several, one])
    assert len(one.targets) == 1 < n
    assert tokens.query.tolist() == [0] * n + [1]
    assert tokens.first.tolist() == [True, *[False] * (n - 1), True]
    assert tokens.share.tolist() == [1 / n] * n + [1.0]
    assert tokens.answers.tolist() == [target.token for target in (*several.targets, *one.targets)]
    assert len(Tokens.of([]).query) == 0
    assert one.prompt == query.text
