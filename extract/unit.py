"""One unit of an extraction: every number that its facts' queries give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from qloc.block import Array, Block, Outline, Unit
from qloc.errors import ModelError, message
from qloc.extract.answers import TokenScores, answers_scored, candidate_tokens, scored, token_scores
from qloc.extract.attention import attention_of
from qloc.extract.attribution import METHODS, ScaledPath
from qloc.extract.gradients import GradientEngine
from qloc.extract.grams import gram_rows, grams
from qloc.extract.growing import PathGradients
from qloc.extract.loading import LoadedModel
from qloc.extract.quadrature import quadrature
from qloc.extract.tokens import Asked, Encoder, Target
from qloc.facts import Fact
from qloc.plan import Plan

_ATTENTION_BYTES = 256 * 2**20
"""Attention weights of one batch, all layers."""


@dataclass(frozen=True, kw_only=True)
class UnitRun:
    """What is needed to run one unit; :meth:`block` runs it.

    Attributes
    ----------
    asked : the unit's queries, facts in order.
    """

    unit: Unit
    facts: Sequence[Fact]
    asked: Sequence[Asked]
    outline: Outline
    engine: GradientEngine
    loaded: LoadedModel
    encoder: Encoder
    plan: Plan

    def block(self) -> Block:
        """Run the model over the unit."""
        signals = _Signals.empty(self)
        answers = _answers_empty(self)
        path = ScaledPath.of(quadrature(self.plan.quadrature, self.plan.steps))
        where = self._gradient_targets()
        targets = [self.asked[query].targets[number] for query, number in where]
        for indices, found in self.engine.batches(targets, path.points, path.weight_matrix()):
            chosen = [where[index] for index in indices]
            self._refuse_nan(chosen, found)
            signals.add(chosen, found, path, self.plan, [len(one.targets) for one in self.asked])
            tokens = [targets[index].token for index in indices]
            self._keep_scores(answers, chosen, token_scores(self.engine.head, found.hidden, tokens))
        self._score_the_rest(answers, where)
        self._finish(answers)
        rows = self._gram_rows()
        size = self.outline.sizes["query_of_fact"]
        return Block(
            unit=self.unit,
            queries=answers,
            attribution=signals.attribution,
            activation=signals.activation,
            gradient=signals.gradient,
            completeness_gap=signals.gap.astype(np.float32),
            gram=grams(signals.attribution, rows.own, size),
            null_gram=grams(signals.attribution, rows.null, size),
            attention=self._attention(),
        )

    def _gradient_targets(self) -> list[tuple[int, int]]:
        """(query, answer token) of every target that is attributed."""
        first_only = self.plan.answer_tokens == "first"
        return [
            (query, number)
            for query, one in enumerate(self.asked)
            for number in range(1 if first_only else len(one.targets))
        ]

    def _refuse_nan(self, chosen: list[tuple[int, int]], found: PathGradients) -> None:
        parts = (found.activation, found.gradient, found.mean_gradient.sum(0), found.hidden)
        finite = torch.stack([part.flatten(1).isfinite().all(1) for part in parts]).all(0)
        if not bool(finite.all()):
            query = chosen[int((~finite).nonzero()[0])][0]
            place = f"query {self.asked[query].prompt!r} of fact {self._fact_of(query).id!r}"
            raise ModelError(
                message("the model's output", "NaN or infinite", "finite numbers", place, "Try --dtype float32, or leave the query out")
            )

    def _fact_of(self, query: int) -> Fact:
        return self.facts[self._fact_index()[query]]

    def _fact_index(self) -> list[int]:
        starts = self.outline.facts["n_queries"][self.unit.first_fact : self.unit.last_fact]
        return [fact for fact, count in enumerate(starts) for _ in range(int(count))]

    def _keep_scores(self, answers: dict[str, Array], chosen: list[tuple[int, int]], scores: TokenScores) -> None:
        for row, (query, number) in enumerate(chosen):
            answers["token_log_probability"][query, number] = scores.log_probability[row]
            answers["token_rank"][query, number] = scores.rank[row]
            if number == 0:
                answers["argmax"][query] = scores.argmax[row]
                answers["top_token_id"][query] = scores.top_token[row]
                answers["top_log_probability"][query] = scores.top_log_probability[row]
                self._keep_candidates(answers, query, scores, row)

    def _keep_candidates(self, answers: dict[str, Array], query: int, scores: TokenScores, row: int) -> None:
        names = self.outline.candidates[self._fact_of(query).relation]
        tokens = candidate_tokens(self.encoder, self.asked[query], names)
        single = np.flatnonzero(tokens >= 0)
        found = scores.log_softmax[row, torch.as_tensor(tokens[single], device=scores.log_softmax.device)]
        answers["candidate_log_probability"][query, single] = found.cpu().numpy()

    def _score_the_rest(self, answers: dict[str, Array], done: list[tuple[int, int]]) -> None:
        """Answer tokens that are not attributed (``answer_tokens="first"``) are still scored."""
        left = sorted({(q, n) for q, one in enumerate(self.asked) for n in range(len(one.targets))} - set(done))
        targets: list[Target] = [self.asked[query].targets[number] for query, number in left]
        for (query, number), (log_probability, rank) in zip(left, scored(self.loaded, self.engine.head, targets), strict=True):
            answers["token_log_probability"][query, number] = log_probability
            answers["token_rank"][query, number] = rank

    def _finish(self, answers: dict[str, Array]) -> None:
        """Whole answers from their tokens; bad continuations; other right objects."""
        answers["log_probability"][:] = np.nansum(answers["token_log_probability"], axis=1)
        answers["rank"][:] = answers["token_rank"].max(axis=1, initial=-1)
        answers["known"][:] = answers["rank"] == 1
        pairs = [q for q in range(len(self.asked)) if self._fact_of(q).bad is not None]
        bad = [self._ask_again(q, str(self._fact_of(q).bad)) for q in pairs]
        found = answers_scored(self.loaded, self.engine.head, [one for one in bad if one])
        for query, (log_probability, _) in zip([q for q, one in zip(pairs, bad, strict=True) if one], found, strict=True):
            answers["bad_log_probability"][query] = log_probability
        self._other_right_answers(answers)

    def _other_right_answers(self, answers: dict[str, Array]) -> None:
        """A query is known too where another right object ranks first for the same prompt."""
        wondering: list[tuple[int, Asked]] = []
        for query in np.flatnonzero(answers["known"] == 0):
            fact = self._fact_of(int(query))
            for other in fact.objects:
                asked = self._ask_again(int(query), other) if other != fact.object else None
                if asked and asked.targets[0].token == answers["argmax"][query]:
                    wondering.append((int(query), asked))
        for (query, _), (_, rank) in zip(
            wondering, answers_scored(self.loaded, self.engine.head, [one for _, one in wondering]), strict=True
        ):
            if rank == 1:
                answers["known"][query] = 1

    def _ask_again(self, query: int, answer: str) -> Asked | None:
        asked = self.encoder.ask(self.asked[query].query, answer, ignore_tail=True)
        return asked if isinstance(asked, Asked) else None

    def _gram_rows(self) -> Any:
        index = self._fact_index()
        return gram_rows(
            index,
            [self.facts[fact].relation for fact in index],
            [one.query.template for one in self.asked],
            [self.facts[fact].object for fact in index],
            seed=self.plan.seed + self.unit.first_fact,
            n_facts=self.unit.n_facts,
        )

    def _attention(self) -> dict[str, Array]:
        n_heads, n_tokens = self.outline.sizes["head"], self.outline.sizes["token"]
        if not n_heads:
            return {}
        n_layers, n_queries = self.outline.sizes["layer"], len(self.asked)
        shape = (n_queries, n_layers, n_heads, n_tokens)
        kept: dict[str, Array] = {
            name: np.full(shape, np.nan, dtype=np.float16) for name in ("target_row", "column_mass", "column_mass_no_sink")
        }
        kept["length"] = np.full(n_queries, -1, dtype=np.int32)
        by_length: dict[int, list[int]] = {}
        for query, one in enumerate(self.asked):
            by_length.setdefault(len(one.targets[-1].ids), []).append(query)
        for length, queries in sorted(by_length.items()):
            size = max(1, _ATTENTION_BYTES // (4 * n_layers * n_heads * length * length))
            for start in range(0, len(queries), size):
                chosen = queries[start : start + size]
                found = attention_of(self.loaded.model, [self.asked[q].targets[-1] for q in chosen], n_tokens)
                for name, values in found.items():
                    kept[name][chosen] = values
        return kept


@dataclass(frozen=True, kw_only=True)
class _Signals:
    """Attributions, activations and gradients of a unit, filled batch by batch."""

    attribution: NDArray[Any]
    activation: NDArray[Any]
    gradient: NDArray[Any]
    gap: NDArray[Any]

    @classmethod
    def empty(cls, run: UnitRun) -> _Signals:
        sizes, n = run.outline.sizes, len(run.asked)
        dtype = np.float64 if next(iter(run.loaded.model.parameters())).dtype == torch.float64 else np.float32
        shape = (n, sizes["layer"], sizes["neuron"])
        methods = len(run.outline.methods)
        return cls(
            attribution=np.zeros((methods, *shape), dtype),
            activation=np.zeros(shape, dtype),
            gradient=np.zeros(shape, dtype),
            gap=np.full((methods, *shape[:2]), np.nan, dtype),
        )

    def add(
        self, chosen: list[tuple[int, int]], found: PathGradients, path: ScaledPath, plan: Plan, n_tokens: list[int]
    ) -> None:
        """Add a batch: the mean over a query's answer tokens, the largest of their gaps."""
        queries = [query for query, _ in chosen]
        share = np.array([1 if plan.answer_tokens == "first" else 1 / n_tokens[query] for query in queries])
        weigh = share[:, None, None]
        np.add.at(self.activation, queries, weigh * found.activation.cpu().numpy())
        np.add.at(self.gradient, queries, weigh * found.gradient.cpu().numpy())
        for number, method in enumerate(plan.methods):
            scores = METHODS[method](found, path)
            np.add.at(self.attribution[number], queries, weigh * scores.attribution.cpu().numpy())
            gap = scores.gap.cpu().numpy()
            for row, query in enumerate(queries):
                self.gap[number, query] = np.fmax(self.gap[number, query], gap[row])


def _answers_empty(run: UnitRun) -> dict[str, Array]:
    """Columns of ``/queries`` for the unit: what is known before the model runs, and missing values."""
    sizes, n, index = run.outline.sizes, len(run.asked), run._fact_index()

    def text(values: list[str]) -> Array:
        return np.array(values, dtype=str) if values else np.empty(0, dtype="<U1")

    columns: dict[str, Array] = {
        "fact": np.array(index, dtype=np.int32) + np.int32(run.unit.first_fact),
        "template": text([one.query.template for one in run.asked]),
        "relation": text([run.facts[fact].relation for fact in index]),
        "prompt": text([one.prompt for one in run.asked]),
        "answer": text([one.answer for one in run.asked]),
        "kind": text([run.facts[fact].kind for fact in index]),
        "answer_token_id": np.full((n, sizes["answer_token"]), -1, np.int32),
        "target_position": np.full((n, sizes["answer_token"]), -1, np.int32),
        "token_log_probability": np.full((n, sizes["answer_token"]), np.nan, np.float32),
        "token_rank": np.full((n, sizes["answer_token"]), -1, np.int32),
        "log_probability": np.full(n, np.nan, np.float32),
        "bad_log_probability": np.full(n, np.nan, np.float32),
        "rank": np.full(n, -1, np.int32),
        "argmax": np.full(n, -1, np.int32),
        "known": np.full(n, -1, np.int8),
        "top_token_id": np.full((n, sizes["top"]), -1, np.int32),
        "top_log_probability": np.full((n, sizes["top"]), np.nan, np.float32),
        "candidate_log_probability": np.full((n, sizes["candidate"]), np.nan, np.float32),
    }
    for query, one in enumerate(run.asked):
        columns["answer_token_id"][query, : len(one.targets)] = [target.token for target in one.targets]
        columns["target_position"][query, : len(one.targets)] = [target.position for target in one.targets]
    return columns
