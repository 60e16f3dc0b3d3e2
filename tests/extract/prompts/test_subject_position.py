"""The subject's last token: found as a word first, before the answer first, by characters."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qloc.extract.prompts.subject_position import subject_token
from qloc.extract.prompts.tokenizing import Encoder, TokenizedQuery
from qloc.facts import Query

EncoderOf = Callable[[str], Encoder]


def asked(encoder: Encoder, text: str) -> TokenizedQuery:
    tokenized = encoder.ask(Query(template="t", text=text), "Lima")
    assert isinstance(tokenized, TokenizedQuery)
    return tokenized


@pytest.mark.parametrize(
    ("kind", "text", "subject", "read"),
    [
        ("gpt2", "The capital of France is [Y].", "France", "The capital of France"),
        ("gpt2", "France, France! [Y]", "France", "France, France"),
        ("bert", "[Y]: Peru, a Peru.", "Peru", "Lima: Peru, a Peru"),
        ("bert", "Peru: [Y], Peru.", "Peru", "Peru"),  # before the answer, if it is there at all
        ("gpt2", "A cat. Cathedral: [Y]", "cat", "A cat"),  # as a word, though its letters stand later
    ],
)
def test_position_by_hand(kind: str, text: str, subject: str, read: str, encoder_of: EncoderOf) -> None:
    encoder = encoder_of(kind)
    tokenized = asked(encoder, text)
    position = subject_token(encoder, tokenized, subject)
    spans = encoder.tokenizer(text.replace("[Y]", "Lima"), return_offsets_mapping=True)["offset_mapping"]
    assert position is not None
    start, stop = spans[position]
    assert start < len(read) <= stop


def test_no_position_where_the_model_does_not_read_the_subject(encoder_of: EncoderOf) -> None:
    causal, masked = encoder_of("gpt2"), encoder_of("bert")
    assert subject_token(causal, asked(causal, "A cat sits: [Y]"), "") is None
    assert subject_token(causal, asked(causal, "A cat sits: [Y]"), "Peru") is None
    assert subject_token(causal, asked(causal, "A cat sits: [Y]."), "Lima") is None  # only in the answer
    assert subject_token(masked, asked(masked, "A cat sits: [Y]."), "Lima") is None


def test_no_position_where_subject_and_answer_share_a_token(encoder_of: EncoderOf) -> None:
    encoder = encoder_of("bert")
    joined = encoder.ask(Query(template="t", text="Nai[Y] sits"), "robi")
    assert isinstance(joined, TokenizedQuery)
    spans = encoder.tokenizer("Nairobi sits", return_offsets_mapping=True)["offset_mapping"]
    assert any(start < 3 < stop for start, stop in spans)  # one token straddles the seam
    assert subject_token(encoder, joined, "Nai") is None
