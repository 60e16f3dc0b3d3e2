"""Baselines of ``ig_mean``: the mean activation over the queries of a relation's other facts.

A path from zero leaves what the model ever computes, and where a norm follows the MLP its integral depends on
that norm's ε (docs/paths.md). This path starts at what a layer usually does for the relation, so that it
attributes P(w̄) − P(ā): what tells this fact from the others. The operation ``mean`` of interventions gives
activations the same mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from qloc.errors import InputError, message
from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.target_vectors import target_vectors
from qloc.extract.prompts.minimal_pairs import attributed
from qloc.extract.prompts.tokenizing import Encoder, TokenizedQuery
from qloc.facts import Fact
from qloc.plan import AnswerTokens, PairTarget


@dataclass(frozen=True, kw_only=True)
class RelationBaselines:
    """The mean activations that paths start at; a relation's sum is computed once, when first asked for.

    A query's activation is that of ``/signals``: the mean over its answer tokens, each at its own target.

    Attributes
    ----------
    engine : GradientEngine
        The model, and the vectors that are attributed to.
    encoder : Encoder
        Tokenizes continuations of minimal pairs.
    facts : sequence of Fact
        Every fact of the study.
    asked : sequence of sequence of TokenizedQuery
        The queries of each fact that the model can be asked.
    answer_tokens : {"all", "first"}
        Which answer tokens are attributed.
    target : {"good", "bad", "contrast"}
        What is attributed for a minimal pair.
    """

    engine: GradientEngine
    encoder: Encoder
    facts: Sequence[Fact]
    asked: Sequence[Sequence[TokenizedQuery]]
    answer_tokens: AnswerTokens
    target: PairTarget
    _sums: dict[str, Tensor] = field(default_factory=dict)

    def of_facts(self, facts: Sequence[int]) -> Tensor:
        """Return the baseline ā of each fact: the mean over all queries of its relation but its own.

        Parameters
        ----------
        facts : sequence of int
            Numbers of facts that have queries.

        Returns
        -------
        Tensor, shape (fact, layer, neuron)
            ā, float32, or float64 of a float64 model, on the engine's device.
        """
        by_fact = {}
        for fact in dict.fromkeys(facts):
            relation = self.facts[fact].relation
            alike = self._alike[relation]
            if relation not in self._sums:
                self._sums[relation] = self._sum(alike)
            n_others = sum(len(self.asked[n]) for n in alike) - len(self.asked[fact])
            by_fact[fact] = (self._sums[relation] - self._sum([fact])) / n_others
        wide = torch.float64 if self.engine.itemsize == 8 else torch.float32
        return torch.stack([by_fact[fact] for fact in facts]).to(self.engine.device, wide)

    @cached_property
    def _alike(self) -> dict[str, list[int]]:
        """The numbers of each relation's facts."""
        alike: dict[str, list[int]] = {}
        for number, fact in enumerate(self.facts):
            alike.setdefault(fact.relation, []).append(number)
        return alike

    def _sum(self, facts: Sequence[int]) -> Tensor:
        """Add up the activations of all queries of some facts: float64, (layer, neuron)."""
        of_query = [(query, self.facts[fact]) for fact in facts for query in self.asked[fact]]
        queries, of_fact = [query for query, _ in of_query], [fact for _, fact in of_query]
        passes = attributed(queries, of_fact, self.encoder, self.answer_tokens, self.target)
        sites = self.engine.sites
        total = torch.zeros(sites.n_layers, sites.n_neurons, dtype=torch.float64)
        for indices, vectors in target_vectors(self.engine, [run.target for run in passes]):
            share = torch.tensor([passes[index].share for index in indices], dtype=torch.float64)
            total += torch.tensordot(share, vectors.cpu().double(), 1)
        return total


def refuse_lone_facts(facts: Sequence[Fact], asked: Iterable[Sequence[TokenizedQuery]]) -> None:
    """Refuse relations of which only one fact can be asked: there is no mean over others.

    Parameters
    ----------
    facts : sequence of Fact
        The facts of the study.
    asked : iterable of sequence of TokenizedQuery
        The queries of each that the model can be asked.

    Raises
    ------
    InputError
        When a fact is its relation's only one; every such fact is listed.
    """
    there = [fact for fact, queries in zip(facts, asked, strict=True) if queries]
    n_facts = Counter(fact.relation for fact in there)
    lone = [fact for fact in there if n_facts[fact.relation] == 1]
    if lone:
        rule = "one with other facts of its relation, whose mean activation ig_mean starts from"
        action = "Leave it out, or this method"
        raise InputError(
            [message("fact", fact.id, rule, f"facts, relation {fact.relation}", action) for fact in lone]
        )
