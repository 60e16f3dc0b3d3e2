"""Hooks that are gone when their block ends, whatever happened inside.

>>> import torch
>>> layer = torch.nn.Linear(2, 2)
>>> with hooked(forward_pre={layer: lambda module, args: None}):
...     len(layer._forward_pre_hooks)
1
>>> len(layer._forward_pre_hooks)
0
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def hooked(
    *,
    forward_pre: Mapping[nn.Module, Callable[..., Any]] | None = None,
    forward_pre_kwargs: Mapping[nn.Module, Callable[..., Any]] | None = None,
    forward: Mapping[nn.Module, Callable[..., Any]] | None = None,
) -> Iterator[None]:
    """Register forward hooks for the length of a ``with`` block.

    Parameters
    ----------
    forward_pre : module → hook(module, args), called before the module.
    forward_pre_kwargs : module → hook(module, args, kwargs).
    forward : module → hook(module, args, output).
    """
    with ExitStack() as stack:
        for module, hook in (forward_pre or {}).items():
            stack.callback(module.register_forward_pre_hook(hook).remove)
        for module, hook in (forward_pre_kwargs or {}).items():
            stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
        for module, hook in (forward or {}).items():
            stack.callback(module.register_forward_hook(hook).remove)
        yield


@contextmanager
def without_head(head: nn.Module) -> Iterator[list[Tensor]]:
    """Keep a model from computing logits: its output embedding gets no rows, and what it was given is kept.

    Yields
    ------
    A list to which each forward pass appends the final hidden state, (row, position, hidden).
    """
    given: list[Tensor] = []

    def keep(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        given.append(args[0])
        return (args[0][:0], *args[1:])

    with hooked(forward_pre={head: keep}):
        yield given
