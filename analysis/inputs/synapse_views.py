"""Single neurons and attention of the queries that were viewed with their knowledge synapses suppressed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from qloc.analysis.inputs.study import Study
from qloc.arrays import Array, Floats, Ints
from qloc.vocabulary import QUERY

MEASURES: Final = ("activation", "attribution")
"""What is told of a neuron, before and after: attribution is gradient × activation in both."""

N_HEADS: Final = 12
"""Heads whose attention is shown of a query."""


@dataclass(frozen=True, kw_only=True)
class Attended:
    """Attention of a query's target position, of the heads that have its synapses.

    Attributes
    ----------
    tokens : tuple of str
        The prompt's tokens, as texts.
    heads : tuple of (int, int)
        Layer and head of each row, ascending.
    attention : float64 ndarray, shape (row, token)
        Attention from the target to each token.
    synapse : bool ndarray, shape (row, token)
        Whether the column of the token is a knowledge synapse.
    """

    tokens: tuple[str, ...]
    heads: tuple[tuple[int, int], ...]
    attention: Floats
    synapse: Array


@dataclass(frozen=True)
class SynapseViews:
    """Reads group /synapse_views beside what /signals and /attention have of the same queries.

    Attributes
    ----------
    study : Study
        The study; it may lack the group.
    """

    study: Study

    def has(self, queries: Ints) -> bool:
        """Return whether all of some queries were viewed.

        Parameters
        ----------
        queries : int64 ndarray, shape (query,)
            Their rows.

        Returns
        -------
        bool
            False for no queries, and where the study lacks the group.
        """
        if not len(queries) or "viewed_neuron" not in self._group:
            return False
        return bool((self._read("viewed_neuron", queries) >= 0).any(axis=1).all())

    def values(self, queries: Ints, neurons: Ints) -> dict[str, tuple[Floats, Floats]]:
        """Return neurons' values before and after their query's synapses are suppressed.

        Parameters
        ----------
        queries : int64 ndarray, shape (query,)
            Viewed queries of one fact.
        neurons : int64 ndarray, shape (neuron,)
            Numbers of neurons, layer · n_neurons + index.

        Returns
        -------
        dict of str to tuple of (float64 ndarray, float64 ndarray)
            Of each of :data:`MEASURES` before and after, each (query, neuron). Attribution is gradient ×
            activation, as a share of the query's largest before over all neurons that were viewed. NaN at
            neurons that were not.
        """
        before = {name: self._signals(name, queries, neurons) for name in ("activation", "gradient")}
        viewed = self._read("viewed_neuron", queries)
        after = {}
        for name in before:
            values = self._read(name, queries).astype(np.float64)
            after[name] = _at(viewed, values, np.broadcast_to(neurons, before[name].shape))
        own = [self._signals(name, queries, viewed) for name in before]
        with np.errstate(divide="ignore", invalid="ignore"):
            largest = np.nanmax(np.where(viewed >= 0, own[0] * own[1], np.nan), axis=1, keepdims=True)
            shares = [
                values["activation"] * values["gradient"] / np.where(largest > 0, largest, np.nan)
                for values in (before, after)
            ]
        before["activation"] = np.where(np.isnan(after["activation"]), np.nan, before["activation"])
        shares[0] = np.where(np.isnan(after["activation"]), np.nan, shares[0])
        return {
            "activation": (before["activation"], after["activation"]),
            "attribution": (shares[0], shares[1]),
        }

    def attended(self, query: int) -> Attended | None:
        """Return the attention of one query's target.

        Parameters
        ----------
        query : int
            A viewed query.

        Returns
        -------
        Attended or None
            Of the heads that give the most attention to their synapses, at most :data:`N_HEADS`; None where
            no synapse is attended to, or attention is not stored.
        """
        if "target_row" not in self.study.attention:
            return None
        row = np.asarray(self.study.attention["target_row"].isel({QUERY: query}).values, dtype=np.float64)
        text = self._read("token_text", np.array([query]))[0]
        n = int(np.count_nonzero(self._read("synapse", np.array([query]))[0, 0, 0] >= 0))
        synapse, row = self._read("synapse", np.array([query]))[0, :, :, :n] == 1, row[:, :, :n]
        given = np.where(synapse, row, 0.0).sum(axis=2)
        strongest = np.argsort(-given, axis=None, kind="stable")[:N_HEADS]
        chosen = np.sort(strongest[given.ravel()[strongest] > 0])
        if not len(chosen):
            return None
        layer, head = np.divmod(chosen, given.shape[1])
        return Attended(
            tokens=tuple(map(str, text[:n])),
            heads=tuple(zip(layer.tolist(), head.tolist(), strict=True)),
            attention=row[layer, head],
            synapse=synapse[layer, head],
        )

    @property
    def _group(self) -> xr.Dataset:
        return self.study.synapse_views

    def _read(self, name: str, queries: Ints) -> Array:
        return np.asarray(self._group[name].isel({QUERY: queries}).values)

    def _signals(self, name: str, queries: Ints, neurons: Array) -> Floats:
        """Return a stored signal at neurons, (query, neuron); NaN at those that the panel lacks."""
        stored = self.study.signals[name].isel({QUERY: queries}).values
        values = np.asarray(stored, dtype=np.float64).reshape(len(queries), -1)
        slots = np.broadcast_to(np.arange(values.shape[1]), values.shape)
        if not self.study.dense:
            fact = self.study.column("queries", "fact")[queries]
            slots = self.study.signals["panel_neuron"].isel(fact=fact).values
        return _at(slots, values, np.broadcast_to(neurons, (len(queries), np.shape(neurons)[-1])))


def _at(neurons: Array, values: Floats, wanted: Array) -> Floats:
    """Return each row's values at the wanted neurons; NaN where a row lacks one, and at -1."""
    found = np.full(wanted.shape, np.nan)
    for row, (have, value, want) in enumerate(zip(neurons, values, wanted, strict=True)):
        n = int(np.count_nonzero(have >= 0))
        if not n:
            continue
        place = np.minimum(np.searchsorted(have[:n], want), n - 1)
        found[row] = np.where((want >= 0) & (have[place] == want), value[place], np.nan)
    return found


def token_labels(tokens: Sequence[str]) -> list[str]:
    """Return tokens as headings that differ: without the space before, a number where one comes again.

    Parameters
    ----------
    tokens : sequence of str
        Texts.

    Returns
    -------
    list of str
        As many, each once.

    Examples
    --------
    >>> token_labels([" the", " cat", "the", ""])
    ['the', 'cat', 'the (3)', '␣ (4)']
    """
    labels: list[str] = []
    for place, token in enumerate(tokens, start=1):
        text = token.strip() or "␣"
        labels.append(text if token.strip() and text not in labels else f"{text} ({place})")
    return labels
