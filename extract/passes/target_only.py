"""Run a block at the target alone: its attention reads every position, the rest runs at one.

Behind attention a block treats each position by itself. So where only the target's output is needed, the
attention queries of other positions, and all that follows them, need not be computed. :class:`Attention`
first runs the block up to its attention and keeps the output at the target; the block itself then runs on
one token a row, and the stand-in gives it that output.

It works through transformers' ``AttentionInterface``, which some families do not use. So it is for
:mod:`qloc.extract.attribution.engine_proof` and :mod:`qloc.extract.passes.late_join_proof` to prove.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class _Known(Exception):
    """Not an error: leaves a block whose rest is not wanted."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output


class Attention:
    """Stand-in for a model's attention function.

    Attributes
    ----------
    output : Tensor, shape (row, position, head, width), or None
        Output of the last call.
    substitute : Tensor, shape (row, position, head, width), or None
        Where not None, the output of every call; nothing is computed then.
    """

    def __init__(self, own: Callable[..., tuple[Tensor, Any]]) -> None:
        self._own = own
        self._place: Tensor | None = None
        self.output: Tensor | None = None
        self.substitute: Tensor | None = None

    def __call__(
        self,
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Any]:
        """Compute attention as transformers asks: query, key and value are (row, head, position, width)."""
        if self.substitute is not None:
            return self.substitute, None
        if self._place is not None:
            query = _at(query, self._place)
            if attention_mask is not None:
                attention_mask = _at(attention_mask.expand(len(query), -1, -1, -1), self._place)
            raise _Known(self._own(module, query, key, value, attention_mask, **kwargs)[0])
        self.output, weights = self._own(module, query, key, value, attention_mask, **kwargs)
        return self.output, weights

    def only_at(self, place: Tensor, run: Callable[[], Any]) -> Tensor:
        """Return attention's output at one position a row, of a block that is left behind its attention.

        Parameters
        ----------
        place : int64 Tensor, shape (row,)
            Position of each row.
        run : callable
            Runs the block.

        Returns
        -------
        Tensor, shape (row, 1, head, width)
            Attention's output.

        Raises
        ------
        RuntimeError
            When the block does not call the function that this stands in for.
        """
        self._place = place
        try:
            run()
        except _Known as known:
            return known.output
        finally:
            self._place = None
        raise RuntimeError("its blocks call no registered attention function")

    def known_at(self, place: Tensor) -> Tensor:
        """Return the last call's output at one position of each of the first rows, detached.

        Parameters
        ----------
        place : int64 Tensor, shape (row,)
            Position of each of the first rows.

        Returns
        -------
        Tensor, shape (row, 1, head, width)
            Attention's output.

        Raises
        ------
        RuntimeError
            When there was no call.
        """
        if self.output is None:
            raise RuntimeError("its blocks call no registered attention function")
        rows = torch.arange(len(place), device=self.output.device)
        return self.output[rows, place.to(rows.device)][:, None].detach()


def _at(value: Tensor, place: Tensor) -> Tensor:
    """Take one position a row of (row, head, position, …), as (row, head, 1, …)."""
    return value[torch.arange(len(place), device=value.device), :, place.to(value.device)][:, :, None]


@contextmanager
def replaced_attention(model: Any) -> Iterator[Attention]:
    """Let an :class:`Attention` stand in for the function that ``model`` computes attention with.

    Parameters
    ----------
    model : transformers model
        The model that runs inside.

    Yields
    ------
    Attention
        The stand-in.

    Raises
    ------
    RuntimeError
        When the model's attention function is not a registered one.
    """
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    name, local = model.config._attn_implementation, ALL_ATTENTION_FUNCTIONS._local_mapping
    if name not in ALL_ATTENTION_FUNCTIONS:
        raise RuntimeError(f"attention '{name}' is not a registered function")
    before, attention = local.get(name), Attention(ALL_ATTENTION_FUNCTIONS[name])
    ALL_ATTENTION_FUNCTIONS[name] = attention
    try:
        yield attention
    finally:
        if before is None:
            del ALL_ATTENTION_FUNCTIONS[name]
        else:
            ALL_ATTENTION_FUNCTIONS[name] = before
