"""From path integrals to scores, method by method (docs/methods.md#attribution-of-a-query-to-neurons).

Each method reads the path integral of one answer token and makes scores of it; a query's attribution is the
mean over its answer tokens. The methods themselves are listed in :mod:`qloc.methods`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qloc.errors import InputError, message
from qloc.extract.attribution.amig_sig_baselines import Replacing, baselines
from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.error_bound import Certified, Owners
from qloc.extract.attribution.integrated_gradients import (
    PathIntegral,
    ScaledPath,
    completeness_gap,
    integrals,
)
from qloc.extract.models.out_of_memory import raise_if_out_of_memory
from qloc.extract.prompts.tokenizing import Target
from qloc.methods import AttributionMethod

Starts = Callable[[Sequence[int]], Tensor]
"""Indices of targets → where their paths start, (target, layer, neuron)."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of answer tokens by one method.

    Attributes
    ----------
    attribution : Tensor, shape (target, layer, neuron)
        Score of each neuron.
    gap : Tensor, shape (target, layer)
        Completeness gap; NaN where the method does not define one.
    error : Tensor, shape (target, layer)
        Bound of the error of a score; NaN where the quadrature gives none.
    n_nodes : int64 Tensor, shape (target, layer)
        Gradients along the paths.
    converged : int8 Tensor, shape (target, layer)
        As of :class:`PathIntegral`; the least of several paths.
    """

    attribution: Tensor
    gap: Tensor
    error: Tensor
    n_nodes: Tensor
    converged: Tensor


def scores(method: AttributionMethod, found: PathIntegral) -> Scores:
    """Turn path integrals into the scores of one method.

    Parameters
    ----------
    method : AttributionMethod
        The method.
    found : PathIntegral
        What the paths of some targets give.

    Returns
    -------
    Scores
        Scores of the same targets.

    Raises
    ------
    InputError
        When a user's method fails, or returns scores of another shape than the activations.
    """
    return _finished(method, _raw(method, found), found.change, _Quality.of(method, found))


def _raw(method: AttributionMethod, found: PathIntegral) -> Tensor:
    try:
        raw: object = method.score(found)
    except Exception as error:  # whatever the code of a user leads to; of our own it is a bug
        raise_if_out_of_memory(error)
        if not method.source:
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        got, place = f"{type(error).__name__}: {error}", f"{Path(last.filename).name}, line {last.lineno}"
        what = f"attribution method {method.name}"
        raise InputError(message(what, got, "a tensor of scores", place, "Mend it")) from error
    if not isinstance(raw, Tensor) or raw.shape != found.activation.shape:
        shape = tuple(raw.shape) if isinstance(raw, Tensor) else ()
        rule = f"a tensor of scores of the activations' shape, {tuple(found.activation.shape)}"
        raise InputError(message("attribution method", method.name, rule, f"its shape {shape}", "Mend it"))
    return raw.detach()


@dataclass(frozen=True, kw_only=True)
class _Quality:
    """How well paths were integrated, as :class:`Scores` says it."""

    error: Tensor
    n_nodes: Tensor
    converged: Tensor

    @classmethod
    def of(cls, method: AttributionMethod, found: PathIntegral) -> _Quality:
        """Return the quality of path integrals; without a path there is none.

        The bound is that of w̄ − start, or w̄, times the mean gradient: of a user's score none is known.
        """
        if method.path == "none":
            blank = torch.full(found.n_nodes.shape, -1, dtype=torch.int8)
            return cls(
                error=torch.full_like(found.error, torch.nan),
                n_nodes=torch.zeros_like(found.n_nodes),
                converged=blank,
            )
        error = torch.full_like(found.error, torch.nan) if method.source else found.error
        return cls(error=error, n_nodes=found.n_nodes, converged=found.converged)

    def summed(self, owner: Sequence[int], n: int) -> _Quality:
        """Add up the paths of each of ``n`` targets; ``owner`` is the target of each path."""
        of = torch.tensor(owner)
        shape = (n, self.error.shape[1])
        worst = torch.ones(shape, dtype=torch.int8).scatter_reduce_(
            0, of[:, None].expand_as(self.converged), self.converged.cpu(), "amin"
        )
        return _Quality(
            error=self.error.new_zeros(shape).index_add_(0, of.to(self.error.device), self.error),
            n_nodes=self.n_nodes.new_zeros(shape).index_add_(0, of, self.n_nodes),
            converged=worst,
        )


def _finished(method: AttributionMethod, raw: Tensor, change: Tensor, quality: _Quality) -> Scores:
    gap = completeness_gap(raw, change) if method.complete else torch.full(raw.shape[:2], torch.nan)
    norm = _norm(raw) if method.normalized else torch.ones(len(raw), 1, 1, dtype=raw.dtype, device=raw.device)
    inverse = torch.where(norm > 0, 1 / norm, torch.zeros_like(norm))
    return Scores(
        attribution=torch.where(norm > 0, raw / norm, torch.zeros_like(norm)).to(raw.dtype),
        gap=gap,
        error=(quality.error * inverse[:, :, 0].to(quality.error)),
        n_nodes=quality.n_nodes,
        converged=quality.converged,
    )


def _norm(attribution: Tensor) -> Tensor:
    """Return the L2 norm over the network, (target, 1, 1), in float64, where squares do not vanish."""
    norm: Tensor = attribution.double().flatten(1).norm(dim=1)
    return norm[:, None, None]


def scores_by(
    engine: GradientEngine,
    targets: Sequence[Target],
    method: AttributionMethod,
    path: ScaledPath | Certified,
    tokenizer: Any,
    starts: Starts | None = None,
) -> Iterator[tuple[list[int], Scores]]:
    """Score targets by one method, wherever its path starts.

    Parameters
    ----------
    engine : GradientEngine
        Computes path gradients.
    targets : sequence of Target
        Targets of any lengths.
    method : AttributionMethod
        The method.
    path : ScaledPath or Certified
        Where paths are evaluated; not used by methods without a path.
    tokenizer : transformers tokenizer
        Says which tokens are replaced, for methods whose paths start at baselines.
    starts : Starts, optional
        Baselines of methods whose ``path`` is ``relation``, which needs them.

    Yields
    ------
    indices : list of int
        Indices into ``targets``.
    found : Scores
        Their scores, in the order of ``indices``.

    Raises
    ------
    TypeError
        A method whose ``path`` is ``relation`` without ``starts``.
    """
    if method.path in ("mean", "token"):
        replacing = Replacing.of(tokenizer, engine.family)
        for _, indices, own_scores in scores_from_baselines(engine, targets, [method], path, replacing):
            yield indices, own_scores
    elif method.path == "relation":
        if starts is None:
            raise TypeError(f"{method.name} needs baselines")
        for _, indices, own_scores in scores_from_starts(engine, targets, [method], path, starts):
            yield indices, own_scores
    else:
        own = path if method.path == "zero" else ScaledPath.none()
        for indices, integral in integrals(engine, targets, own):
            yield indices, scores(method, integral)


def scores_from_starts(
    engine: GradientEngine,
    targets: Sequence[Target],
    methods: Sequence[AttributionMethod],
    path: ScaledPath | Certified,
    starts: Starts,
    owners: Owners | None = None,
) -> Iterator[tuple[AttributionMethod, list[int], Scores]]:
    """Score targets by methods that share one path, from one given start a target.

    Parameters
    ----------
    engine : GradientEngine
        Computes path gradients.
    targets : sequence of Target
        Targets of any lengths.
    methods : sequence of AttributionMethod
        The methods.
    path : ScaledPath or Certified
        Where paths are evaluated.
    starts : Starts
        Where the paths start.
    owners : Owners, optional
        Targets that are summed into one query's attribution, under ``certified``; by default each stands
        alone.

    Yields
    ------
    method : AttributionMethod
        One of ``methods``.
    indices : list of int
        Indices into ``targets``.
    found : Scores
        The method's scores of these targets, in the order of ``indices``.
    """
    owners = Owners.each(len(targets)) if owners is None else owners
    for indices in _chunks(engine, targets, [1] * len(targets), owners):
        yield from _from_starts(engine, targets, indices, methods, path, starts(indices), owners)


def _from_starts(
    engine: GradientEngine,
    targets: Sequence[Target],
    indices: list[int],
    methods: Sequence[AttributionMethod],
    path: ScaledPath | Certified,
    start: Tensor,
    owners: Owners,
) -> Iterator[tuple[AttributionMethod, list[int], Scores]]:
    """Score chosen targets from one start each, (chosen target, layer, neuron)."""
    chosen, own = [targets[index] for index in indices], owners.part(indices)
    whole = not all(method.complete for method in methods)
    for part, integral in integrals(engine, chosen, path, start, own, whole=whole):
        for method in methods:
            yield method, [indices[n] for n in part], scores(method, integral)


def scores_from_baselines(
    engine: GradientEngine,
    targets: Sequence[Target],
    methods: Sequence[AttributionMethod],
    path: ScaledPath | Certified,
    replacing: Replacing,
    owners: Owners | None = None,
) -> Iterator[tuple[AttributionMethod, list[int], Scores]]:
    """Score targets by methods whose paths start at baselines.

    Baselines are computed once for all methods, and each path once for the methods that share it.

    Parameters
    ----------
    engine : GradientEngine
        Computes baselines and path gradients.
    targets : sequence of Target
        Targets of any lengths.
    methods : sequence of AttributionMethod
        Methods whose ``path`` is ``mean`` or ``token``; others are skipped.
    path : ScaledPath or Certified
        Where paths are evaluated.
    replacing : Replacing
        Which tokens of a prompt are replaced, and by what.
    owners : Owners, optional
        Targets that are summed into one query's attribution, under ``certified``; by default each stands
        alone. Methods whose path is ``token`` are normalized target by target, and sum nothing else.

    Yields
    ------
    method : AttributionMethod
        One of ``methods``.
    indices : list of int
        Indices into ``targets``.
    found : Scores
        The method's scores of these targets, in the order of ``indices``.
    """
    of_mean = [method for method in methods if method.path == "mean"]
    of_token = [method for method in methods if method.path == "token"]
    owners = Owners.each(len(targets)) if owners is None else owners
    n_baselines = [len(replacing.places(target)) for target in targets]
    for indices in _chunks(engine, targets, n_baselines, owners):
        chosen = [targets[index] for index in indices]
        starts = baselines(engine, chosen, replacing)
        if of_mean:
            mean = torch.stack([start.mean(0) for start in starts])
            yield from _from_starts(engine, targets, indices, of_mean, path, mean, owners)
        if of_token:
            for method, part_scores in _summed(engine, chosen, of_token, path, starts):
                yield method, indices, part_scores


def _summed(
    engine: GradientEngine,
    targets: list[Target],
    methods: list[AttributionMethod],
    path: ScaledPath | Certified,
    starts: list[Tensor],
) -> Iterator[tuple[AttributionMethod, Scores]]:
    """Sum scores over the paths from every baseline of each target."""
    owner = [n for n, start in enumerate(starts) for _ in start]
    summed_as = Owners(of_target=torch.tensor(owner), weight=torch.ones(len(owner), dtype=torch.float64))
    whole = not all(method.complete for method in methods)
    change: dict[int, Tensor] = {}
    total: dict[tuple[str, int], Tensor] = {}
    order, qualities = list[int](), dict[str, list[_Quality]]()
    each = [targets[n] for n in owner]
    for part, integral in integrals(engine, each, path, torch.cat(starts), summed_as, whole=whole):
        raw = [(method.name, _raw(method, integral)) for method in methods]
        order += [owner[pair] for pair in part]
        for method in methods:
            qualities.setdefault(method.name, []).append(_Quality.of(method, integral))
        for row, pair in enumerate(part):
            n = owner[pair]
            change[n] = change.get(n, 0) + integral.change[row]
            for name, rows in raw:
                total[name, n] = total.get((name, n), 0) + rows[row]
    changes = torch.stack([change[n] for n in range(len(targets))])
    for method in methods:
        summed = torch.stack([total[method.name, n] for n in range(len(targets))])
        parts = qualities[method.name]
        quality = _Quality(
            **{
                name: torch.cat([getattr(one, name) for one in parts])
                for name in ("error", "n_nodes", "converged")
            }
        )
        yield method, _finished(method, summed, changes, quality.summed(order, len(targets)))


def _chunks(
    engine: GradientEngine, targets: Sequence[Target], n_baselines: Sequence[int], owners: Owners
) -> list[list[int]]:
    """Group targets whose baselines fit into a quarter of the memory: whole queries, the shortest first."""
    a_vector = engine.sites.n_layers * engine.sites.n_neurons * engine.itemsize
    queries = [own for run in owners.runs(1) for own in run]
    chunks: list[list[int]] = []
    room = 0
    for own in sorted(queries, key=lambda own: max(len(targets[n].ids) for n in own)):
        needed = sum(a_vector * n_baselines[index] for index in own)
        if not chunks or needed > room:
            chunks.append([])
            room = engine.memory // 4
        chunks[-1] += own
        room -= needed
    return chunks
