"""Outlines and Blocks made of seeded noise: what extract would hand over, without a model.

A module of its own, so that the subprocesses that tests kill can import it too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from qloc.arrays import Array
from qloc.block import Block, Outline, Unit, units_of
from qloc.store.writing.writer import Writer

FINGERPRINT: dict[str, Any] = {
    "model": {"weights": "ab12", "config": "cd34"},
    "parameters": {"steps": 20, "methods": ["ig"]},
}

VOCABULARY = 60
"""Rows of the output embedding that the model of a study would have."""


@dataclass(frozen=True, kw_only=True)
class Synthetic:
    """Sizes of a made-up study; every number of it is a function of these and the seed."""

    n_facts: int = 10
    unit_facts: int = 3
    n_layers: int = 3
    n_neurons: int = 40
    n_heads: int = 2
    n_tokens: int = 5
    methods: tuple[str, ...] = ("ig", "grad_x_act")
    seed: int = 0
    dtype: str = "float64"

    @property
    def n_queries(self) -> Array:
        """Queries of each fact; every fourth fact has none."""
        return np.array([0 if n % 4 == 3 else 1 + n % 3 for n in range(self.n_facts)], dtype=np.int32)

    def outline(self) -> Outline:
        n = self.n_queries
        first = np.where(n > 0, np.cumsum(n) - n, -1).astype(np.int32)
        facts = {
            "id": np.array([f"f{i}" for i in range(self.n_facts)]),
            "subject": np.array([f"Çity {i}" for i in range(self.n_facts)]),
            "relation": np.array([f"P{36 + i % 2}" for i in range(self.n_facts)]),
            "object": np.array([f"object {i}" for i in range(self.n_facts)]),
            "feature": np.array([""] * self.n_facts),
            "first_query": first,
            "n_queries": n,
            "n_objects": np.ones(self.n_facts, dtype=np.int32),
            "leaks": (np.arange(self.n_facts) % 5 == 0).astype(np.int8),
            "count": np.arange(self.n_facts) * 1.5,
            "source": np.array([f"s{i}" for i in range(self.n_facts)]),
        }
        sizes = {
            "fact": self.n_facts, "query": int(n.sum()), "layer": self.n_layers, "neuron": self.n_neurons,
            "head": self.n_heads, "token": self.n_tokens, "answer_token": 2, "top": 4, "candidate": 3,
            "query_of_fact": int(n.max(initial=1)),
        }  # fmt: skip
        return Outline(
            facts=facts,
            candidates={"P36": ("Paris", "Lima"), "P37": ("German",)},
            methods=self.methods,
            sizes=sizes,
            units=units_of(n, self.unit_facts),
            attrs={"model": {"id": "synthetic"}, "site": "mlp_post", "excluded": {"words after [Y]": 2}},
            vocabulary=VOCABULARY,
        )

    def block(self, unit: Unit) -> Block:
        rng = np.random.default_rng([self.seed, unit.number])
        q, m, shape = unit.n_queries, len(self.methods), (self.n_layers, self.n_neurons)
        # A few large values over noise, as attributions are; one query in seven has none above zero.
        scores = rng.standard_normal((m, q, *shape)) * rng.pareto(1.5, (m, q, *shape))
        never = np.arange(unit.first_query, unit.last_query) % 7 == 6
        scores[:, never] = -np.abs(scores[:, never])
        k = self.outline().sizes["query_of_fact"]
        return Block(
            unit=unit,
            queries=self._queries(unit, rng),
            attribution=scores.astype(self.dtype),
            activation=rng.standard_normal((q, *shape)).astype(self.dtype),
            gradient=rng.standard_normal((q, *shape)).astype(self.dtype),
            completeness_gap=rng.random((m, q, self.n_layers)).astype(np.float32),
            n_nodes=rng.integers(4, 99, (m, q, self.n_layers)).astype(np.int32),
            error_bound=rng.random((m, q, self.n_layers)).astype(np.float32),
            converged=rng.integers(-1, 2, (m, q, self.n_layers)).astype(np.int8),
            gram=rng.standard_normal((m, unit.n_facts, k, k)),
            null_gram=np.full((m, unit.n_facts, k, k), np.nan),
            attention=self._attention(q, rng),
            tokens=self._tokens(np.random.default_rng([self.seed, unit.number, 1])),
        )

    def blocks(self) -> list[Block]:
        return [self.block(unit) for unit in self.outline().units]

    def _queries(self, unit: Unit, rng: np.random.Generator) -> dict[str, Array]:
        fact = np.repeat(np.arange(self.n_facts), self.n_queries)[unit.first_query : unit.last_query]
        q = len(fact)
        return {
            "fact": fact.astype(np.int32),
            "template": np.array([f"T{i % 3}" for i in range(q)], dtype=object),
            "relation": np.array([f"P{36 + f % 2}" for f in fact], dtype=object),
            "prompt": np.array(
                [f"Query {i} of fact {f} — “is” [Y]." for i, f in enumerate(fact)], dtype=object
            ),
            "answer": np.array([f"object {f}" for f in fact], dtype=object),
            "kind": np.array(["fact"] * q, dtype=object),
            "answer_token_id": rng.integers(0, 99, (q, 2)),
            "target_position": rng.integers(0, 5, (q, 2)),
            "token_log_probability": -rng.random((q, 2)),
            "token_rank": rng.integers(1, 9, (q, 2)),
            "log_probability": -rng.random(q),
            "rank": rng.integers(1, 9, q),
            "argmax": rng.integers(0, 99, q),
            "known": rng.integers(0, 2, q),
            "bad_log_probability": np.full(q, np.nan),
            "top_token_id": rng.integers(0, 99, (q, 4)),
            "top_log_probability": -rng.random((q, 4)),
            "candidate_log_probability": -rng.random((q, 3)),
        }

    def _tokens(self, rng: np.random.Generator) -> dict[str, Array]:
        """Neurons of units overlap, and units disagree on their tokens, which no extraction does."""
        number = np.flatnonzero(rng.random(self.n_layers * self.n_neurons) < 0.4).astype(np.int32)
        promoted, suppressed = rng.integers(0, VOCABULARY, (2, len(number), 10), dtype=np.int32)
        promoted[:, -1] = -1
        token = np.unique(promoted[promoted >= 0])
        return {
            "number": number,
            "promoted_token_id": promoted,
            "suppressed_token_id": suppressed,
            "token_id": token,
            "token": np.array([f" tökén {n}" for n in token], dtype=object),
        }

    def _attention(self, q: int, rng: np.random.Generator) -> dict[str, Array]:
        if not self.n_heads:
            return {}
        shape = (q, self.n_layers, self.n_heads, self.n_tokens)
        names = ("target_row", "column_mass", "column_mass_no_sink")
        return {
            **{name: rng.random(shape).astype(np.float16) for name in names},
            "length": np.full(q, self.n_tokens, dtype=np.int32),
        }


@dataclass(frozen=True, kw_only=True)
class WithColumn(Synthetic):
    """A made-up study whose facts have one more column, of the name that it is given."""

    column: str = "c"

    def outline(self) -> Outline:
        outline = super().outline()
        return replace(outline, facts={**outline.facts, self.column: np.arange(self.n_facts) * 0.5})


def write_store(path: Path, study: Synthetic, **options: Any) -> Path:
    """Extract a made-up study without interruption; return the path."""
    with Writer.open(path, study.outline(), FINGERPRINT, **options) as writer:
        for unit in writer.missing():
            writer.write(study.block(unit))
        writer.finalize({"device": "cpu"})
    return path


def write_older_store(path: Path, study: Synthetic) -> Path:
    """Write a store as before there were error bounds and tokens: begun then, finished by this version."""
    with Writer.open(path, study.outline(), FINGERPRINT):
        pass
    root = json.loads((path / "zarr.json").read_text())
    for name in ("error_bounds", "vocabulary"):
        del root["attributes"]["layout"][name]
    (path / "zarr.json").write_text(json.dumps(root))
    (path / "ledger" / "skeleton.json").unlink()
    return write_store(path, study)
