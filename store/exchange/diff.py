"""Compare two extractions of one plan number by number, for instance on two GPUs or in two dtypes.

Panels may differ. The values of neurons in both panels are compared; the difference of the panels
themselves is the share of neurons that only one of a fact's two panels has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from qloc.text.rounding import index, share
from qloc.vocabulary import NO_INDEX, QUERY, SLOT

_ACTION: Final = "Compare two extractions of one plan"
_PANEL: Final = "signals/panel_neuron"
_READ_AT_ONCE: Final = 64 * 2**20
"""Bytes of an array that are read together, a unit at least: each read costs milliseconds, however short."""


@dataclass(kw_only=True)
class Difference:
    """How the values of one array differ.

    Attributes
    ----------
    n : int
        Number of compared values.
    n_unequal : int
        Number of unequal values; NaN equals NaN.
    absolute, relative : float or None
        The largest |a − b|, and the largest |a − b| / max(|a|, |b|), over pairs of finite numbers. None for
        strings and for panels.
    """

    n: int = 0
    n_unequal: int = 0
    absolute: float | None = field(default=None)
    relative: float | None = field(default=None)

    @property
    def unequal(self) -> float:
        """Share of unequal values; 0 where none were compared."""
        return self.n_unequal / self.n if self.n else 0.0

    def add(self, a: Array, b: Array) -> None:
        """Count the values of two arrays of one shape.

        Parameters
        ----------
        a, b : ndarray
            Numbers, or strings as objects.

        Examples
        --------
        >>> difference = Difference()
        >>> difference.add(np.array([1.0, np.nan, 4.0]), np.array([1.0, np.nan, 3.0]))
        >>> difference.n, difference.n_unequal, difference.absolute, difference.relative
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
    """Refuse stores that are not two extractions of one plan.

    Parameters
    ----------
    a, b : StoredStudy
        The two studies.

    Raises
    ------
    InputError
        If facts, queries, methods, sizes or tiers differ, or if a store is unfinished; lists each problem.
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
    """Return how each array of two extractions differs; both are read some units at a time.

    Phases that only one of them has, or that have other arms in each, are left out.

    Parameters
    ----------
    a, b : StoredStudy
        Two extractions of one plan.

    Returns
    -------
    dict of str to Difference
        The difference of each array, by its path.

    Raises
    ------
    InputError
        If the stores are not two extractions of one plan; lists each problem.
    """
    require_comparable(a, b)
    panels = tuple(study.signals["panel_neuron"].to_numpy() for study in (a, b))
    fact = a.signals["fact"].to_numpy()
    comparison: dict[str, Difference] = {}
    for variable in _in_both(a.layout, b.layout):
        difference = comparison[variable.path] = Difference()
        if variable.row is None:
            length = a.layout.shape(variable, 0)[0]
            for rows in _together([(n, n + 1) for n in range(length)], _row_bytes(a, variable)):
                difference.add(*(_values(study, variable, slice(*rows)) for study in (a, b)))
            continue
        if variable.path == _PANEL:
            _add_panels(difference, *panels)
            continue
        for rows in _together(_ends(a.layout.units, variable), _row_bytes(a, variable)):
            x, y = (_values(study, variable, slice(*rows)) for study in (a, b))
            if SLOT in variable.dims:
                facts = fact[slice(*rows)]
                for left, right in _aligned(x, y, facts, panels):
                    difference.add(left, right)
            else:
                difference.add(x, y)
    return comparison


def _in_both(a: Layout, b: Layout) -> Iterator[Variable]:
    """Yield the variables of both layouts that can be compared.

    Left out are labels, phases with other arms, and sums over other relations.
    """
    theirs = set(b.variables())
    unlike = {
        group for name in a.phases if a.phases[name] != b.phases.get(name) for group in a.phases[name].groups
    }
    unlike |= {"statistics"} if a.relations != b.relations else set()
    unlike |= {"neurons"} if a.vocabulary != b.vocabulary else set()
    for variable in a.variables():
        if variable in theirs and variable.group not in unlike and a.labels(variable) is None:
            yield variable


def _ends(units: Sequence[Unit], variable: Variable) -> list[tuple[int, int]]:
    """Return the first row of each unit in an array, and the one behind its last."""
    if variable.dims[variable.row or 0] == QUERY:
        return [(unit.first_query, unit.last_query) for unit in units]
    return [(unit.first_fact, unit.last_fact) for unit in units]


def _row_bytes(study: StoredStudy, variable: Variable) -> int:
    """Return the bytes of one row of an array; strings are taken to have 256."""
    values = getattr(study, variable.group)[variable.name]
    n_values = values.size // max(values.sizes[variable.dims[variable.row or 0]], 1)
    return int(n_values * (256 if variable.dtype == STRING else values.dtype.itemsize))


def _together(ends: Sequence[tuple[int, int]], row_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield spans of rows as long as can be read at once, in whole spans that were given.

    Examples
    --------
    >>> list(_together([(0, 2), (2, 4), (4, 9)], _READ_AT_ONCE // 4))
    [(0, 4), (4, 9)]
    """
    first: int | None = None
    last = 0
    for start, end in ends:
        if first is not None and (end - first) * row_bytes > _READ_AT_ONCE:
            yield first, last
            first = None
        first, last = start if first is None else first, end
    if first is not None:
        yield first, last


def _values(study: StoredStudy, variable: Variable, rows: slice) -> Array:
    dim = variable.dims[variable.row or 0]
    values: Array = getattr(study, variable.group)[variable.name].isel({dim: rows}).to_numpy()
    return values.astype(object) if variable.dtype == STRING else values


def _aligned(x: Array, y: Array, facts: Array, panels: tuple[Array, ...]) -> Iterator[tuple[Array, Array]]:
    """Yield the values of both at the neurons that both panels have, fact by fact; slots are last."""
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


def diff_text(comparison: Mapping[str, Any]) -> str:
    """Format the result of :func:`qloc.workflows.exchange.diff` as text for a terminal.

    Parameters
    ----------
    comparison : Mapping
        The result of ``diff``.

    Returns
    -------
    str
        Several lines, without a newline at the end.
    """
    a, b = comparison["stores"]
    lines = [f"{a} and {b}: {comparison['facts']:,} facts, {comparison['queries']:,} queries"]
    lines += [f"  fingerprint: {line}" for line in comparison["fingerprint"]] or ["  fingerprint: the same"]
    unequal = {path: difference for path, difference in comparison["arrays"].items() if difference["unequal"]}
    if unequal:
        lines.append(f"  {'array':<34}{'unequal':>9}{'largest |a − b|':>18}{'of the larger':>16}")
    for path, difference in unequal.items():
        sizes = [
            f"{difference[name]:.3g}" if difference[name] is not None else ""
            for name in ("absolute", "relative")
        ]
        unequal_share = f"{difference['unequal']:.3%}"
        if not float(unequal_share[:-1]):
            unequal_share = "<0.001%"
        lines.append(f"  {path:<34}{unequal_share:>9}{sizes[0]:>18}{sizes[1]:>16}".rstrip())
    n_equal = len(comparison["arrays"]) - len(unequal)
    lines.append(f"  {n_equal} of {len(comparison['arrays'])} arrays are equal")
    lines.append(f"  neuron sets at threshold {comparison['threshold']:g}, Jaccard of a query's two sets:")
    for method, sets in comparison["sets"].items():
        if sets["mean"] is None:
            lines.append(f"    {method}: no queries")
            continue
        lines.append(
            f"    {method}: mean {index(sets['mean'])}, smallest {index(sets['min'])}, "
            f"{share(sets['exact'])} of the queries have equal sets"
        )
    return "\n".join(lines)
