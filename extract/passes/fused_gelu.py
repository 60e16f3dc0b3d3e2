"""One kernel in the place of an activation function that is written out over many passes through memory.

transformers' ``NewGELUActivation`` (GPT-2, GPT-J, GPT-Neo, Phi), ½x(1 + tanh(√(2/π)(x + 0.044715x³))),
goes operation by operation, each with a tensor of its own; torch has one. They are equal but for rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch.nn import functional


@contextmanager
def fused(model: Any) -> Iterator[None]:
    """Activation functions of that class run as one kernel inside, and as before when it ends.

    Examples
    --------
    >>> import torch
    >>> from transformers.activations import NewGELUActivation
    >>> act, x = NewGELUActivation(), torch.linspace(-3, 3, 7, dtype=torch.float64)
    >>> with fused(act):
    ...     found = act(x)
    >>> torch.allclose(found, act(x), atol=1e-15), "forward" in vars(act)
    (True, False)
    """
    from transformers.activations import NewGELUActivation

    chosen: list[Any] = [
        m for m in model.modules() if type(m) is NewGELUActivation and "forward" not in vars(m)
    ]
    for module in chosen:
        module.forward = partial(functional.gelu, approximate="tanh")
    try:
        yield
    finally:
        for module in chosen:
            del module.forward
