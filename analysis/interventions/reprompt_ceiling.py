"""The ceiling of query–KN mapping (H5): a query against another of its fact, and against itself reformed.

N_i was chosen on i, so that N_i∖N_j moves the answer to i more than N_j∖N_i does, whatever j is: also where j
is i′, the same words in another form. The gap against i′ is what choosing and the noise of attribution make;
that against j tells of queries as far as it is wider.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.paired import LOG_ODDS_MARGIN, paired_test
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.neuron_effects import ArmOutcomes
from qloc.analysis.interventions.query_kn_mapping import NEIGHBOR, OWN
from qloc.analysis.localization.pairwise_dice import dice_of_rows
from qloc.analysis.results import TestResult
from qloc.arrays import Floats
from qloc.errors import InputError, message
from qloc.neurons import NeuronSets
from qloc.streams import Stream

AGAIN: Final = ("own_minus_reprompt", "reprompt_minus_own")
"""N_i∖N_i′ and N_i′∖N_i."""


@dataclass(frozen=True)
class Ceiling:
    """Query by query, over those of :func:`compared`: float64, (query,), NaN for others.

    Attributes
    ----------
    gap : log-odds of the answer to i lost under N_i∖N_j less those lost under N_j∖N_i.
    again : the same against N_i′.
    """

    gap: Floats
    again: Floats

    @property
    def beyond(self) -> Floats:
        """By how much the gap is wider than the ceiling."""
        return self.gap - self.again


def has_ceiling(changed: ArmOutcomes, reprompts: xr.Dataset, operation: str) -> bool:
    """Whether all arms that H5 compares were run."""
    return bool(reprompts.sizes) and changed.has(operation, OWN, NEIGHBOR, *AGAIN)


def compared(changed: ArmOutcomes, reprompts: xr.Dataset) -> NDArray[np.bool_]:
    """The queries i that were asked again, where the answer ranks first for i, i′ and the neighbor j alike.

    Ignorance is no inconsistency, and a re-prompt that is answered otherwise is none that is near-identical.
    ``known=False`` asks this of i and i′ alone.
    """
    neighbor = changed.found["neighbor"].values.astype(np.int64)
    again = (reprompts["n_neurons"].values > 0) & (reprompts["rank"].values == 1)
    return np.asarray(changed.rows.used & again & (neighbor >= 0) & changed.rows.used[neighbor])


def ceiling_of(changed: ArmOutcomes, reprompts: xr.Dataset, operation: str) -> Ceiling:
    """Both gaps of every query that is compared.

    Where no neuron is left at equal count and layers, nothing is changed, and the gap is 0: to leave such
    queries out would leave out those whose sets agree.
    """
    there = compared(changed, reprompts)
    gap, again = (_gap(changed, operation, *arms) for arms in ((OWN, NEIGHBOR), AGAIN))
    both = there & ~np.isnan(gap) & ~np.isnan(again)
    return Ceiling(gap=np.where(both, gap, np.nan), again=np.where(both, again, np.nan))


def _gap(changed: ArmOutcomes, operation: str, first: str, second: str) -> Floats:
    n = changed.found["n_neurons"].sel({changed.arm: first}).values
    return np.where(n == 0, 0.0, changed.contrast(operation, first, second))


def overlaps(sets: NeuronSets, changed: ArmOutcomes, reprompts: xr.Dataset) -> tuple[Floats, Floats]:
    """Dice overlap of N_i with N_j, and with N_i′, of the queries that are compared.

    Returns
    -------
    two of float64, (query,); NaN for others.
    """
    neighbor = changed.found["neighbor"].values.astype(np.int64)
    theirs, shared = (reprompts[name].values.astype(np.int64) for name in ("n_neurons", "n_shared"))
    here = np.flatnonzero(compared(changed, reprompts))
    near, again = np.full((2, len(theirs)), np.nan)
    near[here] = dice_of_rows(sets.member, sets.member, here, neighbor[here])
    again[here] = 2 * shared[here] / (sets.sizes()[here] + theirs[here])
    return near, again


def own_beyond_reprompt(
    study: Study,
    *,
    operation: str = "suppress",
    known: bool = True,
    margin: float = LOG_ODDS_MARGIN,
    n_permutations: int = 999,
    confidence: float = 0.95,
    alpha: float = 0.05,
    seed: int = 0,
) -> TestResult:
    """H5: own sets stand out more against another query of the fact than against their own re-prompt.

    Estimate: mean over facts, of the mean over its queries that were asked again, of two gaps' difference:
    log-odds of the answer to i lost under N_i∖N_j less N_j∖N_i, less the same against N_i′, i′ having the
    words of i in another form. As many neurons of the same layers on both sides of a gap. One-sided; signs
    of whole relations are flipped.

    Parameters
    ----------
    operation, known, margin : as for :func:`qloc.analysis.interventions.neuron_effects.own_against_control`.

    Returns
    -------
    TestResult : "not identified" where no query was asked again.

    Raises
    ------
    InputError : the store has no phase ``interventions``, or no re-prompts.
    """
    changed = ArmOutcomes.of(study, known)
    if not has_ceiling(changed, study.reprompts, operation):
        rule, have = f"arms {', '.join((OWN, NEIGHBOR, *AGAIN))} under {operation}", ", ".join(changed.arms)
        raise InputError(message("arms", have, rule, "interventions", "Extract these arms"))
    draws = Draws(n_permutations=n_permutations, confidence=confidence, alpha=alpha, seed=seed)
    return ceiling_test(changed, study.reprompts, operation, draws, margin=margin, store=study.fingerprint)


def ceiling_test(
    changed: ArmOutcomes,
    reprompts: xr.Dataset,
    operation: str,
    draws: Draws,
    *,
    margin: float = LOG_ODDS_MARGIN,
    store: str = "",
) -> TestResult:
    """H5 of outcomes at hand."""
    found = ceiling_of(changed, reprompts, operation)
    return paired_test(
        changed.rows.mean(found.beyond),
        changed.rows.clusters,
        name="H5",
        question="Does a query's own set stand out more against that of another query of the fact than "
        "against that of its near-identical re-prompt?",
        estimand=f"log-odds of the answer to i lost under {operation} of N_i∖N_j less those under N_j∖N_i, "
        "less the same gap against N_i′ of the re-prompt",
        draws=draws,
        margin=margin,
        n_queries=int(np.sum(~np.isnan(found.beyond))),
        checks=_checks(changed, reprompts, found),
        store=store,
        stream=Stream.BEYOND_REPROMPT,
    )


def _checks(changed: ArmOutcomes, reprompts: xr.Dataset, found: Ceiling) -> tuple[str, ...]:
    asked, used = reprompts["n_neurons"].values >= 0, ~np.isnan(found.beyond)
    if not used.any():
        return (f"{int(asked.sum()):,} queries were asked again; none can be compared.",)
    first = np.mean(reprompts["rank"].values[asked] == 1)
    moved = reprompts["log_probability"].values - changed.base["base_log_probability"].values
    gap, again = (changed.rows.mean(values) for values in (found.gap, found.again))
    sizes = changed.found["n_neurons"].sel({changed.arm: [OWN, AGAIN[0]]}).values[:, used].mean(axis=1)
    return (
        f"{int(asked.sum()):,} queries were asked again: {100 * first:.0f}% of the answers still rank first, "
        f"log P moves by {np.median(np.abs(moved[asked])):.2g} nats (median). Compared: {int(used.sum()):,}, "
        "where it does, and where it does for the other query too.",
        f"The gap against another query is {np.nanmean(gap):.3g} log-odds, the ceiling "
        f"{np.nanmean(again):.3g}; neurons on either side, mean: {sizes[0]:.1f} and {sizes[1]:.1f}.",
        "N_i was chosen by attribution to the answer to i: that alone makes both gaps; only their difference "
        "tells of queries.",
    )
