"""The second moment of keys against one that is formed key by key."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from qloc.extract.edits.rome import Rome
from qloc.extract.edits.rome_covariance import keys_of

KINDS = ("gpt2", "llama", "bert")


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_moment_by_brute_force(kind: str, rome_of: Callable[..., Rome]) -> None:
    """C made key by key, and solved as it is: 1e-9 relative in float64."""
    rome = rome_of(kind)
    down, kept = rome.engine.sites.downs[1], list[torch.Tensor]()
    handle = down.register_forward_pre_hook(lambda _, args: kept.append(args[0].reshape(-1, 72)))
    moment, n = torch.zeros(72, 72, dtype=torch.float64), 0
    with torch.no_grad():
        for piece in rome.sample:
            rome.engine.model(input_ids=torch.tensor([piece.ids]))
            for place in range(len(piece.before), len(piece.ids) - len(piece.after)):
                moment += torch.outer(kept[-1][place], kept[-1][place])
                n += 1
    handle.remove()
    moment /= n
    assert n == len(keys_of(rome.engine, 1, rome.sample)) > 20
    moment += 0.1 * moment.diagonal().mean() * torch.eye(72, dtype=torch.float64)
    key = torch.randn(72, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert rome.layer == 1
    torch.testing.assert_close(rome.moment.solve(key), torch.linalg.solve(moment, key), rtol=1e-9, atol=1e-9)
