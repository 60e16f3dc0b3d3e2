"""A made-up study of a large model, unit by unit: heavy-tailed attributions without the whole network.

Of each fact, only some hundred *candidate* neurons have an attribution other than 0: those of its relation,
templates, answer and subject, some of each query's own, and one in every layer that is no member of anything.
The panel of a network is the panel of its neurons above the floor, so that ``arrays`` are, value for value,
what ``qloc.store.units.panel.unit_arrays`` makes of ``block``; a test compares them where the network is
small enough to be written down.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from qloc.arrays import Array
from qloc.block import Block, Outline, Unit, units_of
from qloc.store.schema.layout import Layout
from qloc.store.schema.variables import as_stored
from qloc.store.units.panel import panel

METHODS = ("ig", "amig", "sig")
RELATIONS, TEMPLATES, ANSWERS, CANDIDATES = 38, 20, 90, 64
POOL, OWN = 20, 40
"""Neurons of a relation, template, answer or subject; and of a single query."""


@dataclass(frozen=True, kw_only=True)
class HeavyTailed:
    """Sizes; every number is a function of these and the seed. The defaults are ParaRel × LLaMA-3-8B."""

    n_facts: int = 27_610
    n_queries: int = 224_674
    n_layers: int = 32
    n_neurons: int = 14_336
    floor: float = 0.05
    capacity: int = 1024
    unit_facts: int = 32
    seed: int = 0

    @cached_property
    def relation(self) -> Array:
        """Of each fact."""
        return np.arange(self.n_facts) * RELATIONS // self.n_facts

    @cached_property
    def k(self) -> Array:
        """Queries of each fact, 1 to 20, alike within a relation but for a few; n_queries in all."""
        rng = np.random.default_rng([self.seed, 0])
        k = np.clip(rng.gamma(3.0, self.n_queries / self.n_facts / 3, RELATIONS).round(), 1, 20)[
            self.relation
        ]
        while missing := self.n_queries - int(k.sum()):
            able = np.flatnonzero(k < 20) if missing > 0 else np.flatnonzero(k > 1)
            k[rng.choice(able, min(abs(missing), len(able)), replace=False)] += np.sign(missing)
        return k.astype(np.int32)

    @cached_property
    def answer(self) -> Array:
        """Of each fact, within its relation; some are far more frequent than others."""
        return (ANSWERS * np.random.default_rng([self.seed, 1]).random(self.n_facts) ** 2).astype(int)

    @cached_property
    def pools(self) -> tuple[Array, Array, Array]:
        """Neurons of relations, templates and answers; later layers more often."""
        rng = np.random.default_rng([self.seed, 2])
        relations, templates, answers = (
            self._drawn(rng, (RELATIONS, *n, POOL)) for n in ((), (TEMPLATES,), (ANSWERS,))
        )
        return relations, templates, answers

    def _drawn(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        layer = (self.n_layers * np.sqrt(rng.random(shape))).astype(np.int64)
        return layer * self.n_neurons + rng.integers(self.n_neurons, size=shape)

    def outline(self) -> Outline:
        """What a store is opened with."""
        names = np.array([f"P{r}" for r in range(RELATIONS)])
        facts = {
            "id": np.array([f"F{n}" for n in range(self.n_facts)]),
            "subject": np.array([f"Subject {n}" for n in range(self.n_facts)]),
            "relation": names[self.relation],
            "object": np.array([f"Answer {a}" for a in self.answer]),
            "feature": np.full(self.n_facts, ""),
            "first_query": (np.cumsum(self.k) - self.k).astype(np.int32),
            "n_queries": self.k,
            "n_objects": np.ones(self.n_facts, dtype=np.int32),
            "leaks": (np.random.default_rng([self.seed, 3]).random(self.n_facts) < 0.14).astype(np.int8),
        }
        sizes = {"fact": self.n_facts, "query": self.n_queries, "layer": self.n_layers}
        sizes |= {"neuron": self.n_neurons, "head": 0, "token": 0, "answer_token": 2, "top": 20}
        return Outline(
            facts=facts,
            candidates={name: tuple(f"Answer {a}" for a in range(CANDIDATES)) for name in names.tolist()},
            methods=METHODS,
            sizes={**sizes, "candidate": CANDIDATES, "query_of_fact": TEMPLATES},
            units=units_of(self.k, self.unit_facts),
            attrs={"model": "made up", "facts": "made up", "site": "mlp_post", "synthetic": True},
        )

    def values(self, fact: int) -> tuple[Array, Array, Array]:
        """Candidates of a fact, ascending; attribution (method, query, candidate); two more signals."""
        rng, k, r = np.random.default_rng([self.seed, 4, fact]), int(self.k[fact]), self.relation[fact]
        of_relation, of_template, of_answer = (pool[r] for pool in self.pools)
        shared = [of_relation, of_answer[self.answer[fact]], self._drawn(rng, (2 * POOL,))]
        leaders = np.arange(self.n_layers) * self.n_neurons + rng.integers(self.n_neurons, size=self.n_layers)
        columns = [*shared, of_template[:k].ravel(), self._drawn(rng, (k * OWN,)), leaders]
        weight = np.full((k, sum(map(len, columns))), 0.03, dtype=np.float32)
        start = 4 * POOL
        weight[:, :start] = 1
        weight[:, start : start + k * POOL].reshape(k, k, POOL)[np.arange(k), np.arange(k)] = 1
        start += k * POOL
        weight[:, start : start + k * OWN].reshape(k, k, OWN)[np.arange(k), np.arange(k)] = 1
        neuron, first = np.unique(np.concatenate(columns), return_index=True)
        size = rng.standard_normal((k, len(neuron)), dtype=np.float32)
        size = size + np.float32(0.35) * rng.standard_normal((3, k, len(neuron)), dtype=np.float32)
        sign = np.where(
            rng.random((k, len(neuron)), dtype=np.float32) < 0.15, np.float32(-0.3), np.float32(1)
        )
        scale = rng.lognormal(-6, 1, (k, 1)).astype(np.float32)
        attribution = np.exp(size) * (weight[:, first] * sign * scale)
        return neuron, attribution, rng.standard_normal((2, k, len(neuron)), dtype=np.float32)

    def block(self, unit: Unit, noise: float = 0.0) -> Block:
        """One unit as extraction hands it over: the dense network; ``noise`` in place of its zeros."""
        rng = np.random.default_rng([self.seed, 5, unit.number])
        shape = (unit.n_queries, self.n_layers * self.n_neurons)
        whole = rng.standard_normal((5, *shape), dtype=np.float32) if noise else np.zeros((5, *shape), "f4")
        whole *= np.float32(noise)
        last, every = 0, [self.values(fact) for fact in range(unit.first_fact, unit.last_fact)]
        for neuron, attribution, others in every:
            first, last = last, last + len(others[0])
            whole[:, first:last, neuron] = np.concatenate([attribution, others])
        whole = whole.reshape(5, unit.n_queries, self.n_layers, self.n_neurons)
        gram, null_gram = _grams(every)
        return Block(
            unit=unit,
            queries=self._queries(unit),
            attribution=whole[:3],
            activation=whole[3],
            gradient=whole[4],
            completeness_gap=self._gap(unit),
            **self._no_bounds(unit),
            gram=gram,
            null_gram=null_gram,
        )

    def arrays(self, unit: Unit, layout: Layout) -> dict[str, Array]:
        """What ``unit_arrays`` makes of ``block(unit)`` in the panel tier, without the network."""
        made = {f"queries/{name}": column for name, column in self._queries(unit).items()}
        made |= {f"signals/{name}": made[f"queries/{name}"] for name in ("fact", "relation", "template")}
        every = [self.values(fact) for fact in range(unit.first_fact, unit.last_fact)]
        made["grams/gram"], made["grams/null_gram"] = _grams(every)
        made["signals/completeness_gap"] = self._gap(unit)
        made |= {f"signals/{name}": values for name, values in self._no_bounds(unit).items()}
        found = [self._panel(*values) for values in every]
        n_slots = max(len(of["panel_neuron"]) for of in found)
        made["signals/panel_floor"] = np.array([of.pop("panel_floor") for of in found])
        made["signals/panel_neuron"] = np.stack(
            [_padded(of.pop("panel_neuron"), n_slots, -1) for of in found]
        )
        for name in ("attribution", "activation", "gradient"):
            made[f"signals/{name}"] = np.concatenate(
                [_padded(of.pop(name), n_slots, np.nan) for of in found], axis=-2
            )
        for name in found[0]:
            made[f"signals/{name}"] = np.concatenate([of[name] for of in found], axis=1)
        kept = [variable for variable in layout.variables() if variable.row is not None]
        return {variable.path: as_stored(made[variable.path], layout.dtype(variable)) for variable in kept}

    def _panel(self, neuron: Array, attribution: Array, others: Array) -> dict[str, Array]:
        k = len(others[0])
        chosen = panel(attribution[:, :, None], np.zeros(k, dtype=int), 1, self.floor, self.capacity)
        slots = chosen.neuron[0]
        starts = np.searchsorted(neuron, np.arange(self.n_layers) * self.n_neurons)
        best = chosen.maximum.max(axis=-1)[..., None]
        above = (attribution > 0) & (attribution.astype(float) >= self.floor * best.astype(float))
        return {
            "panel_neuron": neuron[slots],
            "panel_floor": chosen.floor[0],
            "attribution": attribution[:, :, slots],
            "activation": others[0][:, slots],
            "gradient": others[1][:, slots],
            "maximum": np.maximum(np.maximum.reduceat(attribution, starts, axis=-1), 0),
            "total": np.add.reduceat(attribution.astype(float), starts, axis=-1).astype(np.float32),
            "count_above_floor": np.add.reduceat(above, starts, axis=-1, dtype=np.int32),
        }

    def _no_bounds(self, unit: Unit) -> dict[str, Any]:
        """What a rule says of how exactly it integrated that gives no error bound."""
        shape = self._gap(unit).shape
        return {
            "n_nodes": np.zeros(shape, np.int32),
            "error_bound": np.full(shape, np.nan, np.float32),
            "converged": np.full(shape, -1, np.int8),
        }

    def _gap(self, unit: Unit) -> Array:
        rng = np.random.default_rng([self.seed, 6, unit.number])
        return rng.lognormal(-5, 1, (3, unit.n_queries, self.n_layers)).astype(np.float32)

    def _queries(self, unit: Unit) -> dict[str, Array]:
        rng, n = np.random.default_rng([self.seed, 7, unit.number]), unit.n_queries
        fact = np.repeat(np.arange(unit.first_fact, unit.last_fact), self.k[unit.first_fact : unit.last_fact])
        template = np.concatenate([np.arange(k) for k in self.k[unit.first_fact : unit.last_fact]])
        log_p = -rng.gamma(2.0, 0.5, (n, 2)).astype(np.float32)
        ids = rng.integers(128_256, size=(n, 20))
        return {
            "fact": fact,
            "template": np.array([f"P{r}-{t}" for r, t in zip(self.relation[fact], template, strict=True)]),
            "relation": np.array([f"P{r}" for r in self.relation[fact]]),
            "prompt": np.array(
                [f"Template {t} about {f}: [Y]." for f, t in zip(fact, template, strict=True)]
            ),
            "answer": np.array([f"Answer {a}" for a in self.answer[fact]]),
            "kind": np.full(n, "fact"),
            "answer_token_id": ids[:, :2],
            "target_position": np.full((n, 2), 9),
            "token_log_probability": log_p,
            "token_rank": rng.integers(1, 50, (n, 2)),
            "log_probability": log_p.sum(axis=1),
            "rank": rng.integers(1, 50, n),
            "argmax": ids[:, 0],
            "known": rng.random(n) < 0.6,
            "bad_log_probability": np.full(n, np.nan),
            "top_token_id": ids,
            "top_log_probability": np.sort(-rng.gamma(4.0, 1.0, (n, 20)))[:, ::-1],
            "candidate_log_probability": -rng.gamma(4.0, 2.0, (n, CANDIDATES)),
        }


def _grams(every: list[tuple[Array, Array, Array]]) -> Array:
    """Inner products of each fact's attributions; and, in the null's place, of others as large."""
    made = np.full((2, 3, len(every), TEMPLATES, TEMPLATES), np.nan)
    for place, (_, attribution, _) in enumerate(every):
        x, k = attribution.astype(float), attribution.shape[1]
        made[0, :, place, :k, :k] = x @ x.transpose(0, 2, 1)
        made[1, :, place, :k, :k] = x[:, ::-1] @ np.abs(x).transpose(0, 2, 1)
    return made


def _padded(values: Array, n: int, filling: float) -> Array:
    out = np.full((*values.shape[:-1], n), filling, dtype=values.dtype)
    out[..., : values.shape[-1]] = values
    return out
