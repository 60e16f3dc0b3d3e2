"""Data with a known truth: planted template, answer and fact neurons, nested as in a real study.

A query's set is a union of independent draws: each neuron of its template's pool with probability
``template_strength``, of its answer's pool with ``answer_strength``, of its fact's own pool with
``fact_strength``, and a Poisson number of other neurons, some of which are more popular than others. The
templates of a relation share half of a pool, so that sets overlap between templates without a fact as the
cause.

With ``answer_strength = fact_strength = 0`` the sets of a relation's facts are exchangeable within each
template (the null of H1a). With ``fact_strength = 0`` they are exchangeable within each template and answer
(the null of H1b).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from qloc.arrays import Array
from qloc.block import Block, Outline, Unit
from qloc.errors import InputError, message
from qloc.neurons import NeuronSets
from qloc.random_streams import Stream
from qloc.simulation.blocks import block_of, outline_of
from qloc.simulation.design import Columns, Planting, in_network, planted_columns

__all__ = ["Planted", "Planting", "plant"]

N_HUBS = 40
"""Neurons that facts use as hubs, where there are any."""

PLANTED_THRESHOLD = 0.2
"""Members lie above this share of a query's maximum, all other neurons below."""


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A synthetic study: what was planted, and the sets that result.

    Attributes
    ----------
    planting : Planting
        The parameters.
    columns : Columns
        Labels of facts and queries.
    member : bool CSR array, shape (query, layer · neuron)
        Row i is N_i at threshold 0.2.
    outline : Outline
        What a store is opened with.
    """

    planting: Planting
    columns: Columns = field(repr=False)
    member: sparse.csr_array = field(repr=False)
    outline: Outline = field(repr=False)

    def sets(self) -> NeuronSets:
        """Return the planted sets, without a detour through a store.

        Returns
        -------
        NeuronSets
            The sets of the first method, with the columns of their queries and facts.
        """
        c = self.columns
        queries: dict[str, Array] = {
            "fact": c.fact,
            "template": c.template,
            "relation": c.relation,
            "answer": c.answer,
            "kind": c.kind,
            "known": c.known,
            "log_probability": c.log_probability,
        }
        facts = {name: column for name, column in self.outline.facts.items() if name not in _OUTLINE_ONLY}
        return NeuronSets(
            member=self.member,
            n_layers=self.planting.n_layers,
            n_neurons=self.planting.n_neurons,
            method=self.planting.methods[0],
            rule=f"threshold {PLANTED_THRESHOLD:g}",
            queries=queries,
            facts={**facts, "leaks": facts["leaks"] > 0},
        )

    def block(self, unit: Unit) -> Block:
        """Draw one unit, in the form in which extraction returns it.

        Parameters
        ----------
        unit : Unit
            The facts and queries to draw.

        Returns
        -------
        Block
            The same bytes however often it is drawn.
        """
        return block_of(self.planting, self.columns, self.member, self.outline, unit)

    def blocks(self) -> Iterator[Block]:
        """Draw every unit, in order.

        Returns
        -------
        iterator of Block
            One for each unit of the outline.
        """
        return (self.block(unit) for unit in self.outline.units)


_OUTLINE_ONLY = ("first_query", "n_queries")


def plant(planting: Planting | None = None, **parameters: Any) -> Planted:
    """Plant template, answer and fact neurons in a synthetic study.

    Parameters
    ----------
    planting : Planting, optional
        The parameters.
    **parameters : Any
        The parameters by name, where ``planting`` is not given.

    Returns
    -------
    Planted
        The same for the same parameters.

    Raises
    ------
    InputError
        A parameter is outside its domain, or has an unknown name.

    Examples
    --------
    >>> planted = plant(facts=6, relations=2, templates=3, missing=0.0, seed=1)
    >>> planted.sets().member.shape
    (18, 1024)
    """
    if sizes := parameters.get("facts_by_relation"):
        parameters = {"facts": sum(sizes), "relations": len(sizes), **parameters}
    try:
        p = planting or Planting(**parameters)
    except TypeError as error:
        names = ", ".join(Planting.__dataclass_fields__)
        raise InputError(
            message("planting", str(error), f"some of {names}", "plant", "Correct the name")
        ) from None
    p.check()
    rng = Stream.PLANTED_SETS.generator(p.seed)
    columns = planted_columns(p, rng)
    if p.network:
        columns, rng = in_network(p, columns)
    member = _member(p, columns, rng)
    return Planted(planting=p, columns=columns, member=member, outline=outline_of(p, columns))


def _member(p: Planting, c: Columns, rng: np.random.Generator) -> sparse.csr_array:
    """Draw from every pool and return the union of the draws: bool, CSR (query, layer · neuron)."""
    sources = [
        (_template_pools(p, c, rng), c.template_code, _template_strength(p, c)),
        (_pools(p, c.n_answers, rng), c.answer_code, _strength(p, c, p.answer_strength, rng)),
        (_pools(p, c.n_facts, rng), c.fact.astype(np.int64), _fact_strength(p, c, rng)),
    ]
    rows, neurons, factor = [], [], _size_factor(p, c)
    for pools, group, strength in sources:
        drawn = rng.random((c.n_queries, pools.shape[1])) < (factor * strength)[:, None]
        query, place = np.nonzero(drawn)
        rows.append(query)
        neurons.append(pools[group[query], place])
    n_noise = rng.poisson(p.noise * factor, c.n_queries)
    rows.append(np.repeat(np.arange(c.n_queries), n_noise))
    neurons.append(rng.choice(p.n_total, size=int(n_noise.sum()), p=_popularity(p, rng)))
    for query, neuron in _generic(p, c, factor):
        rows.append(query)
        neurons.append(neuron)
    row, neuron = np.concatenate(rows), np.concatenate(neurons)
    filled = ~c.empty[row]
    row, neuron = row[filled], neuron[filled]
    member = sparse.csr_array((np.ones(len(row), dtype=bool), (row, neuron)), shape=(c.n_queries, p.n_total))
    member.sum_duplicates()
    return sparse.csr_array((member.data > 0, member.indices, member.indptr), shape=member.shape)


def _size_factor(p: Planting, c: Columns) -> NDArray[np.float64]:
    """Return how many times as many neurons each query's set has, by its fact: float64, (query,)."""
    rng = Stream.PLANTED_SET_SIZES.generator(p.seed)
    return _varied(np.ones(c.n_queries), c.fact, p.size_spread, rng, most=np.inf)


def _generic(
    p: Planting, c: Columns, factor: NDArray[np.float64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield queries and neurons of what facts draw from hubs (of Zipf's frequencies), and from the rest."""
    if not p.hubs:
        return
    rng = Stream.PLANTED_HUBS.generator(p.seed)
    neurons = rng.permutation(p.n_total)
    n_hubs = min(N_HUBS, p.n_total)
    zipf = 1 / np.arange(1, n_hubs + 1)
    share = rng.random(c.n_facts)[c.fact]
    others = neurons[n_hubs:] if n_hubs < p.n_total else neurons  # a small network is all hubs
    of_hubs, rest = (zipf / zipf.sum(), neurons[:n_hubs]), (None, others)
    for part, (weight, chosen) in ((share, of_hubs), (1 - share, rest)):
        n = rng.poisson(p.hubs * part * factor)
        yield np.repeat(np.arange(c.n_queries), n), rng.choice(chosen, size=int(n.sum()), p=weight)


def _strength(p: Planting, c: Columns, mean: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the probability of each query's pool neurons; relations differ by ``spread``."""
    by_relation = mean * np.exp(p.spread * rng.standard_normal(c.n_relations) - p.spread**2 / 2)
    return np.clip(by_relation[c.relation_code], 0.0, 1.0)


def _template_strength(p: Planting, c: Columns) -> NDArray[np.float64]:
    rng = Stream.PLANTED_TEMPLATE_STRENGTH.generator(p.seed)
    return _varied(np.full(c.n_queries, p.template_strength), c.template_code, p.template_spread, rng)


def _fact_strength(p: Planting, c: Columns, rng: np.random.Generator) -> NDArray[np.float64]:
    own = Stream.PLANTED_FACT_STRENGTH.generator(p.seed)
    return _varied(_strength(p, c, p.fact_strength, rng), c.fact, p.fact_spread, own)


def _varied(
    strength: NDArray[np.float64],
    group: NDArray[np.integer[Any]],
    spread: float,
    rng: np.random.Generator,
    most: float = 1.0,
) -> NDArray[np.float64]:
    """Return strengths that differ over groups, by a stream of their own: other draws stay what they are."""
    if not spread:
        return strength
    factor = np.exp(spread * rng.standard_normal(int(group.max(initial=0)) + 1) - spread**2 / 2)
    return np.asarray(np.clip(strength * factor[group], 0.0, most))


def _pools(p: Planting, n_groups: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw the neurons of each group's pool, later layers more often: int64, (group, pool)."""
    weight = np.arange(1, p.n_layers + 1, dtype=float)
    layer = rng.choice(p.n_layers, size=(n_groups, p.pool), p=weight / weight.sum())
    return np.asarray(layer * p.n_neurons + rng.integers(p.n_neurons, size=layer.shape), dtype=np.int64)


def _template_pools(p: Planting, c: Columns, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw the pools of templates: half of each is its relation's, the other half its own."""
    own, shared = _pools(p, c.n_templates, rng), _pools(p, c.n_relations, rng)
    half = p.pool // 2
    own[:, :half] = shared[c.relation_of_template, :half]
    if p.shared_templates:
        same = np.arange(len(own))
        same[: p.relations * p.templates] %= p.templates
        own = own[same]
    return own


def _popularity(p: Planting, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw how often noise picks each neuron: log-normal, σ = 1, so that some are far more popular.

    Every network but 0 has the same popularities. If each drew its own, chance overlap would differ between
    networks, and so would D.
    """
    rng = Stream.PLANTED_POPULARITY.generator(p.seed) if p.network else rng
    weight = np.exp(rng.standard_normal(p.n_total))
    return np.asarray(weight / weight.sum())
