"""The layout of one store: its tier, sizes and units, which determine the shape of every array."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from qloc.block import Outline, Unit
from qloc.errors import InputError, message
from qloc.store.schema.phase_layout import PhaseLayout
from qloc.store.schema.phase_variables import PHASES, STATISTICS
from qloc.store.schema.variables import (
    ATTENTION,
    CELLS,
    ERROR_BOUNDS,
    GRAMS,
    NEURONS,
    QUERIES,
    QUERY_OF_FACT_,
    SIGNALS,
    STORED,
    Tier,
    Variable,
)
from qloc.vocabulary import (
    FACT,
    HEAD,
    LAYER,
    METHOD,
    N_PLACES,
    NEURON,
    PLACE,
    QUERY,
    QUERY_OF_FACT,
    RELATION,
    SLOT,
    VOCABULARY,
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The tier, sizes and units of one store; kept in the root attributes, so that any process can read them.

    Attributes
    ----------
    tier : {"panel", "dense"}
        Whether signals are kept for each fact's panel of neurons, or for the whole network.
    floor : float
        Smallest share of the maximum attribution that puts a neuron into a panel, in [0, 1).
    capacity : int
        Largest number of neurons in a panel.
    store_dtype : {"float32", "float64"}
        Floating type of the stored signals.
    methods : tuple of str
        Names of the attribution methods.
    sizes : mapping of str to int
        Length of every axis, except ``slot``, which is known after the last unit, and the axes of phases.
    units : tuple of Unit
        The units, in order.
    relations : tuple of str
        Relations that /statistics has sums of; empty in stores older than these sums.
    error_bounds : bool
        Whether /signals says how exactly paths were integrated; False in stores older than these variables.
    vocabulary : int
        Length of the vocabulary in /neurons; 0 in stores without that group, as older ones.
    phases : mapping of str to PhaseLayout
        Layouts of the phases that were appended, by name.

    Raises
    ------
    InputError
        The tier, floor, capacity or store dtype is not allowed; every problem.
    """

    tier: Tier
    floor: float
    capacity: int
    store_dtype: str
    methods: tuple[str, ...]
    sizes: Mapping[str, int]
    units: tuple[Unit, ...]
    relations: tuple[str, ...] = ()
    error_bounds: bool = False
    vocabulary: int = 0
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
        """Return the layout for an outline and the parameters of the store.

        Parameters
        ----------
        outline : Outline
            Facts, methods, sizes and units of the study.
        tier : {"panel", "dense"}
            Which values of the signals are kept.
        floor : float
            Floor of the panels, in [0, 1).
        capacity : int
            Largest number of neurons in a panel.
        store_dtype : {"float32", "float64"}
            Floating type of the stored signals.

        Returns
        -------
        Layout
            The layout, without phases.
        """
        return cls(
            tier=tier,
            floor=float(floor),
            capacity=int(capacity),
            store_dtype=store_dtype,
            methods=tuple(outline.methods),
            sizes={name: int(size) for name, size in outline.sizes.items()},
            units=tuple(outline.units),
            relations=_relations(outline),
            error_bounds=True,
            vocabulary=int(outline.vocabulary),
        )

    @classmethod
    def read(cls, attrs: Mapping[str, Any], phases: Mapping[str, Any]) -> Layout:
        """Read the layout that :meth:`attrs` wrote, and the phases that have been appended since.

        Parameters
        ----------
        attrs : mapping
            What :meth:`attrs` returned.
        phases : mapping of str to mapping
            What :meth:`PhaseLayout.attrs` returned, by phase. Phases that this version does not know are
            left out; the rest of the store is read as if they were not there.

        Returns
        -------
        Layout
            The layout.

        Raises
        ------
        ValueError, TypeError, LookupError
            The attributes are not those of a layout; says where.
        """
        _refuse_odd(attrs)
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
        """Return the layout without its phases, as JSON.

        Returns
        -------
        dict of str to Any
            A unit is written as [first_fact, last_fact, first_query, last_query], both ranges half open.
        """
        units = [[u.first_fact, u.last_fact, u.first_query, u.last_query] for u in self.units]
        names = ("tier", "floor", "capacity", "store_dtype", "error_bounds", "vocabulary")
        own = {name: getattr(self, name) for name in names}
        lists = {name: list(getattr(self, name)) for name in ("methods", "relations")}
        return {**own, **lists, "sizes": dict(self.sizes), "units": units}

    def signals_attrs(self) -> dict[str, Any]:
        """Return the attributes of /signals that make it readable alone: groups inherit nothing.

        Returns
        -------
        dict of str to Any
            ``n_neurons`` of a layer, ``tier`` and ``floor``.
        """
        return {"n_neurons": self.sizes[NEURON], "tier": self.tier, "floor": self.floor}

    @property
    def n_network(self) -> int:
        """Number of neurons of the whole network."""
        return self.sizes[LAYER] * self.sizes[NEURON]

    @property
    def of_signals(self) -> Layout:
        """The layout as it was before phases were appended."""
        return self.of_phases(())

    def of_phases(self, names: Collection[str]) -> Layout:
        """Return the layout with some of the phases after ``signals`` alone.

        Parameters
        ----------
        names : collection of str
            Phases; those that the store lacks are left out.

        Returns
        -------
        Layout
            The same but for its phases.
        """
        return replace(self, phases={name: of for name, of in self.phases.items() if name in names})

    def variables(self) -> tuple[Variable, ...]:
        """Return every array of the store except those of /facts.

        Returns
        -------
        tuple of Variable
            Attention is left out where it cannot be recorded, statistics where no relation has two facts,
            and :data:`~qloc.store.schema.variables.ERROR_BOUNDS` in older stores, as are
            :data:`~qloc.store.schema.variables.NEURONS`.
        """
        signals = SIGNALS[self.tier]
        if not self.error_bounds:
            signals = tuple(variable for variable in signals if variable.name not in ERROR_BOUNDS)
        attention = ATTENTION if self.sizes[HEAD] else ()
        statistics = STATISTICS if self.relations else ()
        appended = (variable for phase in self.phases.values() for variable in phase.variables())
        neurons = NEURONS if self.vocabulary else ()
        return (*QUERIES, *signals, *attention, *GRAMS, *statistics, *neurons, *appended)

    def dtype(self, variable: Variable) -> str:
        """Return the Zarr dtype of a variable in this store.

        Parameters
        ----------
        variable : Variable
            The variable.

        Returns
        -------
        str
            Its dtype, with the store's own floating type for :data:`~qloc.store.schema.variables.STORED`.
        """
        return self.store_dtype if variable.dtype == STORED else variable.dtype

    def shape(self, variable: Variable, n_slots: int, unit: Unit | None = None) -> tuple[int, ...]:
        """Return the shape of a variable in the whole store, or in the file of one unit.

        Parameters
        ----------
        variable : Variable
            The variable.
        n_slots : int
            Length of the axis ``slot``.
        unit : Unit, optional
            The unit; the axes ``query`` and ``fact`` then have its lengths.

        Returns
        -------
        tuple of int
            The length of each dim.
        """
        phase = next((layout for layout in self.phases.values() if variable.group in layout.groups), None)
        sizes = {
            **self.sizes,
            **(phase.lengths if phase else {}),
            RELATION: len(self.relations),
            METHOD: len(self.methods),
            SLOT: n_slots,
            QUERY_OF_FACT_: self.sizes[QUERY_OF_FACT],
            VOCABULARY: self.vocabulary,
            PLACE: N_PLACES,
        }
        if unit is not None:
            sizes |= {QUERY: unit.n_queries, FACT: unit.n_facts}
        return tuple(sizes[dim] for dim in variable.dims)

    def labels(self, variable: Variable) -> tuple[str, ...] | None:
        """Return the labels that a coordinate holds along its own axis.

        Parameters
        ----------
        variable : Variable
            The variable.

        Returns
        -------
        tuple of str or None
            The labels; None if the variable is no such coordinate.
        """
        if variable.dims != (variable.name,):
            return None
        own = {METHOD: self.methods, RELATION: self.relations}
        appended = (phase.labels for phase in self.phases.values() if variable.group in phase.groups)
        return {**own, **next(appended, {})}[variable.name]


MOST: Final = 2**48
"""Longest axis that a layout may give."""


def _refuse_odd(attrs: Mapping[str, Any]) -> None:
    """Refuse sizes that are none, and units that do not follow each other over all facts and queries."""
    lengths = {**attrs["sizes"], VOCABULARY: attrs.get("vocabulary", 0)}
    odd = {name: size for name, size in lengths.items() if type(size) is not int or not 0 <= size <= MOST}
    if odd:
        raise ValueError(f"sizes {odd!r}, which are no whole numbers from 0 to {MOST}")
    texts = [*attrs["methods"], *attrs.get("relations", ())]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"methods and relations {texts!r}, not all of which are texts")
    fact = query = 0
    for number, unit in enumerate(attrs["units"]):
        whole = isinstance(unit, list) and len(unit) == 4 and all(type(n) is int for n in unit)
        if not whole or (unit[0], unit[2]) != (fact, query) or unit[1] <= fact or unit[3] < query:
            raise ValueError(
                f"unit {number} of {unit!r}, which does not follow fact {fact} and query {query}"
            )
        fact, query = unit[1], unit[3]
    if (fact, query) != (attrs["sizes"][FACT], attrs["sizes"][QUERY]):
        raise ValueError(f"units up to fact {fact} and query {query}, which are not all of its sizes")


def _relations(outline: Outline) -> tuple[str, ...]:
    """Relations that two or more facts are asked for, in the order of the facts."""
    relation, n_queries = (np.asarray(outline.facts.get(name, ())) for name in ("relation", "n_queries"))
    if relation.shape != n_queries.shape:
        return ()  # refused when the skeleton is made
    counts = Counter(str(name) for name in relation[n_queries > 0])
    return tuple(name for name, n in counts.items() if n > 1)
