"""What changing attention does: knowledge synapses against controls of equal removed mass (H6).

A knowledge synapse is a column of attention (layer, head, token) that takes more than its share; whether
it "selects" knowledge neurons is asked of columns that are not chosen, with as much attention in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.paired import LOG_ODDS_MARGIN, paired_test
from qloc.analysis.inputs.query_rows import rows_of
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.neuron_effects import ArmOutcomes, Measure, needed, per_fact
from qloc.analysis.results import TestResult
from qloc.arrays import Floats
from qloc.errors import InputError, message
from qloc.streams import Stream
from qloc.vocabulary import SYNAPSE_OPERATION, SYNAPSE_SET

Outcome = Literal["activation", "answer"]
KNOWLEDGE: Final = "knowledge"
CONTROLS: Final = ("random_columns", "other_heads", "other_fact")
"""Controls of `knowledge`; the first is what H6a and H6b compare with."""

EQUAL_MASS: Final = 0.1
"""Relative difference in removed mass that counts as equal."""

ACTIVATION_MARGIN: Final = 0.01
"""Difference in relative activation that counts as none."""

NAMES: Final[dict[Outcome, str]] = {"activation": "H6a", "answer": "H6b"}


@dataclass(frozen=True)
class AttentionOutcomes(ArmOutcomes):
    """The outcomes of attention changed, query by query."""

    @classmethod
    def of(cls, study: Study, known: bool = True) -> AttentionOutcomes:
        """Of attention (/synapses); what nothing changed gives is in /interventions.

        Raises
        ------
        InputError : the store has no such group.
        """
        needed(study, "synapses")
        rows = rows_of(study, known)
        return cls(study.synapses, study.interventions, rows, SYNAPSE_OPERATION, SYNAPSE_SET)

    def activation(self, operation: str, arm: str) -> Floats:
        """Σ(a′ − a)·sign(a)/Σ|a| over N_i less the same over matched neurons: float64, (query,)."""
        return self._of(operation, arm, "activation_effect") - self._of(operation, arm, "matched_effect")

    def equal_mass(self, control: str) -> NDArray[np.bool_]:
        """Whether a control removes as much attention as the knowledge synapses: bool, (query,)."""
        mass = [self.per_arm("removed_mass", arm) for arm in (KNOWLEDGE, control)]
        with np.errstate(invalid="ignore"):
            return np.asarray((mass[0] > 0) & (np.abs(mass[1] - mass[0]) <= EQUAL_MASS * mass[0]))

    def against(self, operation: str, control: str, outcome: Outcome) -> Floats:
        """Knowledge synapses less a control, as lost (gained under an enhancement): float64, (query,).

        NaN where the removed mass is not equal, or an arm is empty.
        """
        if outcome == "answer":
            x = self.contrast(operation, KNOWLEDGE, control)
        else:
            x = self.activation(operation, KNOWLEDGE) - self.activation(operation, control)
            x = x if operation.startswith("enhance") else -x
        return np.where(self.equal_mass(control), x, np.nan)


def synapse_effects(
    study: Study, *, outcome: Measure | Literal["activation"] = "log_odds", known: bool = True
) -> xr.DataArray:
    """Mean change over each fact's queries, under every operation on attention and set of synapses.

    Parameters
    ----------
    outcome : ``activation``: relative change of the activation of N_i less that of matched neurons; else of
        the answer, as for :func:`qloc.analysis.interventions.neuron_effects.intervention_effects`.

    Returns
    -------
    DataArray : float64, (synapse_operation, synapse_set, fact)

    Raises
    ------
    InputError : the store has no group /synapses.
    """
    attended = AttentionOutcomes.of(study, known)
    if outcome != "activation":
        return per_fact(attended, outcome)
    found = xr.full_like(per_fact(attended, "log_odds"), np.nan)
    for operation in attended.operations:
        for arm in attended.arms:
            at = {attended.operation: operation, attended.arm: arm}
            found.loc[at] = attended.rows.mean(attended.activation(operation, arm))
    return found


def dynamic_selection(
    study: Study,
    *,
    outcome: Outcome = "activation",
    operation: str = "suppress",
    control: str = "random_columns",
    known: bool = True,
    margin: float | None = None,
    n_permutations: int = 999,
    confidence: float = 0.95,
    alpha: float = 0.05,
    seed: int = 0,
) -> TestResult:
    """H6: knowledge synapses move the knowledge neurons, or the answer, more than other attention does.

    Estimate: mean over facts of what knowledge synapses take away (bring, under ``enhance``) less what a
    control of equal removed mass does. One-sided; signs of whole relations are flipped.

    Parameters
    ----------
    outcome : ``activation`` (H6a): relative activation of N_i, less that of matched neurons; ``answer``
        (H6b): log-odds.
    control : ``random_columns``; ``other_heads``: the same columns in other heads; ``other_fact``: another
        fact's synapses for the same template.
    margin : difference that counts as none: 0.01 in relative activation, 0.1 in log-odds where None.

    Returns
    -------
    TestResult : over queries whose removed masses are equal within a tenth; the others are counted.

    Raises
    ------
    InputError : the store has no group /synapses, or not these arms.

    References
    ----------
    Chen et al. 2025 (arXiv 2405.14117), §3, whose comparison has no control.
    """
    attended = AttentionOutcomes.of(study, known)
    if not attended.has(operation, KNOWLEDGE, control):
        rule, have = f"sets {KNOWLEDGE} and {control} under {operation}", ", ".join(attended.arms)
        raise InputError(message("synapse sets", have, rule, "synapses", "Extract these sets"))
    draws = Draws(n_permutations=n_permutations, confidence=confidence, alpha=alpha, seed=seed)
    return synapse_test(attended, outcome, operation, control, draws, margin, store=study.fingerprint)


def synapse_test(
    attended: AttentionOutcomes,
    outcome: Outcome,
    operation: str,
    control: str,
    draws: Draws,
    margin: float | None = None,
    store: str = "",
) -> TestResult:
    """The same of outcomes at hand."""
    x, rows = attended.against(operation, control, outcome), attended.rows
    default = ACTIVATION_MARGIN if outcome == "activation" else LOG_ODDS_MARGIN
    what = "relative activation of N_i (less matched neurons')" if outcome == "activation" else "log-odds"
    gone = "gained" if operation.startswith("enhance") else "lost"
    words = control.replace("_", " ")
    return paired_test(
        rows.mean(x),
        rows.clusters,
        name=NAMES[outcome],
        question="Do knowledge synapses move "
        f"{'knowledge neurons' if outcome == 'activation' else 'the answer'} more than other attention does?",
        estimand=f"{what} {gone} under {operation} of knowledge synapses, less that under {operation} of "
        f"{words} of equal mass",
        draws=draws,
        margin=default if margin is None else margin,
        n_queries=int(np.sum(rows.used & ~np.isnan(x))),
        checks=(unequal(attended, control),),
        store=store,
        stream=Stream.SYNAPSES_ACTIVATION if outcome == "activation" else Stream.SYNAPSES_ANSWER,
    )


def unequal(attended: AttentionOutcomes, control: str) -> str:
    """How many queries a control cannot be compared on."""
    used = attended.rows.used
    n = int(np.sum(used & ~attended.equal_mass(control)))
    return (
        f"{n:,} of {int(used.sum()):,} queries have no {control.replace('_', ' ')} of equal removed mass "
        f"(within {100 * EQUAL_MASS:g}%): left out."
    )
