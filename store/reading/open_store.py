"""Open a store, complete or not, as lazily read xarray Datasets.

A complete store is opened as any Zarr hierarchy is. The units of an unfinished store are read through
:mod:`qloc.store.reading.unfinished`.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.core import indexing

from qloc.arrays import Array
from qloc.block import Unit
from qloc.errors import SchemaError, VerificationError, message
from qloc.store.files.place import Place
from qloc.store.files.url import Url
from qloc.store.integrity import check, expansion, verify
from qloc.store.integrity.skeleton_record import require_sound
from qloc.store.names import MANIFEST, ROOT
from qloc.store.places.open_place import place_of
from qloc.store.reading.row_consistency import require_rows
from qloc.store.reading.stored_array import StoredArray, readable
from qloc.store.reading.unfinished import unfinished_groups
from qloc.store.schema import manifest, metadata
from qloc.store.schema.bounded_codecs import bounded_codecs
from qloc.store.schema.layout import Layout
from qloc.store.schema.value_domains import check_own_queries, check_values
from qloc.store.schema.variables import FACTS, Variable
from qloc.vocabulary import CANDIDATE, RELATION, WORD

GROUPS: Final = (
    *("facts", "queries", "signals", "grams", "attention", "statistics", "neurons"),
    *("interventions", "synapses", "synapse_views", "reprompts", "edits", "entailments", "tracing"),
)
"""Those that a store may have; the first four are in every one."""


_ACTION: Final = "Take the store from its source again"


@dataclass(frozen=True, kw_only=True)
class StoredStudy:
    """The Datasets and attributes of one extraction, as stored.

    Attributes
    ----------
    path : Path or Url
        The store: a folder, an archive of one, or the URL of either.
    complete : bool
        Whether every unit is stored. If not, only the queries of stored units are there.
    layout : Layout
        Tier, floor, methods, sizes and units of the extraction as it was planned.
    attrs : Mapping
        Root attributes: the description of the study (model, site, excluded queries …) and the
        fingerprints.
    facts, queries, signals, grams : xarray.Dataset
        One Dataset for each group, with the variables that docs/store.md lists. They are chunked, and read
        when computed. Strings are objects. Groups with the coordinate ``relation`` can be selected by it:
        ``.sel(relation="P36")``.
    attention : xarray.Dataset or None
        The group of attention weights; None where they could not be recorded.
    statistics : xarray.Dataset or None
        Sums over relations; None in an unfinished store, and in stores without statistics.
    neurons : xarray.Dataset or None
        Tokens that neurons promote and suppress; None in an unfinished store, and in stores without them.
    interventions, synapses, synapse_views, reprompts, edits, entailments, tracing : xarray.Dataset or None
        The groups of appended phases; None for phases that the store does not have.
    missing : tuple of Unit
        Units that are planned but not stored yet.
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
    neurons: xr.Dataset | None
    interventions: xr.Dataset | None
    synapses: xr.Dataset | None
    synapse_views: xr.Dataset | None
    reprompts: xr.Dataset | None
    edits: xr.Dataset | None
    entailments: xr.Dataset | None
    tracing: xr.Dataset | None
    missing: tuple[Unit, ...]

    @property
    def floors(self) -> NDArray[np.float64]:
        """Lowest threshold of each fact that gives exact neuron sets: float64 ndarray, shape (fact,).

        It is 0 in the dense tier, and NaN for facts without queries.
        """
        floors: NDArray[np.float64] = self.signals["panel_floor"].to_numpy()
        return np.where(np.isnan(floors), np.nan, 0.0) if self.layout.tier == "dense" else floors

    @property
    def candidates(self) -> dict[str, tuple[str, ...]]:
        """Candidate answers of each relation, in the order of the ``candidate`` axis."""
        return {relation: tuple(answers) for relation, answers in self.facts.attrs["candidates"].items()}


def open_store(path: str | Path | Place, *, phases: Collection[str] | None = None) -> StoredStudy:
    """Open a store lazily: a folder, an archive (read in place), or the URL of a complete store.

    Parameters
    ----------
    path : str, Path or Place
        The store, complete or not.
    phases : collection of str, optional
        Appended phases that are opened; all where None. Where some are named, or none, the study is what a
        phase is chosen from, and the presence of all objects is not checked: the caller has checked it.

    Returns
    -------
    StoredStudy
        The groups as Datasets.

    Raises
    ------
    SchemaError
        If the path is no qloc store, has another schema, or lacks arrays; lists each problem.
    VerificationError
        If a complete store lacks objects or has some of another size (lists each; a missing shard would be
        read as missing values), if an unfinished store is damaged besides its units, or if an archive or a
        URL has content that no store has.
    InputError, MissingDependencyError, RemoteError
        If a URL cannot be read.
    """
    place = place_of(path)
    path = place.path
    if phases is None and place.size(MANIFEST) is not None:
        verify.require_present(place)
    layout = check.layout_of(place)
    layout = layout if phases is None else layout.of_phases(phases)
    whole = check.complete(place)
    if not whole:
        require_sound(Path(path))
    _require_safe(place, whole=whole)
    check.check(place, layout, whole=whole)
    facts = _group(place, "facts", FACTS, layout)
    _require_candidates(facts, layout, str(path))
    absent: tuple[Unit, ...] = ()
    if whole:
        counted = facts.assign(n_queries=facts["n_queries"].compute())  # read once, for every comparison
        groups = {"facts": facts, **_complete(place, layout, counted)}
        _require_attributes(groups["signals"], layout, str(path))
        for name in ("interventions", "edits"):
            if "word_log_probability" in groups.get(name, ()):
                _require_words(groups[name], counted, f"group {name} of {path}")
        require_rows(layout, counted, str(path), groups["queries"])
    else:
        groups, absent = unfinished_groups(Path(path), layout, facts)
    datasets = {name: _by_relation(groups[name]) if name in groups else None for name in GROUPS}
    return StoredStudy(
        path=path,
        complete=whole,
        layout=layout,
        attrs=check.root_attributes(place),
        missing=absent,
        **datasets,  # type: ignore[arg-type]  # the first four are in every store
    )


def _labels(group: str, variables: Iterable[str]) -> list[str]:
    """Name the objects that xarray reads when it opens a group: metadata, and labels, of one chunk each."""
    return [f"{group}/{ROOT}", *(f"{group}/{name}/{part}" for name in variables for part in (ROOT, "c/0"))]


def _by_relation(group: xr.Dataset) -> xr.Dataset:
    selectable = RELATION in group.coords and RELATION not in group.xindexes
    return group.set_xindex(RELATION) if selectable else group


def _require_safe(place: Place, *, whole: bool) -> None:
    """Refuse metadata that no store has, and arrays larger than what is stored of them allows."""
    if whole:
        sizes = verify.sizes_of(manifest.read(place)["objects"])
    else:
        sizes = {name: place.size(name) or 0 for name in place.names()}
    if problems := metadata.problems(place) or expansion.problems(place, sizes):
        raise VerificationError(problems)


def _require_candidates(facts: xr.Dataset, layout: Layout, at: str) -> None:
    candidates = facts.attrs.get("candidates")
    if not isinstance(candidates, dict) or not all(
        isinstance(answers, list)
        and len(answers) <= layout.sizes[CANDIDATE]
        and all(isinstance(answer, str) for answer in answers)
        for answers in candidates.values()
    ):
        rule = f"of each relation a list of at most {layout.sizes[CANDIDATE]} answers"
        raise SchemaError(message("candidates of /facts", "another form", rule, at, _ACTION))


def _require_words(group: xr.Dataset, facts: xr.Dataset, at: str) -> None:
    """Refuse a group whose attributes do not name the words of its axis ``word``, relation by relation."""
    words, most = group.attrs.get("probes"), group.sizes[WORD]
    relations = set(np.unique(facts[RELATION].to_numpy().astype(str)).tolist())
    if (
        not isinstance(words, dict)
        or not relations <= set(words)
        or not all(
            isinstance(of, list) and len(of) <= most and all(isinstance(word, str) for word in of)
            for of in words.values()
        )
    ):
        rule = f"of each relation a list of at most {most} words"
        raise SchemaError(message("probes", "another form", rule, at, _ACTION))


def _require_attributes(signals: xr.Dataset, layout: Layout, at: str) -> None:
    expected = layout.signals_attrs()
    held = {name: signals.attrs.get(name) for name in expected}
    if held != expected:
        raise SchemaError(message("attributes of /signals", held, f"{expected}", at, _ACTION))


def _require_labels(labels: Array, variable: Variable, layout: Layout, at: str) -> None:
    """Refuse an axis that is not labelled as the layout says: rows would be selected by other names."""
    expected = layout.labels(variable)
    if expected is not None and labels.tolist() != list(expected):
        rule = f"{list(expected)}"
        raise SchemaError(message(f"array {variable.path}", labels.tolist(), rule, at, _ACTION))


def _complete(place: Place, layout: Layout, facts: xr.Dataset) -> dict[str, xr.Dataset]:
    names = dict.fromkeys(variable.group for variable in layout.variables())
    n_queries = facts["n_queries"].to_numpy().astype(np.int64)
    return {
        name: _group(place, name, [v for v in layout.variables() if v.group == name], layout, n_queries)
        for name in names
    }


def _group(
    place: Place,
    name: str,
    schema: Sequence[Variable],
    layout: Layout,
    n_queries: NDArray[np.int64] | None = None,
) -> xr.Dataset:
    """Open one group of the hierarchy, in dask chunks as long as its shards, with strings as objects.

    Variables that an index is made of are read into memory at once, without dask. Values are compared with
    the schema whenever they are read.
    """
    by_name = {variable.name: variable for variable in schema}
    with readable(place, f"group {name}", lambda: _labels(name, by_name)), bounded_codecs():
        opened: xr.Dataset = xr.open_zarr(place.zarr(), group=name, consolidated=False, chunks=None)
    values: dict[Hashable, xr.Variable] = {}
    for key, variable in opened.variables.items():
        held = by_name.get(str(key))
        if key in opened.indexes:  # read already
            labels = variable.to_numpy().astype(object)
            if held:
                _require_labels(labels, held, layout, str(place.path))
            values[key] = xr.Variable(variable.dims, labels, variable.attrs)
            continue
        check_read = (
            partial(_check, variable=held, layout=layout, n_queries=n_queries, at=str(place.path))
            if held
            else None
        )
        array = StoredArray(place, f"{name}/{key}", variable, check_read)
        values_of = indexing.LazilyIndexedArray(array)
        lazy = xr.Variable(variable.dims, values_of, variable.attrs, variable.encoding)
        if key == RELATION and key in opened.coords:
            values[key] = lazy.copy(data=lazy.to_numpy())
        else:
            steps = dict(zip(variable.dims, array.steps, strict=True))
            # Without a name dask makes one of the whole array pickled: slow, and of no use to us.
            values[key] = lazy.chunk(steps, name=f"{name}/{key}-{uuid4().hex}")
    coords = {key: values.pop(key) for key in opened.coords}
    opened = opened.assign_coords(coords).assign(values)
    others = sorted(str(key) for key in opened.data_vars if key not in by_name)
    return opened[[key for key in [*by_name, *others] if key in opened.data_vars]]


def _check(
    values: Array,
    part: tuple[slice, ...],
    *,
    variable: Variable,
    layout: Layout,
    n_queries: NDArray[np.int64] | None,
    at: str,
) -> None:
    check_values(values, variable, layout, at)
    if n_queries is not None:
        check_own_queries(values, part, variable, layout, n_queries, at)
