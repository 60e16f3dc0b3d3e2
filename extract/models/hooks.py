"""Forward hooks that are always removed when their ``with`` block ends.

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
    forward_pre : mapping of torch.nn.Module to callable
        ``hook(module, args)``, called before the module.
    forward_pre_kwargs : mapping of torch.nn.Module to callable
        ``hook(module, args, kwargs)``, called before the module.
    forward : mapping of torch.nn.Module to callable
        ``hook(module, args, output)``, called after the module.

    Yields
    ------
    None
        While the hooks are registered. They are removed even if the block raises.
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
    """Return one hook for each module; where layers share a module, its hooks take turns, one for each call.

    Parameters
    ----------
    hooks : iterable of (torch.nn.Module, callable)
        The hook of each layer, in the order of the layers.

    Returns
    -------
    dict of torch.nn.Module to callable
        The hooks, for :func:`hooked`.

    Examples
    --------
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
    return lambda *arguments: next(order)(*arguments)


def nothing(*_: Any) -> None:
    """Change nothing: the hook of a layer that has none, where layers take turns.

    Parameters
    ----------
    *_ : object
        Whatever torch passes to a hook.
    """


@contextmanager
def without_head(head: nn.Module) -> Iterator[list[Tensor]]:
    """Keep a model from computing logits: its output embedding gets no rows, and its inputs are kept instead.

    Parameters
    ----------
    head : torch.nn.Module
        The model's output embedding.

    Yields
    ------
    list of Tensor, shape (row, position, hidden)
        Each forward pass appends its final hidden state, on the output embedding's device.
    """
    kept: list[Tensor] = []

    def keep(head: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        kept.append(args[0].to(next(head.parameters()).device))
        return (args[0][:0], *args[1:])

    with hooked(forward_pre={head: keep}):
        yield kept
