"""Outcomes are those of the whole softmax, however the rows are cut, and are gathered answer by answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from qloc.extract.models.output_head import Head
from qloc.extract.passes import outcomes as read
from qloc.extract.passes.outcomes import (
    OutcomeColumns,
    Outcomes,
    log_odds,
    log_probabilities,
    outcomes,
    unchanged,
)

VOCABULARY, WIDTH = 40, 6


class _Model(nn.Module):
    """As much of a model as a head asks for; the last two words have one embedding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False).double().requires_grad_(False)
        self.head.weight[-1] = self.head.weight[-2]
        self.config = self

    vocab_size = VOCABULARY

    def get_text_config(self) -> _Model:
        return self


def _head(rows_a_chunk: int = 100) -> Head:
    model = _Model()
    return Head(model=model, module=model.head, chunk_bytes=4 * 8 * VOCABULARY * rows_a_chunk)


@pytest.mark.parametrize("row", [[0, 1, 2, 3, 4], [0, 0, 1, 3, 3, 4], [1, 1, 1, 1, 1]])
@pytest.mark.parametrize("cached", [1, VOCABULARY * 8 * 2, 2**20])
def test_outcomes_of_tokens_that_share_rows(
    row: list[int], cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "_CACHED_BYTES", cached)
    head, hidden = _head(3), torch.randn(5, WIDTH, dtype=torch.float64)
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, VOCABULARY, size=len(row))
    found = outcomes(head, hidden, tokens, np.array(row))
    for place, (of, token) in enumerate(zip(row, tokens.tolist(), strict=True)):
        weight: Any = head.module.weight
        logits = hidden[of] @ weight.T
        rest = torch.cat([logits[:token], logits[token + 1 :]])
        expected = (
            float(logits.log_softmax(0)[token]),
            float(logits[token]),
            float(logits[token] - rest.max()),
        )
        got = found.log_probability[place], found.logit[place], found.margin[place]
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
        assert found.rank[place] == 1 + int((rest > logits[token]).sum())
        assert found.argmax[place] == int(logits.argmax())
    if len(row) == len(hidden):
        logs = log_probabilities(head, hidden[row], tokens)
        np.testing.assert_allclose(logs, found.log_probability, rtol=1e-12)


def test_ties_go_to_the_answer() -> None:
    head = _head()
    weight: Any = head.module.weight
    hidden = 10 * weight[-1:]
    found = outcomes(head, hidden, [VOCABULARY - 1, VOCABULARY - 2], np.array([0, 0]))
    assert found.rank.tolist() == [1, 1]
    assert found.margin.tolist() == [0, 0]


# ---- columns of whole answers


def _outcomes(*tokens: tuple[float, float, float, int, int]) -> Outcomes:
    log_probability, logit, margin, rank, argmax = (np.array(column) for column in zip(*tokens, strict=True))
    return Outcomes(log_probability=log_probability, logit=logit, margin=margin, rank=rank, argmax=argmax)


def test_answers_are_gathered_token_by_token() -> None:
    """The first answer has two tokens, which come in two batches; the second one; the others none."""
    columns = OutcomeColumns.empty(2, 2)
    columns.add(
        np.array([0, 2]),
        np.array([True, True]),
        np.array([0.5, 1.0]),
        _outcomes((-1.0, 4.0, 2.0, 1, 7), (-3.0, 5.0, -1.0, 2, 8)),
    )
    columns.add(np.array([0]), np.array([False]), np.array([0.5]), _outcomes((-2.0, 8.0, -4.0, 6, 9)))
    stored = columns.stored()
    none = np.nan
    np.testing.assert_array_equal(stored["log_probability"], [[-3, none], [-3, none]])
    np.testing.assert_array_equal(stored["logit"], [[6, none], [5, none]])
    np.testing.assert_array_equal(stored["margin"], [[-1, none], [-1, none]])
    assert stored["rank"].tolist() == [[6, -1], [2, -1]]
    assert stored["argmax"].tolist() == [[7, -1], [8, -1]]
    assert {name: str(column.dtype) for name, column in stored.items()} == {
        "log_probability": "float32",
        "logit": "float32",
        "margin": "float32",
        "rank": "int32",
        "argmax": "int32",
    }


def test_tokens_of_one_answer_may_come_in_one_batch() -> None:
    columns = OutcomeColumns.empty(1)
    tokens = _outcomes((-1.0, 4.0, 2.0, 3, 7), (-2.0, 8.0, -4.0, 2, 9))
    columns.add(np.array([0, 0]), np.array([True, False]), np.array([0.5, 0.5]), tokens)
    stored = columns.stored()
    assert [float(stored[name][0]) for name in stored] == [-3, 6, -1, 3, 7]


@pytest.mark.parametrize(("kind", "dtype"), [("gpt2", "float64"), ("bert", "float64"), ("gpt2", "bfloat16")])
def test_the_unchanged_pass(plain_rows: Any, queries_of: Any, kind: str, dtype: str) -> None:
    """Activations are the mean over an answer's tokens; each answer's log P is read on the way."""
    engine, _ = plain_rows(kind, dtype)
    queries = queries_of(kind)
    base = OutcomeColumns.empty(len(queries))
    found = unchanged(engine, queries, base)
    assert found.dtype == (np.float64 if dtype == "float64" else np.float32)
    np.testing.assert_array_equal(unchanged(engine, queries), found)
    several = max(range(len(queries)), key=lambda number: len(queries[number].targets))
    for number in (0, several):
        activations, logs = [], []
        for target in queries[number].targets:
            kept: list[torch.Tensor] = []
            handles = [
                down.register_forward_pre_hook(
                    lambda _, args, kept=kept, at=target.position: kept.append(args[0][0, at])
                )
                for down in engine.sites.downs
            ]
            with torch.no_grad():
                logits = engine.model(input_ids=torch.tensor([target.ids])).logits[0, target.position]
            for handle in handles:
                handle.remove()
            activations.append(torch.stack(kept).double())
            logs.append(float(logits.double().log_softmax(0)[target.token]))
        expected = torch.stack(activations).mean(0).numpy()
        exact = dtype == "float64"  # in bfloat16 sums over other batches round otherwise
        np.testing.assert_allclose(
            found[number], expected, rtol=0, atol=(1e-12 if exact else 2e-2) * np.abs(expected).max()
        )
        assert base.log_probability[number] == pytest.approx(sum(logs), rel=1e-9 if exact else 2e-2)


def test_log_odds_stay_finite_where_the_answer_is_certain(plain_rows: Any) -> None:
    """float32 logits of which one is 60 above the rest: P rounds to 1, the odds do not."""
    engine, _ = plain_rows("gpt2")
    head = engine.head
    rng = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, engine.model.config.n_embd, generator=rng, dtype=torch.float64)
    tokens = np.array([1, 2, 3])
    odds = log_odds(head, hidden, tokens)
    logs = log_probabilities(head, hidden, tokens)
    np.testing.assert_allclose(odds, logs - np.log(-np.expm1(logs)), rtol=1e-9, atol=1e-9)
    assert np.isfinite(log_odds(head, 1e4 * hidden, tokens)).all()
