"""From path integrals to scores, method by method (docs/methods.md#attribution-of-a-query-to-neurons).

Each method reads the path integral of one answer token and makes scores of it; a query's attribution is the
mean over its answer tokens. The methods themselves are listed in :mod:`qloc.methods`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qloc.errors import InputError, message
from qloc.extract.attribution.amig_sig_baselines import Replacing, baselines
from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.integrated_gradients import (
    PathIntegral,
    ScaledPath,
    completeness_gap,
    integrals,
)
from qloc.extract.prompts.tokenizing import Target
from qloc.methods import AttributionMethod


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of answer tokens by one method.

    Attributes
    ----------
    attribution : Tensor, shape (target, layer, neuron)
        Score of each neuron.
    gap : Tensor, shape (target, layer)
        Completeness gap; NaN where the method does not define one.
    """

    attribution: Tensor
    gap: Tensor


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
        When a user's method returns scores of another shape than the activations.
    """
    return _finished(method, _raw(method, found), found.change)


def _raw(method: AttributionMethod, found: PathIntegral) -> Tensor:
    raw: Tensor = method.score(found)
    got = tuple(getattr(raw, "shape", ()))
    if got != tuple(found.activation.shape):
        rule = f"scores of the activations' shape, {tuple(found.activation.shape)}"
        raise InputError(message("attribution method", method.name, rule, f"its shape {got}", "Mend it"))
    return raw.detach()


def _finished(method: AttributionMethod, attribution: Tensor, change: Tensor) -> Scores:
    if method.complete:
        gap = completeness_gap(attribution, change)
    else:
        gap = torch.full(attribution.shape[:2], torch.nan)
    return Scores(attribution=_unit_length(attribution) if method.normalized else attribution, gap=gap)


def _unit_length(attribution: Tensor) -> Tensor:
    """Divide by the L2 norm over the network, in float64, where squares do not vanish; zeros stay zeros."""
    norm = attribution.double().flatten(1).norm(dim=1)[:, None, None]
    return torch.where(norm > 0, attribution / norm, torch.zeros_like(norm)).to(attribution.dtype)


def scores_by(
    engine: GradientEngine,
    targets: Sequence[Target],
    method: AttributionMethod,
    path: ScaledPath,
    tokenizer: Any,
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
    path : ScaledPath
        Where paths are evaluated; not used by methods without a path.
    tokenizer : transformers tokenizer
        Says which tokens are replaced, for methods whose paths start at baselines.

    Yields
    ------
    indices : list of int
        Indices into ``targets``.
    found : Scores
        Their scores, in the order of ``indices``.
    """
    if method.path in ("mean", "token"):
        replacing = Replacing.of(tokenizer, engine.family)
        for _, indices, own_scores in scores_from_baselines(engine, targets, [method], path, replacing):
            yield indices, own_scores
    else:
        own = path if method.path == "zero" else ScaledPath.none()
        for indices, integral in integrals(engine, targets, own):
            yield indices, scores(method, integral)


def scores_from_baselines(
    engine: GradientEngine,
    targets: Sequence[Target],
    methods: Sequence[AttributionMethod],
    path: ScaledPath,
    replacing: Replacing,
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
    path : ScaledPath
        Where paths are evaluated.
    replacing : Replacing
        Which tokens of a prompt are replaced, and by what.

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
    for indices in _chunks(engine, targets, replacing):
        chosen = [targets[index] for index in indices]
        starts = baselines(engine, chosen, replacing)
        if of_mean:
            mean = torch.stack([start.mean(0) for start in starts])
            for part, integral in integrals(engine, chosen, path, mean):
                for method in of_mean:
                    yield method, [indices[n] for n in part], scores(method, integral)
        if of_token:
            for method, part_scores in _summed(engine, chosen, of_token, path, starts):
                yield method, indices, part_scores


def _summed(
    engine: GradientEngine,
    targets: list[Target],
    methods: list[AttributionMethod],
    path: ScaledPath,
    starts: list[Tensor],
) -> Iterator[tuple[AttributionMethod, Scores]]:
    """Sum scores over the paths from every baseline of each target."""
    owner = [n for n, start in enumerate(starts) for _ in start]
    change: dict[int, Tensor] = {}
    total: dict[tuple[str, int], Tensor] = {}
    for part, integral in integrals(engine, [targets[n] for n in owner], path, torch.cat(starts)):
        raw = [(method.name, _raw(method, integral)) for method in methods]
        for row, pair in enumerate(part):
            n = owner[pair]
            change[n] = change.get(n, 0) + integral.change[row]
            for name, rows in raw:
                total[name, n] = total.get((name, n), 0) + rows[row]
    changes = torch.stack([change[n] for n in range(len(targets))])
    for method in methods:
        summed = torch.stack([total[method.name, n] for n in range(len(targets))])
        yield method, _finished(method, summed, changes)


def _chunks(engine: GradientEngine, targets: Sequence[Target], replacing: Replacing) -> list[list[int]]:
    """Group targets whose baselines fit into a quarter of the memory, equal lengths beside each other."""
    a_vector = engine.sites.n_layers * engine.sites.n_neurons * engine.itemsize
    chunks: list[list[int]] = []
    room = 0
    for index in sorted(range(len(targets)), key=lambda n: len(targets[n].ids)):
        needed = a_vector * len(replacing.places(targets[index]))
        if not chunks or needed > room:
            chunks.append([])
            room = engine.memory // 4
        chunks[-1].append(index)
        room -= needed
    return chunks
