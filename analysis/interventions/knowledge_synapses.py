"""What changing attention does: knowledge synapses against controls of equal removed mass (H6a, H6b).

A knowledge synapse is a column of attention (layer, head, token) that takes more than its share. Whether it
"selects" knowledge neurons can only be seen beside columns that were not chosen but hold as much attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inference.paired import LOG_ODDS_MARGIN, paired_test
from qloc.analysis.inputs.query_rows import rows_of
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.neuron_effects import ArmOutcomes, Measure, per_fact, require_group
from qloc.analysis.results import TestResult
from qloc.analysis.wording import gone, under
from qloc.arrays import Floats
from qloc.errors import InputError, message
from qloc.hypothesis_registry import hypothesis_of
from qloc.random_streams import Stream
from qloc.vocabulary import SYNAPSE_OPERATION, SYNAPSE_SET

SynapseOutcome = Literal["activation", "answer"]
SYNAPSE_OUTCOMES: Final[tuple[SynapseOutcome, ...]] = ("activation", "answer")
"""What changing attention is told by: activation of the knowledge neurons (H6a), the answer (H6b)."""

KNOWLEDGE: Final = "knowledge"
COLUMN_CONTROLS: Final = ("random_columns", "other_heads", "other_fact")
"""Controls of ``knowledge``; the first is what H6a and H6b compare with."""

EQUAL_MASS: Final = 0.1
"""Relative difference in removed mass that counts as equal."""

ACTIVATION_MARGIN: Final = 0.01
"""Difference in relative activation that counts as none."""

_STREAMS: Final[Mapping[SynapseOutcome, Stream]] = {
    "activation": Stream.SYNAPSES_ACTIVATION,
    "answer": Stream.SYNAPSES_ANSWER,
}


@dataclass(frozen=True)
class AttentionOutcomes(ArmOutcomes):
    """The outcomes of changed attention, query by query; fields as of :class:`ArmOutcomes`."""

    @classmethod
    def of(cls, study: Study, known: bool = True) -> AttentionOutcomes:
        """Return the outcomes of changed attention (/synapses).

        The outcomes with nothing changed are in /interventions.

        Parameters
        ----------
        study : Study
            With group /synapses.
        known : bool, default True
            Whether to count known queries only.

        Returns
        -------
        AttentionOutcomes
            Read when first used.

        Raises
        ------
        InputError
            The store has no such group.
        """
        require_group(study, "synapses")
        rows = rows_of(study, known)
        return cls(study.synapses, study.interventions, rows, SYNAPSE_OPERATION, SYNAPSE_SET)

    def activation(self, operation: str, arm: str) -> Floats:
        """Return Σ(a′ − a)·sign(a)/Σ|a| over N_i, less the same over matched neurons.

        Parameters
        ----------
        operation, arm : str
            Labels of an arm that was run.

        Returns
        -------
        float64 ndarray, shape (query,)
            Relative change of the activation of the knowledge neurons; NaN where the arm was empty.
        """
        return self.outcome(operation, arm, "activation_effect") - self.outcome(
            operation, arm, "matched_effect"
        )

    def equal_mass(self, control: str) -> NDArray[np.bool_]:
        """Return whether a control removes as much attention as the knowledge synapses.

        Parameters
        ----------
        control : str
            Label of a set of synapses.

        Returns
        -------
        bool ndarray, shape (query,)
            True where both masses are equal within :data:`EQUAL_MASS`, and not 0.
        """
        mass = [self.per_arm("removed_mass", arm) for arm in (KNOWLEDGE, control)]
        with np.errstate(invalid="ignore"):
            return np.asarray((mass[0] > 0) & (np.abs(mass[1] - mass[0]) <= EQUAL_MASS * mass[0]))

    def against(self, operation: str, control: str, outcome: SynapseOutcome) -> Floats:
        """Return what knowledge synapses take away (bring, under an enhancement) less what a control does.

        Parameters
        ----------
        operation, control : str
            Labels of an arm that was run.
        outcome : {"activation", "answer"}
            Relative activation of N_i, or log-odds of the answer.

        Returns
        -------
        float64 ndarray, shape (query,)
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
    """Return the mean change over each fact's queries, for every operation on attention and set of synapses.

    Parameters
    ----------
    study : Study
        With group /synapses.
    outcome : {"log_odds", "logit", "margin", "probability", "activation"}
        ``activation``: relative change of the activation of N_i less that of matched neurons; else of the
        answer, as for :func:`qloc.analysis.interventions.neuron_effects.intervention_effects`.
    known : bool, default True
        Whether to count known queries only.

    Returns
    -------
    xarray.DataArray
        float64, (synapse_operation, synapse_set, fact).

    Raises
    ------
    InputError
        The store has no group /synapses.
    """
    attended = AttentionOutcomes.of(study, known)
    if outcome != "activation":
        return per_fact(attended, outcome)
    effects = xr.full_like(per_fact(attended, "log_odds"), np.nan)
    for operation in attended.operations:
        for arm in attended.arms:
            at = {attended.operation: operation, attended.arm: arm}
            effects.loc[at] = attended.rows.mean(attended.activation(operation, arm))
    return effects


def dynamic_selection(
    study: Study,
    *,
    outcome: SynapseOutcome = "activation",
    operation: str = "suppress",
    control: str = "random_columns",
    known: bool = True,
    margin: float | None = None,
    draws: Draws = DRAWS,
) -> TestResult:
    """Test whether knowledge synapses move N_i, or the answer, more than other attention does (H6a, H6b).

    Estimate: mean over facts of what knowledge synapses take away (bring, under ``enhance``) less what a
    control of equal removed mass does. One-sided; signs of whole relations are flipped.

    Parameters
    ----------
    study : Study
        With group /synapses.
    outcome : {"activation", "answer"}
        ``activation`` (H6a): relative activation of N_i, less that of matched neurons; ``answer`` (H6b):
        log-odds.
    operation : str, default "suppress"
        What was done to the attention columns.
    control : {"random_columns", "other_heads", "other_fact"}
        Random columns; the same columns in other heads; another fact's synapses for the same template.
    known : bool, default True
        Whether to count known queries only.
    margin : float, optional
        Difference that counts as none: 0.01 in relative activation, 0.1 in log-odds where it is not given.
    draws : Draws
        Number of flips, confidence, α and seed.

    Returns
    -------
    TestResult
        Over queries whose removed masses are equal within a tenth; ``checks`` count the others.

    Raises
    ------
    InputError
        The store has no group /synapses, or not these arms.

    References
    ----------
    Chen et al. 2025 (arXiv 2405.14117), §3, whose comparison has no control.
    """
    attended = AttentionOutcomes.of(study, known)
    if not attended.has(operation, KNOWLEDGE, control):
        rule, have = f"sets {KNOWLEDGE} and {control} under {operation}", ", ".join(attended.arms)
        raise InputError(message("synapse sets", have, rule, "synapses", "Extract these sets"))
    return synapse_test(attended, outcome, operation, control, draws, margin, store=study.fingerprint)


def synapse_test(
    attended: AttentionOutcomes,
    outcome: SynapseOutcome,
    operation: str,
    control: str,
    draws: Draws,
    margin: float | None = None,
    store: str = "",
) -> TestResult:
    """Run H6a or H6b on outcomes that are already loaded.

    Parameters
    ----------
    attended : AttentionOutcomes
        With the knowledge synapses and the control.
    outcome : {"activation", "answer"}
        As for :func:`dynamic_selection`.
    operation, control : str
        Labels of an arm that was run.
    draws : Draws
        Number of flips, confidence, α and seed.
    margin : float, optional
        As for :func:`dynamic_selection`.
    store : str, default ""
        Fingerprint of the store, for the result.

    Returns
    -------
    TestResult
        As of :func:`dynamic_selection`.
    """
    x, rows = attended.against(operation, control, outcome), attended.rows
    hypothesis = hypothesis_of("dynamic_selection", outcome=outcome)
    default = ACTIVATION_MARGIN if outcome == "activation" else LOG_ODDS_MARGIN
    what = "relative activation of N_i (less matched neurons')" if outcome == "activation" else "log-odds"
    words = control.replace("_", " ")
    return paired_test(
        rows.mean(x),
        rows.clusters,
        name=hypothesis.name,
        question=hypothesis.question,
        estimand=f"{what} {gone(operation)} under {under(operation)} of knowledge synapses, less that under "
        f"{under(operation)} of {words} of equal mass",
        draws=draws,
        margin=default if margin is None else margin,
        margin_unit="in relative activation" if outcome == "activation" else "log-odds",
        n_queries=int(np.sum(rows.used & ~np.isnan(x))),
        checks=(_unequal(attended, control),),
        store=store,
        stream=_STREAMS[outcome],
    )


def _unequal(attended: AttentionOutcomes, control: str) -> str:
    """Return how many queries a control cannot be compared on, as a sentence."""
    used = attended.rows.used
    n = int(np.sum(used & ~attended.equal_mass(control)))
    return (
        f"{n:,} of {int(used.sum()):,} queries have no {control.replace('_', ' ')} of equal removed mass "
        f"(within {100 * EQUAL_MASS:g}%): left out."
    )
