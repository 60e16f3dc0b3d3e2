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

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import cycle
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


def in_turn(hooks: Iterable[tuple[nn.Module, Callable[..., Any]]]) -> dict[nn.Module, Callable[..., Any]]:
    """One hook a module: where layers share a module, its hooks take turns, one a call.

    >>> import torch
    >>> shared, seen = torch.nn.Identity(), []
    >>> hooks = in_turn((shared, lambda *_, n=n: seen.append(n)) for n in range(2))
    >>> with hooked(forward=hooks):
    ...     _ = shared(shared(torch.zeros(1)))
    >>> seen
    [0, 1]
    """
    of_module: dict[nn.Module, list[Callable[..., Any]]] = {}
    for module, hook in hooks:
        of_module.setdefault(module, []).append(hook)
    return {module: own[0] if len(own) == 1 else _turns(own) for module, own in of_module.items()}


def _turns(hooks: list[Callable[..., Any]]) -> Callable[..., Any]:
    order = cycle(hooks)
    return lambda *given: next(order)(*given)


def nothing(*_: Any) -> None:
    """A hook that changes nothing: the turn of a layer that has none."""


@contextmanager
def without_head(head: nn.Module) -> Iterator[list[Tensor]]:
    """Keep a model from computing logits: its output embedding gets no rows, and what it was given is kept.

    Yields
    ------
    A list to which each forward pass appends the final hidden state, (row, position, hidden), on the output
    embedding's device.
    """
    given: list[Tensor] = []

    def keep(head: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        given.append(args[0].to(next(head.parameters()).device))
        return (args[0][:0], *args[1:])

    with hooked(forward_pre={head: keep}):
        yield given
