"""A model's inputs: whole prompts, or the last token behind a prompt that is run once and shared (causal)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from qloc.extract.models.hooks import without_head


@torch.no_grad()
def last_token(model: Any, ids: Tensor, query_of_row: Callable[[], Tensor]) -> dict[str, Any]:
    """Inputs that run each query's last token behind its prompt, in as many rows as the batch has by then.

    Parameters
    ----------
    ids : int64, (query, token), all of one length.
    query_of_row : the query of each row, int64, (row,); asked anew in every layer, since batches grow.
    """
    from transformers import DynamicCache

    before = ids.shape[1] - 1
    position = torch.full((1, 1), before, device=ids.device)  # one row, so that rotary tables broadcast
    where = {"position_ids": position} if "position_ids" in _parameters(model) else {}
    if before == 0:
        return {"input_ids": ids, **where, "use_cache": False}
    cache: Any = DynamicCache(config=model.config)
    with without_head(model.get_output_embeddings()):
        model(input_ids=ids[:, :-1], past_key_values=cache, use_cache=True)
    for layer in cache.layers:
        layer.update = _shared(layer.keys, layer.values, query_of_row)
    return {"input_ids": ids[:, -1:], **where, "past_key_values": cache, "use_cache": True}


def whole(model: Any, ids: Tensor) -> dict[str, Any]:
    """Inputs that run whole prompts, (query, token), and keep no keys and values."""
    return {"input_ids": ids, **({"use_cache": False} if "use_cache" in _parameters(model) else {})}


def _parameters(model: Any) -> frozenset[str]:
    return frozenset(inspect.signature(model.forward).parameters)


def _shared(
    keys: Tensor, values: Tensor, query_of_row: Callable[[], Tensor]
) -> Callable[..., tuple[Tensor, Tensor]]:
    """A cache layer's ``update`` that stores nothing: each row gets its query's prefix and its own token."""
    prefixes = [torch.cat([part, part[:, :, -1:]], dim=-2) for part in (keys, values)]

    def update(key: Tensor, value: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        rows = query_of_row().to(key.device)
        found: tuple[Tensor, Tensor] = tuple(
            _Behind.apply(own, prefix, rows)  # type: ignore[no-untyped-call]
            for own, prefix in zip((key, value), prefixes, strict=True)
        )
        return found

    return update


class _Behind(torch.autograd.Function):
    """A token behind its query's prefix, in one copy: (row, head, 1, width) → (row, head, token, width)."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, prefix: Tensor, rows: Tensor) -> Tensor:
        """``prefix``, (query, head, position, width), has room for the token at its end."""
        found = prefix.index_select(0, rows)
        found[:, :, -1:] = own
        return found

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        """The prefix is the same whatever the row; only the token's gradient is wanted."""
        return upstream[0][:, :, -1:], None, None
