"""Phases made of seeded noise: what extract would hand over for interventions and edits, without a model.

Written for the programs that tests kill as well as for tests; shapes and dtypes are written out, not taken
from the schema that they test.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from synthetic import FINGERPRINT, Synthetic

from qloc.arrays import Array
from qloc.block import PhaseBlock, PhaseOutline, Unit
from qloc.canonical_json import digest
from qloc.store.writing.phase_writer import PhaseWriter

OUTCOMES = {"log_probability": float, "logit": float, "margin": float, "rank": int, "argmax": int}
LABELS = {
    "interventions": {
        "operation": ("suppress", "enhance"),
        "neuron_set": ("own", "neighbor", "my söt"),
        "synapse_operation": ("suppress",),
        "synapse_set": ("published", "knowledge"),
    },
    "edits": {"edit_operation": ("erase", "update"), "edit_set": ("own", "union", "cas")},
}
MOST = {"neighbor": 2, "other_fact": 2, "probe_query": 2, "held_out": 1}
"""Largest values of what indexes the queries, and of flags."""

SIZES = {"interventions": {"view": 4}, "edits": {"probe": 2, "step": 4}}


def fingerprint(phase: str, **parameters: object) -> dict[str, object]:
    return {
        "phase": phase,
        "parents": {"signals": digest(FINGERPRINT)},
        "parameters": {"threshold": 0.2, "alpha": 2.0} | parameters,
    }


def outline(phase: str, *absent: str) -> PhaseOutline:
    labels = LABELS[phase]
    if "synapses" in absent:
        labels = {dim: names for dim, names in labels.items() if not dim.startswith("synapse")}
    attrs = {"why": "a made-up phase", "threshold": 0.2}
    added = ("synapse_views",) if phase == "interventions" and "synapses" not in absent else ()
    return PhaseOutline(
        phase=phase, labels=labels, sizes=SIZES[phase], attrs=attrs, absent=absent, added=added
    )


def block(phase: str, unit: Unit, *absent: str, seed: int = 0) -> PhaseBlock:
    rng = np.random.default_rng([seed, unit.number, len(phase)])
    q, f, k = unit.n_queries, unit.n_facts, Synthetic().outline().sizes["query_of_fact"]

    def made(path: str, shape: tuple[int, ...], kind: type[float]) -> Array:
        most = MOST.get(path.rpartition("/")[2], 98)
        return rng.standard_normal(shape) if kind is float else rng.integers(-1, most + 1, shape)

    if phase == "interventions":
        shapes = {
            **{f"interventions/{name}": ((2, 3, q), kind) for name, kind in OUTCOMES.items()},
            **{f"interventions/base_{name}": ((q,), kind) for name, kind in OUTCOMES.items()},
            "interventions/n_neurons": ((3, q), int),
            "interventions/neighbor": ((q,), int),
            "interventions/other_fact": ((q,), int),
            **{f"synapses/{name}": ((1, 2, q), kind) for name, kind in OUTCOMES.items()},
            "synapses/activation_effect": ((1, 2, q), float),
            "synapses/matched_effect": ((1, 2, q), float),
            "synapses/n_columns": ((2, q), int),
            "synapses/removed_mass": ((2, q), float),
        }
        arrays = {path: made(path, *shape) for path, shape in shapes.items()}
        gone = {*absent, *(["synapse_views"] if "synapses" in absent else [])}
        arrays |= views(unit, rng)
        return PhaseBlock(
            unit=unit, arrays={path: a for path, a in arrays.items() if path.split("/")[0] not in gone}
        )
    of_queries = {
        "log_probability": float,
        "rank": int,
        "argmax": int,
        "new_log_probability": float,
        "new_rank": int,
    }
    of_probes = {"probe_log_probability": float, "probe_argmax": int}
    shapes = {
        "edited_query": ((f,), int),
        "held_out": ((f, k), int),
        "n_slots": ((3, f), int),
        **{name: ((2, 3, f, k), kind) for name, kind in of_queries.items()},
        **{f"base_{name}": ((f, k), kind) for name, kind in of_queries.items()},
        "probe_query": ((f, 2), int),
        **{name: ((2, 3, f, 2), kind) for name, kind in of_probes.items()},
        "probe_kl": ((2, 3, f, 2), float),
        **{f"base_{name}": ((f, 2), kind) for name, kind in of_probes.items()},
        "text_nats": ((2, 3, f), float),
        "base_text_nats": ((f,), float),
        "greedy_token_id": ((2, 3, f, 4), int),
    }
    arrays = {f"edits/{name}": made(name, *shape) for name, shape in shapes.items()}
    n_queries = Synthetic().n_queries
    of_facts = np.arange(unit.first_fact, unit.last_fact)
    first = (np.cumsum(n_queries) - n_queries)[of_facts]
    arrays["edits/edited_query"] = np.where(n_queries[of_facts] > 0, first, -1)
    arrays["edits/held_out"][np.arange(k) >= n_queries[of_facts, None]] = -1
    kinds = [[f"kind “{n}” of {unit.first_fact + i}" for n in range(2)] for i in range(f)]
    texts = np.array([[f"objéct {i}"] for i in range(f)], dtype=object).reshape(f)
    arrays |= {"edits/probe_kind": np.array(kinds, dtype=object).reshape(f, 2), "edits/new_object": texts}
    return PhaseBlock(unit=unit, arrays=arrays)


def views(unit: Unit, rng: np.random.Generator) -> dict[str, Array]:
    """Neurons of two queries in three, four at most, and synapses in 3 layers of 2 heads."""
    sizes, q = Synthetic().outline().sizes, unit.n_queries
    neuron = np.full((q, 4), -1)
    for row in range(q):
        n = (unit.first_query + row) % 3 * 2
        neuron[row, :n] = np.sort(rng.choice(sizes["layer"] * sizes["neuron"], n, replace=False))
    told = np.asarray(neuron >= 0)
    shape = (q, sizes["layer"], sizes["head"], sizes["token"])
    synapse = np.where(told.any(axis=1).reshape(q, 1, 1, 1), rng.integers(0, 2, shape), -1)
    return {
        "synapse_views/viewed_neuron": neuron,
        "synapse_views/activation": np.where(told, rng.standard_normal((q, 4)), np.nan),
        "synapse_views/gradient": np.where(told, rng.standard_normal((q, 4)), np.nan),
        "synapse_views/synapse": synapse,
        "synapse_views/token_text": np.full(shape[::3], " tökén", dtype=object),
    }


def append(
    path: Path, phase: str, *absent: str, run: dict[str, Any] | None = None, **parameters: object
) -> int:
    """Append a made-up phase to a store, or go on; return how many units were there already."""
    with PhaseWriter.open(path, outline(phase, *absent), fingerprint(phase, **parameters)) as writer:
        missing = writer.missing()
        for unit in missing:
            writer.write(block(phase, unit, *absent))
        writer.finalize(run or {"device": "cpu"})
    return len(writer.layout.units) - len(missing)
