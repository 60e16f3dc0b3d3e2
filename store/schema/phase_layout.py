"""The layout of one phase after ``signals``: labels and sizes, which determine the shape of its arrays."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

from qloc.block import PhaseOutline
from qloc.canonical_json import canonical
from qloc.errors import InputError, message
from qloc.store.schema.phase_variables import ADDED, LABELLED, PHASES
from qloc.store.schema.variables import Variable

_ACTION: Final = "Make outlines as qloc.block says"


@dataclass(frozen=True, kw_only=True)
class PhaseLayout:
    """The labels and sizes of one phase; kept in the root attributes, under ``phases``.

    Attributes
    ----------
    phase : str
        Name of the phase: ``interventions``, ``edits`` or ``tracing``.
    labels : mapping of str to tuple of str
        Labels of each labelled axis.
    sizes : mapping of str to int
        Length of each other axis of the phase's own.
    absent : tuple of str
        Groups that this phase does not have here.
    added : tuple of str
        Optional groups, and paths of optional variables, that it has here.
    """

    phase: str
    labels: Mapping[str, tuple[str, ...]]
    sizes: Mapping[str, int]
    absent: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    @classmethod
    def of(cls, outline: PhaseOutline, store_sizes: Collection[str]) -> Self:
        """Return the layout for the outline of a phase.

        Parameters
        ----------
        outline : PhaseOutline
            Labels, sizes and groups of the phase.
        store_sizes : collection of str
            Names of the axes whose length the store knows.

        Returns
        -------
        PhaseLayout
            The layout, without axes that only absent groups have.

        Raises
        ------
        InputError
            No store can hold the outline; every problem.
        """
        if problems := _problems(outline, store_sizes):
            raise InputError(problems)
        needed = _axes(outline, store_sizes)
        return cls(
            phase=outline.phase,
            labels={dim: tuple(labels) for dim, labels in outline.labels.items() if dim in needed},
            sizes={dim: int(size) for dim, size in outline.sizes.items() if dim in needed},
            absent=tuple(sorted(outline.absent)),
            added=tuple(sorted(outline.added)),
        )

    @classmethod
    def read(cls, phase: str, attrs: Mapping[str, Any]) -> Self:
        """Read the layout that :meth:`attrs` wrote; wrong attributes raise whatever error they lead to.

        Parameters
        ----------
        phase : str
            Name of the phase.
        attrs : mapping
            What :meth:`attrs` returned.

        Returns
        -------
        PhaseLayout
            The layout.
        """
        labels = {str(dim): tuple(map(str, names)) for dim, names in attrs["labels"].items()}
        sizes = {str(dim): int(size) for dim, size in attrs["sizes"].items()}
        named = {name: tuple(attrs.get(name, ())) for name in ("absent", "added")}
        return cls(phase=phase, labels=labels, sizes=sizes, **named)

    def attrs(self) -> dict[str, Any]:
        """Return the layout as JSON.

        Returns
        -------
        dict of str to Any
            ``labels``, ``sizes``, ``absent``, and ``added`` if there are such groups or variables.
        """
        labels = {dim: list(names) for dim, names in self.labels.items()}
        added = {"added": list(self.added)} if self.added else {}
        return {"labels": labels, "sizes": dict(self.sizes), "absent": list(self.absent), **added}

    def variables(self) -> tuple[Variable, ...]:
        """Return every array of the phase.

        Returns
        -------
        tuple of Variable
            The variables, in the order of the schema.
        """
        return tuple(variable for variable in PHASES[self.phase] if _is_there(variable, self))

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The groups of the phase, in the order of the schema."""
        return tuple(dict.fromkeys(variable.group for variable in self.variables()))

    @property
    def lengths(self) -> dict[str, int]:
        """The length of every axis of the phase's own."""
        return {**{dim: len(labels) for dim, labels in self.labels.items()}, **self.sizes}


def _is_there(variable: Variable, phase: PhaseLayout | PhaseOutline) -> bool:
    optional = {variable.group, variable.path} & ADDED
    return optional <= set(phase.added) and variable.group not in phase.absent


def _axes(outline: PhaseOutline, store_sizes: Collection[str]) -> set[str]:
    """Return the axes of the phase's own that its groups use."""
    present = (variable for variable in PHASES[outline.phase] if _is_there(variable, outline))
    return {dim for variable in present for dim in variable.dims if dim not in store_sizes}


def _problems(outline: PhaseOutline, store_sizes: Collection[str]) -> list[str]:
    where = f"the outline of phase {outline.phase}"
    if outline.phase not in PHASES:
        return [message("phase", outline.phase, f"one of {', '.join(PHASES)}", where, _ACTION)]
    groups = {variable.group for variable in PHASES[outline.phase]}
    paths = {variable.path for variable in PHASES[outline.phase]}
    needed = _axes(outline, store_sizes)
    problems = []
    for what, named, possible in (
        ("absent groups", outline.absent, groups - ADDED),
        ("added groups", outline.added, (groups | paths) & ADDED),
    ):
        if not possible.issuperset(named):
            rule = f"some of {', '.join(sorted(possible)) or 'none'}"
            problems.append(message(what, list(named), rule, where, _ACTION))
    for what, got, expected in (
        ("labelled axes", set(outline.labels), needed.intersection(LABELLED)),
        ("axes with a size", set(outline.sizes), needed.difference(LABELLED)),
    ):
        if not got >= expected:
            problems.append(message(what, sorted(got), ", ".join(sorted(expected)), where, _ACTION))
    for dim, labels in outline.labels.items():
        if not labels or len(set(labels)) < len(labels) or not all(labels):
            rule = "one or more, each once, none empty"
            problems.append(message(f"labels of {dim}", list(labels), rule, where, _ACTION))
    if any(size < 0 for size in outline.sizes.values()):
        problems.append(message("sizes", dict(outline.sizes), "none below 0", where, _ACTION))
    return [*problems, *_attribute_problems(outline, where)]


def _attribute_problems(outline: PhaseOutline, where: str) -> list[str]:
    try:
        json.loads(canonical(dict(outline.attrs)))
    except (TypeError, ValueError) as error:
        return [message("attributes", str(error), "JSON", where, _ACTION)]
    if "coordinates" in outline.attrs:
        return [message("attribute", "coordinates", "another name", where, "Rename it")]
    return []
