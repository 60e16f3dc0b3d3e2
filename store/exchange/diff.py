"""Two extractions of one plan compared, number by number: on another GPU, say, or in another dtype.

Of panels, which may differ, the values of the neurons that both have are compared, and their own difference
is the share of neurons that one of two panels of a fact has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import xarray as xr

from qloc.arrays import Array
from qloc.block import Unit
from qloc.canonical_json import differences
from qloc.errors import InputError, message
from qloc.store.reading.open_store import StoredStudy
from qloc.store.schema.layout import Layout
from qloc.store.schema.variables import STRING, Variable
from qloc.vocabulary import NO_INDEX, QUERY, SLOT

_ACTION: Final = "Compare two extractions of one plan"
_PANEL: Final = "signals/panel_neuron"


@dataclass(kw_only=True)
class Difference:
    """How the values of one array differ.

    Attributes
    ----------
    n : values compared.
    n_unequal : of them; NaN equals NaN.
    absolute, relative : the largest |a − b|, and |a − b| / max(|a|, |b|), where both are finite numbers; None
        of strings and of panels.
    """

    n: int = 0
    n_unequal: int = 0
    absolute: float | None = field(default=None)
    relative: float | None = field(default=None)

    @property
    def unequal(self) -> float:
        """Share of unequal values; 0 of none."""
        return self.n_unequal / self.n if self.n else 0.0

    def add(self, a: Array, b: Array) -> None:
        """Count in the values of two arrays of one shape.

        Examples
        --------
        >>> found = Difference()
        >>> found.add(np.array([1.0, np.nan, 4.0]), np.array([1.0, np.nan, 3.0]))
        >>> found.n, found.n_unequal, found.absolute, found.relative
        (3, 1, 1.0, 0.25)
        """
        self.n += a.size
        if a.dtype == object:
            self.n_unequal += int((a != b).sum())
            return
        x, y = a.astype(np.float64), b.astype(np.float64)
        unequal = ~((x == y) | (np.isnan(x) & np.isnan(y)))
        self.n_unequal += int(unequal.sum())
        x, y = (values[unequal & np.isfinite(x) & np.isfinite(y)] for values in (x, y))
        gap = np.abs(x - y)
        share = gap / np.maximum(np.abs(x), np.abs(y))
        self.absolute = max(self.absolute or 0.0, float(gap.max(initial=0.0)))
        self.relative = max(self.relative or 0.0, float(share.max(initial=0.0)))


def require_comparable(a: StoredStudy, b: StoredStudy) -> None:
    """Refuse stores that are no two extractions of one plan.

    Raises
    ------
    InputError : facts, queries, methods, sizes or tiers differ, or a store is unfinished; every problem.
    """
    problems = [
        message("store", "unfinished", "a complete store", str(study.path), "Complete it first")
        for study in (a, b)
        if not study.complete
    ]
    where = f"{a.path} and {b.path}"
    first, second = _shape(a.layout), _shape(b.layout)
    problems += [
        message("stores", line, "the same in both", where, _ACTION) for line in differences(first, second)
    ]
    for group, name in (("facts", "id"), ("queries", "prompt"), ("queries", "answer")):
        if not problems and (text := _first_unequal(getattr(a, group)[name], getattr(b, group)[name])):
            problems.append(message(f"{group}/{name}", text, "the same in both", where, _ACTION))
    if problems:
        raise InputError(problems)


def _shape(layout: Layout) -> dict[str, Any]:
    return {"tier": layout.tier, "methods": list(layout.methods), "sizes": dict(layout.sizes)}


def _first_unequal(a: xr.DataArray, b: xr.DataArray) -> str:
    x, y = a.to_numpy(), b.to_numpy()
    if not (places := np.flatnonzero(x != y)).size:
        return ""
    return f"{x[places[0]]} → {y[places[0]]} at {places[0]}, and {places.size - 1} more"


def compare_extractions(a: StoredStudy, b: StoredStudy) -> dict[str, Difference]:
    """How each array differs, by its path; read a unit at a time.

    Phases that one of the two lacks, or has with other arms, are left out.

    Raises
    ------
    InputError : the stores are no two extractions of one plan; every problem.
    """
    require_comparable(a, b)
    panels = tuple(study.signals["panel_neuron"].to_numpy() for study in (a, b))
    fact = a.signals["fact"].to_numpy()
    found: dict[str, Difference] = {}
    for variable in _in_both(a.layout, b.layout):
        difference = found[variable.path] = Difference()
        if variable.row is None:
            for number in range(a.layout.shape(variable, 0)[0]):
                difference.add(*(_values(study, variable, slice(number, number + 1)) for study in (a, b)))
            continue
        if variable.path == _PANEL:
            _add_panels(difference, *panels)
            continue
        for unit in a.layout.units:
            x, y = (_rows(study, variable, unit) for study in (a, b))
            if SLOT in variable.dims:
                facts = fact[unit.first_query : unit.last_query]
                for left, right in _aligned(x, y, facts, panels):
                    difference.add(left, right)
            else:
                difference.add(x, y)
    return found


def _in_both(a: Layout, b: Layout) -> Iterator[Variable]:
    """What both have, but for labels; phases with the same arms in both, statistics of the same relations."""
    theirs = set(b.variables())
    unlike = {
        group for name in a.phases if a.phases[name] != b.phases.get(name) for group in a.phases[name].groups
    }
    unlike |= {"statistics"} if a.relations != b.relations else set()
    for variable in a.variables():
        if variable in theirs and variable.group not in unlike and a.labels(variable) is None:
            yield variable


def _rows(study: StoredStudy, variable: Variable, unit: Unit) -> Array:
    of_queries = variable.dims[variable.row or 0] == QUERY
    ends = (unit.first_query, unit.last_query) if of_queries else (unit.first_fact, unit.last_fact)
    return _values(study, variable, slice(*ends))


def _values(study: StoredStudy, variable: Variable, rows: slice) -> Array:
    dim = variable.dims[variable.row or 0]
    values: Array = getattr(study, variable.group)[variable.name].isel({dim: rows}).to_numpy()
    return values.astype(object) if variable.dtype == STRING else values


def _aligned(x: Array, y: Array, facts: Array, panels: tuple[Array, ...]) -> Iterator[tuple[Array, Array]]:
    """The values of both at the neurons that both panels have, fact by fact; slots are the last axis."""
    for number in np.unique(facts):
        rows = facts == number
        a, b = (_filled(panel[number]) for panel in panels)
        _, left, right = np.intersect1d(a, b, return_indices=True)
        yield x[..., rows, :][..., left], y[..., rows, :][..., right]


def _add_panels(difference: Difference, first: Array, second: Array) -> None:
    for a, b in zip(first, second, strict=True):
        common, either = np.intersect1d(_filled(a), _filled(b)), np.union1d(_filled(a), _filled(b))
        difference.n += either.size
        difference.n_unequal += either.size - common.size


def _filled(panel: Array) -> Array:
    filled: Array = panel[panel != NO_INDEX]
    return filled


def diff_text(found: Mapping[str, Any]) -> str:
    """What ``qloc.workflows.exchange.diff`` found, as text for a terminal."""
    a, b = found["stores"]
    lines = [f"{a} and {b}: {found['facts']:,} facts, {found['queries']:,} queries"]
    lines += [f"  fingerprint: {line}" for line in found["fingerprint"]] or ["  fingerprint: the same"]
    unequal = {path: one for path, one in found["arrays"].items() if one["unequal"]}
    if unequal:
        lines.append(f"  {'array':<34}{'unequal':>9}{'largest |a − b|':>18}{'of the larger':>16}")
    for path, one in unequal.items():
        sizes = [f"{one[name]:.3g}" if one[name] is not None else "" for name in ("absolute", "relative")]
        lines.append(f"  {path:<34}{one['unequal']:>9.3%}{sizes[0]:>18}{sizes[1]:>16}".rstrip())
    n_equal = len(found["arrays"]) - len(unequal)
    lines.append(f"  {n_equal} of {len(found['arrays'])} arrays are equal")
    lines.append(f"  neuron sets at threshold {found['threshold']:g}, Jaccard of a query's two sets:")
    for method, sets in found["sets"].items():
        if sets["mean"] is None:
            lines.append(f"    {method}: no queries")
            continue
        lines.append(
            f"    {method}: mean {sets['mean']:.4f}, smallest {sets['min']:.4f}, "
            f"{sets['exact']:.2%} of the queries have equal sets"
        )
    return "\n".join(lines)
