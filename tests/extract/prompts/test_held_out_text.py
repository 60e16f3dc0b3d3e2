"""Held-out text comes with the package, and is cut into passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qloc.extract.embedded import held_out_path
from qloc.extract.prompts.held_out_text import Piece, held_out_texts, pieces, sampled_texts, windows
from qloc.extract.prompts.tokenizing import Encoder

EncoderOf = Callable[[str], Encoder]


def test_the_embedded_models_have_their_own_text() -> None:
    own = held_out_path().read_text(encoding="utf-8")
    lines = tuple(own.splitlines())
    assert held_out_texts("embedded:causal") == held_out_texts("embedded:masked") == lines
    assert held_out_texts("embedded:causal", joined=True) == (own,)
    assert sampled_texts("embedded:causal", 50) == (lines, 50)


def test_windows_stay_within_texts(encoder_of: EncoderOf) -> None:
    """Lines that a model was trained on one by one are never joined, nor masked all at one place."""
    lines = ["The cat sits on a mat.", "", "It rains.", "A dog runs to the door of the house."]
    for kind in ("gpt2", "bert"):
        encoder = encoder_of(kind)
        ids = [encoder.tokenizer(line, add_special_tokens=False)["input_ids"] for line in lines if line]
        total = sum(map(len, ids))
        cut = list(pieces(encoder.tokenizer, encoder.family, lines, total - 1, 64))
        assert [list(piece.inside) for piece in cut] == [*ids[:2], ids[2][:-1]]
        skip = len(ids[0]) + 1
        rest = pieces(encoder.tokenizer, encoder.family, lines, total, 64, skip=skip)
        assert [list(piece.inside) for piece in rest] == [ids[1][1:], ids[2]]
        if kind == "bert":
            every = [token for line in ids for token in line]
            masked = [t.token for w in windows(encoder.tokenizer, "masked", lines, total, 64) for t in w]
            assert masked == every[3::7]


def test_every_other_model_has_two_texts_of_the_package() -> None:
    (passage,), ((sample,), skip) = held_out_texts("gpt2"), sampled_texts("gpt2", 50)
    assert skip == 0
    assert passage.startswith(
        "When we look to the individuals of the same variety or sub-variety of our older"
    )
    assert "Four score and seven years ago" in sample
    assert not set(passage.split(". ")) & set(sample.split(". "))
    assert len(passage.split()) > 200
    assert len(sample.split()) > 900


def test_a_piece_is_read_between_its_special_tokens() -> None:
    assert Piece(before=(1,), inside=(2, 3), after=(4,)).ids == (1, 2, 3, 4)


def test_causal_pieces_are_the_text_without_special_tokens(encoder_of: EncoderOf) -> None:
    tokenizer = encoder_of("gpt2").tokenizer
    text = held_out_texts("gpt2")[0][:400]
    ids = tokenizer(text)["input_ids"]
    cut = list(pieces(tokenizer, "causal", [text], 50, 20, skip=7))
    assert [len(piece.ids) for piece in cut] == [20, 20, 10]
    assert [token for piece in cut for token in piece.ids] == ids[7:57]
    # A causal piece of one token predicts nothing, and is left out.
    assert [len(piece.ids) for piece in pieces(tokenizer, "causal", [text], 41, 20)] == [20, 20]
    assert list(pieces(tokenizer, "causal", [text], 0, 20)) == []


def test_masked_pieces_stand_between_special_tokens(encoder_of: EncoderOf) -> None:
    tokenizer = encoder_of("bert").tokenizer
    text = held_out_texts("gpt2")[0][:400]
    first, *ids, last = tokenizer(text)["input_ids"]
    cut = list(pieces(tokenizer, "masked", [text], 40, 20))
    assert {(piece.before, piece.after) for piece in cut} == {((first,), (last,))}
    assert max(len(piece.ids) for piece in cut) == 20
    assert [token for piece in cut for token in piece.inside] == ids[:40]


def test_a_causal_window_predicts_every_token_but_the_first(encoder_of: EncoderOf) -> None:
    tokenizer = encoder_of("gpt2").tokenizer
    text = held_out_texts("gpt2")[0][:400]
    ids = tuple(tokenizer(text)["input_ids"])
    first, second = windows(tokenizer, "causal", [text], 30, 20)
    assert [(t.ids, t.position, t.token) for t in first] == [(ids[:20], n - 1, ids[n]) for n in range(1, 20)]
    assert [(t.ids, t.position, t.token) for t in second] == [
        (ids[20:30], n - 21, ids[n]) for n in range(21, 30)
    ]


@pytest.mark.parametrize("n_tokens", [7, 30])
def test_a_masked_window_predicts_one_token_in_seven(n_tokens: int, encoder_of: EncoderOf) -> None:
    tokenizer = encoder_of("bert").tokenizer
    text = held_out_texts("gpt2")[0][:400]
    mask = tokenizer.mask_token_id
    every = list(pieces(tokenizer, "masked", [text], n_tokens, 64))
    cut = [piece for piece in every if len(piece.inside) > 3]  # shorter ones have no token to predict
    assert 0 < len(cut) < len(every)
    for piece, window in zip(cut, windows(tokenizer, "masked", [text], n_tokens, 64), strict=True):
        positions = [target.position for target in window]
        assert positions == list(range(4, 1 + len(piece.inside), 7))
        for target in window:
            assert target.token == piece.ids[target.position]
            assert [n for n, token in enumerate(target.ids) if token == mask] == positions
