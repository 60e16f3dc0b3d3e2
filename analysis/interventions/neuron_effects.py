"""What changing neurons does to the answer: effects of every arm, and of own sets against controls (H5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.paired import LOG_ODDS_MARGIN, log_odds, paired_test
from qloc.analysis.inputs.query_rows import QueryRows, rows_of
from qloc.analysis.inputs.study import Study
from qloc.analysis.results import TestResult
from qloc.arrays import Floats
from qloc.errors import InputError, message
from qloc.streams import Stream
from qloc.vocabulary import FACT, NEURON_SET, OPERATION

Measure = Literal["log_odds", "logit", "margin", "probability"]
MEASURES: Final[tuple[Measure, ...]] = ("log_odds", "logit", "margin")
"""What verdicts may rest on; ``probability``, (after − before)/before, is as published, and descriptive."""

Control = Literal["matched", "other_fact"]
CONTROLS: Final[Mapping[Control, tuple[str, str]]] = {
    "matched": ("H5a", "as many neurons of the same layers and strength"),
    "other_fact": ("H5b", "the neurons of another fact asked with the same template"),
}


@dataclass(frozen=True)
class ArmOutcomes:
    """The outcomes of one group of arms, query by query.

    Attributes
    ----------
    found : group /interventions or /synapses; base : group with the outcomes of nothing changed.
    operation, arm : names of its first two dimensions.
    """

    found: xr.Dataset
    base: xr.Dataset
    rows: QueryRows
    operation: str = OPERATION
    arm: str = NEURON_SET

    @classmethod
    def of(cls, study: Study, known: bool = True) -> ArmOutcomes:
        """Of neurons (/interventions).

        Raises
        ------
        InputError : the store has no such phase.
        """
        needed(study, "interventions")
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
        """Whether all these arms were run."""
        return operation in self.operations and set(arms) <= set(self.arms)

    def change(self, operation: str, arm: str, measure: Measure = "log_odds") -> Floats:
        """After less before: float64, (query,); NaN where the arm was empty."""
        name = "log_probability" if measure in ("log_odds", "probability") else measure
        after = self._of(operation, arm, name)
        before = self._before(name)
        if measure == "log_odds":
            return np.asarray(log_odds(after) - log_odds(before))
        return np.asarray(np.expm1(after - before) if measure == "probability" else after - before)

    def toward(self, operation: str, arm: str, measure: Measure = "log_odds") -> Floats:
        """The same, as what is lost; under an enhancement as what is gained."""
        change = self.change(operation, arm, measure)
        return change if operation.startswith("enhance") else -change

    def contrast(self, operation: str, arm: str, other: str, measure: Measure = "log_odds") -> Floats:
        """One arm less another, each as lost or gained: float64, (query,)."""
        return self.toward(operation, arm, measure) - self.toward(operation, other, measure)

    def per_arm(self, name: str, arm: str) -> Floats:
        """What an arm has whatever the operation, such as ``n_neurons``: float64, (query,)."""
        return np.asarray(read(self.found, name)[self.arms.index(arm)], dtype=np.float64)

    def _of(self, operation: str, arm: str, name: str) -> Floats:
        at = self.operations.index(operation), self.arms.index(arm)
        return np.asarray(read(self.found, name)[at], dtype=np.float64)

    def _before(self, name: str) -> Floats:
        if name not in self._bases:
            self._bases[name] = read(self.base, f"base_{name}").astype(np.float64)
        return self._bases[name]

    @cached_property
    def _bases(self) -> dict[str, Floats]:
        return {}


def read(found: xr.Dataset, name: str) -> NDArray[Any]:
    """A variable of a group, read once and kept in the group: a chunk of a store holds all arms."""
    return np.asarray(found[name].load().values)


def needed(study: Study, group: Literal["interventions", "synapses", "edits"]) -> None:
    """Refuse a store without the group."""
    if not study.datasets.get(group):
        phase = "edits" if group == "edits" else "interventions"
        rule, action = f"a store with group /{group}", f"Extract it with --phases signals,{phase}"
        raise InputError(message("store", ", ".join(study.datasets), rule, group, action))


def intervention_effects(study: Study, *, measure: Measure = "log_odds", known: bool = True) -> xr.DataArray:
    """Mean change of the answer over each fact's queries, under every operation and neuron set.

    Parameters
    ----------
    measure : ``log_odds`` (log P − log(1 − P)), ``logit``, ``margin``, each after less before; or
        ``probability``, (after − before)/before as published.
    known : over known queries only.

    Returns
    -------
    DataArray : float64, (operation, neuron_set, fact); NaN for facts that leak, minimal pairs, and where no
        query has a non-empty set.

    Raises
    ------
    InputError : the store has no phase ``interventions``.
    """
    return per_fact(ArmOutcomes.of(study, known), measure)


def per_fact(changed: ArmOutcomes, measure: Measure) -> xr.DataArray:
    """Mean change over each fact's queries: float64, (operation, arm, fact)."""
    values = [
        [changed.rows.mean(changed.change(operation, arm, measure)) for arm in changed.arms]
        for operation in changed.operations
    ]
    coords = {changed.operation: list(changed.operations), changed.arm: list(changed.arms)}
    return xr.DataArray(np.array(values), dims=(changed.operation, changed.arm, FACT), coords=coords)


def own_against_control(
    study: Study,
    *,
    control: Control = "matched",
    operation: str = "suppress",
    known: bool = True,
    margin: float = LOG_ODDS_MARGIN,
    n_permutations: int = 999,
    confidence: float = 0.95,
    alpha: float = 0.05,
    seed: int = 0,
) -> TestResult:
    """H5a, H5b: changing a query's knowledge neurons changes its answer more than changing a control does.

    Estimate: mean over facts, of the mean over its queries, of the log-odds lost (gained, under
    ``enhance``) by N_i less those lost by the control. One-sided; signs of whole relations are flipped.

    Parameters
    ----------
    control : ``matched``: as many neurons of the same layers and strength; ``other_fact``: the neurons of
        another fact asked with the same template (as they are: not as many).
    margin : difference in log-odds that counts as none; fix it before looking.

    Returns
    -------
    TestResult : "not identified" where no fact has both.

    Raises
    ------
    InputError : the store has no phase ``interventions``, or not these arms.
    """
    changed = ArmOutcomes.of(study, known)
    if not changed.has(operation, "own", control):
        rule, have = f"arms own and {control} under {operation}", ", ".join(changed.arms)
        raise InputError(message("arms", have, rule, "interventions", "Extract these arms"))
    draws = Draws(n_permutations=n_permutations, confidence=confidence, alpha=alpha, seed=seed)
    return control_test(changed, control, operation, draws, margin=margin, store=study.fingerprint)


def control_test(
    changed: ArmOutcomes,
    control: Control,
    operation: str,
    draws: Draws,
    *,
    margin: float = LOG_ODDS_MARGIN,
    store: str = "",
) -> TestResult:
    """The same of outcomes at hand."""
    x = changed.contrast(operation, "own", control)
    name, words = CONTROLS[control]
    gone = "gained" if operation.startswith("enhance") else "lost"
    return paired_test(
        changed.rows.mean(x),
        changed.rows.clusters,
        name=name,
        question=f"Do a query's knowledge neurons matter more to its answer than {words}?",
        estimand=f"log-odds of the answer {gone} under {operation} of N_i, less those {gone} under "
        f"{operation} of {words}",
        draws=draws,
        margin=margin,
        n_queries=int(np.sum(changed.rows.used & ~np.isnan(x))),
        checks=_checks(changed, x, control),
        store=store,
        stream=Stream.OWN_AGAINST_MATCHED if control == "matched" else Stream.OWN_AGAINST_OTHER_FACT,
    )


def _checks(changed: ArmOutcomes, x: Floats, control: str) -> tuple[str, ...]:
    used = changed.rows.used
    lines = [
        f"{int(np.sum(used & np.isnan(x))):,} of {int(used.sum()):,} queries have an empty set: left out."
    ]
    if "n_neurons" in changed.found:
        there = used & ~np.isnan(x)
        if there.any():
            mine, theirs = (changed.per_arm("n_neurons", arm)[there].mean() for arm in ("own", control))
            lines.append(f"Neurons changed, mean: {mine:.1f} and {theirs:.1f}.")
    lines.append(
        "N_i were chosen by attribution to this very answer: it shows that attribution finds what matters to "
        "it, not that a fact is stored there."
    )
    return tuple(lines)
