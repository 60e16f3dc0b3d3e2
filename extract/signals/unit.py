"""One unit of an extraction: every number that its facts' queries give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qloc.block import Block, Outline, Unit
from qloc.extract.attribution.baselines import Replacing
from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.path_integrals import PathIntegral, ScaledPath, integrals
from qloc.extract.attribution.scores import Scores, scores, scores_from_baselines
from qloc.extract.models.loading import LoadedModel
from qloc.extract.passes.attention import attention_of_all
from qloc.extract.prompts.minimal_pairs import Attributed, attributed
from qloc.extract.prompts.tokenizing import Encoder, TokenizedQuery
from qloc.extract.signals.answers import token_scores
from qloc.extract.signals.localization_level import GramRows, gram_rows, grams
from qloc.extract.signals.query_columns import QueryColumns, empty_columns, not_finite
from qloc.facts import Fact
from qloc.methods import AttributionMethod
from qloc.methods import method as method_named
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
    asked: Sequence[TokenizedQuery]
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
        passes = attributed(
            self.asked, self._fact_of(), self.encoder, self.plan.answer_tokens, self.plan.target
        )
        signals, columns = self._signals(), self._columns()
        self._attribute_from_zero(passes, signals, columns)
        self._attribute_from_baselines(passes, signals)
        answered = [*passes, *self._answer_the_rest(passes, columns)]
        rows, size = self._gram_rows(), self.outline.sizes["query_of_fact"]
        n_heads, last = self.outline.sizes["head"], [one.targets[-1] for one in self.asked]
        return Block(
            unit=self.unit,
            queries=columns.finish((one.query, one.number) for one in answered if one.number >= 0),
            attribution=signals.attribution,
            activation=signals.activation,
            gradient=signals.gradient,
            completeness_gap=signals.gap.astype(np.float32),
            gram=grams(signals.attribution, rows.own, size),
            null_gram=grams(signals.attribution, rows.null, size),
            attention=attention_of_all(self.loaded.model, last, self.outline.sizes) if n_heads else {},
        )

    def _attribute_from_zero(
        self, passes: list[Attributed], signals: SignalSums, columns: QueryColumns
    ) -> None:
        """Methods whose path starts at zero or that need none, activations, gradients, and the answers."""
        own = [(n, m) for n, m in enumerate(self._methods()) if m.path in ("zero", "none")]
        path = self._path() if any(m.path == "zero" for _, m in own) else ScaledPath.none()
        for indices, found in integrals(self.engine, [one.target for one in passes], path):
            chosen = [passes[index] for index in indices]
            self._refuse_nan(chosen, found)
            signals.add(chosen, found)
            for number, method in own:
                signals.add_scores(number, chosen, scores(method, found))
            self._keep_answers(chosen, found.hidden, columns)

    def _attribute_from_baselines(self, passes: list[Attributed], signals: SignalSums) -> None:
        number_of = {m.name: n for n, m in enumerate(self._methods()) if m.path in ("mean", "token")}
        if not number_of:
            return
        targets = [one.target for one in passes]
        replacing = Replacing.of(self.encoder.tokenizer, self.encoder.family)
        methods = [method for method in self._methods() if method.name in number_of]
        for method, indices, found in scores_from_baselines(
            self.engine, targets, methods, self._path(), replacing
        ):
            signals.add_scores(number_of[method.name], [passes[index] for index in indices], found)

    def _keep_answers(self, passes: list[Attributed], hidden: Tensor, columns: QueryColumns) -> None:
        """Keep what the model answers in those passes that ask for the query's own answer."""
        rows = [row for row, one in enumerate(passes) if one.number >= 0]
        places = [(passes[row].query, passes[row].number) for row in rows]
        if places:
            tokens = [self.asked[query].targets[number].token for query, number in places]
            columns.keep(places, token_scores(self.engine.head, hidden[rows], tokens))

    def _answer_the_rest(self, passes: list[Attributed], columns: QueryColumns) -> list[Attributed]:
        """Ask for first answer tokens that no pass asked for: where another continuation is attributed."""
        done = {one.query for one in passes if one.number == 0}
        left = [
            Attributed(query=query, target=one.targets[0], number=0, weight=0, share=0)
            for query, one in enumerate(self.asked)
            if query not in done
        ]
        for indices, found in integrals(self.engine, [one.target for one in left], ScaledPath.none()):
            chosen = [left[index] for index in indices]
            self._refuse_nan(chosen, found)
            self._keep_answers(chosen, found.hidden, columns)
        return left

    def _methods(self) -> list[AttributionMethod]:
        return [method_named(name) for name in self.plan.methods]

    def _path(self) -> ScaledPath:
        plan, dtype = self.plan, next(iter(self.loaded.model.parameters())).dtype
        return ScaledPath.named(plan.quadrature, plan.steps, plan.gap_tolerance, dtype)

    def _fact_of(self) -> list[Fact]:
        return [self.facts[fact] for fact in self.index]

    def _refuse_nan(self, chosen: list[Attributed], found: PathIntegral) -> None:
        parts = (found.activation, found.gradient, found.mean_gradient, found.hidden)
        finite = torch.stack([part.flatten(1).isfinite().all(1) for part in parts]).all(0)
        if not bool(finite.all()):
            query = chosen[int((~finite).nonzero()[0])].query
            raise not_finite(self.asked[query], self.facts[self.index[query]])

    def _columns(self) -> QueryColumns:
        return QueryColumns(
            asked=self.asked,
            fact_of=self._fact_of(),
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

    def _signals(self) -> SignalSums:
        sizes = self.outline.sizes
        wide = next(iter(self.loaded.model.parameters())).dtype == torch.float64
        shape = (len(self.asked), sizes["layer"], sizes["neuron"])
        return SignalSums.empty(len(self.plan.methods), shape, np.float64 if wide else np.float32)


@dataclass(frozen=True, kw_only=True)
class SignalSums:
    """Sums over each query's passes, and the largest of their completeness gaps.

    Attributes
    ----------
    attribution : (attribution_method, query, layer, neuron)
    activation, gradient : (query, layer, neuron)
    gap : (attribution_method, query, layer)
    """

    attribution: NDArray[Any]
    activation: NDArray[Any]
    gradient: NDArray[Any]
    gap: NDArray[Any]

    @classmethod
    def empty(cls, n_methods: int, shape: tuple[int, int, int], dtype: type[np.floating[Any]]) -> SignalSums:
        """Nothing added yet; ``shape`` is that of (query, layer, neuron)."""
        return cls(
            attribution=np.zeros((n_methods, *shape), dtype),
            activation=np.zeros(shape, dtype),
            gradient=np.zeros(shape, dtype),
            gap=np.full((n_methods, *shape[:2]), np.nan, dtype),
        )

    def add(self, passes: Sequence[Attributed], found: PathIntegral) -> None:
        """Add the activations and gradients of a batch of passes."""
        queries = [one.query for one in passes]
        share, weight = (np.array([getattr(p, name) for p in passes]) for name in ("share", "weight"))
        np.add.at(self.activation, queries, share[:, None, None] * found.activation.cpu().numpy())
        np.add.at(self.gradient, queries, weight[:, None, None] * found.gradient.cpu().numpy())

    def add_scores(self, number: int, passes: Sequence[Attributed], scores: Scores) -> None:
        """Add the scores of a batch of passes by method ``number``."""
        queries = [one.query for one in passes]
        weight = np.array([one.weight for one in passes])[:, None, None]
        np.add.at(self.attribution[number], queries, weight * scores.attribution.cpu().numpy())
        np.fmax.at(self.gap[number], queries, scores.gap.cpu().numpy())
