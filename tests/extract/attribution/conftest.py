"""Studies on tiny models, and every attribution method straight from its definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.engine_proof import proved
from qloc.extract.attribution.quadrature import quadrature
from qloc.extract.models.loading import LoadedModel, source
from qloc.extract.prompts.tokenizing import Target
from qloc.extract.signals.extraction import Extraction
from qloc.facts import Fact, FactSet, Query
from qloc.plan import Plan

METHODS = "ig,ig_mean,amig,amig_mean_path,sig,grad_x_act"


@pytest.fixture(scope="session")
def engine_of(
    tiny: Callable[[str], Any],
) -> Callable[[str, str], tuple[LoadedModel, GradientEngine, list[Target]]]:
    """A tiny model in a dtype, its proved engine, and all targets of its facts; each made once."""

    @cache
    def build(kind: str, dtype: str) -> tuple[LoadedModel, GradientEngine, list[Target]]:
        made = tiny(kind)
        found = source(str(made.folder))
        loaded, encoder = found.load(dtype=dtype, device="cpu"), found.encoder()
        queries = [encoder.ask(query, fact.object) for fact in made.facts.facts for query in fact.queries]
        targets = [target for query in queries if not isinstance(query, str) for target in query.targets]
        engine = GradientEngine(model=loaded.model, sites=loaded.sites, family=loaded.family, memory=10**9)
        return loaded, proved(engine, targets), targets

    return build


@pytest.fixture(scope="session")
def fresh_study(tiny: Callable[[str], Any]) -> Callable[..., Extraction]:
    """An extraction of its own, which a test may break."""

    def build(kind: str, facts: FactSet | None = None, **plan: Any) -> Extraction:
        made = tiny(kind)
        chosen = {"methods": METHODS, "quadrature": "midpoint", "steps": 2, "dtype": "float64", **plan}
        return Extraction(
            Plan(model=str(made.folder), **chosen), source(str(made.folder)), facts or made.facts
        )

    return build


@pytest.fixture(scope="session")
def study(fresh_study: Callable[..., Extraction]) -> Callable[..., Extraction]:
    """An extraction; those of one model, dtype, memory and site share its weights and its proved engine."""
    first: dict[tuple[Any, ...], Extraction] = {}

    def build(kind: str, facts: FactSet | None = None, **plan: Any) -> Extraction:
        made = fresh_study(kind, facts, **plan)
        key = (kind, facts is None, *(plan.get(name) for name in ("dtype", "memory", "site")))
        own = first.setdefault(key, made)
        if own is not made:
            vars(made).update(loaded=own.loaded, engine=own.engine)
        return made

    return build


@dataclass
class Plain:
    """One prompt through the plain model, the input of one module a layer read or replaced."""

    model: Any
    modules: list[Any]
    target: Target

    def vectors(self, ids: tuple[int, ...] | None = None) -> Tensor:
        """(layer, neuron) at the target position."""
        kept: list[Tensor] = []
        handles = [
            module.register_forward_pre_hook(lambda _, args: kept.append(args[0][0, self.target.position]))
            for module in self.modules
        ]
        with torch.no_grad():
            self.model(input_ids=torch.tensor([ids or self.target.ids]))
        for handle in handles:
            handle.remove()
        return torch.stack(kept)

    def probability(self, layer: int, vector: Tensor) -> Tensor:
        """P(answer), less that of the contrasted token, with a layer's vector replaced."""

        def put(_: Any, args: Any) -> Any:
            changed = args[0].clone()
            changed[0, self.target.position] = vector
            return (changed, *args[1:])

        handle = self.modules[layer].register_forward_pre_hook(put)
        logits = self.model(input_ids=torch.tensor([self.target.ids])).logits[0, self.target.position]
        handle.remove()
        shares = logits.softmax(-1)
        less = 0 if self.target.against is None else shares[self.target.against]
        return shares[self.target.token] - less

    def gradients(self, start: Tensor, rule: Any) -> Tensor:
        """∫∇P along start → w̄, (layer, neuron)."""
        end, rows = self.vectors(), []
        for layer in range(len(self.modules)):
            total = torch.zeros_like(end[layer])
            for alpha, weight in zip(rule.nodes, rule.weights, strict=True):
                leaf = (start[layer] + alpha * (end[layer] - start[layer])).requires_grad_(True)
                total += weight * torch.autograd.grad(self.probability(layer, leaf), leaf)[0]
            rows.append(total)
        return torch.stack(rows)

    def changes(self, start: Tensor) -> Tensor:
        """P(w̄) − P(start), (layer,)."""
        end = self.vectors()
        with torch.no_grad():
            both = [
                [self.probability(layer, v[layer]) for v in (end, start)]
                for layer in range(len(self.modules))
            ]
        return torch.stack([at_end - at_start for at_end, at_start in both])

    def baselines(self, token: int, specials: set[int]) -> Tensor:
        """The vectors with each token that is not special replaced, (baseline, layer, neuron)."""
        ids = self.target.ids
        variants = [
            (*ids[:place], token, *ids[place + 1 :]) for place, old in enumerate(ids) if old not in specials
        ]
        return torch.stack([self.vectors(variant) for variant in variants])

    def by_definition(
        self, rule: Any, token: int, specials: set[int], relation: Tensor | None = None
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Each method's scores and gap, (layer, neuron) and (layer,), straight from methods.md §3.

        ``relation`` is the mean activation that ``ig_mean`` starts from, zero unless given.
        """
        w, starts = self.vectors(), self.baselines(token, specials)
        mean, undefined = starts.mean(0), torch.full((len(w),), torch.nan)
        zero = torch.zeros_like(w)
        usual = zero if relation is None else relation
        each = torch.stack([(w - b) * self.gradients(b, rule) for b in starts])
        changes = torch.stack([self.changes(b) for b in starts])
        ig, on_mean = w * self.gradients(zero, rule), self.gradients(mean, rule)
        amig, coded, sig = each.sum(0), w * on_mean, (w - mean) * on_mean
        from_usual = (w - usual) * self.gradients(usual, rule)
        one = quadrature("right", 1)  # its only node is α = 1
        return {
            "ig": (ig, _gap(ig, self.changes(zero))),
            "ig_mean": (from_usual, _gap(from_usual, self.changes(usual))),
            "amig": (amig / amig.norm(), _gap(amig, changes.sum(0))),
            "amig_mean_path": (coded / coded.norm(), undefined),
            "sig": (sig, _gap(sig, self.changes(mean))),
            "grad_x_act": (w * self.gradients(zero, one), undefined),
        }


def _gap(attribution: Tensor, change: Tensor) -> Tensor:
    largest = torch.maximum(attribution.abs().sum(-1), change.abs())
    return (attribution.sum(-1) - change).abs() / largest


@pytest.fixture(scope="session")
def plain() -> type[Plain]:
    """One prompt through the plain model, a module's input read or replaced."""
    return Plain


@pytest.fixture(scope="session")
def usual(plain: Any) -> Callable[..., Tensor]:
    """Mean activation over the queries of all facts but one, all of one relation; prompt by prompt.

    That of the down-projections' inputs, or of other modules'; of each answer's tokens that are attributed.
    """

    def mean(made: Extraction, fact: int, modules: list[Any] | None = None) -> Tensor:
        model, read = made.loaded.model, modules or list(made.loaded.sites.downs)
        tokens = slice(1 if made.plan.answer_tokens == "first" else None)
        others = [query for n, asked in enumerate(made.asking.asked) if n != fact for query in asked]
        each = [
            torch.stack([plain(model, read, target).vectors() for target in query.targets[tokens]]).mean(0)
            for query in others
        ]
        return torch.stack(each).mean(0)

    return mean


@pytest.fixture(scope="session")
def close() -> Callable[..., None]:
    """Assert that values are equal to within a share of the largest.

    By default float64 rounding over three layers; a mean of baselines and a norm are sums of other orders.
    """

    def check(ours: Any, expected: Tensor, tolerance: float = 1e-10) -> None:
        scale = float(expected.abs().max())
        torch.testing.assert_close(torch.as_tensor(ours), expected, rtol=0, atol=tolerance * scale)

    return check


@pytest.fixture(scope="session")
def minimal_pairs() -> Callable[..., FactSet]:
    """Minimal pairs of one query and the good continuation `` is``, one for each bad continuation."""

    def build(*bad: str) -> FactSet:
        query = Query(template="t", text="The capital of France[Y] now")
        return FactSet(
            source="t",
            facts=tuple(
                Fact(
                    id=str(n),
                    relation="r",
                    subject="",
                    object=" is",
                    bad=other,
                    kind="minimal_pair",
                    queries=(query,),
                )
                for n, other in enumerate(bad)
            ),
        )

    return build
