"""The closed form against constrained least squares, solved by their own equations."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from qloc.extract.edits.rank_one import rank_one
from qloc.extract.edits.rome_covariance import SecondMoment


@pytest.mark.parametrize("module", [nn.Linear(6, 4), nn.Linear(6, 4, bias=False), Conv1D(4, 6)])
def test_of_all_weights_that_give_the_value_other_keys_are_moved_least(module: nn.Module) -> None:
    """The constrained least squares' own equations (Karush, Kuhn, Tucker), solved row by row."""
    down, made = module.double(), torch.Generator().manual_seed(1)
    keys, key, value = (
        torch.randn(*size, generator=made, dtype=torch.float64) for size in ((9, 6), (6,), (4,))
    )
    identity = torch.eye(6, dtype=torch.float64)
    with torch.no_grad():
        bias = down(torch.zeros(1, 6, dtype=torch.float64))[0]
        weight = (down(identity) - bias).T
        for moment in (SecondMoment(keys=keys, ridge=0.2), None):
            against = key if moment is None else moment.solve(key)
            edit = rank_one(down, 2, key=key, against=against, value=value)
            new = weight + torch.outer(edit.change, edit.direction)
            torch.testing.assert_close(new @ key + bias, value, rtol=1e-12, atol=1e-12)
            c = keys.T @ keys / 9
            c = identity if moment is None else c + 0.2 * c.diagonal().mean() * identity
            system = torch.zeros(7, 7, dtype=torch.float64)
            system[:6, :6], system[:6, 6], system[6, :6] = c, key, key
            right = torch.cat([c @ weight.T, (value - bias)[None]])
            torch.testing.assert_close(new, torch.linalg.solve(system, right)[:6].T, rtol=1e-9, atol=1e-9)
            added = edit.at(2)
            assert edit.at(1) is None
            assert added is not None
            torch.testing.assert_close(down(keys) + added(keys), keys @ new.T + bias, rtol=1e-9, atol=1e-9)
