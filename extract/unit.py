"""One unit of an extraction: every number that its facts' queries give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from qloc.block import Block, Outline, Unit
from qloc.extract.answers import token_scores
from qloc.extract.attention import attention_of_all
from qloc.extract.attribution import METHODS, ScaledPath
from qloc.extract.columns import Place, QueryColumns, empty_columns, not_finite
from qloc.extract.gradients import GradientEngine
from qloc.extract.grams import GramRows, gram_rows, grams
from qloc.extract.growing import PathGradients
from qloc.extract.loading import LoadedModel
from qloc.extract.quadrature import quadrature
from qloc.extract.tokens import Asked, Encoder
from qloc.facts import Fact
from qloc.plan import Plan


@dataclass(frozen=True, kw_only=True)
class UnitRun:
    """What is needed to run one unit; :meth:`block` runs it.

    Attributes
    ----------
    facts : the unit's facts.
    asked : their queries, facts in order.
    index : each query's fact, within the unit.
    """

    unit: Unit
    facts: Sequence[Fact]
    asked: Sequence[Asked]
    index: Sequence[int]
    outline: Outline
    engine: GradientEngine
    loaded: LoadedModel
    encoder: Encoder
    plan: Plan

    def block(self) -> Block:
        """Run the model over the unit.

        Raises
        ------
        ModelError : a number that is not finite, naming the query.
        """
        signals, columns = self._signals(), self._columns()
        path = ScaledPath.of(quadrature(self.plan.quadrature, self.plan.steps))
        places = self._attributed()
        targets = [self.asked[query].targets[number] for query, number in places]
        for indices, found in self.engine.batches(targets, path.points, path.weight_matrix()):
            chosen = [places[index] for index in indices]
            self._refuse_nan(chosen, found)
            signals.add(chosen, found, path, self.plan.methods)
            tokens = [targets[index].token for index in indices]
            columns.keep(chosen, token_scores(self.engine.head, found.hidden, tokens))
        rows, size = self._gram_rows(), self.outline.sizes["query_of_fact"]
        n_heads, last = self.outline.sizes["head"], [one.targets[-1] for one in self.asked]
        return Block(
            unit=self.unit,
            queries=columns.finish(places),
            attribution=signals.attribution,
            activation=signals.activation,
            gradient=signals.gradient,
            completeness_gap=signals.gap.astype(np.float32),
            gram=grams(signals.attribution, rows.own, size),
            null_gram=grams(signals.attribution, rows.null, size),
            attention=attention_of_all(self.loaded.model, last, self.outline.sizes) if n_heads else {},
        )

    def _attributed(self) -> list[Place]:
        """Every answer token that is attributed."""
        first_only = self.plan.answer_tokens == "first"
        return [
            (query, number)
            for query, one in enumerate(self.asked)
            for number in range(1 if first_only else len(one.targets))
        ]

    def _refuse_nan(self, chosen: list[Place], found: PathGradients) -> None:
        parts = (found.activation, found.gradient, found.mean_gradient.sum(0), found.hidden)
        finite = torch.stack([part.flatten(1).isfinite().all(1) for part in parts]).all(0)
        if not bool(finite.all()):
            query = chosen[int((~finite).nonzero()[0])][0]
            raise not_finite(self.asked[query], self.facts[self.index[query]])

    def _columns(self) -> QueryColumns:
        return QueryColumns(
            asked=self.asked,
            fact_of=[self.facts[fact] for fact in self.index],
            outline=self.outline,
            encoder=self.encoder,
            loaded=self.loaded,
            head=self.engine.head,
            columns=empty_columns(self.asked, self.facts, self.index, self.unit, self.outline),
        )

    def _gram_rows(self) -> GramRows:
        return gram_rows(
            self.index,
            [self.facts[fact].relation for fact in self.index],
            [one.query.template for one in self.asked],
            [self.facts[fact].object for fact in self.index],
            seed=self.plan.seed + self.unit.first_fact,
            n_facts=self.unit.n_facts,
        )

    def _signals(self) -> _Signals:
        sizes, n = self.outline.sizes, len(self.asked)
        wide = next(iter(self.loaded.model.parameters())).dtype == torch.float64
        dtype = np.float64 if wide else np.float32
        shape = (n, sizes["layer"], sizes["neuron"])
        first_only = self.plan.answer_tokens == "first"
        return _Signals(
            attribution=np.zeros((len(self.plan.methods), *shape), dtype),
            activation=np.zeros(shape, dtype),
            gradient=np.zeros(shape, dtype),
            gap=np.full((len(self.plan.methods), *shape[:2]), np.nan, dtype),
            share=np.array([1 if first_only else 1 / len(one.targets) for one in self.asked]),
        )


@dataclass(frozen=True, kw_only=True)
class _Signals:
    """Attributions, activations and gradients of a unit, filled batch by batch.

    Attributes
    ----------
    share : (query,), weight of each of a query's answer tokens in its mean.
    """

    attribution: NDArray[Any]
    activation: NDArray[Any]
    gradient: NDArray[Any]
    gap: NDArray[Any]
    share: NDArray[np.float64]

    def add(
        self, chosen: list[Place], found: PathGradients, path: ScaledPath, methods: Sequence[str]
    ) -> None:
        """Add a batch: the mean over a query's answer tokens, the largest of their gaps."""
        queries = np.array([query for query, _ in chosen])
        weigh = self.share[queries][:, None, None]
        np.add.at(self.activation, queries, weigh * found.activation.cpu().numpy())
        np.add.at(self.gradient, queries, weigh * found.gradient.cpu().numpy())
        for number, method in enumerate(methods):
            scores = METHODS[method](found, path)
            np.add.at(self.attribution[number], queries, weigh * scores.attribution.cpu().numpy())
            np.fmax.at(self.gap[number], queries, scores.gap.cpu().numpy())
