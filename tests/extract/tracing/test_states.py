"""States of a pass are those that the model itself tells, and hooks tell the layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from qloc.extract.tracing.states import Layers, Prompts, TracedSites, clean_states, watched

POSITIONS, TARGET = np.array([1, 4, 8]), 8


def _hooks(model: Any) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_states_are_those_of_the_blocks_written_out(written_out: Any) -> None:
    model = written_out.loaded.model
    before = _hooks(model)
    found = clean_states(model, written_out.traced, written_out.clean, POSITIONS, TARGET)
    assert _hooks(model) == before
    hidden, final = written_out.states(written_out.clean)
    assert found.entering.shape == (3, 3, 32)
    torch.testing.assert_close(found.final, final[0, TARGET])
    for layer in range(3):
        attention, mlp = written_out.halves(layer, hidden[layer])
        expected = {"residual": hidden[layer + 1], "mlp": mlp, "attention": attention}
        torch.testing.assert_close(found.entering[layer], hidden[layer][0, POSITIONS])
        for part, values in expected.items():
            torch.testing.assert_close(found.of_part[part][layer], values[0, POSITIONS])  # type: ignore[index]


def test_a_prompt_with_noise_gives_its_own_states(written_out: Any) -> None:
    second = written_out.corrupted.chosen(np.array([1]))
    found = clean_states(written_out.loaded.model, written_out.traced, second, POSITIONS, TARGET)
    hidden, final = written_out.states(second)
    torch.testing.assert_close(found.of_part["residual"][-1], hidden[-1][0, POSITIONS])
    torch.testing.assert_close(found.final, final[0, TARGET])
    clean = clean_states(written_out.loaded.model, written_out.traced, written_out.clean, POSITIONS, TARGET)
    assert float((found.final - clean.final).abs().max()) > 0.01


def test_prompts_are_chosen_in_the_order_given() -> None:
    prompts = Prompts(ids=torch.tensor([[1, 2], [3, 4], [5, 6]]), noise=torch.arange(6.0).view(3, 2, 1))
    found = prompts.chosen(np.array([2, 0]))
    assert (len(prompts), len(found)) == (3, 2)
    assert found.ids.tolist() == [[5, 6], [1, 2]]
    assert found.noise is not None
    assert found.noise.tolist() == [[[4.0], [5.0]], [[0.0], [1.0]]]
    assert Prompts(ids=prompts.ids).chosen(np.array([1])).noise is None


@pytest.mark.parametrize("stop", [None, 1])
def test_noise_is_added_to_what_runs_while_the_context_lasts(stop: int | None) -> None:
    embedding = torch.nn.Embedding(4, 2)
    prompts = Prompts(ids=torch.tensor([[1, 3]]), noise=torch.tensor([[[10.0, 20.0], [30.0, 40.0]]]))
    ids = prompts.ids[:, :stop]
    plain = embedding(ids)
    with prompts.noised(embedding, stop):
        added = embedding(ids) - plain
    expected = [[10.0, 20.0], [30.0, 40.0]][:stop]
    torch.testing.assert_close(added, torch.tensor([expected]))
    assert torch.equal(embedding(ids), plain)
    with Prompts(ids=ids).noised(embedding):
        assert torch.equal(embedding(ids), plain)


def test_layers_that_share_a_module_are_told_apart_and_outputs_replaced(families: Any) -> None:
    """ALBERT runs one block three times."""
    loaded = families["albert"].loaded
    projections = tuple(block.get_submodule("attention.dense") for block in loaded.sites.blocks)
    assert len(set(loaded.sites.blocks)) == 1
    traced = TracedSites(
        sites=loaded.sites, attention=projections, embedding=loaded.model.get_input_embeddings()
    )
    assert traced.projections() == {"mlp": loaded.sites.downs, "attention": projections}
    order: list[tuple[str, int]] = []
    constant = torch.full((1, 6, 32), 0.5, dtype=torch.float64)

    def note(part: str) -> Any:
        def hook(_: Any, layer: int, output: torch.Tensor) -> torch.Tensor | None:
            order.append((part, layer))
            return constant if (part, layer) == ("residual", 1) else None

        return hook

    entered = []

    def enter(_: Any, args: Any, kwargs: Any) -> None:
        entered.append(kwargs["hidden_states"] if "hidden_states" in kwargs else args[0])

    before = _hooks(loaded.model)
    with (
        torch.no_grad(),
        watched(
            traced,
            enter=enter,
            residual=note("residual"),
            mlp=note("mlp"),
            attention=note("attention"),
        ) as layers,
    ):
        assert layers.now == Layers().now == -1
        loaded.model(input_ids=torch.tensor([families["albert"].targets()[0].ids]))
    assert order == [(part, layer) for layer in range(3) for part in ("attention", "mlp", "residual")]
    assert layers.now == 2
    assert torch.equal(entered[2], constant)  # what took the second block's output's place
    assert not torch.equal(entered[1], constant)
    assert _hooks(loaded.model) == before
