"""The layout of one store: its tier, its sizes, its units; from them the shape of every array."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from qloc.block import Outline, Unit
from qloc.errors import InputError, message
from qloc.store.schema.phase_layout import PhaseLayout
from qloc.store.schema.phase_variables import PHASES, STATISTICS
from qloc.store.schema.variables import (
    ATTENTION,
    CELLS,
    GRAMS,
    QUERIES,
    QUERY_OF_FACT_,
    SIGNALS,
    STORED,
    Tier,
    Variable,
)
from qloc.vocabulary import FACT, HEAD, LAYER, METHOD, NEURON, QUERY, QUERY_OF_FACT, RELATION, SLOT


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the arrays of one store look like; kept in the root attributes, so that any process can read it.

    Attributes
    ----------
    sizes : length of every axis but ``slot``, which is known when the last unit is, and but those of phases.
    relations : those that /statistics has sums of; none in a store of before there were any.
    phases : the layouts of the phases that were appended, by name.
    """

    tier: Tier
    floor: float
    capacity: int
    store_dtype: str
    methods: tuple[str, ...]
    sizes: Mapping[str, int]
    units: tuple[Unit, ...]
    relations: tuple[str, ...] = ()
    phases: Mapping[str, PhaseLayout] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where, problems = "store layout", []
        if self.tier not in CELLS:
            problems.append(message("tier", self.tier, "panel or dense", where, "Give one of these"))
        if not 0 <= self.floor < 1:
            problems.append(
                message("floor", self.floor, "a number in [0, 1)", where, "Give a share of the maximum")
            )
        if self.capacity < 1:
            problems.append(
                message("capacity", self.capacity, "a whole number ≥ 1", where, "Give a panel size")
            )
        if self.store_dtype not in ("float32", "float64"):
            problems.append(
                message("store dtype", self.store_dtype, "float32 or float64", where, "Give one of these")
            )
        if problems:
            raise InputError(problems)

    @classmethod
    def of(cls, outline: Outline, *, tier: Tier, floor: float, capacity: int, store_dtype: str) -> Layout:
        """The layout of the store that an outline and the store's own parameters lead to."""
        return cls(
            tier=tier,
            floor=float(floor),
            capacity=int(capacity),
            store_dtype=store_dtype,
            methods=tuple(outline.methods),
            sizes={name: int(size) for name, size in outline.sizes.items()},
            units=tuple(outline.units),
            relations=_relations(outline),
        )

    @classmethod
    def read(cls, attrs: Mapping[str, Any], phases: Mapping[str, Any]) -> Layout:
        """The layout that :meth:`attrs` wrote, with the phases that were appended to it since.

        Parameters
        ----------
        phases : what :meth:`PhaseLayout.attrs` wrote, by phase; those that this version does not know are
            left out: whatever is in them, the rest is as it was.
        """
        units = tuple(
            Unit(number=n, first_fact=a, last_fact=b, first_query=c, last_query=d)
            for n, (a, b, c, d) in enumerate(attrs["units"])
        )
        lists = {name: tuple(attrs.get(name, ())) for name in ("methods", "relations")}
        appended = {name: PhaseLayout.read(name, phases[name]) for name in PHASES if name in phases}
        layout = cls(**{**attrs, **lists, "units": units, "phases": appended})
        for variable in layout.variables():
            layout.shape(variable, 0)  # raises where an axis has no length
        return layout

    def attrs(self) -> dict[str, Any]:
        """As JSON, but for phases; a unit is [first_fact, last_fact, first_query, last_query], half open."""
        units = [[u.first_fact, u.last_fact, u.first_query, u.last_query] for u in self.units]
        names = ("tier", "floor", "capacity", "store_dtype")
        own = {name: getattr(self, name) for name in names}
        lists = {name: list(getattr(self, name)) for name in ("methods", "relations")}
        return {**own, **lists, "sizes": dict(self.sizes), "units": units}

    def signals_attrs(self) -> dict[str, Any]:
        """What is needed to read /signals alone: groups inherit nothing."""
        return {"n_neurons": self.sizes[NEURON], "tier": self.tier, "floor": self.floor}

    @property
    def n_network(self) -> int:
        """Neurons of the whole network."""
        return self.sizes[LAYER] * self.sizes[NEURON]

    @property
    def of_signals(self) -> Layout:
        """The layout as it was before phases were appended."""
        return replace(self, phases={})

    def variables(self) -> tuple[Variable, ...]:
        """Every array but those of /facts; no attention where it cannot be recorded."""
        attention = ATTENTION if self.sizes[HEAD] else ()
        statistics = STATISTICS if self.relations else ()
        appended = (variable for phase in self.phases.values() for variable in phase.variables())
        return (*QUERIES, *SIGNALS[self.tier], *attention, *GRAMS, *statistics, *appended)

    def dtype(self, variable: Variable) -> str:
        """Zarr dtype of a variable in this store."""
        return self.store_dtype if variable.dtype == STORED else variable.dtype

    def shape(self, variable: Variable, n_slots: int, unit: Unit | None = None) -> tuple[int, ...]:
        """Shape of a variable in the whole store, or in one unit's file."""
        phase = next((found for found in self.phases.values() if variable.group in found.groups), None)
        sizes = {
            **self.sizes,
            **(phase.lengths if phase else {}),
            RELATION: len(self.relations),
            METHOD: len(self.methods),
            SLOT: n_slots,
            QUERY_OF_FACT_: self.sizes[QUERY_OF_FACT],
        }
        if unit is not None:
            sizes |= {QUERY: unit.n_queries, FACT: unit.n_facts}
        return tuple(sizes[dim] for dim in variable.dims)

    def labels(self, variable: Variable) -> tuple[str, ...] | None:
        """What a coordinate along its own axis holds; None of another variable."""
        if variable.dims != (variable.name,):
            return None
        own = {METHOD: self.methods, RELATION: self.relations}
        appended = (phase.labels for phase in self.phases.values() if variable.group in phase.groups)
        return {**own, **next(appended, {})}[variable.name]


def _relations(outline: Outline) -> tuple[str, ...]:
    """Relations that two or more facts are asked for, in the order of the facts."""
    relation, n_queries = (np.asarray(outline.facts.get(name, ())) for name in ("relation", "n_queries"))
    if relation.shape != n_queries.shape:
        return ()  # refused when the skeleton is made
    counts = Counter(str(name) for name in relation[n_queries > 0])
    return tuple(name for name, n in counts.items() if n > 1)
