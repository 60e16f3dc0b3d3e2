"""What changing neurons does to the answer: effects of every arm, own sets against controls (H5a, H5b)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inference.paired import LOG_ODDS_MARGIN, log_odds, paired_test
from qloc.analysis.inputs.query_rows import QueryRows, rows_of
from qloc.analysis.inputs.study import Study
from qloc.analysis.results import TestResult
from qloc.analysis.wording import gone, under
from qloc.arrays import Floats
from qloc.errors import InputError, message
from qloc.hypothesis_registry import hypothesis_of
from qloc.phase_plan import NEURON_SETS, control_of
from qloc.random_streams import Stream
from qloc.text.rounding import counted, number
from qloc.vocabulary import FACT, NEURON_SET, OPERATION

Measure = Literal["log_odds", "logit", "margin", "probability"]
ANSWER_MEASURES: Final[tuple[Measure, ...]] = ("log_odds", "logit", "margin")
"""What verdicts may rest on; ``probability``, (after − before)/before, is as published, and descriptive."""

NEURON_CONTROLS: Final = ("matched", "other_fact")
"""Sets of neurons that own sets are compared with."""

_WORDS: Final[Mapping[str, str]] = {
    "matched": "as many neurons of the same layers and strength",
    "other_fact": "the neurons of another fact asked with the same template",
}
_STREAMS: Final[Mapping[str, Stream]] = {
    "matched": Stream.OWN_AGAINST_MATCHED,
    "other_fact": Stream.OWN_AGAINST_OTHER_FACT,
}


CHOSEN_BY_ATTRIBUTION: Final = (
    "N_i were chosen by attribution to this very answer: it shows that attribution finds what matters to it, "
    "not that a fact is stored there."
)
"""Caveat of a test whose outcome is the answer that its neurons were chosen by."""


@dataclass(frozen=True)
class ArmOutcomes:
    """The outcomes of one group of arms, query by query.

    Attributes
    ----------
    found : xarray.Dataset
        Group /interventions or /synapses.
    base : xarray.Dataset
        The group that has the outcomes with nothing changed, as ``base_…``.
    rows : QueryRows
        The queries that count, and the fact, relation and answer of each.
    operation : str, default "operation"
        Name of the group's first dimension: what was done.
    arm : str, default "neuron_set"
        Name of its second dimension: what it was done to.
    """

    found: xr.Dataset
    base: xr.Dataset
    rows: QueryRows
    operation: str = OPERATION
    arm: str = NEURON_SET

    @classmethod
    def of(cls, study: Study, known: bool = True) -> ArmOutcomes:
        """Return the outcomes of changed neurons (/interventions).

        Parameters
        ----------
        study : Study
            With phase ``interventions``.
        known : bool, default True
            Whether to count known queries only.

        Returns
        -------
        ArmOutcomes
            Read when first used.

        Raises
        ------
        InputError
            The store has no such phase.
        """
        require_group(study, "interventions")
        return cls(study.interventions, study.interventions, rows_of(study, known))

    @cached_property
    def operations(self) -> tuple[str, ...]:
        """Labels of the operations."""
        return tuple(str(name) for name in self.found[self.operation].values)

    @cached_property
    def arms(self) -> tuple[str, ...]:
        """Labels of the sets."""
        return tuple(str(name) for name in self.found[self.arm].values)

    def has(self, operation: str, *arms: str) -> bool:
        """Return whether all these arms were run.

        Parameters
        ----------
        operation : str
            Such as ``suppress``.
        *arms : str
            Labels of sets.

        Returns
        -------
        bool
            False where the operation or one of the sets is missing.
        """
        return operation in self.operations and set(arms) <= set(self.arms)

    def change(self, operation: str, arm: str, measure: Measure = "log_odds") -> Floats:
        """Return by how much an arm changes the answer, after less before.

        Parameters
        ----------
        operation, arm : str
            Labels of an arm that was run.
        measure : {"log_odds", "logit", "margin", "probability"}
            ``probability`` is (after − before)/before.

        Returns
        -------
        float64 ndarray, shape (query,)
            NaN where the set of the arm was empty.
        """
        name = "log_probability" if measure in ("log_odds", "probability") else measure
        after = self.outcome(operation, arm, name)
        before = self._before(name)
        if measure == "log_odds":
            return np.asarray(log_odds(after) - log_odds(before))
        return np.asarray(np.expm1(after - before) if measure == "probability" else after - before)

    def toward(self, operation: str, arm: str, measure: Measure = "log_odds") -> Floats:
        """Return what an arm takes from the answer; under an enhancement, what it brings.

        Parameters
        ----------
        operation, arm : str
            Labels of an arm that was run.
        measure : {"log_odds", "logit", "margin", "probability"}
            As for :meth:`change`.

        Returns
        -------
        float64 ndarray, shape (query,)
            The change, with its sign turned unless the operation is an enhancement.
        """
        change = self.change(operation, arm, measure)
        return change if operation.startswith("enhance") else -change

    def contrast(self, operation: str, arm: str, other: str, measure: Measure = "log_odds") -> Floats:
        """Return what one arm takes (brings) less what another does.

        Parameters
        ----------
        operation, arm, other : str
            Labels of two arms under one operation.
        measure : {"log_odds", "logit", "margin", "probability"}
            As for :meth:`change`.

        Returns
        -------
        float64 ndarray, shape (query,)
            NaN where one of both sets was empty.
        """
        return self.toward(operation, arm, measure) - self.toward(operation, other, measure)

    def per_arm(self, name: str, arm: str) -> Floats:
        """Return a variable that does not depend on the operation.

        Parameters
        ----------
        name : str
            Such as ``n_neurons``.
        arm : str
            Label of a set.

        Returns
        -------
        float64 ndarray, shape (query,)
            The variable's values for this set.
        """
        return np.asarray(values_of(self.found, name)[self.arms.index(arm)], dtype=np.float64)

    def outcome(self, operation: str, arm: str, name: str) -> Floats:
        """Return one stored variable of one arm.

        Parameters
        ----------
        operation, arm : str
            Labels of an arm that was run.
        name : str
            Such as ``log_probability``.

        Returns
        -------
        float64 ndarray, shape (query,)
            As stored, after the change.
        """
        at = self.operations.index(operation), self.arms.index(arm)
        return np.asarray(values_of(self.found, name)[at], dtype=np.float64)

    def _before(self, name: str) -> Floats:
        if name not in self._bases:
            self._bases[name] = values_of(self.base, f"base_{name}").astype(np.float64)
        return self._bases[name]

    @cached_property
    def _bases(self) -> dict[str, Floats]:
        return {}


def values_of(group: xr.Dataset, name: str) -> NDArray[Any]:
    """Return a variable of a group, read once and kept in the group: a chunk of a store holds all arms.

    Parameters
    ----------
    group : xarray.Dataset
        Its variables may still be on disk.
    name : str
        Of the variable.

    Returns
    -------
    ndarray
        In the variable's own type and shape.
    """
    return np.asarray(group.variables[name].load().values)


def require_group(study: Study, group: Literal["interventions", "synapses", "edits", "tracing"]) -> None:
    """Refuse a store without a phase's group.

    Parameters
    ----------
    study : Study
        The store that was opened.
    group : {"interventions", "synapses", "edits", "tracing"}
        The group that must be there.

    Raises
    ------
    InputError
        It is not; the message says how to extract it.
    """
    if not study.datasets.get(group):
        phase = "interventions" if group == "synapses" else group
        rule, action = f"a store with group /{group}", f"Extract it with --phases signals,{phase}"
        raise InputError(message("store", ", ".join(study.datasets), rule, group, action))


def intervention_effects(study: Study, *, measure: Measure = "log_odds", known: bool = True) -> xr.DataArray:
    """Return the mean change of the answer over each fact's queries, for every operation and neuron set.

    Parameters
    ----------
    study : Study
        With phase ``interventions``.
    measure : {"log_odds", "logit", "margin", "probability"}
        ``log_odds`` (log P − log(1 − P)), ``logit`` and ``margin`` are after less before; ``probability`` is
        (after − before)/before, as published.
    known : bool, default True
        Whether to count known queries only.

    Returns
    -------
    xarray.DataArray
        float64, (operation, neuron_set, fact); NaN for facts that leak, minimal pairs, and where no query has
        a non-empty set.

    Raises
    ------
    InputError
        The store has no phase ``interventions``.

    Examples
    --------
    >>> from qloc.simulation.interventions import Effects
    >>> from qloc.simulation.simulate import simulate
    >>> study = simulate(facts=12, relations=2, templates=3, effects=Effects(), seed=1)
    >>> effects = intervention_effects(study).sel(operation="suppress").mean("fact")
    >>> bool(effects.sel(neuron_set="own") < effects.sel(neuron_set="matched"))  # planted: −3 and 0
    True
    """
    return per_fact(ArmOutcomes.of(study, known), measure)


def per_fact(changed: ArmOutcomes, measure: Measure) -> xr.DataArray:
    """Return the mean change over each fact's queries, for every arm.

    Parameters
    ----------
    changed : ArmOutcomes
        Of neurons or of attention.
    measure : {"log_odds", "logit", "margin", "probability"}
        As for :meth:`ArmOutcomes.change`.

    Returns
    -------
    xarray.DataArray
        float64, (operation, arm, fact), the first two under the group's own names.
    """
    values = [
        [changed.rows.mean(changed.change(operation, arm, measure)) for arm in changed.arms]
        for operation in changed.operations
    ]
    coords = {changed.operation: list(changed.operations), changed.arm: list(changed.arms)}
    return xr.DataArray(np.array(values), dims=(changed.operation, changed.arm, FACT), coords=coords)


def own_against_control(
    study: Study,
    *,
    neurons: str = "own",
    control: str = "matched",
    operation: str = "suppress",
    known: bool = True,
    margin: float = LOG_ODDS_MARGIN,
    draws: Draws = DRAWS,
) -> TestResult:
    """Test whether knowledge neurons matter more to the answer than a control does (H5a, H5b).

    Estimate: mean over facts, of the mean over its queries, of the log-odds lost (gained, under
    ``enhance``) by N_i less those lost by the control. One-sided; signs of whole relations are flipped.

    Parameters
    ----------
    study : Study
        With phase ``interventions``.
    neurons : str, default "own"
        The set that is tested: N_i, or a set of your own (``--sets``), by its name.
    control : str, default "matched"
        ``matched`` (H5a): as many neurons of the same layers and strength; ``other_fact`` (H5b): the neurons
        of another fact asked with the same template (as they are: not as many). Or a set of your own.
    operation : str, default "suppress"
        What was done to the neurons.
    known : bool, default True
        Whether to count known queries only.
    margin : float, default 0.1
        Difference in log-odds that counts as none; fix it before looking.
    draws : Draws
        Number of flips, confidence, α and seed.

    Returns
    -------
    TestResult
        "Not identified" where no fact has both. With a set of your own it belongs to no hypothesis.

    Raises
    ------
    InputError
        The store has no phase ``interventions``, or not these arms.
    """
    changed = ArmOutcomes.of(study, known)
    users = [name for name in changed.arms if name not in NEURON_SETS]
    for what, name, rest in (("neurons", neurons, ("own",)), ("control", control, NEURON_CONTROLS)):
        if name not in (*rest, *users):
            rule, action = " or ".join((*rest, *users)), "Choose one, or extract your own with --sets"
            raise InputError(message(what, name, rule, "own_against_control", action))
    arm = control_of(neurons) if control == "matched" else control
    if not changed.has(operation, neurons, arm):
        rule, have = f"arms {neurons} and {arm} under {operation}", ", ".join(changed.arms)
        raise InputError(message("arms", have, rule, "interventions", "Extract these arms"))
    return control_test(
        changed, control, operation, draws, neurons=neurons, margin=margin, store=study.fingerprint
    )


def control_test(
    changed: ArmOutcomes,
    control: str,
    operation: str,
    draws: Draws,
    *,
    neurons: str = "own",
    margin: float = LOG_ODDS_MARGIN,
    store: str = "",
) -> TestResult:
    """Run H5a or H5b, or a test of a set of the user's own, on outcomes that are already loaded.

    Parameters
    ----------
    changed : ArmOutcomes
        With the arms of ``neurons`` and the control.
    control : str
        As for :func:`own_against_control`.
    operation : str
        What was done to the neurons.
    draws : Draws
        Number of flips, confidence, α and seed.
    neurons : str, default "own"
        As for :func:`own_against_control`.
    margin : float, default 0.1
        Difference in log-odds that counts as none.
    store : str, default ""
        Fingerprint of the store, for the result.

    Returns
    -------
    TestResult
        As of :func:`own_against_control`.
    """
    arm = control_of(neurons) if control == "matched" else control
    x = changed.contrast(operation, neurons, arm)
    words = _WORDS.get(control, f"set {control!r}")
    tested = "N_i" if neurons == "own" else f"set {neurons!r}"
    name, question = f"{neurons} against {control}", f"Does {tested} matter more to the answer than {words}?"
    if neurons == "own" and control in _WORDS:
        hypothesis = hypothesis_of("own_against_control", control=control)
        name, question = hypothesis.name, hypothesis.question
    return paired_test(
        changed.rows.mean(x),
        changed.rows.clusters,
        name=name,
        question=question,
        estimand=f"log-odds of the answer {gone(operation)} under {under(operation)} of {tested}, less those "
        f"{gone(operation)} under {under(operation)} of {words}",
        draws=draws,
        margin=margin,
        n_queries=int(np.sum(changed.rows.used & ~np.isnan(x))),
        checks=_checks(changed, x, neurons, arm),
        store=store,
        stream=_STREAMS[control] if name.startswith("H5") else Stream.USERS_SETS_AGAINST_CONTROL,
    )


def strength_ratio(own: Floats, control: Floats, unit: str) -> list[str]:
    """Say how many times as strong sets are as their controls.

    Parameters
    ----------
    own, control : float64 ndarray, shape (unit,)
        Total |activation| · ‖row of W_out‖; NaN where there is none.
    unit : str
        What the sets are of, in the singular.

    Returns
    -------
    list of str
        One sentence; none without a pair of sets.

    Examples
    --------
    >>> strength_ratio(np.array([2.0, 6.0]), np.array([2.0, 4.0]), "query")
    ['Sets are 1.25 times as strong as their controls, mean of 2 queries (5–95%: 1.02–1.48).']
    """
    both = (own > 0) & (control > 0)
    if not both.any():
        return []
    ratio = own[both] / control[both]
    low, high = np.quantile(ratio, [0.05, 0.95])
    mean, of = number(float(ratio.mean())), counted(len(ratio), unit)
    spread = f"{number(float(low))}–{number(float(high))}"
    return [f"Sets are {mean} times as strong as their controls, mean of {of} (5–95%: {spread})."]


def _checks(changed: ArmOutcomes, x: Floats, neurons: str, control: str) -> tuple[str, ...]:
    used = changed.rows.used
    lines = [
        f"{int(np.sum(used & np.isnan(x))):,} of {int(used.sum()):,} queries have an empty set: left out."
    ]
    if "n_neurons" in changed.found:
        there = used & ~np.isnan(x)
        if there.any():
            mine, theirs = (changed.per_arm("n_neurons", arm)[there].mean() for arm in (neurons, control))
            lines.append(f"Neurons changed, mean: {number(float(mine))} and {number(float(theirs))}.")
    if control == control_of(neurons) and "strength" in changed.found:
        own, other = (changed.per_arm("strength", arm)[used & ~np.isnan(x)] for arm in (neurons, control))
        lines += strength_ratio(own, other, "query")
    return (*lines, *([CHOSEN_BY_ATTRIBUTION] if neurons == "own" else []))
