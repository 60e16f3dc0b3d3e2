"""The prompt before its last token, run once and shared by any number of rows (causal models)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from qloc.extract.hooks import without_head


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


def _parameters(model: Any) -> frozenset[str]:
    return frozenset(inspect.signature(model.forward).parameters)


def _shared(
    keys: Tensor, values: Tensor, query_of_row: Callable[[], Tensor]
) -> Callable[..., tuple[Tensor, Tensor]]:
    """A cache layer's ``update`` that stores nothing: each row gets its query's prefix and its own token."""

    def update(key: Tensor, value: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if len(keys) == 1:
            prefix = keys.expand(len(key), -1, -1, -1), values.expand(len(key), -1, -1, -1)
        else:
            rows = query_of_row()
            prefix = keys[rows], values[rows]
        return torch.cat([prefix[0], key], dim=-2), torch.cat([prefix[1], value], dim=-2)

    return update
