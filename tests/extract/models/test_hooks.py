"""No hook outlives its block, whatever happens inside."""

from __future__ import annotations

import pytest
import torch

from qloc.extract.models.hooks import hooked, in_turn, nothing, without_head


def test_hooks_are_gone_after_an_exception() -> None:
    layers = [torch.nn.Linear(2, 2) for _ in range(3)]
    with (
        pytest.raises(ZeroDivisionError),
        hooked(
            forward_pre={layers[0]: lambda *_: None},
            forward_pre_kwargs={layers[1]: lambda *_: None},
            forward={layers[2]: lambda *_: 1 / 0},
        ),
    ):
        layers[2](torch.zeros(1, 2))
    assert not any(layer._forward_pre_hooks or layer._forward_hooks for layer in layers)


def test_head_gets_no_rows_and_its_input_is_kept() -> None:
    head = torch.nn.Linear(3, 5)
    given = torch.randn(2, 4, 3)
    with without_head(head) as kept:
        assert head(given).shape == (0, 4, 5)
    assert kept[0] is given
    assert head(given).shape == (2, 4, 5)


def test_hooks_of_a_shared_module_take_turns_and_others_stay_alone() -> None:
    shared, alone = torch.nn.Identity(), torch.nn.Identity()
    calls: list[str] = []
    hooks = in_turn(
        [
            (shared, lambda *_: calls.append("first")),
            (alone, lambda *_: calls.append("alone")),
            (shared, nothing),
            (shared, lambda *_: calls.append("third")),
        ]
    )
    assert set(hooks) == {shared, alone}
    given = torch.zeros(1)
    with hooked(forward=hooks):
        for module in (shared, alone, shared, shared, shared):
            assert module(given) is given
    assert calls == ["first", "alone", "third", "first"]  # the fourth call starts over


def test_hooks_see_arguments_by_name_and_may_change_them() -> None:
    layer = torch.nn.Softmax(dim=-1)

    def doubled(
        _: torch.nn.Module, args: tuple[torch.Tensor, ...], kwargs: dict[str, torch.Tensor]
    ) -> object:
        assert args == ()
        return args, {"input": 2 * kwargs["input"]}

    given = torch.tensor([1.0, 2.0])
    with hooked(forward_pre_kwargs={layer: doubled}, forward={layer: lambda _, args, out: -out}):
        changed = layer(input=given)
    torch.testing.assert_close(changed, -(2 * given).softmax(-1))
    torch.testing.assert_close(layer(input=given), given.softmax(-1))
