"""StoredStudy: a store as xarray Datasets, read lazily, complete or not.

A complete store is opened as anybody's Zarr; an unfinished one through :mod:`qloc.store.reading.unfinished`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from qloc.block import Unit
from qloc.errors import VerificationError
from qloc.store.files.place import Folder, Place
from qloc.store.files.url import Url
from qloc.store.integrity import check, verify
from qloc.store.places.open_place import place_of
from qloc.store.reading import unfinished
from qloc.store.schema import metadata
from qloc.store.schema.layout import Layout
from qloc.store.schema.variables import FACTS
from qloc.vocabulary import RELATION

GROUPS: Final = (
    *("facts", "queries", "signals", "grams", "attention", "statistics"),
    *("interventions", "synapses", "reprompts", "edits"),
)
"""Those that a store may have; the first four are in every one."""


@dataclass(frozen=True, kw_only=True)
class StoredStudy:
    """What one extraction cached.

    Attributes
    ----------
    path : the store: a folder, an archive of one, or the URL of either.
    complete : whether every unit is in it; where not, only the queries of the units that are.
    layout : tier, floor, methods, sizes and units of the extraction as planned.
    attrs : root attributes: what describes the study (model, site, excluded queries …) and its fingerprint.
    facts, queries, signals, grams : one Dataset a group, with the variables of docs/store.md; chunked,
        and read when computed. Strings are objects. Groups with the coordinate ``relation`` can be selected
        by it: ``.sel(relation="P36")``.
    attention : likewise, or None where it could not be recorded.
    statistics : sums over relations; None in an unfinished store, and where there are none.
    interventions, synapses, reprompts, edits : of the phases that were appended; None of others.
    missing : units that are planned but not in the store.
    """

    path: Path | Url
    complete: bool
    layout: Layout
    attrs: Mapping[str, Any]
    facts: xr.Dataset
    queries: xr.Dataset
    signals: xr.Dataset
    grams: xr.Dataset
    attention: xr.Dataset | None
    statistics: xr.Dataset | None
    interventions: xr.Dataset | None
    synapses: xr.Dataset | None
    reprompts: xr.Dataset | None
    edits: xr.Dataset | None
    missing: tuple[Unit, ...]

    @property
    def floors(self) -> NDArray[np.float64]:
        """Least exact threshold of each fact: float64, (fact,); 0 in the dense tier, NaN without queries."""
        floors: NDArray[np.float64] = self.signals["panel_floor"].to_numpy()
        return np.where(np.isnan(floors), np.nan, 0.0) if self.layout.tier == "dense" else floors

    @property
    def candidates(self) -> dict[str, tuple[str, ...]]:
        """The candidate answers of each relation, in the order of the ``candidate`` axis."""
        return {relation: tuple(answers) for relation, answers in self.facts.attrs["candidates"].items()}


def open_store(path: str | Path | Place, *, phases: bool = True) -> StoredStudy:
    """Open a store lazily, complete or not; a packed one in place, a complete one also by its URL.

    Parameters
    ----------
    phases : whether with those that were appended to it. Without them it is what these are chosen from, and
        it is not looked whether all objects are there: for whoever has made sure of that.

    Raises
    ------
    SchemaError : the path is no qloc store, one of another schema, or one with parts missing; every problem.
    VerificationError : it is said to be complete, but objects are missing or of another size, each named: a
        missing shard would be read as missing values. Or an archive or a URL has what no store has.
    InputError, MissingDependencyError, RemoteError : a URL that cannot be read.
    """
    place = place_of(path)
    path = place.path
    layout = check.layout_of(place)
    layout = layout if phases else layout.of_signals
    whole = check.complete(place)
    if not isinstance(place, Folder) and (problems := metadata.problems(place)):
        raise VerificationError(problems)
    check.check(place, layout, whole=whole)
    if whole and phases:
        verify.require_present(place)
    facts = _group(place, "facts", [variable.name for variable in FACTS])
    absent: tuple[Unit, ...] = ()
    if whole:
        groups = {"facts": facts, **_complete(place, layout)}
    else:
        groups, absent = unfinished.groups(Path(path), layout, facts)
    found = {name: _by_relation(groups[name]) if name in groups else None for name in GROUPS}
    return StoredStudy(
        path=path,
        complete=whole,
        layout=layout,
        attrs=check.root_attributes(place),
        missing=absent,
        **found,  # type: ignore[arg-type]  # the first four are in every store
    )


def _by_relation(group: xr.Dataset) -> xr.Dataset:
    selectable = RELATION in group.coords and RELATION not in group.xindexes
    return group.set_xindex(RELATION) if selectable else group


def _complete(place: Place, layout: Layout) -> dict[str, xr.Dataset]:
    names = dict.fromkeys(variable.group for variable in layout.variables())
    return {
        name: _group(place, name, [v.name for v in layout.variables() if v.group == name]) for name in names
    }


def _group(place: Place, name: str, order: list[str]) -> xr.Dataset:
    """One group of the hierarchy, in dask chunks as long as its shards; strings as objects.

    What an index is made of is in memory at once, without dask.
    """
    opened: xr.Dataset = xr.open_zarr(place.zarr(), group=name, consolidated=False, chunks=None)
    values: dict[Hashable, xr.Variable] = {}
    for key, variable in opened.variables.items():
        if key in opened.indexes or (key == RELATION and key in opened.coords):
            values[key] = xr.Variable(variable.dims, variable.to_numpy().astype(object), variable.attrs)
            continue
        blocks = variable.encoding.get("shards") or variable.encoding["chunks"]
        chunked = variable.chunk(dict(zip(variable.dims, blocks, strict=True)))
        values[key] = chunked.astype(object) if variable.dtype.kind == "T" else chunked
    coords = {key: values.pop(key) for key in opened.coords}
    opened = opened.assign_coords(coords).assign(values)
    others = sorted(str(key) for key in opened.data_vars if key not in order)
    return opened[[key for key in [*order, *others] if key in opened.data_vars]]
