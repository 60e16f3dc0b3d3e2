"""The gradient engine: path gradients of many targets, in batches within a memory bound.

It uses growing rows (:mod:`qloc.extract.attribution.growing_rows`) in the quickest way that was proved equal
to the plain one (:mod:`qloc.extract.attribution.engine_proof`) on the loaded model, and else the plain one.

The composition of batches is a function of the targets and the bound alone, never of free memory or of what
else runs, so that an extraction that is resumed or distributed gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from qloc.extract.attribution.growing_rows import (
    Join,
    Points,
    RowGradients,
    RowQueries,
    growing_rows,
)
from qloc.extract.attribution.reference_rows import full_rows
from qloc.extract.models.architectures import Sites, down_weight
from qloc.extract.models.out_of_memory import in_halves
from qloc.extract.models.output_head import Head
from qloc.extract.passes.block_arguments import EntriesPerQuery
from qloc.extract.passes.prompt_cache import KeptPrompts
from qloc.extract.prompts.tokenizing import Family, Target


@dataclass(frozen=True, kw_only=True)
class PathGradients:
    """Gradients along paths that have the same nodes for every target of a batch, summed by weights.

    Attributes
    ----------
    activation : Tensor, shape (query, layer, neuron)
        Input of the down-projection at the target position.
    gradient : Tensor, shape (query, layer, neuron)
        ∂P(answer)/∂activation at the activation itself.
    mean_gradient : Tensor, shape (rule, query, layer, neuron)
        Weighted sum of the gradients over the nodes of the path.
    probability : Tensor, shape (query,)
        P of the answer token, unpatched.
    node_probability : Tensor, shape (node, query, layer)
        P of the answer token with the layer's vector at each node of its path.
    hidden : Tensor, shape (query, hidden)
        Final hidden state at the target, unpatched.
    """

    activation: Tensor
    gradient: Tensor
    mean_gradient: Tensor
    probability: Tensor
    node_probability: Tensor
    hidden: Tensor


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
        Which arguments of the blocks have entries of each query;
        :mod:`qloc.extract.attribution.engine_proof` finds out.
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
        points: Callable[[int, Tensor], Tensor],
        weights: Tensor,
        layers: Sequence[int] | None = None,
    ) -> PathGradients:
        """Compute path gradients of targets of equal length: one batch of :meth:`plan`.

        Parameters
        ----------
        targets : sequence of Target
            The batch, all with as many ids.
        points : callable
            The points of each layer's path: (layer, activation (query, neuron)) → (node, query, neuron). It
            is given the activations of the whole batch, so that each target may have a path of its own.
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
        n_nodes, n_queries = weights.shape[1], len(targets)
        layers = range(self.sites.n_layers) if layers is None else layers
        if not n_nodes and self.kind != "full":
            layers = ()  # the unpatched rows have all gradients; in the plain way each layer asks for its own
        every = torch.arange(n_queries).repeat(n_nodes)

        def flat(layer: int, activation: Tensor) -> Tensor:
            return points(layer, activation).flatten(0, 1)

        found = self.rows(targets, flat, dict.fromkeys(layers, every))
        shares, shape = weights.to(found.probability), found.gradient.shape
        mean = found.gradient.new_zeros(len(weights), *shape)
        node = found.probability.new_zeros(n_nodes, *shape[:2])
        for layer, change in found.row_gradient.items() if n_nodes else ():
            summed = shares.to(change.device) @ change.view(n_nodes, -1)
            mean[:, :, layer] = self.to_neurons(layer, summed.view(len(weights), n_queries, -1)).to(mean)
            node[:, :, layer] = found.row_probability[layer].view(n_nodes, n_queries)
        return PathGradients(
            activation=found.activation,
            gradient=found.gradient,
            mean_gradient=mean,
            probability=found.probability,
            node_probability=node,
            hidden=found.hidden,
        )

    def rows(
        self,
        targets: Sequence[Target],
        points: Points,
        row_query: RowQueries,
        kept: KeptPrompts | None = None,
    ) -> RowGradients:
        """Compute gradients at points of the layers' paths, of targets of equal length.

        Parameters
        ----------
        targets : sequence of Target
            The batch, all with as many ids.
        points : Points
            What the rows of a layer put in place of its activation.
        row_query : RowQueries
            The layers that have rows, ascending, and the query of each row.
        kept : KeptPrompts, optional
            Prompts of the call before, for callers that ask for the same targets again.

        Returns
        -------
        RowGradients
            Results in the order of ``targets`` and of the rows. Where :attr:`kind` is "full", ``gradient`` of
            layers without rows is not to be used.
        """
        if self.kind == "full":
            return self._full(targets, points, row_query)
        counts = {layer: len(rows) for layer, rows in row_query.items()}
        groups = self._layer_groups(len(targets[0].ids), counts, len(targets))

        def run(layers: list[int]) -> RowGradients:
            return self.grown(targets, points, {layer: row_query[layer] for layer in layers}, kept)

        parts = [part for group in groups for _, part in in_halves("layers", group, run)]
        return replace(
            parts[0],
            row_gradient={layer: rows for part in parts for layer, rows in part.row_gradient.items()},
            row_probability={layer: p for part in parts for layer, p in part.row_probability.items()},
        )

    @property
    def row_width(self) -> int:
        """Numbers in one gradient of a row: those of the down-projection's output, or of its input."""
        config = self.model.config.get_text_config()
        return self.sites.n_neurons if self.kind == "full" else int(config.hidden_size)

    def to_neurons(self, layer: int, change: Tensor) -> Tensor:
        """Return gradients by neurons, from :attr:`RowGradients.row_gradient` or a weighted sum of it.

        Parameters
        ----------
        layer : int
            Their layer.
        change : Tensor, shape (…, n)
            Rows, or sums of them.

        Returns
        -------
        Tensor, shape (…, neuron)
            One product with the down-projection's weight; nothing is left to do where rows ran whole.
        """
        if self.kind == "full":
            return change
        weight = down_weight(self.sites.downs[layer])
        return change.to(weight.device) @ weight.to(change.dtype)

    def written(self, layer: int, step: Tensor) -> Tensor:
        """Return what a step of a layer's neurons is, where :attr:`RowGradients.row_gradient` is a gradient.

        Parameters
        ----------
        layer : int
            Their layer.
        step : Tensor, shape (…, neuron)
            Changes of the attributed vector.

        Returns
        -------
        Tensor, shape (…, n)
            One product with the down-projection's weight, as in :meth:`to_neurons`.
        """
        if self.kind == "full":
            return step
        weight = down_weight(self.sites.downs[layer])
        return step.to(weight.device) @ weight.to(step.dtype).T

    def grown(
        self,
        targets: Sequence[Target],
        points: Points,
        row_query: RowQueries,
        kept: KeptPrompts | None = None,
    ) -> RowGradients:
        """Compute gradients of targets of equal length by growing rows, in one batch.

        Parameters
        ----------
        targets : sequence of Target
            The batch, all with as many ids.
        points : Points
            What the rows of a layer put in place of its activation.
        row_query : RowQueries
            The layers that have rows, and the query of each row.
        kept : KeptPrompts, optional
            As of :meth:`rows`.

        Returns
        -------
        RowGradients
            Results in the order of ``targets`` and of the rows.
        """
        join: Join = "after" if self.kind == "full" else self.kind
        return growing_rows(
            self.model,
            self.sites,
            self.head,
            self.family,
            targets,
            points,
            row_query,
            join,
            self.carried,
            self.cut,
            kept,
        )

    def _full(self, targets: Sequence[Target], points: Points, row_query: RowQueries) -> RowGradients:
        """Run each target by itself, and put its rows where they belong."""
        parts, where = [], []
        for n, target in enumerate(targets):
            own = {layer: torch.where(rows == n)[0] for layer, rows in row_query.items()}

            def alone(layer: int, activation: Tensor, own: Mapping[int, Tensor] = own) -> Tensor:
                every = points(layer, activation.expand(len(targets), -1))
                return every[own[layer].to(every.device)]

            parts.append(full_rows(self.model, self.sites, target, alone, list(own)))
            where.append(own)
        joined = _side_by_side(parts)
        gradient, probability = dict[int, Tensor](), dict[int, Tensor]()
        for layer, rows in row_query.items():
            like = joined.gradient
            gradient[layer] = like.new_zeros(len(rows), like.shape[-1])
            probability[layer] = like.new_zeros(len(rows))
            for part, own in zip(parts, where, strict=True):
                if len(own[layer]):
                    gradient[layer][own[layer]] = part.row_gradient[layer]
                    probability[layer][own[layer]] = part.row_probability[layer].to(like)
        return replace(joined, row_gradient=gradient, row_probability=probability)

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
            counts = dict.fromkeys(range(self.sites.n_layers), n_nodes)
            fit = min(
                self.memory // self.bytes_of(length, counts),
                self.most_positions // self.positions(length, sum(counts.values())),
            )
            size = max(1, fit)
            plan += [indices[start : start + size] for start in range(0, len(indices), size)]
        return plan

    def positions(self, length: int, n_rows: int, n_queries: int = 1) -> int:
        """Return how many positions rows take, with the unpatched row of each query.

        Parameters
        ----------
        length : int
            Number of ids of a prompt.
        n_rows : int
            Number of rows that join.
        n_queries : int, default 1
            Number of queries.

        Returns
        -------
        int
            A row is one position in a causal model, a whole prompt in a masked one.
        """
        return (n_queries + n_rows) * (1 if self.family == "causal" else length)

    def bytes_of(self, length: int, counts: Mapping[int, int], n_queries: int = 1) -> int:
        """Return an upper bound of the bytes that autograd saves for a batch.

        Parameters
        ----------
        length : int
            Number of ids of a prompt.
        counts : dict of int to int
            Number of rows of each layer.
        n_queries : int, default 1
            Number of queries.

        Returns
        -------
        int
            At least 1.
        """
        config = self.model.config.get_text_config()
        width, read = int(config.hidden_size), length
        positions = 1 if self.family == "causal" else length
        a_token = 14 * width + 8 * self.sites.n_neurons + 2 * (read * width if self.family == "causal" else 0)
        heads = int(config.num_attention_heads)
        a_row_layer = positions * a_token + 4 * heads * positions * read
        n_layers = self.sites.n_layers
        alive = sum((n_layers - layer) * n for layer, n in counts.items()) + n_layers * n_queries
        return max(1, alive * a_row_layer * self.itemsize)

    def _layer_groups(self, length: int, counts: Mapping[int, int], n_queries: int) -> list[list[int]]:
        """Split layers into runs whose rows fit into memory together; one run if all fit."""
        groups: list[list[int]] = [[]]
        for layer in counts:
            tried = {one: counts[one] for one in (*groups[-1], layer)}
            if groups[-1] and self.bytes_of(length, tried, n_queries) > self.memory:
                groups.append([])
            groups[-1].append(layer)
        return groups


def _side_by_side(parts: Sequence[RowGradients]) -> RowGradients:
    """Return unpatched results of targets side by side, with the first one's rows."""
    names = ("activation", "gradient", "probability", "hidden", "own_gradient")
    joined: dict[str, Any] = {name: torch.cat([getattr(p, name) for p in parts]) for name in names}
    return replace(parts[0], **joined)
