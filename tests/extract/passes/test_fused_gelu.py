"""One kernel for NewGELU: equal but for rounding, and never left behind."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers.activations import NewGELUActivation

from qloc.extract.passes.fused_gelu import fused


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_the_kernel_is_the_written_out_function(dtype: torch.dtype, rounding: float) -> None:
    act, x = NewGELUActivation(), torch.linspace(-8, 8, 1001, dtype=dtype)
    expected = act(x)
    with fused(act):
        assert "forward" in vars(act)
        torch.testing.assert_close(act(x), expected, rtol=0, atol=rounding)
    assert torch.equal(act(x), expected)


def test_other_functions_and_those_that_were_replaced_before_are_left_alone() -> None:
    act, other = NewGELUActivation(), nn.GELU()
    with fused(nn.Sequential(act, other)):
        own = act.forward
        assert "forward" not in vars(other)
        with fused(act):
            assert act.forward is own
        assert act.forward is own  # the inner one did not place it, so it does not take it away
    assert "forward" not in vars(act)


def test_no_activation_function_stays_fused() -> None:
    module = nn.Sequential(NewGELUActivation(), nn.GELU())
    seen: list[bool] = []

    def fail(*_: object) -> None:
        seen.extend("forward" in vars(part) for part in module)
        raise ZeroDivisionError

    module.register_forward_pre_hook(fail)
    with pytest.raises(ZeroDivisionError), fused(module):
        module(torch.zeros(1))
    assert seen == [True, False]
    assert not any("forward" in vars(part) for part in module)
