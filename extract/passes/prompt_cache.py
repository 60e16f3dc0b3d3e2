"""Inputs of a model: whole prompts, or the last tokens behind a shared prompt that runs once (causal)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor

from qloc.extract.models.hooks import without_head

KeptPrompts = dict[int, tuple[list[list[int]], Any]]
"""The last prompts of each length that ran, and their keys and values: length → (ids, cache)."""

_PLAIN: Final = frozenset({"DynamicLayer", "DynamicSlidingWindowLayer"})
"""Layers of a cache that hold keys and values and nothing that a pass changes."""


def last_token(
    model: Any, ids: Tensor, query_of_row: Callable[[], Tensor], kept: KeptPrompts | None = None
) -> dict[str, Any]:
    """Return inputs that run each query's last token behind its prompt, in as many rows as there are then.

    Parameters
    ----------
    model : transformers model
        The loaded model. The prompts, without their last token, run through it here.
    ids : int64 Tensor, shape (query, token)
        The prompts, all of one length.
    query_of_row : callable
        () → the query of each row, int64, (row,). It is called anew in every layer, since batches grow.
    kept : KeptPrompts, optional
        Where the prompts stay, so that the same ones need not run again in the caller's next batch.

    Returns
    -------
    dict of str to object
        Keyword arguments of the model.
    """
    return last_tokens(model, ids, query_of_row, ids.shape[1] - 1, kept)


@torch.no_grad()
def last_tokens(
    model: Any,
    ids: Tensor,
    query_of_row: Callable[[], Tensor],
    start: int,
    kept: KeptPrompts | None = None,
) -> dict[str, Any]:
    """Return inputs that run each query's tokens from ``start`` on, in as many rows as there are then.

    Parameters
    ----------
    model : transformers model
        The loaded model. The tokens before ``start`` run through it here.
    ids : int64 Tensor, shape (query, token)
        The prompts, all of one length.
    query_of_row : callable
        () → the query of each row, int64, (row,). It is called anew in every layer, since batches grow.
    start : int
        First position that rows run themselves.
    kept : KeptPrompts, optional
        Where the prompts stay, so that the same ones need not run again in the caller's next batch.

    Returns
    -------
    dict of str to object
        Keyword arguments of the model.
    """
    from transformers import DynamicCache

    position = torch.arange(start, ids.shape[1], device=ids.device)[None]  # one row: rotary tables broadcast
    where = {"position_ids": position} if "position_ids" in parameters_of(model) else {}
    if start == 0:
        return {"input_ids": ids, **where, "use_cache": False}
    asked = ids.tolist()
    last, cache = (kept or {}).get(ids.shape[1], ([], None))
    if cache is None or last != asked:
        cache = DynamicCache(config=model.config)
        with without_head(model.get_output_embeddings()):
            model(input_ids=ids[:, :start], past_key_values=cache, use_cache=True)
        if kept is not None and all(type(layer).__name__ in _PLAIN for layer in cache.layers):
            kept[ids.shape[1]] = asked, cache
    for layer in cache.layers:
        layer.update = _shared(layer.keys, layer.values, query_of_row, ids.shape[1] - start)
    return {"input_ids": ids[:, start:], **where, "past_key_values": cache, "use_cache": True}


def whole(model: Any, ids: Tensor) -> dict[str, Any]:
    """Return inputs that run whole prompts, and keep no keys and values.

    Parameters
    ----------
    model : transformers model
        The loaded model.
    ids : int64 Tensor, shape (query, token)
        The prompts.

    Returns
    -------
    dict of str to object
        Keyword arguments of the model.
    """
    return {"input_ids": ids, **({"use_cache": False} if "use_cache" in parameters_of(model) else {})}


def parameters_of(model: Any) -> frozenset[str]:
    """Return the names of what a model can be given.

    Parameters
    ----------
    model : transformers model
        The loaded model.

    Returns
    -------
    frozenset of str
        Names of the parameters of its ``forward``.
    """
    return frozenset(inspect.signature(model.forward).parameters)


def _shared(
    keys: Tensor, values: Tensor, query_of_row: Callable[[], Tensor], n_own: int
) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return a cache layer's ``update`` that stores nothing: rows get their query's prefix and own tokens."""
    prefixes = [
        torch.cat([part, part[:, :, -1:].expand(-1, -1, n_own, -1)], dim=-2) for part in (keys, values)
    ]

    def update(key: Tensor, value: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        rows = query_of_row().to(key.device)
        pair: tuple[Tensor, Tensor] = tuple(
            _Behind.apply(own, prefix, rows)  # type: ignore[no-untyped-call]
            for own, prefix in zip((key, value), prefixes, strict=True)
        )
        return pair

    return update


class _Behind(torch.autograd.Function):
    """Put tokens behind their query's prefix: (row, head, own, …) → (row, head, token, …), one copy."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, prefix: Tensor, rows: Tensor) -> Tensor:
        """Copy ``prefix``, (query, head, position, width), which has room for the tokens at its end."""
        joined = prefix.index_select(0, rows)
        ctx.n_own = own.shape[2]
        joined[:, :, -ctx.n_own :] = own
        return joined

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        """Return the tokens' gradient alone: the prefix is the same whatever the row."""
        return upstream[0][:, :, -ctx.n_own :], None, None
