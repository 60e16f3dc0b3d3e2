"""The layout of one store: its tier, its sizes, its units; from them the shape of every array."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qloc.block import Outline, Unit
from qloc.errors import InputError, message
from qloc.store.schema import (
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
from qloc.vocabulary import FACT, HEAD, LAYER, METHOD, NEURON, QUERY, QUERY_OF_FACT, SLOT


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the arrays of one store look like; kept in the root attributes, so that any process can read it.

    Attributes
    ----------
    sizes : length of every axis but ``slot``, which is known when the last unit is.
    """

    tier: Tier
    floor: float
    capacity: int
    store_dtype: str
    methods: tuple[str, ...]
    sizes: Mapping[str, int]
    units: tuple[Unit, ...]

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
        )

    @classmethod
    def read(cls, attrs: Mapping[str, Any]) -> Layout:
        """The layout that :meth:`attrs` wrote."""
        units = tuple(
            Unit(number=n, first_fact=a, last_fact=b, first_query=c, last_query=d)
            for n, (a, b, c, d) in enumerate(attrs["units"])
        )
        return cls(**{**attrs, "methods": tuple(attrs["methods"]), "units": units})

    def attrs(self) -> dict[str, Any]:
        """As JSON; a unit is [first_fact, last_fact, first_query, last_query], half open."""
        units = [[u.first_fact, u.last_fact, u.first_query, u.last_query] for u in self.units]
        names = ("tier", "floor", "capacity", "store_dtype")
        own = {name: getattr(self, name) for name in names}
        return {**own, "methods": list(self.methods), "sizes": dict(self.sizes), "units": units}

    def signals_attrs(self) -> dict[str, Any]:
        """What is needed to read /signals alone: groups inherit nothing."""
        return {"n_neurons": self.sizes[NEURON], "tier": self.tier, "floor": self.floor}

    @property
    def n_network(self) -> int:
        """Neurons of the whole network."""
        return self.sizes[LAYER] * self.sizes[NEURON]

    def variables(self) -> tuple[Variable, ...]:
        """Every array but those of /facts; no attention where it cannot be recorded."""
        attention = ATTENTION if self.sizes[HEAD] else ()
        return (*QUERIES, *SIGNALS[self.tier], *attention, *GRAMS)

    def dtype(self, variable: Variable) -> str:
        """Zarr dtype of a variable in this store."""
        return self.store_dtype if variable.dtype == STORED else variable.dtype

    def shape(self, variable: Variable, n_slots: int, unit: Unit | None = None) -> tuple[int, ...]:
        """Shape of a variable in the whole store, or in one unit's file."""
        sizes = {
            **self.sizes,
            METHOD: len(self.methods),
            SLOT: n_slots,
            QUERY_OF_FACT_: self.sizes[QUERY_OF_FACT],
        }
        if unit is not None:
            sizes |= {QUERY: unit.n_queries, FACT: unit.n_facts}
        return tuple(sizes[dim] for dim in variable.dims)
