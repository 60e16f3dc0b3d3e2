"""Blocks whose output is known: they return it again, and nothing of them is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from qloc.extract.passes.block_arguments import each_tensor


@contextmanager
def known_blocks(blocks: Sequence[nn.Module], outputs: Sequence[Any]) -> Iterator[None]:
    """Let a model's first blocks return what they returned before, instead of computing it.

    The tensors of the last one are copied at each call, since what follows may change them in place.

    Parameters
    ----------
    blocks : sequence of torch.nn.Module
        The first blocks of the model.
    outputs : sequence of Any
        What each returned for the same inputs of the model.

    Yields
    ------
    None
        The context in which these blocks compute nothing.

    Examples
    --------
    >>> import torch
    >>> double = nn.Linear(1, 1, bias=False).requires_grad_(False)
    >>> with known_blocks([double], [torch.tensor([7.0])]):
    ...     print(double(torch.tensor([1.0])))
    tensor([7.])
    >>> "forward" in vars(double)
    False
    """
    with ExitStack() as restoring:
        for number, (block, output) in enumerate(zip(blocks, outputs, strict=True)):
            restoring.callback(_restored, block, vars(block).get("forward"))
            block.forward = _returning(output, copied=number == len(blocks) - 1)
        yield


def _returning(output: Any, *, copied: bool) -> Any:
    def forward(*_: Any, **__: Any) -> Any:
        return each_tensor(output, lambda _, value: value.clone(), ()) if copied else output

    return forward


def _restored(block: nn.Module, forward: Any) -> None:
    """Give a block the ``forward`` of its own that it had, if any: accelerate sets one."""
    del block.forward
    if forward is not None:
        block.forward = forward
