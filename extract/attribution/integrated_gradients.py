"""Integrals of gradients along straight paths of activations.

A path goes from a start (zero, or a baseline) to a layer's activation w̄, all neurons of the layer
together. Under ``certified``, the default, an error bound decides where its nodes are
(:mod:`qloc.extract.attribution.certified_quadrature`). The other rules have the same nodes for every target,
but for ``adaptive``: there the nodes of a target's layer are doubled until its completeness gap is within
tolerance. Clenshaw–Curtis nodes are nested, so that none is wasted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from qloc.extract.attribution.certified_quadrature import CertifiedIntegral, certified
from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.error_bound import Certified, Owners
from qloc.extract.attribution.quadrature import Quadrature, clenshaw_curtis, quadrature
from qloc.extract.models.out_of_memory import in_halves
from qloc.extract.prompts.tokenizing import Target
from qloc.plan import Plan

MOST_DOUBLINGS: Final = 3
"""How often the nodes of a layer's path are doubled at most."""


@dataclass(frozen=True, kw_only=True)
class Nodes:
    """The nodes that one pass adds to a path.

    Attributes
    ----------
    alphas : tuple of float
        Where on the path. Never 1, which is the unpatched pass and costs nothing more.
    weights : tuple of tuple of float, (level, node)
        Weight of each node under the level of this pass and under every finer one.
    """

    alphas: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]

    def points(self, start: Tensor | None) -> Callable[[int, Tensor], Tensor]:
        """Return the path of each layer, evaluated at these nodes.

        Parameters
        ----------
        start : Tensor, shape (target, layer, neuron), or None
            Where the paths start; None for zero.

        Returns
        -------
        callable
            (layer, activation (target, neuron)) → (node, target, neuron), float32 at least.
        """

        def at(layer: int, activation: Tensor) -> Tensor:
            wide = torch.promote_types(activation.dtype, torch.float32)
            alphas = torch.tensor(self.alphas, dtype=wide, device=activation.device)[:, None, None]
            if start is None:
                return alphas * activation
            first = start[:, layer].to(activation.device, wide)
            return first + alphas * (activation - first)

        return at

    def weight_matrix(self) -> Tensor:
        """Return the weights as a tensor.

        Returns
        -------
        float64 Tensor, shape (level, node)
            The weights.
        """
        return torch.tensor(self.weights, dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class ScaledPath:
    """Where a path is evaluated: first everywhere, then where the completeness gap is over tolerance.

    Attributes
    ----------
    passes : tuple of Nodes
        The nodes that each level adds. α = 0 is among the first, without weight where the rule lacks it,
        because the completeness gap needs P there.
    at_one : tuple of float
        Weight of the node α = 1 under each level.
    tolerance : float
        Largest completeness gap at which nodes are not doubled any more.
    """

    passes: tuple[Nodes, ...]
    at_one: tuple[float, ...]
    tolerance: float = 0.0

    @classmethod
    def of(cls, rule: Quadrature) -> ScaledPath:
        """Return the nodes of one rule, the same for every target.

        Parameters
        ----------
        rule : Quadrature
            Nodes and weights.

        Returns
        -------
        ScaledPath
            A path of one level.
        """
        inner = [(float(a), float(w)) for a, w in zip(rule.nodes, rule.weights, strict=True) if a != 1.0]
        if not any(alpha == 0.0 for alpha, _ in inner):
            inner.insert(0, (0.0, 0.0))
        nodes = Nodes(alphas=tuple(a for a, _ in inner), weights=(tuple(w for _, w in inner),))
        return cls(passes=(nodes,), at_one=(_at_one(rule),))

    @classmethod
    def doubling(cls, steps: int, tolerance: float) -> ScaledPath:
        """Return Clenshaw–Curtis rules of ``steps`` intervals, and of twice, four and eight times as many.

        Parameters
        ----------
        steps : int
            Intervals of the coarsest rule.
        tolerance : float
            Largest completeness gap at which nodes are not doubled any more.

        Returns
        -------
        ScaledPath
            A path of ``MOST_DOUBLINGS + 1`` levels.
        """
        rules = [clenshaw_curtis(steps * 2**level) for level in range(MOST_DOUBLINGS + 1)]
        passes = []
        for level, rule in enumerate(rules):
            coarser = set(rules[level - 1].nodes.tolist()) if level else set()
            added = tuple(float(a) for a in rule.nodes if a != 1.0 and a not in coarser)
            finer = [dict(zip(r.nodes.tolist(), r.weights.tolist(), strict=True)) for r in rules[level:]]
            passes.append(Nodes(alphas=added, weights=tuple(tuple(w[a] for a in added) for w in finer)))
        return cls(passes=tuple(passes), at_one=tuple(map(_at_one, rules)), tolerance=tolerance)

    @classmethod
    def none(cls) -> ScaledPath:
        """Return a path without nodes, for methods that need only the unpatched pass.

        Returns
        -------
        ScaledPath
            A path of one empty level.
        """
        return cls(passes=(Nodes(alphas=(), weights=((),)),), at_one=(0.0,))


def _at_one(rule: Quadrature) -> float:
    return float(rule.weights[rule.nodes == 1.0].sum())


def path_of(plan: Plan, dtype: torch.dtype) -> ScaledPath | Certified:
    """Return where a plan's paths are evaluated.

    Parameters
    ----------
    plan : Plan
        Names the quadrature rule. Under ``adaptive``, its largest completeness gap is raised to what
        ``dtype`` rounds away.
    dtype : torch.dtype
        The model's dtype.

    Returns
    -------
    ScaledPath or Certified
        Nodes of one level, or of several for ``adaptive``; what is asked of ``certified``.
    """
    if plan.quadrature == "certified":
        asked = plan.quadrature_error, plan.floor, plan.steps, dtype, plan.quadrature_thresholds
        return Certified.named(*asked)
    if plan.quadrature == "adaptive":
        return ScaledPath.doubling(plan.steps, max(plan.gap_tolerance, 4 * torch.finfo(dtype).eps))
    return ScaledPath.of(quadrature(plan.quadrature, plan.steps))


@dataclass(frozen=True, kw_only=True)
class PathIntegral:
    """What the paths of some targets give, as :class:`qloc.methods.PathResult` documents it.

    Attributes
    ----------
    activation : Tensor, shape (target, layer, neuron)
        w̄, the end of the path.
    step : Tensor, shape (target, layer, neuron)
        w̄ less the start of the path.
    gradient : Tensor, shape (target, layer, neuron)
        ∂P/∂w at w̄.
    mean_gradient : Tensor, shape (target, layer, neuron)
        ∫₀¹ ∂P/∂w(start + α · step) dα.
    probability : Tensor, shape (target,)
        P at w̄.
    start_probability : Tensor, shape (target, layer)
        P with the layer's vector at the start of its path; NaN where the path has no nodes.
    hidden : Tensor, shape (target, hidden)
        Final hidden state at the target, unpatched.
    n_nodes : int64 Tensor, shape (target, layer)
        Number of gradients that the path took, besides that at α = 1.
    error : Tensor, shape (target, layer)
        Bound of the error of an attribution of the layer; NaN under rules that give none.
    converged : int8 Tensor, shape (target, layer)
        1 where the bound (``certified``) or the completeness gap (``adaptive``) is within what was asked for,
        0 where not; -1 under other rules.
    """

    activation: Tensor
    step: Tensor
    gradient: Tensor
    mean_gradient: Tensor
    probability: Tensor
    start_probability: Tensor
    hidden: Tensor
    n_nodes: Tensor
    error: Tensor
    converged: Tensor

    @property
    def change(self) -> Tensor:
        """P(w̄) − P(start), shape (target, layer)."""
        return self.probability[:, None] - self.start_probability


def integrals(
    engine: GradientEngine,
    targets: Sequence[Target],
    path: ScaledPath | Certified,
    start: Tensor | None = None,
    owners: Owners | None = None,
    *,
    whole: bool = False,
) -> Iterator[tuple[list[int], PathIntegral]]:
    """Integrate gradients along the paths of targets, batch by batch.

    Parameters
    ----------
    engine : GradientEngine
        Computes path gradients.
    targets : sequence of Target
        Targets of any lengths.
    path : ScaledPath or Certified
        Where the paths are evaluated.
    start : Tensor, shape (target, layer, neuron), optional
        Where each path starts; zero by default.
    owners : Owners, optional
        Targets that are summed into one query's attribution, under ``certified``; by default each stands
        alone.
    whole : bool, default False
        Whether, under ``certified``, w̄ times the mean gradient must be as exact as w̄ − start times it.

    Yields
    ------
    indices : list of int
        Indices into ``targets``.
    integral : PathIntegral
        What their paths give, in the order of ``indices``.
    """
    if isinstance(path, Certified):
        for run_of, found in certified(engine, targets, path, start, owners, whole=whole):
            yield run_of, _of_certified(found, None if start is None else start[run_of])
        return

    def run(chosen: list[tuple[int, Target]]) -> PathIntegral:
        own = None if start is None else start[[index for index, _ in chosen]]
        return _integral(engine, [target for _, target in chosen], path, own)

    for indices in engine.plan(targets, len(path.passes[0].alphas)):
        batch = [(index, targets[index]) for index in indices]
        for done, integral in in_halves("targets", batch, run):
            yield [index for index, _ in done], integral


def _of_certified(found: CertifiedIntegral, start: Tensor | None) -> PathIntegral:
    own = found.unpatched
    return PathIntegral(
        activation=own.activation,
        step=own.activation if start is None else own.activation - start.to(own.activation),
        gradient=own.gradient,
        mean_gradient=found.mean_gradient,
        probability=own.probability,
        start_probability=found.start_probability,
        hidden=own.hidden,
        n_nodes=found.n_nodes,
        error=found.error,
        converged=found.converged.to(torch.int8),
    )


def _integral(
    engine: GradientEngine, targets: list[Target], path: ScaledPath, start: Tensor | None
) -> PathIntegral:
    first = path.passes[0]
    gradients = engine.paths(targets, first.points(start), first.weight_matrix())
    step = gradients.activation if start is None else gradients.activation - start.to(gradients.activation)
    if first.alphas:
        at_start = gradients.node_probability[first.alphas.index(0.0)]
    else:
        at_start = torch.full_like(step[:, :, 0], torch.nan)
    change = gradients.probability[:, None] - at_start
    mean = gradients.mean_gradient[0] + path.at_one[0] * gradients.gradient
    n_nodes = torch.full(change.shape, len(first.alphas))
    for level in range(1, len(path.passes)):
        over = completeness_gap(step * mean, change) > path.tolerance
        if not bool(over.any()):
            break
        _double(engine, targets, path, start, level, over, gradients.mean_gradient)
        finer = gradients.mean_gradient[level] + path.at_one[level] * gradients.gradient
        mean = torch.where(over[:, :, None], finer, mean)
        n_nodes += over.cpu() * len(path.passes[level].alphas)
    converged = torch.full(change.shape, -1, dtype=torch.int8)
    if len(path.passes) > 1:
        converged = (completeness_gap(step * mean, change) <= path.tolerance).to(torch.int8)
    return PathIntegral(
        activation=gradients.activation,
        step=step,
        gradient=gradients.gradient,
        mean_gradient=mean,
        probability=gradients.probability,
        start_probability=at_start,
        hidden=gradients.hidden,
        n_nodes=n_nodes,
        error=torch.full_like(change, torch.nan),
        converged=converged,
    )


def _double(
    engine: GradientEngine,
    targets: list[Target],
    path: ScaledPath,
    start: Tensor | None,
    level: int,
    over: Tensor,
    sums: Tensor,
) -> None:
    """Add a level's nodes to ``sums``, (level, target, layer, neuron), where ``over``, (target, layer)."""
    nodes, alike = path.passes[level], dict[tuple[int, ...], list[int]]()
    for index, layers in enumerate(over.cpu()):
        alike.setdefault(tuple(layers.nonzero()[:, 0].tolist()), []).append(index)
    for layers, members in alike.items():
        if not layers:
            continue
        for part in engine.plan([targets[index] for index in members], len(nodes.alphas)):
            chosen = [members[index] for index in part]
            points = nodes.points(None if start is None else start[chosen])
            more = engine.paths([targets[index] for index in chosen], points, nodes.weight_matrix(), layers)
            sums[level:, chosen] += more.mean_gradient


def completeness_gap(attribution: Tensor, change: Tensor) -> Tensor:
    """Return the completeness gap |ΣA − ΔP| / max(Σ|A|, |ΔP|) of every target and layer.

    Parameters
    ----------
    attribution : Tensor, shape (target, layer, neuron)
        Scores A.
    change : Tensor, shape (target, layer)
        ΔP, the change of the probability along the path.

    Returns
    -------
    Tensor, shape (target, layer)
        The gap; 0/0 is 0.
    """
    total, size = attribution.sum(-1), attribution.abs().sum(-1)
    largest = torch.maximum(size, change.abs())
    return torch.where(largest > 0, (total - change).abs() / largest, torch.zeros_like(total))
