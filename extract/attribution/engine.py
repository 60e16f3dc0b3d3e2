"""The gradient engine: path gradients of many targets, in batches within a memory bound.

It uses growing rows (:mod:`qloc.extract.attribution.growing_rows`) in the quickest way that was proved
equal to the plain one (:mod:`qloc.extract.attribution.reference_rows`) on the loaded model, and else the
plain one.

The composition of batches is a function of the targets and the bound alone, never of free memory or of what
else runs, so that an extraction that is resumed or distributed gives the same bits.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from qloc.extract.attribution.growing_rows import Join, PathGradients, Points, growing_rows
from qloc.extract.attribution.reference_rows import full_rows
from qloc.extract.models.architectures import Sites
from qloc.extract.models.out_of_memory import in_halves, out_of_memory
from qloc.extract.models.output_head import Head
from qloc.extract.models.unsupported import MODEL_FAILURES, refuse_other_calls, refuse_other_logits
from qloc.extract.passes.block_arguments import EntriesPerQuery, carried
from qloc.extract.prompts.tokenizing import Family, Target

log = logging.getLogger(__name__)

_TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.1}
"""Largest difference from the oracle, relative to its largest value. float64: transformers' RMSNorm computes
in float32 even then. Half precision: rounding of a single activation is 4e-3 already."""


@dataclass(frozen=True, kw_only=True)
class GradientEngine:
    """Path gradients of any number of targets on one model.

    Attributes
    ----------
    model : transformers model
        The loaded model.
    sites : Sites
        Its blocks, down-projections and output embedding.
    family : {"causal", "masked"}
        Kind of model.
    memory : int
        Bytes that the rows in flight may take.
    kind : {"after", "token", "before", "full"}
        How rows join: ``after`` or ``before`` their block, or as one ``token`` that runs through it.
        ``full`` means the plain way, where growing rows did not hold.
    cut : bool
        Whether the last block runs at the target position alone (masked models only).
    carried : EntriesPerQuery
        Which arguments of the blocks have entries of each query; :func:`proved` finds out.
    most_positions : int
        Most positions in flight. A row is one position in a causal model, a whole prompt in a masked one. A
        larger batch than the default was not faster on two cores, only larger (benchmarks/extraction.py).
    """

    model: Any
    sites: Sites
    family: Family
    memory: int
    kind: Literal["after", "token", "before", "full"] = "after"
    cut: bool = False
    carried: EntriesPerQuery = field(default_factory=dict)
    most_positions: int = 1024

    @property
    def device(self) -> torch.device:
        """Device that the model's inputs are put on."""
        device: torch.device = next(iter(self.model.parameters())).device
        return device

    @property
    def inputs(self) -> tuple[nn.Module, ...]:
        """The modules whose input is the attributed vector, one a layer."""
        return self.sites.downs

    @property
    def itemsize(self) -> int:
        """Bytes of one number of the model's dtype."""
        return int(next(iter(self.model.parameters())).element_size())

    @property
    def head(self) -> Head:
        """The output embedding, with a quarter of the memory for its logits."""
        return Head(model=self.model, module=self.sites.head, chunk_bytes=self.memory // 4)

    def paths(
        self,
        targets: Sequence[Target],
        points: Points,
        weights: Tensor,
        layers: Sequence[int] | None = None,
    ) -> PathGradients:
        """Compute path gradients of targets of equal length: one batch of :meth:`plan`.

        Parameters
        ----------
        targets : sequence of Target
            The batch, all with as many ids.
        points : Points
            The path of each layer: (layer, activation (query, neuron)) → (node, query, neuron). It is given
            the activations of the whole batch, so that each target may have a path of its own.
        weights : Tensor, shape (rule, node)
            Weight of each node under each quadrature rule.
        layers : sequence of int, optional
            Layers whose paths are evaluated, ascending; all layers by default.

        Returns
        -------
        PathGradients
            Results in the order of ``targets``. In layers that were not asked for, ``mean_gradient`` and
            ``node_probability`` are zero, and ``gradient`` is not to be used.
        """
        layers = range(self.sites.n_layers) if layers is None else layers
        if self.kind == "full":
            singles = [(target, _only(n, len(targets), points)) for n, target in enumerate(targets)]
            return _side_by_side(
                [full_rows(self.model, self.sites, target, own, weights, layers) for target, own in singles]
            )
        n_nodes = weights.shape[1]
        groups = self._layer_groups(len(targets[0].ids), n_nodes, layers if n_nodes else ())
        parts = [
            part
            for group in groups
            for _, part in in_halves("layers", group, lambda run: self.grown(targets, points, weights, run))
        ]
        mean, node = (sum(getattr(p, name) for p in parts) for name in ("mean_gradient", "node_probability"))
        return replace(parts[0], mean_gradient=mean, node_probability=node)

    def grown(
        self, targets: Sequence[Target], points: Points, weights: Tensor, layers: Sequence[int]
    ) -> PathGradients:
        """Compute path gradients of targets of equal length by growing rows, in one batch.

        Parameters
        ----------
        targets : sequence of Target
            The batch, all with as many ids.
        points : Points
            The path of each layer.
        weights : Tensor, shape (rule, node)
            Weight of each node under each quadrature rule.
        layers : sequence of int
            Layers whose paths are evaluated, ascending.

        Returns
        -------
        PathGradients
            Results in the order of ``targets``.
        """
        join: Join = "after" if self.kind == "full" else self.kind
        return growing_rows(
            self.model,
            self.sites,
            self.head,
            self.family,
            targets,
            points,
            weights,
            layers,
            join,
            self.carried,
            self.cut,
        )

    def plan(self, targets: Sequence[Target], n_nodes: int) -> list[list[int]]:
        """Group targets of equal length into batches as large as memory allows.

        Parameters
        ----------
        targets : sequence of Target
            Targets of any lengths.
        n_nodes : int
            Nodes of each layer's path.

        Returns
        -------
        list of list of int
            Indices into ``targets``, batch by batch, the shortest targets first.
        """
        by_length: dict[int, list[int]] = {}
        for index, target in enumerate(targets):
            by_length.setdefault(len(target.ids), []).append(index)
        plan = []
        for length, indices in sorted(by_length.items()):
            layers = range(self.sites.n_layers)
            rows = 1 + n_nodes * len(layers)
            positions = rows * (1 if self.family == "causal" else length)
            fit = min(self.memory // self._bytes(length, n_nodes, layers), self.most_positions // positions)
            size = max(1, fit)
            plan += [indices[start : start + size] for start in range(0, len(indices), size)]
        return plan

    def _layer_groups(self, length: int, n_nodes: int, layers: Sequence[int]) -> list[list[int]]:
        """Split layers into runs whose rows, of one query, fit into memory together; one run if all fit."""
        groups: list[list[int]] = [[]]
        for layer in layers:
            if groups[-1] and self._bytes(length, n_nodes, [*groups[-1], layer]) > self.memory:
                groups.append([])
            groups[-1].append(layer)
        return groups

    def _bytes(self, length: int, n_nodes: int, layers: Sequence[int]) -> int:
        """Return an upper bound of the bytes that autograd saves for the rows of one query."""
        config = self.model.config.get_text_config()
        width, read = int(config.hidden_size), length
        positions = 1 if self.family == "causal" else length
        a_token = 14 * width + 8 * self.sites.n_neurons + 2 * (read * width if self.family == "causal" else 0)
        heads = int(config.num_attention_heads)
        a_row_layer = positions * a_token + 4 * heads * positions * read
        alive = sum(self.sites.n_layers - layer for layer in layers) * n_nodes + self.sites.n_layers
        return max(1, alive * a_row_layer * self.itemsize)


_WAYS: Final[Mapping[Family, Sequence[tuple[Join, bool]]]] = {
    "causal": (("after", False), ("before", False)),
    "masked": (("after", True), ("token", True), ("after", False), ("before", False)),
}
"""How rows may join, and whether the last block is cut; the quickest first."""


def proved(engine: GradientEngine, targets: Sequence[Target]) -> GradientEngine:
    """Return the engine in the quickest way that equals the oracle on this model.

    The proof runs on two targets side by side, and on the longest target in every layer (layers may differ,
    and attention windows are shorter than long prompts). In a masked model the last block is cut to the
    target if that holds. Rows join after their block; else, where the last block is cut, as one token of
    it; else before it; else, with a warning, the engine falls back to the oracle itself.

    Parameters
    ----------
    engine : GradientEngine
        The engine to prove, in any way.
    targets : sequence of Target
        Some of the targets that it will run.

    Returns
    -------
    GradientEngine
        The same engine, with ``kind``, ``cut`` and ``carried`` set.

    Raises
    ------
    InputError
        When even the oracle does not hold for the model: its down-projections are not called once a pass,
        or its logits are not those of the output embedding.
    """
    allowed = _TOLERANCE.get(next(iter(engine.model.parameters())).dtype, 1e-3)
    refuse_other_calls(engine.model, engine.sites.downs, targets[0].ids)
    refuse_other_logits(engine.model, engine.head, targets[0].ids, allowed)
    trials = _trials(engine, targets)
    ends = [pick(targets, key=lambda target: len(target.ids)) for pick in (min, max)]
    try:
        engine = replace(engine, carried=carried(engine.model, engine.sites, engine.family, ends))
    except MODEL_FAILURES as error:
        _raise_if_out_of_memory(error)
        log.info("blocks cannot be looked into on this model: %s", error)
    for kind, cut in _WAYS[engine.family]:
        trial = replace(engine, kind=kind, cut=cut)
        if _holds(trial, trials, allowed):
            return trial
    log.warning(
        "growing rows do not hold on %s: every row runs the whole model, which takes about ten times longer",
        engine.model.config.model_type,
    )
    return replace(engine, kind="full", cut=False)


_Trial = tuple[list[Target], list[int], PathGradients]
"""Targets of one length, layers, and what the oracle gives."""

_NODES = torch.tensor([[0.5, 0.5]])


def _trials(engine: GradientEngine, targets: Sequence[Target]) -> list[_Trial]:
    first, n_layers = targets[0], engine.sites.n_layers
    second = next((t for t in targets[1:] if len(t.ids) == len(first.ids)), first)
    longest = max(targets, key=lambda target: len(target.ids))
    spread = sorted({0, n_layers // 2, n_layers - 1})
    trials = []
    for chosen, layers in (([first, second], spread), ([longest], list(range(n_layers)))):
        oracle = [full_rows(engine.model, engine.sites, t, _halves, _NODES, layers) for t in chosen]
        trials.append((chosen, layers, _side_by_side(oracle)))
    return trials


def _holds(engine: GradientEngine, trials: Sequence[_Trial], allowed: float) -> bool:
    try:
        worst = max(_worst(engine, *trial) for trial in trials)
    except MODEL_FAILURES as error:
        _raise_if_out_of_memory(error)
        log.info("rows that join in the way '%s' do not run on this model: %s", engine.kind, error)
        return False
    if worst > allowed:
        difference = "rows that join in the way '%s' differ from the oracle by %.1e (allowed %.0e)"
        log.info(difference, engine.kind, worst, allowed)
    return worst <= allowed


def _raise_if_out_of_memory(error: Exception) -> None:
    if out_of_memory(error):  # tells of the machine, not of the model
        raise error


def _worst(engine: GradientEngine, targets: list[Target], layers: list[int], oracle: PathGradients) -> float:
    return _difference(engine.grown(targets, _halves, _NODES, layers), oracle, layers)


def _only(n: int, n_targets: int, points: Points) -> Points:
    """Return the path of target ``n`` of a batch, given its own activation alone."""
    return lambda layer, activation: points(layer, activation.expand(n_targets, -1))[:, [n]]


def _halves(_: int, activation: Tensor) -> Tensor:
    return torch.stack([activation * 0.25, activation * 0.75])


def _difference(grown: PathGradients, oracle: PathGradients, layers: list[int]) -> float:
    worst = 0.0
    for name in ("activation", "gradient", "mean_gradient", "probability", "node_probability", "hidden"):
        ours, theirs = getattr(grown, name).double(), getattr(oracle, name).double()
        if name == "gradient":
            ours, theirs = ours[:, layers], theirs[:, layers]
        # one scale for both gradients: where P is almost 1, that at α = 1 is all rounding
        alike = oracle.mean_gradient if name == "gradient" else theirs
        scale = torch.maximum(theirs.abs().max(), alike.double().abs().max())
        scale = scale.clamp_min(torch.finfo(torch.float32).tiny)
        worst = max(worst, float(((ours - theirs).abs().max() / scale).nan_to_num(torch.inf)))
    return worst


def _side_by_side(parts: Sequence[PathGradients]) -> PathGradients:
    axis = {"mean_gradient": 1, "node_probability": 1}
    names = ("activation", "gradient", "mean_gradient", "probability", "node_probability", "hidden")
    return PathGradients(**{n: torch.cat([getattr(p, n) for p in parts], axis.get(n, 0)) for n in names})
