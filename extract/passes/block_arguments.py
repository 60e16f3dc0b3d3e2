"""The arguments of blocks besides hidden states, and which of them have entries of each query.

They are masks, rotary tables and biases of attention. Some families give one for all queries, some one for
each query, some one for each head of each query (Bloom's alibi). The leading size alone does not tell them
apart: eight heads look like eight queries. So :func:`carried` runs one prompt two and three times side by
side, and sees what grows with the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qloc.extract.models.architectures import Sites
from qloc.extract.models.hooks import hooked, in_turn, without_head
from qloc.extract.passes.prompt_cache import last_token
from qloc.extract.prompts.tokenizing import Family, Target

ArgumentPath = tuple[Any, ...]
"""Layer, then the position or name of an argument, then the way into it."""

EntriesPerQuery = Mapping[ArgumentPath, int]
"""Entries a query, in order of queries, of each argument that was seen; 0 where all queries share it."""


@torch.no_grad()
def carried(model: Any, sites: Sites, family: Family, targets: Iterable[Target]) -> EntriesPerQuery:
    """Find out which arguments of the blocks have entries of each query, and how many.

    Parameters
    ----------
    model : transformers model
        The loaded model.
    sites : Sites
        Its blocks and output embedding.
    family : {"causal", "masked"}
        ``causal`` runs the last token behind a cached prompt, ``masked`` runs whole prompts.
    targets : iterable of Target
        Prompts to try. They should be short and long ones, since some masks exist only behind a window.

    Returns
    -------
    EntriesPerQuery
        Number of entries of each tensor argument that was seen.
    """
    entries: dict[ArgumentPath, int] = {}
    for target in targets:
        twice, thrice = (_leading_sizes(model, sites, family, target, n) for n in (2, 3))
        for place, size in twice.items():
            grows = size % 2 == 0 and thrice.get(place) == size // 2 * 3
            entries[place] = max(entries.get(place, 0), size // 2 if grows else 0)
    return entries


def _leading_sizes(
    model: Any, sites: Sites, family: Family, target: Target, n: int
) -> dict[ArgumentPath, int]:
    ids = torch.tensor([target.ids] * n, device=next(iter(model.parameters())).device)
    sizes: dict[ArgumentPath, int] = {}

    def note(place: ArgumentPath, value: Tensor) -> Tensor:
        if value.dim() > 0:
            sizes[place] = len(value)
        return value

    def look(layer: int) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            each_tensor((args, kwargs), note, (layer,))

        return hook

    causal = family == "causal"
    inputs = (
        last_token(model, ids, lambda: torch.arange(n, device=ids.device)) if causal else {"input_ids": ids}
    )
    looking = in_turn((block, look(layer)) for layer, block in enumerate(sites.blocks))
    with hooked(forward_pre_kwargs=looking), without_head(sites.head):
        model(**inputs)
    return sizes


def each_tensor(value: Any, change: Callable[[ArgumentPath, Tensor], Tensor], place: ArgumentPath) -> Any:
    """Change every tensor in a value, however deep in tuples, lists and dicts.

    Parameters
    ----------
    value : object
        A tensor, or a nest of tuples, lists and dicts; anything else is returned as it is.
    change : callable
        (path, tensor) → tensor.
    place : ArgumentPath
        Path of ``value`` itself, that of a part being longer by an index or name.

    Returns
    -------
    object
        The same nest with other tensors.
    """
    if isinstance(value, Tensor):
        return change(place, value)
    if type(value) in (tuple, list):
        return type(value)(each_tensor(part, change, (*place, n)) for n, part in enumerate(value))
    if type(value) is dict:
        return {name: each_tensor(part, change, (*place, name)) for name, part in value.items()}
    return value


def for_rows(value: Tensor, entries: int | None, n_queries: int, query: Tensor) -> Tensor:
    """Index a tensor by row: (n_queries · entries, …) → (row · entries, …).

    Parameters
    ----------
    value : Tensor
        An argument of a block.
    entries : int or None
        Entries of one query; 0 where all queries share the tensor. None for an argument never seen before,
        such as the mask of a prompt longer than those looked at, which has one entry a query or is shared.
    n_queries : int
        Number of queries in the batch.
    query : int64 Tensor, shape (row,)
        The query of each row.

    Returns
    -------
    Tensor
        The entries of each row's query, or ``value`` itself where it is shared.

    Examples
    --------
    >>> for_rows(torch.tensor([10, 11, 20, 21]), 2, 2, torch.tensor([0, 1, 1])).tolist()
    [10, 11, 20, 21, 20, 21]
    """
    if entries is None:
        entries = 1 if value.dim() > 1 and 1 < len(value) == n_queries else 0
    if entries == 0 or value.dim() == 0 or len(value) != entries * n_queries:
        return value
    return value.reshape(n_queries, entries, *value.shape[1:])[query.to(value.device)].flatten(0, 1)


@dataclass(frozen=True)
class BlockCall:
    """The arguments of one call of a block.

    Attributes
    ----------
    args : tuple
        Positional arguments.
    kwargs : dict of str to object
        Keyword arguments.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def hidden(self) -> Tensor:
        """Hidden states: the argument ``hidden_states``, or the first one."""
        hidden: Tensor = self.kwargs["hidden_states"] if "hidden_states" in self.kwargs else self.args[0]
        return hidden

    def changed(self, hidden: Tensor, change: Callable[[ArgumentPath, Tensor], Tensor]) -> BlockCall:
        """Return the call with other hidden states, and every other tensor changed.

        Parameters
        ----------
        hidden : Tensor
            The new hidden states.
        change : callable
            (path, tensor) → tensor, for every other tensor; its path is without the layer.

        Returns
        -------
        BlockCall
            The new call.
        """
        if "hidden_states" in self.kwargs:
            args, rest = each_tensor((self.args, {**self.kwargs, "hidden_states": None}), change, ())
            return BlockCall(args, {**rest, "hidden_states": hidden})
        args, rest = each_tensor(((None, *self.args[1:]), self.kwargs), change, ())
        return BlockCall((hidden, *args[1:]), rest)
