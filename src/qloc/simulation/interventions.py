"""Planted outcomes of interventions: effects of known size, nested as in a real study.

The log-odds that query q loses under set s are m_s + per_neuron · n + one term each for relation, answer,
template, fact and query. The terms are normal with mean 0 and are drawn anew for every set. Two sets with the
same m_s therefore differ by noise only, and this noise is shared among queries as it is in a real study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from qloc.arrays import Floats
from qloc.phase_plan import (
    NEURON_SETS,
    OPERATIONS,
    REPROMPT_SETS,
    SYNAPSE_OPERATIONS,
    SYNAPSE_SETS,
    InterventionPlan,
)
from qloc.random_streams import Stream
from qloc.simulation.planted import Planted

LOST: Final[Mapping[str, float]] = {
    **{"own": 3.0, "neighbor": 2.0, "union": 5.0, "intersection": 1.0, "refined": 1.5, "top": 3.0},
    **{"own_minus_neighbor": 2.0, "neighbor_minus_own": 1.0, "other_fact": 0.5, "matched": 0.0},
    **{"reprompt": 3.0, "own_minus_reprompt": 0.6, "reprompt_minus_own": 0.4},
    **{"published": 2.0, "knowledge": 3.0, "random_columns": 1.0, "other_heads": 1.5},
}
"""Mean log-odds lost, by set. Under an enhancement, half as much is gained."""


@dataclass(frozen=True, kw_only=True)
class Effects:
    """Parameters of planted outcomes.

    Attributes
    ----------
    mean : mapping of str to float
        Set → mean log-odds moved. A set that is not named moves ``size`` times its value in :data:`LOST` (for
        edits, in :data:`qloc.simulation.edits.MOVED`).
    size : float
        Factor of these default means. 0: no set moves an answer, except by chance.
    per_neuron : float
        Log-odds added for each neuron that is changed.
    relation, answer, template, fact, query : float
        Standard deviation of each term, in log-odds.
    skewed : bool
        Whether the terms of facts are exponential (mean 0) rather than normal.
    skewed_relations : bool
        Whether the terms of relations are exponential (mean 0) rather than normal.
    kept : float or None
        Share of N_i that the set N_i′ of the re-prompt contains; N_i′ is as large as N_i. None: N_i′ is as
        large, and as near to N_i, as the set of another query of the fact.
    damage_error : float
        Standard deviation of the error with which the damage of an edit is measured, in nats a token; each
        half of the text has an error of its own, √2 times as large.
    seed : int
        Seed of these draws; the seed of the sets is another.
    """

    mean: Mapping[str, float] = field(default_factory=dict)
    size: float = 1.0
    per_neuron: float = 0.0
    relation: float = 0.3
    answer: float = 0.3
    template: float = 0.3
    fact: float = 0.5
    query: float = 1.0
    skewed: bool = False
    kept: float | None = 0.9
    skewed_relations: bool = False
    damage_error: float = 0.0
    seed: int = 0

    def parameters(self) -> dict[str, Any]:
        """Return the parameters for the fingerprint; a later one that plants nothing is left out.

        Returns
        -------
        dict of str to Any
            JSON only.
        """
        later = ("damage_error", "skewed_relations")
        return {name: value for name, value in asdict(self).items() if value or name not in later}

    def of(self, name: str, otherwise: Mapping[str, float] = LOST) -> float:
        """Return the mean log-odds that a set moves.

        Parameters
        ----------
        name : str
            The set.
        otherwise : mapping of str to float
            Set → mean of sets that ``mean`` does not name, before ``size`` scales it.

        Returns
        -------
        float
            0 where neither mapping names the set.
        """
        return self.mean.get(name, self.size * otherwise.get(name, 0.0))


def nested(planted: Planted, effects: Effects, rng: np.random.Generator) -> Floats:
    """Draw the sum of the nested terms of every query once.

    Parameters
    ----------
    planted : Planted
        The study.
    effects : Effects
        How much arms move on average, and how much this varies.
    rng : numpy.random.Generator
        The generator to draw from.

    Returns
    -------
    float64 ndarray, shape (query,)
        Log-odds.
    """
    c = planted.columns
    total = effects.query * rng.standard_normal(c.n_queries)
    answer = np.unique(c.answer, return_inverse=True)[1]
    for code, scale in (
        (c.relation_code, effects.relation),
        (answer, effects.answer),
        (c.shared_template, effects.template),
    ):
        size = int(code.max(initial=0)) + 1
        skewed = effects.skewed_relations and code is c.relation_code
        total += scale * (rng.exponential(size=size) - 1 if skewed else rng.standard_normal(size))[code]
    drawn = rng.exponential(size=c.n_facts) - 1 if effects.skewed else rng.standard_normal(c.n_facts)
    return np.asarray(total + effects.fact * drawn[c.fact])


def log_p(odds: Floats) -> NDArray[np.float32]:
    """Return log P of log-odds, log P = −log(1 + exp(−odds)).

    Parameters
    ----------
    odds : float64 ndarray
        Log-odds, of any shape.

    Returns
    -------
    float32 ndarray
        Of the same shape; NaN stays NaN.

    Examples
    --------
    >>> float(np.exp(log_p(np.array([0.0]))[0]))
    0.5
    """
    with np.errstate(invalid="ignore"):  # NaN stays NaN
        return np.asarray(-np.logaddexp(0.0, -odds), dtype=np.float32)


def base_odds(planted: Planted) -> Floats:
    """Return the log-odds of the answers with nothing changed.

    Parameters
    ----------
    planted : Planted
        The study.

    Returns
    -------
    float64 ndarray, shape (query,)
        log P − log(1 − P) of each query's answer.
    """
    value = planted.columns.log_probability.astype(np.float64)
    return np.asarray(value - np.log(-np.expm1(value)))


def interventions_of(
    planted: Planted,
    effects: Effects,
    operations: Sequence[str] = OPERATIONS,
    sets: Sequence[str] = NEURON_SETS,
) -> xr.Dataset:
    """Draw group ``/interventions``, under the names and dims of the store's contract.

    Parameters
    ----------
    planted : Planted
        The study.
    effects : Effects
        How much arms move on average, and how much this varies.
    operations : sequence of str
        Operations on neurons, of :data:`qloc.phase_plan.OPERATIONS`.
    sets : sequence of str
        Neuron sets, of :data:`qloc.phase_plan.NEURON_SETS`.

    Returns
    -------
    xarray.Dataset
        Every variable of the group, and the labels of its queries.
    """
    rng = Stream.PLANTED_INTERVENTIONS.generator(effects.seed)
    neighbor, sizes = _neighbors(planted, rng)
    sizes |= _again(planted, effects)
    n = np.stack([sizes.get(name, sizes["own"]) for name in sets])
    variables = _outcomes(planted, effects, ("operation", operations), ("neuron_set", sets), n, rng)
    variables |= {
        f"base_{name}": (("query",), column) for name, column in _answer_columns(base_odds(planted)).items()
    }
    variables |= {"n_neurons": (("neuron_set", "query"), n.astype(np.int32))}
    for name in ("neighbor", "other_fact"):
        variables[name] = (("query",), neighbor.astype(np.int32))
    return xr.Dataset(variables, coords=coordinates(planted), attrs=_attrs(planted)).assign_coords(
        operation=list(operations), neuron_set=list(sets)
    )


def reprompts_of(planted: Planted, effects: Effects) -> xr.Dataset:
    """Draw group ``/reprompts``: known queries, two of a fact at most, asked again and known as before.

    Parameters
    ----------
    planted : Planted
        The study.
    effects : Effects
        How much arms move on average, and how much this varies.

    Returns
    -------
    xarray.Dataset
        Every variable of the group, and the labels of its queries.
    """
    sizes = _again(planted, effects)
    asked = sizes["reprompt"] > 0
    columns = {
        "n_neurons": np.where(asked, sizes["reprompt"], -1).astype(np.int32),
        "n_shared": np.where(asked, sizes["reprompt"] - sizes["own_minus_reprompt"], -1).astype(np.int32),
        "log_probability": np.where(asked, log_p(base_odds(planted)), np.float32(np.nan)),
        "rank": np.where(asked, 1, -1).astype(np.int32),
    }
    variables = {name: (("query",), values) for name, values in columns.items()}
    return xr.Dataset(variables, coords=coordinates(planted), attrs=_attrs(planted))


def synapses_of(
    planted: Planted,
    effects: Effects,
    operations: Sequence[str] = SYNAPSE_OPERATIONS,
    sets: Sequence[str] = SYNAPSE_SETS,
) -> xr.Dataset:
    """Draw group ``/synapses``, under the names and dims of the store's contract.

    Activations move by a tenth of what log-odds do. In a fifth of the queries a control removes less mass.

    Parameters
    ----------
    planted : Planted
        The study.
    effects : Effects
        How much arms move on average, and how much this varies.
    operations : sequence of str
        Operations on synapses, of :data:`qloc.phase_plan.SYNAPSE_OPERATIONS`.
    sets : sequence of str
        Sets of synapses, of :data:`qloc.phase_plan.SYNAPSE_SETS`.

    Returns
    -------
    xarray.Dataset
        Every variable of the group, and the labels of its queries.
    """
    rng = Stream.PLANTED_SYNAPSES.generator(effects.seed)
    n_queries = planted.columns.n_queries
    dims = ("synapse_operation", operations), ("synapse_set", sets)
    variables = _outcomes(planted, effects, *dims, np.zeros((len(sets), n_queries)), rng)
    shape = (len(operations), len(sets), n_queries)
    moved, matched = np.empty(shape), np.empty(shape)
    for o, operation in enumerate(operations):
        for s, name in enumerate(sets):
            lost = 0.1 * (effects.of(name) + nested(planted, effects, rng))
            matched[o, s] = 0.05 * nested(planted, effects, rng)
            moved[o, s] = matched[o, s] + (lost / 2 if operation.startswith("enhance") else -lost)
    moved[..., planted.columns.empty] = np.nan
    names = ("synapse_operation", "synapse_set", "query")
    mass = np.repeat(rng.gamma(4.0, 2.0, n_queries)[None], len(sets), axis=0)
    mass[1:] *= np.where(rng.random((len(sets) - 1, n_queries)) < 0.2, 0.7, 1.0)
    if "knowledge" in sets:
        mass[list(sets).index("knowledge")] = mass[0]
    variables |= {
        "activation_effect": (names, moved.astype(np.float32)),
        "matched_effect": (names, matched.astype(np.float32)),
        "n_columns": (names[1:], np.full((len(sets), n_queries), 8, dtype=np.int32)),
        "removed_mass": (names[1:], mass.astype(np.float32)),
    }
    return xr.Dataset(variables, coords=coordinates(planted), attrs=_attrs(planted)).assign_coords(
        synapse_operation=list(operations), synapse_set=list(sets)
    )


def _outcomes(
    planted: Planted,
    effects: Effects,
    operation: tuple[str, Sequence[str]],
    arm: tuple[str, Sequence[str]],
    n: NDArray[Any],
    rng: np.random.Generator,
) -> dict[str, tuple[tuple[str, ...], NDArray[Any]]]:
    """Draw the answers after every change; NaN and -1 where a query has no set."""
    base, empty = base_odds(planted), planted.columns.empty
    gone: dict[str, NDArray[Any]] = {
        name: empty | (n[place] == 0) for place, name in enumerate(arm[1]) if name in REPROMPT_SETS
    }
    outcomes: dict[str, list[list[NDArray[Any]]]] = {}
    for label in operation[1]:
        rows: dict[str, list[NDArray[Any]]] = {}
        for place, name in enumerate(arm[1]):
            lost = effects.of(name) + effects.per_neuron * n[place] + nested(planted, effects, rng)
            after = base + lost / 2 if label.startswith("enhance") else base - lost
            for key, column in _answer_columns(after).items():
                nothing: float = -1 if column.dtype.kind == "i" else np.nan
                missing = gone.get(name, empty)
                rows.setdefault(key, []).append(np.where(missing, nothing, column).astype(column.dtype))
        for key, columns in rows.items():
            outcomes.setdefault(key, []).append(columns)
    dims = (operation[0], arm[0], "query")
    return {key: (dims, np.array(columns)) for key, columns in outcomes.items()}


def _answer_columns(odds: Floats) -> dict[str, NDArray[Any]]:
    """Return the outcomes that are stored, from the log-odds of the answer."""
    rank = np.where(odds > 0, 1, 2)
    return {
        "log_probability": log_p(odds),
        "logit": odds.astype(np.float32),
        "margin": odds.astype(np.float32),
        "rank": rank.astype(np.int32),
        "argmax": np.where(rank == 1, 10, 11).astype(np.int32),
    }


def _again(planted: Planted, effects: Effects) -> dict[str, NDArray[Any]]:
    """Draw how many neurons the sets of re-prompts have; 0 where a query is not asked again."""
    rng = Stream.PLANTED_REPROMPTS.generator(effects.seed)
    c, size = planted.columns, np.diff(planted.member.indptr)
    fact = c.fact.astype(np.int64)
    neighbor, near = _neighbors(planted, rng)
    usable = c.known & ~c.leaks[fact] & (c.kind == "fact") & (size > 0) & (neighbor >= 0)
    order = np.lexsort((rng.random(len(fact)), ~usable, fact))  # a fact's usable queries first, shuffled
    place = np.empty(len(fact), dtype=np.int64)
    place[order] = np.arange(len(fact)) - np.searchsorted(fact, fact)
    asked = usable & (place < InterventionPlan().reprompted)
    apart = near["own_minus_neighbor"] if effects.kept is None else rng.binomial(size, 1 - effects.kept)
    apart = np.where(asked, apart, 0)
    return {"reprompt": np.where(asked, size, 0), "own_minus_reprompt": apart, "reprompt_minus_own": apart}


def _neighbors(
    planted: Planted, rng: np.random.Generator
) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
    """Draw another query of each query's fact, and count the neurons in the sets that depend on it."""
    fact, member = planted.columns.fact.astype(np.int64), planted.member
    size = np.diff(member.indptr)
    first = np.searchsorted(fact, fact)
    k = np.searchsorted(fact, fact, side="right") - first
    place = np.arange(len(fact)) - first
    step = 1 + (rng.random(len(fact)) * (k - 1)).astype(np.int64)
    neighbor = np.where(k > 1, first + (place + step) % np.maximum(k, 1), -1)
    shared = np.asarray(member.astype(np.int32).multiply(member[neighbor].astype(np.int32)).sum(axis=1))
    apart = np.where(k > 1, np.minimum(size, size[neighbor]) - shared.ravel(), 0)
    sizes = {"own": size, "own_minus_neighbor": apart, "neighbor_minus_own": apart}
    return neighbor, sizes


def coordinates(planted: Planted) -> dict[str, tuple[tuple[str, ...], NDArray[Any]]]:
    """Return the labels of queries that every group repeats.

    Parameters
    ----------
    planted : Planted
        The study.

    Returns
    -------
    dict of str to tuple
        Name → dims and values, (query,).
    """
    c = planted.columns
    return {name: (("query",), getattr(c, name)) for name in ("fact", "relation", "template")}


def _attrs(planted: Planted) -> dict[str, Any]:
    constants = {"threshold": 0.2, "alpha": 2.0, "reprompt": InterventionPlan().reprompt}
    return {"method": planted.planting.methods[0], **constants}
