"""Certified quadrature: path integrals with an error bound, which decides where gradients are computed.

Each layer's path of each target starts as one coarse interval of
:mod:`qloc.extract.attribution.path_intervals`. What its neurons' attributions may be off by is the sum of its
intervals' spreads. While that is more than a given share of the *query's* largest attribution in the network,
for a neuron that could reach the floor of stored neurons, the intervals that contribute most are made fine,
then bisected. A layer none of whose neurons can reach the floor needs no more. A step of P that falls between
nodes shows in an interval's completeness gap, |ΣA − ΔP| over the interval alone; one that falls back before
the next node, in the slopes of the log-odds at both. Rows of all layers and targets that need more share
batches.

The bound is an estimate, as that of every adaptive quadrature, not a proof: ``benchmarks/real_models.py``
counts how often the true error is larger.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from torch import Tensor

from qloc.arrays import Ints
from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.error_bound import Certified, Judge, Owners
from qloc.extract.attribution.growing_rows import RowGradients
from qloc.extract.attribution.path_intervals import (
    Intervals,
    alpha_and_slope,
    hidden_change,
    rule_and_spread,
    scale_of_path,
)
from qloc.extract.models.out_of_memory import in_halves
from qloc.extract.passes.prompt_cache import KeptPrompts
from qloc.extract.prompts.tokenizing import Target

MOST_NODES: Final = 1024
"""Gradients along one layer's path after which it is given up, and told as not converged."""

BEYOND_ONE_HALVING: Final = 64.0
"""How many times too large a spread is that one halving, of rules of order 6, cannot mend."""

MOST_TARGETS: Final = 64
"""Targets whose paths are refined together: enough for full batches to the end."""


@dataclass(frozen=True, kw_only=True)
class CertifiedIntegral:
    """Path integrals of some targets, and how far they may be off.

    Attributes
    ----------
    unpatched : RowGradients
        Unpatched results of the targets; no rows.
    mean_gradient : Tensor, shape (target, layer, neuron)
        ∫₀¹ ∂P/∂w dα.
    start_probability : Tensor, shape (target, layer)
        P with the layer's vector at the start of its path.
    n_nodes : int64 Tensor, shape (target, layer)
        Gradients along the path, besides that at α = 1.
    error : Tensor, shape (target, layer)
        Bound of the error of an attribution of the layer, for neurons that could reach the floor.
    converged : bool Tensor, shape (target, layer)
        Whether the bound is within what was asked for.
    """

    unpatched: RowGradients
    mean_gradient: Tensor
    start_probability: Tensor
    n_nodes: Tensor
    error: Tensor
    converged: Tensor


def certified(
    engine: GradientEngine,
    targets: Sequence[Target],
    asked: Certified,
    start: Tensor | None = None,
    owners: Owners | None = None,
    *,
    whole: bool = False,
) -> Iterator[tuple[list[int], CertifiedIntegral]]:
    """Integrate gradients along the paths of targets until the error bound is small enough.

    Parameters
    ----------
    engine : GradientEngine
        Computes gradients.
    targets : sequence of Target
        Targets of any lengths.
    asked : Certified
        How exact, and from which floor on.
    start : Tensor, shape (target, layer, neuron), optional
        Where each path starts; zero by default.
    owners : Owners, optional
        Targets that are summed into one query's attribution; by default each stands alone.
    whole : bool, default False
        Whether w̄ times the mean gradient must be as exact as w̄ − start times it.

    Yields
    ------
    indices : list of int
        Indices into ``targets``: whole queries.
    integral : CertifiedIntegral
        What their paths give, in the order of ``indices``.
    """
    owners = Owners.each(len(targets)) if owners is None else owners

    def run(queries: list[tuple[list[int], Target]]) -> CertifiedIntegral:
        indices = [index for own, _ in queries for index in own]
        return _Run(
            engine=engine,
            targets=[targets[index] for index in indices],
            asked=asked,
            start=None if start is None else start[indices],
            owners=owners.part(indices),
            whole=whole,
        ).integrate()

    for queries in owners.runs(_targets_a_run(engine, asked)):
        items = [(own, targets[own[0]]) for own in queries]
        for done, integral in in_halves("targets", items, run):
            yield [index for own, _ in done for index in own], integral


def _targets_a_run(engine: GradientEngine, asked: Certified) -> int:
    """Return how many targets' intervals may be kept at once, in a quarter of the memory.

    A path has few more intervals in the mean than it starts with; they are copied when some are added.
    """
    an_interval = 9 * engine.row_width + 4 * engine.sites.n_neurons
    a_target = engine.sites.n_layers * (asked.intervals + 2) * 2 * an_interval * max(4, engine.itemsize)
    return max(1, min(engine.memory // 4 // a_target, MOST_TARGETS))


@dataclass(kw_only=True)
class _Run:
    """The paths of some targets, refined together; :meth:`integrate` does it."""

    engine: GradientEngine
    targets: list[Target]
    asked: Certified
    start: Tensor | None
    owners: Owners
    whole: bool
    unpatched: RowGradients | None = None
    first_round: bool = True
    direction: Tensor = field(init=False)
    prompts: KeptPrompts = field(default_factory=dict)

    def integrate(self) -> CertifiedIntegral:
        """Refine until every path has converged or is given up."""
        n_layers = self.engine.sites.n_layers
        every = torch.cartesian_prod(torch.arange(len(self.targets)), torch.arange(n_layers))
        gradient, probability = self._gradients(every, torch.zeros(len(every), dtype=torch.float64))
        if self.unpatched is None:
            raise RuntimeError("no target was run")
        found, at_zero, self.first_round = self.unpatched, probability.view(-1, n_layers), False
        step = found.activation if self.start is None else found.activation - self.start.to(found.activation)
        judge = Judge(
            asked=self.asked,
            owners=self.owners,
            scales=(step, found.activation) if self.whole and self.start is not None else (step,),
        )
        self.direction = torch.stack(
            [self.engine.written(n, step[:, n]).to(step) for n in range(n_layers)], 1
        )
        scale = self._scales(found, gradient, at_zero)
        intervals = self._first(every, scale, gradient, found, at_zero)
        n_nodes = torch.full_like(at_zero, 4 * self.asked.intervals, dtype=torch.int64)
        while True:
            self._evaluate(intervals, step)
            verdict = judge.of(intervals)
            error = judge.excess(intervals, verdict)
            worst = judge.worst(intervals, error, verdict.open & (n_nodes < MOST_NODES))
            split, filled = worst & intervals.fine, worst & ~intervals.fine
            if bool(split.any()):  # costs nothing: its halves may be exact enough already
                intervals = intervals.take(~split).join(intervals.take(split).halves())
            elif bool(filled.any()):
                twice = error[filled] > BEYOND_ONE_HALVING
                added, intervals = intervals.take(filled), intervals.take(~filled)
                cells = added.target, added.layer
                n_nodes.index_put_(cells, 4 + 8 * twice, accumulate=True)
                intervals = intervals.join(self._filled(added, twice, scale))
            else:
                break
        return CertifiedIntegral(
            unpatched=found,
            mean_gradient=verdict.total,
            start_probability=at_zero,
            n_nodes=n_nodes.cpu(),
            error=verdict.error,
            converged=~verdict.over & verdict.error.isfinite(),
        )

    def _scales(self, found: RowGradients, gradient: Tensor, at_zero: Tensor) -> Tensor:
        """Return c of each path, (target, layer), from gradients of the log-odds at its ends."""
        contrast = self._contrast().to(at_zero.device)[:, None]
        sizes = []
        for change, p in (
            (gradient.view(*at_zero.shape, -1), at_zero),
            (found.own_gradient, found.probability[:, None]),
        ):
            left = (1 - p).clamp_min(torch.finfo(p.dtype).eps / 2)  # P may be 1 but for rounding
            odds = torch.where(contrast, 1.0, (p * left).clamp_min(1e-30).double())
            sizes.append(change.double().norm(dim=-1) / odds)
        return scale_of_path(sizes[0] / sizes[1])

    def _contrast(self) -> Tensor:
        """Return which targets are a difference of probabilities, which has no log-odds: (target,)."""
        return torch.tensor([target.against is not None for target in self.targets])

    def _first(
        self, every: Tensor, scale: Tensor, at_start: Tensor, found: RowGradients, at_zero: Tensor
    ) -> Intervals:
        """Return the coarse intervals that the paths start with."""
        pieces = self.asked.intervals
        x = torch.arange(4 * pieces + 1, dtype=torch.float64, device=scale.device) / (4 * pieces)
        alpha, slope = alpha_and_slope(scale.view(-1, 1), x)
        inner, p = self._gradients(every.repeat_interleave(len(x) - 2, 0), alpha[:, 1:-1].flatten())
        n_paths, ones = len(every), found.probability[:, None].expand_as(at_zero)
        gradient = torch.cat(
            [
                at_start[:, None],
                inner.view(n_paths, len(x) - 2, -1),
                found.own_gradient.flatten(0, 1)[:, None],
            ],
            1,
        ) * slope[:, :, None].to(inner)
        p = torch.cat([at_zero.reshape(-1, 1), p.view(n_paths, -1), ones.reshape(-1, 1)], 1)
        own = torch.arange(n_paths).repeat_interleave(pieces).to(scale.device)
        first = torch.arange(pieces, device=scale.device).repeat(n_paths)
        places = 4 * first[:, None] + torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 4], device=scale.device)
        every = every.to(scale.device)
        empty = gradient.new_zeros(len(own), self.engine.sites.n_neurons)
        return Intervals(
            target=every[own, 0],
            layer=every[own, 1],
            left=first / pieces,
            width=torch.full_like(first, 1 / pieces, dtype=torch.float64),
            fine=torch.zeros_like(first, dtype=torch.bool),
            known=torch.zeros_like(first, dtype=torch.bool),
            gradient=gradient[own[:, None], places],
            probability=p[own[:, None], places],
            slope=self._slopes(every, gradient)[own[:, None], places],
            integral=empty,
            spread=empty.clone(),
            gap=empty[:, 0].clone(),
        )

    def _filled(self, coarse: Intervals, twice: Tensor, scale: Tensor) -> Intervals:
        """Return coarse intervals as fine ones; where ``twice``, both of their halves."""
        parts = [(pieces, coarse.take(twice if pieces == 2 else ~twice)) for pieces in (1, 2)]
        paths, alphas, slopes = [], [], []
        for pieces, part in parts:
            cells = part.target, part.layer
            x = part.added_at(pieces)
            alpha, slope = alpha_and_slope(scale[cells][:, None], x)
            paths.append(torch.stack(cells, 1).repeat_interleave(x.shape[1], 0))
            alphas.append(alpha.flatten())
            slopes.append(slope)
        gradient, probability = self._gradients(torch.cat(paths).cpu(), torch.cat(alphas))
        done, first = [], 0
        for (pieces, part), slope in zip(parts, slopes, strict=True):
            rows = slice(first, first + slope.numel())
            change = gradient[rows].view(*slope.shape, gradient.shape[1]) * slope[:, :, None].to(gradient)
            along = self._slopes(torch.stack((part.target, part.layer), 1), change)
            done.append(part.refined(pieces, change, probability[rows].view(slope.shape), along))
            first = rows.stop
        return done[0].join(done[1])

    def _slopes(self, paths: Tensor, gradient: Tensor) -> Tensor:
        """Return dP/dx, (path, place), from gradients times dα/dx, (path, place, n)."""
        return (gradient * self.direction[paths[:, 0], paths[:, 1]][:, None]).sum(2)

    def _evaluate(self, intervals: Intervals, step: Tensor) -> None:
        """Integrate over intervals of which nothing is known yet."""
        new, contrast = torch.where(~intervals.known)[0], self._contrast().to(step.device)
        for layer in intervals.layer[new].unique().tolist():
            own = new[intervals.layer[new] == layer]
            weights = rule_and_spread(intervals.fine[own]) * intervals.width[own, None]
            gradient = intervals.gradient[own]
            summed = torch.einsum("wip,ipn->win", weights.to(gradient), gradient)
            value, spread = self.engine.to_neurons(layer, summed).to(gradient)
            of_path = step[intervals.target[own], layer]
            intervals.integral[own], intervals.spread[own] = value, _spread(value, spread, of_path)
            total = (value * of_path).sum(1)
            ends = intervals.probability[own]
            rate = intervals.slope[own] * intervals.width[own, None].to(ends)
            gap = (total - (ends[:, 8] - ends[:, 0])).abs()
            unseen = hidden_change(intervals.fine[own], ends, rate)
            unseen[contrast[intervals.target[own]]] = 0
            intervals.gap[own] = torch.maximum(gap, unseen)
        intervals.known[new] = True

    def _gradients(self, paths: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Compute gradients, (row, n), and P, (row,), at points of paths, (row, 2): target and layer."""
        gradient = probability = torch.empty(0)
        target, layer = paths[:, 0].numpy(), paths[:, 1].numpy()
        for batch in self._batches(target, layer):
            items = [(row, self.targets[target[row]]) for row in batch]

            def run(items: list[tuple[int, Target]]) -> tuple[Tensor, Tensor]:
                rows = torch.tensor([row for row, _ in items])
                return self._batch(paths[rows, 0], paths[rows, 1], alpha[rows.to(alpha.device)].cpu())

            for done, (change, p) in in_halves("rows", items, run):
                if not len(gradient):
                    gradient, probability = (
                        change.new_empty(len(paths), change.shape[1]),
                        p.new_empty(len(paths)),
                    )
                rows = torch.tensor([row for row, _ in done], device=change.device)
                gradient[rows], probability[rows] = change, p
        return gradient, probability

    def _batch(self, target: Tensor, layer: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        used, query = torch.unique(target, return_inverse=True)
        where = {n: torch.where(layer == n)[0] for n in layer.unique().tolist()}

        def points(n: int, activation: Tensor) -> Tensor:
            device, wide = activation.device, torch.promote_types(activation.dtype, torch.float32)
            share = alpha[where[n]].to(device, wide)[:, None]
            own = activation[query[where[n]].to(device)]
            if self.start is None:
                return share * own
            first = self.start[target[where[n]].to(self.start.device), n].to(device, wide)
            return first + share * (own - first)

        targets = [self.targets[n] for n in used.tolist()]
        asked = {n: query[rows] for n, rows in where.items()}
        found = self.engine.rows(targets, points, asked, self.prompts)
        if self.first_round:
            self._keep(found, used, target, layer, query)
        gradient = found.own_gradient.new_empty(len(target), found.own_gradient.shape[-1])
        probability = found.probability.new_empty(len(target))
        for n, rows in where.items():
            here = rows.to(gradient.device)
            gradient[here] = found.row_gradient[n].to(gradient)
            probability[here] = found.row_probability[n].to(probability)
        return gradient, probability

    def _keep(self, found: RowGradients, used: Tensor, target: Tensor, layer: Tensor, query: Tensor) -> None:
        """Keep the unpatched results of targets, and of the layers that have rows."""
        names = ("activation", "probability", "hidden")
        if self.unpatched is None:
            n = len(self.targets)
            empty = {
                name: getattr(found, name).new_empty(n, *getattr(found, name).shape[1:])
                for name in (*names, "gradient", "own_gradient")
            }
            self.unpatched = RowGradients(**empty, row_gradient={}, row_probability={})
        kept, home = self.unpatched, found.probability.device
        for name in names:
            getattr(kept, name)[used.to(home)] = getattr(found, name)
        cells, theirs = (target.to(home), layer.to(home)), (query.to(home), layer.to(home))
        for name in ("gradient", "own_gradient"):
            getattr(kept, name)[cells] = getattr(found, name)[theirs]

    def _batches(self, target: Ints, layer: Ints) -> Iterator[list[int]]:
        """Yield rows that fit into memory together: targets of equal length, one after the other."""
        engine, lengths = self.engine, np.array([len(one.ids) for one in self.targets])
        of_row = lengths[target]
        for length in np.unique(of_row).tolist():
            rows = np.flatnonzero(of_row == length)
            rows = rows[np.lexsort((layer[rows], target[rows]))]
            a_query = engine.bytes_of(length, {}, 1)
            a_row = [engine.bytes_of(length, {n: 1}, 0) for n in range(engine.sites.n_layers)]
            a_row_takes, batch, last = engine.positions(length, 0), list[int](), -1
            size = positions = 0
            for row in rows.tolist():
                new = int(target[row]) != last
                more, places = a_row[layer[row]] + new * a_query, a_row_takes * (1 + new)
                if batch and (size + more > engine.memory or positions + places > engine.most_positions):
                    yield batch
                    batch, size, positions = [], 0, 0
                    more, places = a_row[layer[row]] + a_query, 2 * a_row_takes
                batch.append(row)
                size, positions, last = size + more, positions + places, int(target[row])
            yield batch


def _spread(value: Tensor, difference: Tensor, step: Tensor) -> Tensor:
    """Return the spread of each neuron, (interval, neuron): no less than its layer's, relative to its value.

    Two rules may agree on one neuron by chance, but not on all of a layer's together.
    """
    off, size = ((part * step).double().norm(dim=1, keepdim=True) for part in (difference, value))
    relative = (off / size.clamp_min(torch.finfo(off.dtype).tiny)).to(value.dtype)
    return torch.maximum(difference.abs(), relative * value.abs())
