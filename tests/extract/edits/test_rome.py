"""ROME: where it edits, an edit as a row equal to changed weights, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from qloc.extract.edits.rome import ROME, ROME_IDENTITY, Rome
from qloc.extract.models.hooks import without_head
from qloc.extract.models.loading import source
from qloc.extract.passes.weight_changes import edited
from qloc.extract.prompts.subject_position import subject_token
from qloc.extract.prompts.tokenizing import Encoder, TokenizedQuery
from qloc.facts import Query

KINDS = ("gpt2", "llama", "bert")


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
@pytest.mark.parametrize(
    ("text", "subject", "before"),
    [
        ("The capital of France is [Y].", "France", "The capital of France"),
        ("France, or La France: its capital is [Y].", "France", "France, or La France"),
        ("Francesca sits in France. It is [Y].", "France", "Francesca sits in France"),
        ("Francesca's city is [Y].", "France", "France"),
        ("The capital of Côte d'Ivoire, [Y].", "Côte d'Ivoire", "The capital of Côte d'Ivoire"),
    ],
)
def test_the_subjects_last_token(tiny: Any, kind: str, text: str, subject: str, before: str) -> None:
    """The first token with which the text up to there has the subject's last mention in it."""
    encoder: Encoder = source(str(tiny(kind).folder)).encoder()
    asked = encoder.ask(Query(template="t", text=text), "Paris")
    assert isinstance(asked, TokenizedQuery)
    place = subject_token(encoder, asked, subject)
    assert place is not None
    ids = encoder.tokenizer(text.replace("[Y]", "Paris"))["input_ids"]
    read = [encoder.tokenizer.decode(ids[: n + 1], skip_special_tokens=True) for n in (place - 1, place)]
    assert before in read[1]
    assert before not in read[0]
    assert asked.targets[0].ids[place] == ids[place]


def test_a_subject_that_is_not_read_has_no_token(tiny: Any) -> None:
    for kind in ("gpt2", "bert"):
        encoder: Encoder = source(str(tiny(kind).folder)).encoder()
        for text, subject in (("[Y] sits.", "Peru"), ("A cat sits, [Y].", "")):
            asked = encoder.ask(Query(template="t", text=text), "Paris")
            assert isinstance(asked, str) or subject_token(encoder, asked, subject) is None
    asked = encoder.ask(Query(template="t", text="[Y] is the capital of Peru."), "Paris")
    assert isinstance(asked, TokenizedQuery)  # masked: what stands behind the answer is read as well
    place = subject_token(encoder, asked, "Peru")
    assert place is not None
    assert "Peru" in encoder.tokenizer.decode(asked.targets[0].ids[: place + 1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_the_model_with_the_weight_changed(
    kind: str, rome_of: Callable[..., Rome], new_answer: Callable[[Rome], TokenizedQuery]
) -> None:
    """Final hidden states in float64; LLaMA's norms compute in float32, hence 1e-4 there."""
    rome = rome_of(kind)
    asked, tol = new_answer(rome), 1e-4 if kind == "llama" else 1e-9
    edit = rome.edits((ROME,), "France", asked, "Paris")[ROME].edit
    assert edit is not None
    model, sites = rome.engine.model, rome.engine.sites
    ids = torch.tensor([asked.targets[0].ids] * 3)
    with torch.no_grad(), without_head(sites.head) as given:
        model(input_ids=ids[:1])
        with edited(sites, [None, edit], [1, 0, 1]):
            model(input_ids=ids)
        weight, change = sites.downs[edit.layer].weight, torch.outer(edit.change, edit.direction)
        assert isinstance(weight, torch.Tensor)
        before = weight.clone()
        weight += change.T if kind == "gpt2" else change
        model(input_ids=ids[:1])
        weight.copy_(before)
    unchanged, rows, changed = given
    for row, expected in zip(rows, (changed, unchanged, changed), strict=True):
        torch.testing.assert_close(row, expected[0], rtol=tol, atol=tol)
    assert (changed - unchanged).abs().max() > 0.01


def test_nothing_is_left_behind_when_something_fails(
    rome_of: Callable[..., Rome], new_answer: Callable[[Rome], TokenizedQuery]
) -> None:
    rome = rome_of("gpt2")
    calls = iter(range(100))

    def fail(*_: Any) -> None:
        if next(calls) == 5:
            raise ZeroDivisionError

    assert rome.prefixes
    handle = rome.engine.sites.downs[2].register_forward_pre_hook(fail)
    with pytest.raises(ZeroDivisionError):
        rome.edits((ROME, ROME_IDENTITY), "France", new_answer(rome), "Paris")
    handle.remove()
    assert not [m for m in rome.engine.model.modules() if m._forward_pre_hooks or m._forward_hooks]
    assert all(weight.grad is None for weight in rome.engine.model.parameters())
