"""Evaluations of edits, each against the model as a user calls it, with the edit's hook around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from qloc.extract.edits.erase_and_update import erasure
from qloc.extract.edits.evaluation import EditTests
from qloc.extract.edits.rome import Rome
from qloc.extract.passes.weight_changes import edited
from qloc.extract.prompts.tokenizing import Target, TokenizedQuery
from qloc.facts import Query


def _tests(rome: Rome) -> EditTests:
    erased = erasure(rome.engine.sites, np.arange(0, 3 * 72, 5))
    return EditTests(engine=rome.engine, edits=[None, erased])


def _ask(rome: Rome, text: str, answer: str) -> TokenizedQuery:
    asked = rome.encoder.ask(Query(template="t", text=text), answer)
    assert isinstance(asked, TokenizedQuery)
    return asked


def _logs(tests: EditTests, edit: int, target: Target) -> torch.Tensor:
    ids = torch.tensor([target.ids])
    with torch.no_grad(), edited(tests.engine.sites, tests.edits, [edit]):
        logits: Any = tests.engine.model(input_ids=ids).logits
    return torch.as_tensor(logits[0, target.position].log_softmax(-1))


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_answers_and_divergences(kind: str, rome_of: Callable[..., Rome]) -> None:
    """Two answers of one prompt share a pass; a question that is not asked has no outcome. float64."""
    rome = rome_of(kind)
    tests = _tests(rome)
    text = "The capital of France is [Y]."
    paris = _ask(rome, text, "Paris")
    questions = [paris, None, _ask(rome, text, "Ouagadougou")]
    columns, divergence = tests.answers(questions, [(0, 0), (1, 1)])
    stored = columns.stored()
    for edit in range(2):
        for place, question in enumerate(questions):
            if question is None:
                assert np.isnan(stored["log_probability"][edit, place])
                continue
            logs = sum(float(_logs(tests, edit, target)[target.token]) for target in question.targets)
            np.testing.assert_allclose(stored["log_probability"][edit, place], logs, rtol=1e-6)  # float32
        before, after = (_logs(tests, number, paris.targets[0]) for number in (0, edit))
        expected = float((before.exp() * (before - after)).sum())
        np.testing.assert_allclose(divergence[edit, 0], expected, rtol=1e-6, atol=1e-12)
    assert np.isnan(divergence[:, 1]).all()
    assert divergence[1, 0] > 0


@pytest.mark.parametrize("memory", [10**9, 1])
def test_text_and_greedy_tokens(rome_of: Callable[..., Rome], memory: int) -> None:
    rome = rome_of("gpt2")
    tests = _tests(replace(rome, engine=replace(rome.engine, memory=memory)))
    ids = tuple(rome.encoder.tokenizer("The capital of France is Paris.")["input_ids"])
    window = [Target(ids=ids, position=n, token=ids[n + 1]) for n in range(len(ids) - 1)]
    alone = [Target(ids=ids[:4], position=3, token=ids[4])]
    nats = tests.nats([window, alone, window])
    greedy = tests.greedy(ids[:3], 4, longest=6)  # the context ends after three tokens
    for edit in range(2):
        expected = [-float(_logs(tests, edit, target)[target.token]) for target in [*window, *alone]]
        np.testing.assert_allclose(nats[edit], [*expected, *expected[: len(window)]], rtol=1e-9)
        written = list(ids[:3])
        for step in range(3):
            target = Target(ids=tuple(written), position=len(written) - 1, token=0)
            written.append(int(_logs(tests, edit, target).argmax()))
            assert greedy[edit, step] == written[-1]
        assert greedy[edit, 3] == -1
    assert tests.nats([]).shape == (2, 0)
