"""The phases of a planted study after ``signals``, as extraction would hand them over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Self

import xarray as xr

from qloc.arrays import Array
from qloc.block import PhaseBlock, PhaseOutline, Unit
from qloc.simulation.edits import edits_of
from qloc.simulation.interventions import Effects, interventions_of, reprompts_of, synapses_of
from qloc.simulation.planted import Planted
from qloc.vocabulary import FACT, PROBE, QUERY, STEP

Phase = Literal["interventions", "edits"]
PHASES: Final[tuple[Phase, ...]] = ("interventions", "edits")
_SIZES: Final = (PROBE, STEP)
_ADDED: Final = "reprompts"
"""A group that is there only where an outline names it."""


@dataclass(frozen=True)
class PlantedPhase:
    """The groups of one phase, of all facts: of effects that are drawn for all of them together.

    Attributes
    ----------
    groups : name → Dataset, under the names and dims of the store's contract.
    """

    name: Phase
    groups: Mapping[str, xr.Dataset]

    @classmethod
    def of(cls, planted: Planted, effects: Effects, name: Phase) -> Self:
        """A phase with effects of known size."""
        if name == "edits":
            return cls(name, {"edits": edits_of(planted, effects)})
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
        added = (_ADDED,) if _ADDED in self.groups else ()
        return PhaseOutline(phase=self.name, labels=labels, sizes=sizes, attrs=attrs, added=added)

    def block(self, unit: Unit) -> PhaseBlock:
        """One unit's rows."""
        rows = {
            QUERY: slice(unit.first_query, unit.last_query),
            FACT: slice(unit.first_fact, unit.last_fact),
        }
        arrays: dict[str, Array] = {}
        for group, found in self.groups.items():
            here = found.isel({dim: rows[dim] for dim in rows if dim in found.dims})
            arrays |= {f"{group}/{name}": here[name].values for name in here.data_vars}
        return PhaseBlock(unit=unit, arrays=arrays)
