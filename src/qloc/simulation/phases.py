"""The phases after ``signals`` of a planted study, in the form of extraction's results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Self, get_args

import xarray as xr

from qloc.arrays import Array
from qloc.block import PhaseBlock, PhaseOutline, Unit
from qloc.simulation.edits import planted_edits
from qloc.simulation.entailments import planted_entailments
from qloc.simulation.interventions import Effects, interventions_of, reprompts_of, synapses_of
from qloc.simulation.planted import Planted
from qloc.simulation.tracing import planted_tracing
from qloc.vocabulary import ENTAILED, FACT, PROBE, QUERY, STEP

PlantedPhaseName = Literal["interventions", "edits", "tracing"]
PLANTED_PHASES: Final[tuple[PlantedPhaseName, ...]] = get_args(PlantedPhaseName)
PLANTED_BY_DEFAULT: Final[tuple[PlantedPhaseName, ...]] = ("interventions", "edits")
"""Those that are planted where effects are given and no phase is named."""

_SIZES: Final = (PROBE, STEP, ENTAILED)
_ADDED: Final = ("reprompts", "edits/text_nats_first", "edits/text_nats_second", "entailments")
"""Groups and variables that are there only where an outline names them."""


@dataclass(frozen=True)
class PlantedPhase:
    """The groups of one phase, with the rows of all facts.

    Effects are drawn for all facts together, since the terms of relations, answers and templates are shared.

    Attributes
    ----------
    name : {"interventions", "edits", "tracing"}
        The phase.
    groups : mapping of str to xarray.Dataset
        Group → Dataset, under the names and dims of the store's contract.
    """

    name: PlantedPhaseName
    groups: Mapping[str, xr.Dataset]

    @classmethod
    def of(cls, planted: Planted, effects: Effects, name: PlantedPhaseName) -> Self:
        """Draw a phase with effects of known size.

        Parameters
        ----------
        planted : Planted
            The study.
        effects : Effects
            How much arms move on average, and how much this varies.
        name : {"interventions", "edits", "tracing"}
            The phase.

        Returns
        -------
        PlantedPhase
            The same for the same arguments.
        """
        if name == "edits":
            edits = planted_edits(planted, effects)
            return cls(name, {"edits": edits, "entailments": planted_entailments(planted, effects, edits)})
        if name == "tracing":
            return cls(name, {"tracing": planted_tracing(planted, effects)})
        groups = {
            "interventions": interventions_of(planted, effects),
            "synapses": synapses_of(planted, effects),
            "reprompts": reprompts_of(planted, effects),
        }
        return cls(name, groups)

    @property
    def outline(self) -> PhaseOutline:
        """Labels and sizes of the phase's own axes."""
        labels = {
            str(dim): tuple(map(str, group[dim].values))
            for group in self.groups.values()
            for dim in group.dims
            if dim in group.coords
        }
        lengths = {str(dim): n for group in self.groups.values() for dim, n in group.sizes.items()}
        sizes: dict[str, int] = {dim: lengths[dim] for dim in _SIZES if dim in lengths}
        attrs = {str(name): value for group in self.groups.values() for name, value in group.attrs.items()}
        variables = {f"{group}/{name}" for group in self.groups for name in self.groups[group].data_vars}
        added = tuple(name for name in _ADDED if name in {*self.groups, *variables})
        return PhaseOutline(phase=self.name, labels=labels, sizes=sizes, attrs=attrs, added=added)

    def block(self, unit: Unit) -> PhaseBlock:
        """Return the rows of one unit.

        Parameters
        ----------
        unit : Unit
            The facts and queries to take.

        Returns
        -------
        PhaseBlock
            Their rows of every group.
        """
        rows = {
            QUERY: slice(unit.first_query, unit.last_query),
            FACT: slice(unit.first_fact, unit.last_fact),
        }
        arrays: dict[str, Array] = {}
        for group, dataset in self.groups.items():
            here = dataset.isel({dim: rows[dim] for dim in rows if dim in dataset.dims})
            arrays |= {f"{group}/{name}": here[name].values for name in here.data_vars}
        return PhaseBlock(unit=unit, arrays=arrays)
