"""A block at the target alone: its attention reads every position, nothing behind its attention does.

Behind attention a block treats each position by itself. So where only the target's output is needed, queries
of other positions, and all that follows them, need not be computed. The block itself is then run on one token
a row, and what stands in for its attention function gives the output that is known.

Through transformers' ``AttentionInterface``, in which some families do not take part: so it is for
:mod:`qloc.extract.attribution.engine` to prove.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class _Known(Exception):
    """No error: it leaves a block whose rest is not wanted."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output


class Attention:
    """What stands in for a model's attention function.

    Attributes
    ----------
    output : (row, position, head, width), of the last call.
    given : where not None, every call's output, and nothing is computed.
    """

    def __init__(self, own: Callable[..., tuple[Tensor, Any]]) -> None:
        self._own = own
        self._place: Tensor | None = None
        self.output: Tensor | None = None
        self.given: Tensor | None = None

    def __call__(
        self,
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Any]:
        """As transformers calls it: query, key and value are (row, head, position, width)."""
        if self.given is not None:
            return self.given, None
        if self._place is not None:
            query = _at(query, self._place)
            if attention_mask is not None:
                attention_mask = _at(attention_mask.expand(len(query), -1, -1, -1), self._place)
            raise _Known(self._own(module, query, key, value, attention_mask, **kwargs)[0])
        self.output, weights = self._own(module, query, key, value, attention_mask, **kwargs)
        return self.output, weights

    def only_at(self, place: Tensor, run: Callable[[], Any]) -> Tensor:
        """Attention's output at one position a row, (row, 1, head, width), of a block that ``run`` runs.

        Parameters
        ----------
        place : int64, (row,)

        Raises
        ------
        RuntimeError : the block does not call the function that this stands in for.
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
        """The last call's output at one position of each of the first rows, (row, 1, head, width), detached.

        Raises
        ------
        RuntimeError : there was no call.
        """
        if self.output is None:
            raise RuntimeError("its blocks call no registered attention function")
        rows = torch.arange(len(place), device=self.output.device)
        return self.output[rows, place.to(rows.device)][:, None].detach()


def _at(value: Tensor, place: Tensor) -> Tensor:
    """(row, head, position, …) at one position a row, as (row, head, 1, …)."""
    return value[torch.arange(len(place), device=value.device), :, place.to(value.device)][:, :, None]


@contextmanager
def replaced_attention(model: Any) -> Iterator[Attention]:
    """Let an :class:`Attention` stand in for the function that ``model`` computes attention with.

    Raises
    ------
    RuntimeError : its function is not a registered one.
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
