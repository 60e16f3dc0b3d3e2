"""Draw the Outline and the Blocks of a planted study, in the form in which extraction returns them.

The numbers around the planted sets are plausible, not learned. The attributions of members lie above 0.25 of
the query's maximum, and those of all other neurons within 0.15 of zero, as shares of that maximum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from qloc.arrays import Array
from qloc.block import Block, Outline, Unit, units_of
from qloc.facts import Fact, candidates
from qloc.random_streams import Stream
from qloc.simulation.design import Columns, Planting

N_PLANTED_TOP = 5
"""Likeliest tokens that a planted study keeps at each query's first target."""


def outline_of(p: Planting, c: Columns) -> Outline:
    """Return what is known of a planted study before its numbers are drawn.

    Parameters
    ----------
    p : Planting
        The parameters of the study.
    c : Columns
        The labels of its facts and queries.

    Returns
    -------
    Outline
        Columns of ``/facts``, candidate answers, axis lengths, units and attributes.
    """
    n_queries = np.bincount(c.fact, minlength=c.n_facts)
    first = np.concatenate([[0], np.cumsum(n_queries)])[:-1]
    facts = {
        "id": np.array([f"F{n:05d}" for n in range(c.n_facts)], dtype=str),
        "subject": c.subject,
        "relation": c.relation_of_fact,
        "object": c.answer_of_fact,
        "feature": c.feature,
        "first_query": np.where(n_queries > 0, first, -1).astype(np.int32),
        "n_queries": n_queries.astype(np.int32),
        "n_objects": np.ones(c.n_facts, dtype=np.int32),
        "leaks": c.leaks.astype(np.int8),
        "class": c.class_,
        "frequency": c.frequency,
    }
    names = candidates(
        [
            Fact(id="", relation=str(r), subject="", object=str(o), queries=())
            for r, o in zip(c.relation_of_fact, c.answer_of_fact, strict=True)
        ]
    )
    sizes = {
        **{"fact": c.n_facts, "query": c.n_queries, "layer": p.n_layers, "neuron": p.n_neurons},
        "head": p.n_heads,
        "token": p.n_tokens if p.n_heads else 0,
        "answer_token": 1,
        "top": N_PLANTED_TOP,
        "candidate": max((len(of) for of in names.values()), default=0),
        "query_of_fact": int(n_queries.max(initial=0)),
    }
    return Outline(
        facts=facts,
        candidates=names,
        methods=p.methods,
        sizes=sizes,
        units=units_of(n_queries, p.unit_facts),
        attrs=_attrs(p, c),
    )


def _attrs(p: Planting, c: Columns) -> dict[str, Any]:
    n_planned = int(np.sum(~c.is_pair)) * p.templates + int(np.sum(c.is_pair))
    return {
        "model": f"planted, network {p.network}" if p.network else "planted",
        "facts": "planted template, answer and fact neurons",
        "site": "mlp_post",
        "synthetic": True,
        "parameters": p.parameters,
        "excluded": {"planted as not askable": n_planned - c.n_queries},
    }


def block_of(p: Planting, c: Columns, member: sparse.csr_array, outline: Outline, unit: Unit) -> Block:
    """Draw one unit. The result depends on the parameters and the unit alone.

    Parameters
    ----------
    p : Planting
        The parameters of the study.
    c : Columns
        The labels of its facts and queries.
    member : bool CSR array, shape (query, layer · neuron)
        The planted neuron sets of all queries.
    outline : Outline
        As :func:`outline_of` returns it.
    unit : Unit
        The facts and queries to draw.

    Returns
    -------
    Block
        Every array of the unit, in the form in which extraction returns it.
    """
    network = [p.network] if p.network else []  # network 0 has the key of studies that knew no networks
    rng = Stream.PLANTED_BLOCKS.generator(p.seed, unit.number, *network)
    here = slice(unit.first_query, unit.last_query)
    inside = member[here].toarray().reshape(unit.n_queries, p.n_layers, p.n_neurons)
    scale = np.exp(c.log_probability[here].astype(float))[:, None, None]
    attribution = np.stack([_values(inside, scale, c.empty[here], rng) for _ in p.methods])
    activation = rng.standard_normal(inside.shape)
    activation += np.where(activation >= 0, 0.1, -0.1)
    gap = rng.lognormal(np.log(0.01), 1.0, (len(p.methods), unit.n_queries, p.n_layers))
    gram, null_gram = _grams(attribution, c, unit, outline.sizes["query_of_fact"], rng)
    return Block(
        unit=unit,
        queries=_queries(c, outline, here, rng),
        attribution=attribution.astype(np.float32),
        activation=activation.astype(np.float32),
        gradient=(attribution[0] / activation).astype(np.float32),
        completeness_gap=gap.astype(np.float32),
        n_nodes=np.zeros(gap.shape, np.int32),
        error_bound=np.full(gap.shape, np.nan, np.float32),
        converged=np.full(gap.shape, -1, np.int8),
        attention=_attention(p, unit.n_queries, rng),
        gram=gram,
        null_gram=null_gram,
    )


def _values(inside: Array, scale: Array, empty: Array, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw attributions: members in (0.25, 1] of the maximum, others within 0.15; none > 0 in empty sets."""
    values = np.clip(0.02 * rng.standard_normal(inside.shape), -0.15, 0.15)
    values = np.where(inside, rng.uniform(0.3, 1.0, inside.shape), values)
    flat = values.reshape(len(values), int(np.prod(values.shape[1:])))
    none = empty | ~inside.any(axis=(1, 2))
    flat[none] = -np.abs(flat[none])
    best = flat.argmax(axis=1)
    rows = np.flatnonzero(~none)
    flat[rows, best[rows]] = 1.0
    return np.asarray(flat.reshape(inside.shape) * scale, dtype=np.float64)


def _queries(c: Columns, outline: Outline, here: slice, rng: np.random.Generator) -> dict[str, Array]:
    known, log_p = c.known[here], c.log_probability[here]
    n = len(known)
    rank = np.where(known, 1, 2 + rng.integers(40, size=n)).astype(np.int32)
    answer_id = (np.unique(c.answer, return_inverse=True)[1][here] + 10).astype(np.int32)
    rival = (answer_id + 1 + rng.integers(5, size=n)).astype(np.int32)
    argmax = np.where(known, answer_id, rival).astype(np.int32)
    top = argmax[:, None] + 100 * np.arange(N_PLANTED_TOP, dtype=np.int32)
    best = np.where(known, log_p, log_p / 2)[:, None]
    spread = np.full((n, outline.sizes["candidate"]), np.nan, dtype=np.float32)
    for row, relation in enumerate(c.relation[here]):
        names = outline.candidates[str(relation)]
        spread[row, : len(names)] = log_p[row] - 0.5 - rng.gamma(1.0, 1.0, len(names))
        spread[row, names.index(str(c.answer[here][row]))] = log_p[row]
    strings = {name: getattr(c, name)[here] for name in ("template", "relation", "prompt", "answer", "kind")}
    return {
        "fact": c.fact[here],
        **strings,
        "answer_token_id": answer_id[:, None],
        "target_position": np.full((n, 1), 4, dtype=np.int32),
        "token_log_probability": log_p[:, None],
        "token_rank": rank[:, None],
        "log_probability": log_p,
        "rank": rank,
        "argmax": argmax,
        "known": known.astype(np.int8),
        "bad_log_probability": c.bad_log_probability[here],
        "top_token_id": top.astype(np.int32),
        "top_log_probability": (best - np.arange(N_PLANTED_TOP)).astype(np.float32),
        "candidate_log_probability": spread,
    }


def _attention(p: Planting, n: int, rng: np.random.Generator) -> dict[str, Array]:
    if not p.n_heads:
        return {}
    row = rng.dirichlet(np.ones(p.n_tokens), (n, p.n_layers, p.n_heads))
    mass = row * (p.n_tokens / 2)
    no_sink = mass.copy()
    no_sink[..., 0] = np.nan
    halves = {"target_row": row, "column_mass": mass, "column_mass_no_sink": no_sink}
    length = np.full(n, p.n_tokens, dtype=np.int32)
    return {**{name: value.astype(np.float16) for name, value in halves.items()}, "length": length}


def _grams(
    attribution: Array, c: Columns, unit: Unit, width: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the Gram matrix of each fact's queries, and that of one query a template of other facts."""
    shape = (len(attribution), unit.n_facts, width, width)
    gram, null = np.full(shape, np.nan), np.full(shape, np.nan)
    rows = attribution.reshape(*attribution.shape[:2], int(np.prod(attribution.shape[2:])))
    fact = c.fact[unit.first_query : unit.last_query]
    template, relation = (v[unit.first_query : unit.last_query] for v in (c.template_code, c.relation_code))
    for local in range(unit.n_facts):
        own = np.flatnonzero(fact == unit.first_fact + local)
        others = _others(own, fact, template, relation, rng)
        for out, chosen in ((gram, own), (null, others)):
            if len(chosen):
                x = rows[:, chosen]
                out[:, local, : len(chosen), : len(chosen)] = x @ x.transpose(0, 2, 1)
    return gram, null


def _others(own: Array, fact: Array, template: Array, relation: Array, rng: np.random.Generator) -> Array:
    """Draw a query of another fact of the relation for each template in ``own``, no fact twice.

    Empty where the unit has too few such facts.
    """
    chosen: list[int] = []
    for query in own:
        fit = (template == template[query]) & (relation == relation[query]) & (fact != fact[query])
        fit &= ~np.isin(fact, fact[chosen])
        if not fit.any():
            return np.array([], dtype=int)
        chosen.append(int(rng.choice(np.flatnonzero(fit))))
    return np.array(chosen, dtype=int)
