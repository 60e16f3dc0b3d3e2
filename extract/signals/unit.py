"""Run one unit of phase ``signals``: compute every array of its Block.

A query has one pass for each answer token that is attributed, and for each continuation of a minimal pair.
:class:`UnitRun` runs the passes, and :class:`SignalSums` adds them up by query.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qloc.block import Block, Outline, Unit
from qloc.extract.attribution.amig_sig_baselines import Replacing
from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.error_bound import Certified, Owners
from qloc.extract.attribution.integrated_gradients import (
    PathIntegral,
    ScaledPath,
    integrals,
    path_of,
)
from qloc.extract.attribution.relation_baseline import RelationBaselines
from qloc.extract.attribution.scores import Scores, scores, scores_from_baselines, scores_from_starts
from qloc.extract.models.loading import LoadedModel
from qloc.extract.passes.attention import attention_of_all
from qloc.extract.prompts.minimal_pairs import Attributed, attributed
from qloc.extract.prompts.tokenizing import Encoder, TokenizedQuery
from qloc.extract.signals.answers import token_scores
from qloc.extract.signals.localization_level import GramRows, gram_rows, grams
from qloc.extract.signals.neuron_tokens import neuron_tokens
from qloc.extract.signals.query_columns import QueryColumns, empty_columns, not_finite
from qloc.facts import Fact
from qloc.methods import AttributionMethod
from qloc.methods import method as method_named
from qloc.plan import Plan


@dataclass(frozen=True, kw_only=True)
class SignalSums:
    """Weighted sums over each query's passes, and how well their paths were integrated.

    Attributes
    ----------
    attribution : float ndarray, shape (attribution_method, query, layer, neuron)
        Scores of each method.
    activation, gradient : float ndarray, shape (query, layer, neuron)
        Activations at the target, and gradients of P(answer token) by them.
    gap : float ndarray, shape (attribution_method, query, layer)
        Largest completeness gap; NaN of methods without a path.
    error : float ndarray, shape (attribution_method, query, layer)
        Bounds of the errors of scores; NaN where none is known.
    n_nodes : int32 ndarray, shape (attribution_method, query, layer)
        Gradients along paths.
    converged : int8 ndarray, shape (attribution_method, query, layer)
        The least of the passes': 1, 0, or -1 where the quadrature does not say.
    """

    attribution: NDArray[Any]
    activation: NDArray[Any]
    gradient: NDArray[Any]
    gap: NDArray[Any]
    error: NDArray[Any]
    n_nodes: NDArray[Any]
    converged: NDArray[Any]

    @classmethod
    def empty(cls, n_methods: int, shape: tuple[int, int, int], dtype: type[np.floating[Any]]) -> SignalSums:
        """Return sums to which nothing has been added.

        Parameters
        ----------
        n_methods : int
            Number of attribution methods.
        shape : tuple of int
            Lengths of (query, layer, neuron).
        dtype : type
            numpy's float32 or float64.

        Returns
        -------
        SignalSums
            Zeros, and gaps of NaN.
        """
        return cls(
            attribution=np.zeros((n_methods, *shape), dtype),
            activation=np.zeros(shape, dtype),
            gradient=np.zeros(shape, dtype),
            gap=np.full((n_methods, *shape[:2]), np.nan, dtype),
            error=np.zeros((n_methods, *shape[:2]), dtype),
            n_nodes=np.zeros((n_methods, *shape[:2]), np.int32),
            converged=np.ones((n_methods, *shape[:2]), np.int8),
        )

    def add(self, passes: Sequence[Attributed], integral: PathIntegral) -> None:
        """Add the activations and gradients of a batch of passes.

        Parameters
        ----------
        passes : sequence of Attributed
            The passes of the batch.
        integral : PathIntegral
            Their activations and gradients.
        """
        queries = [run.query for run in passes]
        share, weight = (np.array([getattr(run, name) for run in passes]) for name in ("share", "weight"))
        np.add.at(self.activation, queries, share[:, None, None] * integral.activation.cpu().numpy())
        np.add.at(self.gradient, queries, weight[:, None, None] * integral.gradient.cpu().numpy())

    def add_scores(self, number: int, passes: Sequence[Attributed], scores: Scores) -> None:
        """Add the scores of a batch of passes.

        Parameters
        ----------
        number : int
            The attribution method, as its place on the axis.
        passes : sequence of Attributed
            The passes of the batch.
        scores : Scores
            Their scores and gaps.
        """
        queries = [run.query for run in passes]
        weight = np.array([run.weight for run in passes])
        np.add.at(self.attribution[number], queries, weight[:, None, None] * scores.attribution.cpu().numpy())
        np.fmax.at(self.gap[number], queries, scores.gap.cpu().numpy())
        np.add.at(self.error[number], queries, abs(weight)[:, None] * scores.error.cpu().numpy())
        np.add.at(self.n_nodes[number], queries, scores.n_nodes.cpu().numpy())
        np.minimum.at(self.converged[number], queries, scores.converged.cpu().numpy())

    def error_bound(self) -> NDArray[Any]:
        """Return bounds relative to each query's largest attribution; NaN where it has none above 0.

        Returns
        -------
        float32 ndarray, shape (attribution_method, query, layer)
            The bounds.
        """
        largest = self.attribution.max((2, 3))[:, :, None]
        share = np.full(self.error.shape, np.nan)
        np.divide(self.error, largest, out=share, where=largest > 0)
        return share.astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class UnitRun:
    """Everything that is needed to run one unit; :meth:`block` runs it.

    Attributes
    ----------
    unit : Unit
        The unit.
    facts : sequence of Fact
        Its facts.
    queries : sequence of TokenizedQuery
        Their queries, facts in order.
    index : sequence of int
        Each query's fact, as its number within the unit.
    outline : Outline
        Candidate answers and axis lengths.
    engine : GradientEngine
        Computes gradients along paths.
    loaded : LoadedModel
        The model.
    encoder : Encoder
        Tokenizes prompts with answers.
    plan : Plan
        Methods, paths and answer tokens.
    relations : RelationBaselines
        Where paths from a relation's mean activation start.
    """

    unit: Unit
    facts: Sequence[Fact]
    queries: Sequence[TokenizedQuery]
    index: Sequence[int]
    outline: Outline
    engine: GradientEngine
    loaded: LoadedModel
    encoder: Encoder
    plan: Plan
    relations: RelationBaselines

    def block(self) -> Block:
        """Run the model over the unit.

        Returns
        -------
        Block
            Every array of the unit.

        Raises
        ------
        ModelError
            A number is not finite; the message names the query.
        """
        passes = attributed(
            self.queries, self._fact_of(), self.encoder, self.plan.answer_tokens, self.plan.target
        )
        signals, columns = self._signals(), self._columns()
        self._attribute_from_zero(passes, signals, columns)
        self._attribute_from_baselines(passes, signals)
        self._attribute_from_relations(passes, signals)
        answered = [*passes, *self._answer_the_rest(passes, columns)]
        rows, size = self._gram_rows(), self.outline.sizes["query_of_fact"]
        n_heads, last = self.outline.sizes["head"], [query.targets[-1] for query in self.queries]
        return Block(
            unit=self.unit,
            queries=columns.finish((run.query, run.number) for run in answered if run.number >= 0),
            attribution=signals.attribution,
            activation=signals.activation,
            gradient=signals.gradient,
            completeness_gap=signals.gap.astype(np.float32),
            n_nodes=signals.n_nodes,
            error_bound=signals.error_bound(),
            converged=self._converged(signals),
            gram=grams(signals.attribution, rows.own, size),
            null_gram=grams(signals.attribution, rows.null, size),
            attention=attention_of_all(self.loaded.model, last, self.outline.sizes) if n_heads else {},
            tokens=neuron_tokens(
                self.loaded.sites,
                self.encoder.tokenizer,
                signals.attribution,
                self.plan.floor,
                columns.columns["top_token_id"],
            ),
        )

    def _attribute_from_zero(
        self, passes: list[Attributed], signals: SignalSums, columns: QueryColumns
    ) -> None:
        """Add methods with a path from zero or with no path, activations and gradients; keep answers."""
        own = [(n, m) for n, m in enumerate(self._methods()) if m.path in ("zero", "none")]
        path = self._path() if any(m.path == "zero" for _, m in own) else ScaledPath.none()
        targets, owners = [run.target for run in passes], _owners(passes)
        for indices, integral in integrals(self.engine, targets, path, owners=owners):
            chosen = [passes[index] for index in indices]
            self._refuse_nan(chosen, integral)
            signals.add(chosen, integral)
            for number, method in own:
                signals.add_scores(number, chosen, scores(method, integral))
            self._keep_answers(chosen, integral.hidden, columns)

    def _attribute_from_baselines(self, passes: list[Attributed], signals: SignalSums) -> None:
        number_of = {m.name: n for n, m in enumerate(self._methods()) if m.path in ("mean", "token")}
        if not number_of:
            return
        targets = [run.target for run in passes]
        replacing = Replacing.of(self.encoder.tokenizer, self.encoder.family)
        methods = [method for method in self._methods() if method.name in number_of]
        for method, indices, batch in scores_from_baselines(
            self.engine, targets, methods, self._path(), replacing, _owners(passes)
        ):
            signals.add_scores(number_of[method.name], [passes[index] for index in indices], batch)

    def _attribute_from_relations(self, passes: list[Attributed], signals: SignalSums) -> None:
        number_of = {m.name: n for n, m in enumerate(self._methods()) if m.path == "relation"}
        if not number_of:
            return
        used, row = np.unique([self.index[run.query] for run in passes], return_inverse=True)
        of_fact = self.relations.of_facts([self.unit.first_fact + int(fact) for fact in used])
        targets, methods = [run.target for run in passes], [m for m in self._methods() if m.name in number_of]
        for method, indices, batch in scores_from_starts(
            self.engine,
            targets,
            methods,
            self._path(),
            lambda some: of_fact[torch.as_tensor(row[some])],
            _owners(passes),
        ):
            signals.add_scores(number_of[method.name], [passes[index] for index in indices], batch)

    def _keep_answers(self, passes: list[Attributed], hidden: Tensor, columns: QueryColumns) -> None:
        """Keep the model's answers in the passes whose target is the query's own answer."""
        rows = [row for row, run in enumerate(passes) if run.number >= 0]
        places = [(passes[row].query, passes[row].number) for row in rows]
        if places:
            tokens = [self.queries[query].targets[number].token for query, number in places]
            columns.keep(places, token_scores(self.engine.head, hidden[rows], tokens))

    def _answer_the_rest(self, passes: list[Attributed], columns: QueryColumns) -> list[Attributed]:
        """Run queries whose first answer token is no target: there, another continuation is attributed."""
        done = {run.query for run in passes if run.number == 0}
        left = [
            Attributed(query=row, target=query.targets[0], number=0, weight=0, share=0)
            for row, query in enumerate(self.queries)
            if row not in done
        ]
        for indices, integral in integrals(self.engine, [run.target for run in left], ScaledPath.none()):
            chosen = [left[index] for index in indices]
            self._refuse_nan(chosen, integral)
            self._keep_answers(chosen, integral.hidden, columns)
        return left

    def _methods(self) -> list[AttributionMethod]:
        return [method_named(name) for name in self.plan.methods]

    def _converged(self, signals: SignalSums) -> NDArray[np.int8]:
        """Return where paths converged: each by itself, and their sum by the maximum of its query."""
        path = self._path()
        if not isinstance(path, Certified):
            return signals.converged
        over = signals.error_bound() > np.float32(path.error * (1 + 1e-4))
        return np.where((signals.converged == 1) & over, np.int8(0), signals.converged)

    def _path(self) -> ScaledPath | Certified:
        return path_of(self.plan, next(iter(self.loaded.model.parameters())).dtype)

    def _fact_of(self) -> list[Fact]:
        return [self.facts[fact] for fact in self.index]

    def _refuse_nan(self, chosen: list[Attributed], integral: PathIntegral) -> None:
        parts = (integral.activation, integral.gradient, integral.mean_gradient, integral.hidden)
        finite = torch.stack([part.flatten(1).isfinite().all(1) for part in parts]).all(0)
        if not bool(finite.all()):
            query = chosen[int((~finite).nonzero()[0])].query
            raise not_finite(self.queries[query], self.facts[self.index[query]])

    def _columns(self) -> QueryColumns:
        return QueryColumns(
            queries=self.queries,
            fact_of=self._fact_of(),
            outline=self.outline,
            encoder=self.encoder,
            loaded=self.loaded,
            head=self.engine.head,
            columns=empty_columns(self.queries, self.facts, self.index, self.unit, self.outline),
        )

    def _gram_rows(self) -> GramRows:
        return gram_rows(
            self.index,
            [self.facts[fact].relation for fact in self.index],
            [query.query.template for query in self.queries],
            [self.facts[fact].object for fact in self.index],
            [self._subject(fact) for fact in self.index],
            seed=self.plan.seed + self.unit.first_fact,
            n_facts=self.unit.n_facts,
            groups=[self.facts[fact].is_group for fact in self.index],
        )

    def _subject(self, number: int) -> str:
        """The subject of a fact; a minimal pair's own id, since each pair has prompts of its own."""
        fact = self.facts[number]
        return fact.subject if fact.kind == "fact" else fact.id

    def _signals(self) -> SignalSums:
        sizes = self.outline.sizes
        wide = next(iter(self.loaded.model.parameters())).dtype == torch.float64
        shape = (len(self.queries), sizes["layer"], sizes["neuron"])
        return SignalSums.empty(len(self.plan.methods), shape, np.float64 if wide else np.float32)


def _owners(passes: Sequence[Attributed]) -> Owners:
    """Return the query of each pass, numbered by first appearance, and its weight in what the query gets."""
    numbers = {query: n for n, query in enumerate(dict.fromkeys(run.query for run in passes))}
    return Owners(
        of_target=torch.tensor([numbers[run.query] for run in passes], dtype=torch.int64),
        weight=torch.tensor([run.weight for run in passes], dtype=torch.float64),
    )
