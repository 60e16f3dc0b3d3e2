"""Beginnings of prompts, of different lengths, that ran before: later positions read their keys and values.

In a causal model nothing at a position depends on later ones. So where only later positions change, the
beginnings need not run again. Rows are aligned at the first position that runs: beginnings are padded on the
left, and masked there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from qloc.extract.passes.prompt_cache import parameters_of


@dataclass(frozen=True, kw_only=True)
class Beginnings:
    """Keys and values of the beginnings of some rows.

    Attributes
    ----------
    layers : tuple of tuple of (Tensor, Tensor)
        Keys and values of each layer, (row, head, place, width); zeros where a row's beginning is shorter.
    there : int64 Tensor, shape (row, place)
        1 where a row has a token, 0 where it is padded.
    position : int64 Tensor, shape (row, position)
        Position ids of what runs behind them.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    there: Tensor
    position: Tensor

    @classmethod
    def of(cls, cache: Any, first: Tensor, n_positions: int) -> Self:
        """Take beginnings from the cache of a pass over whole prompts, padded on the right.

        Parameters
        ----------
        cache : transformers cache
            Keys and values of all positions.
        first : int64 Tensor, shape (row,)
            The position of each row that runs first; what stands before it is its beginning.
        n_positions : int
            Number of positions that run behind the beginnings.

        Returns
        -------
        Beginnings
            Of every row.

        Raises
        ------
        ValueError
            A layer that does not keep every position, such as one with a sliding window.
        """
        most, width = int(first.max()), max(layer.keys.shape[-2] for layer in cache.layers)
        place = torch.arange(most, device=first.device) - (most - first)[:, None]
        there = place >= 0
        layers = []
        for layer in cache.layers:
            if layer.keys.shape[-2] != width or layer.values.shape[-2] != width:
                raise ValueError("a layer does not keep every position")
            layers.append(tuple(_taken(part, place, there) for part in (layer.keys, layer.values)))
        position = (first[:, None] + torch.arange(n_positions, device=first.device)).clamp_max(width - 1)
        return cls(layers=tuple(layers), there=there.long(), position=position)  # type: ignore[arg-type]

    def inputs(self, model: Any, ids: Tensor) -> dict[str, Any]:
        """Return inputs of a pass behind the beginnings.

        Parameters
        ----------
        model : transformers model
            The loaded model.
        ids : int64 Tensor, shape (row, position)
            What stands behind each row's beginning.

        Returns
        -------
        dict of str to object
            Keyword arguments of the model.
        """
        from transformers import DynamicCache

        cache = DynamicCache(config=model.config)
        for number, (keys, values) in enumerate(self.layers):
            cache.update(keys, values, number)
        inputs = {
            "input_ids": ids,
            "attention_mask": torch.cat([self.there, torch.ones_like(ids)], 1),
            "past_key_values": cache,
            "use_cache": True,
        }
        where = {"position_ids": self.position} if "position_ids" in parameters_of(model) else {}
        return inputs | where


def _taken(value: Tensor, place: Tensor, there: Tensor) -> Tensor:
    """Take places of (row, head, position, width) row by row; zeros where there is none."""
    index = (
        place.clamp_min(0).to(value.device)[:, None, :, None].expand(-1, value.shape[1], -1, value.shape[3])
    )
    return value.gather(2, index) * there.to(value)[:, None, :, None]
