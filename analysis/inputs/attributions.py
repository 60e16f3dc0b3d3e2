"""Select neuron sets from stored attributions, a run of queries at a time; both tiers give identical sets.

A panel keeps, for each fact, every neuron at or above its floor in any of the fact's queries, so a threshold
at or above the floor is exact; below it, and for budgets that reach below it, reading refuses. With the sets
comes how many neurons are within the error of the threshold (:mod:`qloc.accuracy.undecided_band`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from scipy import sparse

from qloc.accuracy.path_accuracy import UNKNOWN, PathAccuracy
from qloc.accuracy.undecided_band import undecided_band
from qloc.arrays import Array
from qloc.errors import FloorError, InputError, message
from qloc.neurons import above, check_floor, exceeds, top_rows
from qloc.vocabulary import LAYER, METHOD, NEURON, QUERY, SLOT

PIECE_BYTES = 2**26
"""Bytes of stored values that are in memory at a time."""

ACTIVATION = "activation"
"""Name under which the activations of a dense store are selected like an attribution method."""


@dataclass(frozen=True, kw_only=True)
class MethodAttributions:
    """Stored values of one attribution method, and the panels that they belong to.

    A panel is the list of a fact's neurons whose values are kept; a dense store keeps all and has no panels.

    Attributes
    ----------
    method : str
        Attribution method, or ``activation``.
    values : xarray.DataArray
        Lazy floats, along (query, slot) of a panel or (query, layer, neuron).
    fact : int64 ndarray, shape (query,)
        Row of each query's fact.
    maximum : float64 ndarray, shape (query,)
        Largest value over the whole network.
    n_layers : int
        Number of layers.
    n_neurons : int
        Number of neurons of a layer.
    panel : int32 ndarray, shape (fact, slot), or None
        Numbers of neurons (layer · n_neurons + neuron), -1 in empty slots; None where dense.
    floors : float64 ndarray, shape (fact,), or None
        Effective floor of each panel, as a share of the maximum; NaN without queries, None where dense.
    n_above_floor : int64 ndarray, shape (query,), or None
        Number of the network's neurons at or above the nominal floor; None where dense.
    floor : float
        The nominal floor, as a share of the maximum.
    layer_maximum : float64 ndarray, shape (query, layer)
        Largest value in each layer.
    accuracy : PathAccuracy
        How exactly the method's paths were integrated.
    bound_floor : float
        Share of the maximum that a neuron must be able to reach for error bounds to hold.
    """

    method: str
    values: xr.DataArray
    fact: Array
    maximum: Array
    n_layers: int
    n_neurons: int
    layer_maximum: Array
    accuracy: PathAccuracy
    bound_floor: float = 0.0
    panel: Array | None = None
    floors: Array | None = None
    n_above_floor: Array | None = None
    floor: float = 0.0

    @classmethod
    def of(
        cls, signals: xr.Dataset, method: str, fact: Array, attrs: Mapping[str, Any]
    ) -> MethodAttributions:
        """Read what describes one method of a store's group /signals; values stay lazy.

        Parameters
        ----------
        signals : xarray.Dataset
            Group /signals, of either tier.
        method : str
            An attribution method of the store; ``activation`` of a dense one.
        fact : int64 ndarray, shape (query,)
            Row of each query's fact.
        attrs : mapping
            Attributes of the store.

        Returns
        -------
        MethodAttributions
            Values and panels of the method.

        Raises
        ------
        InputError
            The store has no such method, has no activations, or does not record the width of a layer.
        """
        dense = SLOT not in signals["attribution"].dims
        methods = [str(name) for name in signals[METHOD].values]
        if method not in methods and not (method == ACTIVATION and dense):
            have = ", ".join([*methods, ACTIVATION] if dense else methods)
            at = "store" if dense else "store (tier panel; activation needs tier dense)"
            raise InputError(message("method", method, f"one of {have}", at, "Choose one, or extract it"))
        n_layers, n_neurons = _shape(signals, attrs, dense)
        values, layer_maximum, accuracy = _values(signals, method, methods)
        nominal = _recorded(signals, attrs, "floor")
        dense_values = cls(
            method=method,
            values=values,
            fact=fact,
            maximum=layer_maximum.max(axis=-1, initial=-np.inf),
            n_layers=n_layers,
            n_neurons=n_neurons,
            layer_maximum=layer_maximum,
            accuracy=accuracy,
            bound_floor=nominal or 0.0,
        )
        if dense:
            return dense_values
        floors = np.asarray(signals["panel_floor"].values, dtype=np.float64)
        above = signals["count_above_floor"].isel({METHOD: methods.index(method)}).sum(LAYER)
        return replace(
            dense_values,
            panel=np.asarray(signals["panel_neuron"].values),
            floors=floors,
            n_above_floor=np.asarray(above.values, dtype=np.int64),
            floor=float(nominal if nominal is not None else np.nanmin(floors, initial=1.0)),
        )

    @property
    def n_queries(self) -> int:
        """Number of queries."""
        return len(self.fact)

    def pieces(self) -> Iterator[tuple[Array, Array]]:
        """Read all queries, a run at a time.

        Yields
        ------
        queries : int64 ndarray, shape (query,)
            Rows of consecutive queries.
        values : float ndarray, shape (query, slot)
            Their values; where dense, a slot for every neuron.
        """
        for first, last in runs(self.values):
            yield np.arange(first, last), self._read(slice(first, last))

    def rows(self, queries: Array) -> tuple[Array, Array, Array]:
        """Read chosen queries.

        Parameters
        ----------
        queries : int64 ndarray, shape (query,)
            Rows of queries.

        Returns
        -------
        queries : int64 ndarray, shape (query,)
            As given.
        values : float ndarray, shape (query, slot)
            Their values.
        neurons : integer ndarray, shape (query, slot)
            The neuron that each value belongs to, -1 in empty slots.
        """
        consecutive = len(queries) > 0 and bool(np.all(np.diff(queries) == 1))
        values = self._read(slice(int(queries[0]), int(queries[-1]) + 1) if consecutive else queries)
        neurons = self.neurons(queries[:, None], np.arange(values.shape[1])[None, :])
        return queries, values, np.broadcast_to(neurons, values.shape)

    def _read(self, queries: slice | Array) -> Array:
        """Return values, shape (query, slot); where dense, every neuron is a slot."""
        values = np.asarray(self.values.isel({QUERY: queries}).values)
        values = values.reshape(len(values), math.prod(values.shape[1:]))
        if self.panel is not None:
            self._require_values(values, self.fact[queries])
        return values

    def _require_values(self, values: Array, fact: Array) -> None:
        """Refuse NaN in place of the value of a neuron: it would be taken for one below any threshold."""
        n_values = np.count_nonzero(~np.isnan(values), axis=1)
        if (wrong := np.flatnonzero(n_values != self._panel_sizes[fact])).size:
            first = wrong[0]
            what, rule = (
                f"number of values of {self.method}",
                f"{self._panel_sizes[fact[first]]}, one a neuron",
            )
            at, action = f"a query of fact {fact[first]}", "Take the store from its source again"
            raise InputError(message(what, int(n_values[first]), rule, at, action))

    @cached_property
    def _panel_sizes(self) -> Array:
        """Number of neurons in each fact's panel: int64 ndarray, shape (fact,)."""
        return np.count_nonzero(self.panel >= 0, axis=1) if self.panel is not None else np.zeros(0, np.int64)

    def neurons(self, queries: Array, slot: Array) -> Array:
        """Return the neurons that stand in slots of queries.

        Parameters
        ----------
        queries : int64 ndarray
            Rows of queries.
        slot : int64 ndarray
            Slots, of a shape that broadcasts with that of ``queries``.

        Returns
        -------
        integer ndarray
            Numbers of neurons, -1 in empty slots; of the broadcast shape (of ``slot`` where dense).
        """
        return slot if self.panel is None else self.panel[self.fact[queries], slot]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The neuron sets of one rule, and what the error of integration leaves open of them.

    Attributes
    ----------
    member : bool scipy.sparse.csr_array, shape (query, layer · neuron)
        Members of each query's set.
    uncertain : int64 ndarray, shape (query,)
        Neurons within the error of the threshold; -1 where that is unknown.
    """

    member: sparse.csr_array
    uncertain: Array


def sets_of(signals: MethodAttributions, threshold: float, top: int | None, ids: Array) -> Selection:
    """Return the neuron set of every query, by a threshold or a budget.

    Parameters
    ----------
    signals : MethodAttributions
        Values of one method.
    threshold : float
        Neurons whose value exceeds this share of the maximum are selected; unused with ``top``.
    top : int or None
        In place of a threshold, the number of strongest positive values.
    ids : str ndarray, shape (fact,)
        Ids of the facts, for messages.

    Returns
    -------
    Selection
        Members of each query's set; of a budget it is unknown how many neurons are uncertain.

    Raises
    ------
    FloorError
        The threshold or budget reaches below what a panel keeps.
    """
    if top is None:
        return next(sets_at(signals, (threshold,), ids))
    unknown = np.full(signals.n_queries, UNKNOWN, dtype=np.int64)
    return Selection(member=_top(signals, top, ids), uncertain=unknown)


def sets_at(signals: MethodAttributions, thresholds: Sequence[float], ids: Array) -> Iterator[Selection]:
    """Select the neuron sets at each of several thresholds; the values are read once.

    Parameters
    ----------
    signals : MethodAttributions
        Values of one method.
    thresholds : sequence of float
        Shares of the maximum; one at least.
    ids : str ndarray, shape (fact,)
        Ids of the facts, for messages.

    Yields
    ------
    Selection
        Members of each query's set, and how many neurons are uncertain, in the order of ``thresholds``.

    Raises
    ------
    FloorError
        A threshold is below what a panel keeps.
    """
    least = min(thresholds)
    if signals.floors is not None:
        check_floor(least, signals.floors, ids)
    bands = [_Band.of(signals, t) for t in thresholds]
    bars = np.minimum.reduce([np.maximum(least * signals.maximum, 0.0), *(band.lowest for band in bands)])
    above_least = []
    for queries, values in signals.pieces():
        row, slot = np.nonzero(above(values, bars[queries]))
        above_least.append((queries[row], signals.neurons(queries[row], slot), values[row, slot]))
    columns = zip(*above_least, strict=True)
    query, neuron, value = (np.concatenate(parts) for parts in columns) if above_least else _NOTHING
    for t, band in zip(thresholds, bands, strict=True):
        keep = (neuron >= 0) & exceeds(value, signals.maximum[query], t)
        uncertain = band.count(signals, query, neuron, value)
        yield Selection(member=_matrix(signals, query[keep], neuron[keep]), uncertain=uncertain)


@dataclass(frozen=True, kw_only=True)
class _Band:
    """The attributions, by query and layer, at which a neuron is within the error of a threshold.

    ``told``, (query,), says where all neurons of the band are kept and their bounds hold. ``lowest``,
    (query,), is the least end of the band there, and infinite elsewhere.
    """

    low: Array
    high: Array
    told: Array
    lowest: Array

    @classmethod
    def of(cls, signals: MethodAttributions, t: float) -> _Band:
        exact = signals.accuracy.without_path()
        with np.errstate(invalid="ignore"):  # a layer without a neuron has the largest value -inf
            low, high = undecided_band(t, signals.layer_maximum, signals.accuracy.bounds())
            floor = np.full(signals.n_queries, signals.bound_floor)
            if signals.floors is not None:
                floor = np.maximum(floor, signals.floors[signals.fact])
            lowest = low.min(axis=1, initial=np.inf)
            told = (lowest >= floor * signals.maximum) & (signals.maximum > 0)
        told = (told & np.isfinite(lowest)) | exact
        return cls(low=low, high=high, told=told, lowest=np.where(told & ~exact, lowest, np.inf))

    def count(self, signals: MethodAttributions, query: Array, neuron: Array, value: Array) -> Array:
        """Return how many of the neurons are in the band, by query: int64; -1 where that is unknown."""
        layer, exactly = np.maximum(neuron, 0) // signals.n_neurons, value.astype(np.float64)
        inside = (exactly > self.low[query, layer]) & (exactly <= self.high[query, layer]) & (neuron >= 0)
        number = np.bincount(query[inside], minlength=signals.n_queries)
        number[signals.accuracy.without_path()] = 0
        return np.where(self.told, number, UNKNOWN).astype(np.int64)


_NOTHING = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


def _top(signals: MethodAttributions, b: int, ids: Array) -> sparse.csr_array:
    query, neuron = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for queries, values in signals.pieces():
        _check_budget(signals, queries, values, b, ids)
        panel = signals.neurons(queries[:, None], np.arange(values.shape[1])[None, :])
        row, slot = np.nonzero(top_rows(values, np.broadcast_to(panel, values.shape), b))
        query.append(queries[row])
        neuron.append(signals.neurons(queries[row], slot))
    return _matrix(signals, np.concatenate(query), np.concatenate(neuron))


def _matrix(signals: MethodAttributions, query: Array, neuron: Array) -> sparse.csr_array:
    """Return the member matrix, shape (query, layer · neuron), of members in the order of queries."""
    indptr = np.concatenate([[0], np.cumsum(np.bincount(query, minlength=signals.n_queries))])
    shape = (signals.n_queries, signals.n_layers * signals.n_neurons)
    member = sparse.csr_array((np.ones(len(neuron), dtype=bool), neuron, indptr), shape=shape)
    member.sort_indices()
    return member


def _check_budget(signals: MethodAttributions, queries: Array, values: Array, b: int, ids: Array) -> None:
    """Refuse a budget that a panel cannot fill exactly with values above its floor and any overflow.

    Where a query's maximum is not positive, its set is empty in any tier.
    """
    if signals.floors is None or signals.n_above_floor is None or b < 1:
        return
    value = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=-np.inf)
    n_slots = value.shape[1]
    last = -np.partition(-value, b - 1, axis=1)[:, b - 1] if b <= n_slots else np.full(len(value), -np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = last / signals.maximum[queries]
    floors = signals.floors[signals.fact[queries]]
    kept = (ratio > floors) | ((ratio == floors) & (floors <= signals.floor))
    short = (~kept | (signals.n_above_floor[queries] < b)) & (signals.maximum[queries] > 0)
    if short.any():
        worst = queries[int(np.argmax(short))]
        more = int(short.sum()) - 1
        at = f"query {worst} of fact {str(ids[signals.fact[worst]])!r} (and {more} more queries)"
        reach = int(
            np.sum(value[int(np.argmax(short))] > floors[int(np.argmax(short))] * signals.maximum[worst])
        )
        action = "Ask for fewer, or extract with a lower --floor, a higher --capacity or --tier dense"
        raise FloorError(
            message("top", b, f"at most {reach}, what its panel holds above its floor", at, action)
        )


def _values(signals: xr.Dataset, method: str, methods: list[str]) -> tuple[xr.DataArray, Array, PathAccuracy]:
    """Return lazy values, their maxima by layer, shape (query, layer), and how exact they are."""
    if method in methods:
        at = {METHOD: methods.index(method)}
        maximum = np.asarray(signals["maximum"].isel(at).values, dtype=np.float64)
        return signals["attribution"].isel(at), maximum, PathAccuracy.of(signals, at[METHOD])
    values = signals[ACTIVATION]
    best = [
        np.asarray(values.isel({QUERY: slice(*run)}).max(NEURON).values, dtype=np.float64)
        for run in runs(values)
    ]
    maximum = np.concatenate([np.zeros((0, values.sizes[LAYER])), *best])
    return values, maximum, PathAccuracy.no_path(*maximum.shape)


def runs(values: xr.DataArray) -> Iterator[tuple[int, int]]:
    """Divide queries into runs to be read at a time: whole chunks of the store, up to :data:`PIECE_BYTES`.

    Parameters
    ----------
    values : xarray.DataArray
        Lazy values whose first dimension is ``query``.

    Yields
    ------
    first, last : int
        Rows of a run's first query and of the query after its last.
    """
    n, width = values.sizes[QUERY], max(1, values.size // max(1, values.sizes[QUERY]))
    step = max(1, PIECE_BYTES // (8 * width))
    chunks = values.variable.chunksizes.get(QUERY) or (step,) * -(-n // step)
    first = last = 0
    for size in chunks:
        if last > first and last + size - first > step:
            yield first, last
            first = last
        last = min(last + size, n)
    if last > first:
        yield first, last


def _shape(signals: xr.Dataset, attrs: Mapping[str, Any], dense: bool) -> tuple[int, int]:
    """Return the numbers of layers and of neurons a layer; in a panel, the latter is no dimension."""
    n_layers = int(signals.sizes[LAYER])
    if dense:
        return n_layers, int(signals.sizes[NEURON])
    width = _recorded(signals, attrs, "n_neurons") or _recorded(signals, attrs, NEURON)
    if width is None:
        at, action = "attributes of /signals and of the study", "Open the store with qloc.open"
        raise InputError(message("n_neurons", width, "the number of neurons of a layer", at, action))
    return n_layers, int(width)


def _recorded(signals: xr.Dataset, attrs: Mapping[str, Any], name: str) -> float | None:
    """Return a number from the attributes of /signals or of the root, its ``layout`` or its ``sizes``."""
    layout = attrs.get("layout", {})
    places = [signals.attrs, attrs, layout, attrs.get("sizes", {}), layout.get("sizes", {})]
    values = (place[name] for place in places if isinstance(place, Mapping) and name in place)
    return next((float(value) for value in values), None)
