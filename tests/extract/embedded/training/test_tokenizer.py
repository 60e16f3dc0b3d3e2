"""The tokenizer: one token for most words, several for long names, special tokens by kind."""

from __future__ import annotations

from typing import get_args

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from qloc.extract.embedded import Kind, facts_path
from qloc.extract.embedded.training.corpus import (
    fill,
)
from qloc.extract.embedded.training.fit import encode
from qloc.extract.embedded.training.recall import asked
from qloc.extract.embedded.training.tokenizer import LONG, make_tokenizer

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerFast]


def test_answers_are_tokens(model: Loaded) -> None:
    _, tokenizer = model
    queries = asked(facts_path())
    encoded = encode(tokenizer, [q.sentence for q in queries])
    lengths = encoded.answer.sum(1)
    assert int(lengths.min()) >= 1
    assert float((lengths == 1).float().mean()) > 0.7
    assert int((lengths > 2).sum()) > 50
    for n in (0, len(queries) // 2, len(queries) - 1):
        sentence = queries[n].sentence
        shown = str(tokenizer.decode(encoded.ids[n][encoded.answer[n]])).strip()
        assert shown == sentence.text[sentence.start : sentence.stop]


@pytest.mark.parametrize("kind", get_args(Kind))
def test_long_names_are_cut_and_other_words_are_not(kind: Kind) -> None:
    long = "Ouagadougou"
    assert len(long) == LONG
    tokenizer = make_tokenizer(
        kind, [fill("The capital of [X] is [Y].", name, "Lima") for name in ("Peru", long)]
    )
    assert tokenizer.tokenize("Peru") == tokenizer.tokenize(" Peru")  # the same token wherever it stands
    assert len(tokenizer.tokenize("Peru")) == 1
    assert len(tokenizer.tokenize(long)) > 1
    ends = [tokenizer.cls_token_id, tokenizer.sep_token_id] if kind == "masked" else []
    ids = tokenizer("Peru")["input_ids"]
    assert (ids[:1], ids[-1:]) == (ends[:1], ends[1:]) if ends else len(ids) == 1
    assert (tokenizer.mask_token_id is None) == (kind == "causal")
