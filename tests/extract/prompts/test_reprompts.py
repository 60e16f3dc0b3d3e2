"""Re-prompts are near-identical queries, or none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qloc.extract.prompts.reprompts import asked_again
from qloc.extract.prompts.tokenizing import Encoder, TokenizedQuery
from qloc.facts import Query

EncoderOf = Callable[[str], Encoder]


def asked(encoder: Encoder, text: str) -> TokenizedQuery:
    tokenized = encoder.ask(Query(template="t", text=text), "Ouagadougou")
    assert isinstance(tokenized, TokenizedQuery)
    return tokenized


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_the_prefix_comes_first_and_the_answer_stays(kind: str, encoder_of: EncoderOf) -> None:
    encoder = encoder_of(kind)
    queries = [asked(encoder, text) for text in ("The capital of Peru is [Y].", "Peru's capital, [Y]")]
    for before, after in zip(queries, asked_again(queries, "- ", encoder), strict=True):
        assert after is not None
        assert after.query == Query(template="t", text="- " + before.query.text)
        assert after.answer == before.answer
        assert [t.token for t in after.targets] == [t.token for t in before.targets]
        added = {len(a.ids) - len(b.ids) for a, b in zip(after.targets, before.targets, strict=True)}
        assert len(added) == 1
        assert min(added) > 0


def test_no_near_identical_query(encoder_of: EncoderOf) -> None:
    encoder = encoder_of("gpt2")
    query = asked(encoder, "The capital of Peru is [Y].")
    assert asked_again([query], "", encoder) == [None]  # nothing is put before it
    assert asked_again([query], "- " * 80, encoder) == [None]  # longer than the context
    assert asked_again([], "- ", encoder) == []
