"""The error bound of certified quadrature: which paths are exact enough, and which intervals to refine.

See :mod:`qloc.extract.attribution.certified_quadrature`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from qloc.extract.attribution.path_intervals import Intervals

_FALL: Final = 8.0
"""How many times smaller a layer's bound must become while a neuron is within it of a threshold."""

_MOST_FALL: Final = 64.0
"""How many times smaller than was asked for it becomes at most."""

_MOST: Final = 1e9
"""Excess of an interval that is not finite."""


@dataclass(frozen=True, kw_only=True)
class Certified:
    """What is asked of certified quadrature.

    Attributes
    ----------
    error : float
        Largest error bound, relative to the query's largest attribution in the network.
    floor : float
        Share of the largest attribution below which a neuron need not be exact.
    intervals : int
        Coarse intervals that every path starts with.
    thresholds : tuple of float
        Thresholds of neuron sets near which neurons are told more exactly, where that can be done.
    finest : float
        Error bound below which no layer is refined for the sake of ``thresholds``.
    """

    error: float
    floor: float
    intervals: int = 1
    thresholds: tuple[float, ...] = ()
    finest: float = 0.0

    @classmethod
    def named(
        cls, error: float, floor: float, steps: int, dtype: torch.dtype, thresholds: Sequence[float] = ()
    ) -> Certified:
        """Return what a plan asks for.

        Parameters
        ----------
        error, floor, thresholds
            As of the class; thresholds below the floor are left out. ``error`` is raised to 4 · the rounding
            unit of ``dtype``: gradients of a model in half precision cannot be told apart more closely.
        steps : int
            Gradients along each path at least.
        dtype : torch.dtype
            The model's dtype.

        Returns
        -------
        Certified
            The same for every target.
        """
        rounding = 4 * torch.finfo(dtype).eps
        return cls(
            error=max(error, rounding),
            floor=floor,
            intervals=max(1, -(-steps // 4)),
            thresholds=tuple(t for t in thresholds if t >= floor),
            finest=max(error / _MOST_FALL, rounding),
        )


@dataclass(frozen=True, kw_only=True)
class Owners:
    """Which targets make up one query's attribution, and with which weight.

    Attributes
    ----------
    of_target : int64 Tensor, shape (target,)
        The query of each target, from 0.
    weight : float64 Tensor, shape (target,)
        What each target's attribution is multiplied by.
    """

    of_target: Tensor
    weight: Tensor

    @classmethod
    def each(cls, n_targets: int) -> Owners:
        """Return one query for each target.

        Parameters
        ----------
        n_targets : int
            Number of targets.

        Returns
        -------
        Owners
            With weights of 1.
        """
        return cls(of_target=torch.arange(n_targets), weight=torch.ones(n_targets, dtype=torch.float64))

    def part(self, targets: Sequence[int]) -> Owners:
        """Return the owners of some targets, numbered anew.

        Parameters
        ----------
        targets : sequence of int
            Indices of targets.

        Returns
        -------
        Owners
            Of these targets.
        """
        chosen = torch.tensor(targets)
        _, renumbered = torch.unique(self.of_target[chosen], return_inverse=True)
        return Owners(of_target=renumbered, weight=self.weight[chosen])

    def runs(self, most: int) -> list[list[list[int]]]:
        """Divide the targets into runs of whole queries.

        Parameters
        ----------
        most : int
            Targets of one run, unless a single query has more.

        Returns
        -------
        list of list of list of int
            Runs of queries, in order; a query is the indices of its targets.
        """
        runs: list[list[list[int]]] = []
        size = most
        for owner in range(int(self.of_target.max()) + 1 if len(self.of_target) else 0):
            own = torch.where(self.of_target == owner)[0].tolist()
            if size + len(own) > most:
                runs.append([])
                size = 0
            runs[-1].append(own)
            size += len(own)
        return runs


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How far the intervals of paths are from what is asked for.

    Attributes
    ----------
    total : Tensor, shape (target, layer, neuron)
        ∫₀¹ ∂P/∂w dα.
    error : Tensor, shape (target, layer)
        Bound of the error of an attribution, for neurons that could reach the floor.
    over : bool Tensor, shape (target, layer)
        Whether it is more than was asked for.
    open : bool Tensor, shape (target, layer)
        Whether it is more than is allowed.
    near : tuple of bool Tensor, each of shape (target, layer, neuron)
        Neurons that could reach the floor, on each scale.
    allowed : tuple of Tensor, each of shape (target, layer)
        Error that is allowed, on each scale: what was asked for, or less where that settles a neuron.
    """

    total: Tensor
    error: Tensor
    over: Tensor
    open: Tensor
    near: tuple[Tensor, ...]
    allowed: tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Decides which paths are exact enough, and which of their intervals to refine.

    Attributes
    ----------
    asked : Certified
        What is asked for.
    owners : Owners
        Which targets are summed into one query's attribution.
    scales : tuple of Tensor, each of shape (target, layer, neuron)
        What the mean gradient is multiplied by to make attributions.
    """

    asked: Certified
    owners: Owners
    scales: tuple[Tensor, ...]

    def of(self, intervals: Intervals) -> Verdict:
        """Judge paths by their intervals.

        Parameters
        ----------
        intervals : Intervals
            All intervals of all paths, evaluated.

        Returns
        -------
        Verdict
            Of every path.
        """
        cells, like = (intervals.target, intervals.layer), self.scales[0]
        total, spread = (
            torch.zeros_like(like).index_put_(cells, part, accumulate=True)
            for part in (intervals.integral, intervals.spread)
        )
        gap = torch.zeros_like(like[:, :, 0]).index_put_(cells, intervals.gap, accumulate=True)
        owner, weight = self.owners.of_target.to(like.device), self.owners.weight.to(like)
        n_owners = int(owner.max()) + 1

        def by_owner(values: Tensor) -> Tensor:  # index_add on CUDA adds in any order
            zeros = values.new_zeros(n_owners, *values.shape[1:])
            return zeros.index_put_((owner,), values, accumulate=True)

        whole = by_owner(weight.abs())
        error, over = torch.zeros_like(gap), torch.zeros_like(gap, dtype=torch.bool)
        near, found = [], []
        for scale in self.scales:
            score, off = scale * total, scale.abs() * spread
            of_query = by_owner(weight[:, None, None] * score)
            of_query_off = by_owner(weight.abs()[:, None, None] * off)
            largest = of_query.flatten(1).amax(1).clamp_min(torch.finfo(like.dtype).tiny)
            floor = self.asked.floor * largest
            reaches = (of_query + of_query_off >= floor[:, None, None])[owner]
            limit = (largest / whole)[owner, None]  # times the relative error that is allowed
            hidden = gap * _share_of_largest(score)
            of_query_hidden = by_owner(weight.abs()[:, None] * hidden)
            could = of_query.amax(-1) + of_query_hidden >= floor[:, None]
            reached = reaches.any(-1) | could[owner]
            bound = torch.maximum((off * reaches).amax(-1), hidden * reached)
            error, over = torch.maximum(error, bound), over | (bound > self.asked.error * limit)
            near.append(reaches)
            share = score.abs() / score.abs().sum(-1, keepdim=True).clamp_min(torch.finfo(like.dtype).tiny)
            own = torch.maximum(off, gap[:, :, None] * share)
            found.append((of_query, by_owner(weight.abs()[:, None, None] * own), bound, limit))
        settled = ~by_owner(over.any(-1).to(like)).bool()  # until then, what is the largest is not known
        wanted, allowed = over.clone(), []
        for of_query, of_query_own, bound, limit in found:
            close = _close(of_query, of_query_own, self.asked.thresholds)
            close = (close & settled[:, None])[owner] & (bound > self.asked.finest * limit)
            wanted |= close
            finer = torch.maximum(bound / _FALL, self.asked.finest * limit)
            allowed.append(torch.where(close, finer, self.asked.error * limit))
        return Verdict(
            total=total, error=error, over=over, open=wanted, near=tuple(near), allowed=tuple(allowed)
        )

    def excess(self, intervals: Intervals, verdict: Verdict) -> Tensor:
        """Return the error bound of each interval, relative to the error that is allowed on its whole path.

        Parameters
        ----------
        intervals : Intervals
            All intervals.
        verdict : Verdict
            Of their paths.

        Returns
        -------
        Tensor, shape (interval,)
            The largest over the scales.
        """
        cells = intervals.target, intervals.layer
        error = torch.zeros_like(intervals.gap)
        for scale, near, allowed in zip(self.scales, verdict.near, verdict.allowed, strict=True):
            off = (scale[cells].abs() * intervals.spread * near[cells]).amax(-1)
            hidden = intervals.gap * _share_of_largest(scale * verdict.total)[cells]
            error = torch.maximum(error, torch.maximum(off, hidden) / allowed[cells])
        return error

    def worst(self, intervals: Intervals, error: Tensor, refined: Tensor) -> Tensor:
        """Choose the intervals to refine: the fewest that leave less than the allowed error to the others.

        Parameters
        ----------
        intervals : Intervals
            All intervals.
        error : Tensor, shape (interval,)
            What :meth:`excess` gives.
        refined : bool Tensor, shape (target, layer)
            Paths that are refined.

        Returns
        -------
        bool Tensor, shape (interval,)
            The chosen ones; of each path that is refined, the worst at least.
        """
        cells = intervals.target, intervals.layer
        path = intervals.target * self.scales[0].shape[1] + intervals.layer
        error = error.nan_to_num(_MOST, _MOST).clamp_max(_MOST)  # sums run over all paths
        order = torch.argsort(error, stable=True)
        order = order[torch.argsort(path[order], stable=True)]
        path, sums = path[order], error[order].double().cumsum(0)
        first = torch.ones_like(path, dtype=torch.bool)
        first[1:] = path[1:] != path[:-1]
        before = (sums - error[order])[first][first.cumsum(0) - 1]
        last = torch.ones_like(first)
        last[:-1] = first[1:]
        chosen = torch.zeros_like(first)
        chosen[order] = ((sums - before > 1) | last) & refined[cells][order]
        return chosen


def _close(scores: Tensor, bound: Tensor, thresholds: Sequence[float]) -> Tensor:
    """Return which layers, (query, layer), leave it open whether a neuron is in the set at a threshold.

    It is open where A − t · M is within the neuron's bound and t times that of M, the largest. Of the two
    the larger is to become smaller.

    Parameters
    ----------
    scores : Tensor, shape (query, layer, neuron)
        Attributions A.
    bound : Tensor, shape (query, layer, neuron)
        Their error bounds.
    thresholds : sequence of float
        Values of t.
    """
    n_neurons = scores.shape[-1]
    largest, place = scores.flatten(1).max(1, keepdim=True)
    of_largest, layer = bound.flatten(1).gather(1, place), place // n_neurons
    close = torch.zeros_like(scores[:, :, 0], dtype=torch.bool)
    for threshold in thresholds:
        bar, off = threshold * largest[:, :, None], threshold * of_largest[:, :, None]
        open_ = ((scores - bar).abs() <= bound + off) & (bar > 0)
        close |= (open_ & (bound >= off)).any(-1)
        of_bar = (open_ & (bound < off)).flatten(1).any(1, keepdim=True)
        close |= torch.zeros_like(close).scatter(1, layer, of_bar)
    return close


def _share_of_largest(scores: Tensor) -> Tensor:
    """Return max |A| / Σ|A| over the last axis; 0/0 is 0."""
    size = scores.abs()
    return size.amax(-1) / size.sum(-1).clamp_min(torch.finfo(scores.dtype).tiny)
