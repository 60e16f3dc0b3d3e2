"""The ceiling of query–KN mapping (H5): a query against another of its fact, and against its own re-prompt.

N_i was chosen on i, so that N_i∖N_j moves the answer to i more than N_j∖N_i does, whatever j is: also where j
is i′, the same words in another form. The gap against i′ is what choosing and the noise of attribution make;
the gap against j says something about queries only as far as it is wider.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inference.paired import LOG_ODDS_MARGIN, paired_test
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.neuron_effects import ArmOutcomes
from qloc.analysis.interventions.query_kn_mapping import NEIGHBOR, OWN
from qloc.analysis.localization.overlap.pairwise_dice import dice_of_rows
from qloc.analysis.results import TestResult
from qloc.analysis.wording import gone, percent, under
from qloc.arrays import Floats
from qloc.errors import InputError, message
from qloc.hypothesis_registry import REGISTRY
from qloc.neurons import NeuronSets
from qloc.random_streams import Stream
from qloc.text.rounding import number

AGAIN: Final = ("own_minus_reprompt", "reprompt_minus_own")
"""N_i∖N_i′ and N_i′∖N_i."""


@dataclass(frozen=True)
class Ceiling:
    """Both gaps, query by query; NaN for queries that :func:`compared` leaves out.

    Attributes
    ----------
    gap : float64 ndarray, shape (query,)
        Log-odds of the answer to i lost (under enhancement, gained) under N_i∖N_j less under N_j∖N_i.
    again : float64 ndarray, shape (query,)
        The same against N_i′.
    """

    gap: Floats
    again: Floats

    @property
    def beyond(self) -> Floats:
        """How much wider the gap is than the ceiling: float64, (query,)."""
        return self.gap - self.again


def has_ceiling(changed: ArmOutcomes, reprompts: xr.Dataset, operation: str) -> bool:
    """Return whether all arms that H5 compares were run.

    Parameters
    ----------
    changed : ArmOutcomes
        Of neurons.
    reprompts : xarray.Dataset
        Group /reprompts; empty where no query was asked again.
    operation : str
        What was done to the neurons.

    Returns
    -------
    bool
        False for stores without re-prompts.
    """
    return bool(reprompts.sizes) and changed.has(operation, OWN, NEIGHBOR, *AGAIN)


def compared(changed: ArmOutcomes, reprompts: xr.Dataset) -> NDArray[np.bool_]:
    """Return which queries i are compared: the answer ranks first for i, for j and for the re-prompt i′.

    Ignorance is no inconsistency, and a re-prompt with another answer is not near-identical. With outcomes of
    all queries (``known=False``), j may have any answer.

    Parameters
    ----------
    changed : ArmOutcomes
        Of neurons.
    reprompts : xarray.Dataset
        Group /reprompts.

    Returns
    -------
    bool ndarray, shape (query,)
        False for queries that were not asked again, or have no neighbor.
    """
    neighbor = changed.found["neighbor"].values.astype(np.int64)
    again = (reprompts["n_neurons"].values > 0) & (reprompts["rank"].values == 1)
    return np.asarray(changed.rows.used & again & (neighbor >= 0) & changed.rows.used[neighbor])


def ceiling_of(changed: ArmOutcomes, reprompts: xr.Dataset, operation: str) -> Ceiling:
    """Return both gaps of every query that is compared.

    Where no neuron is left at equal count and layers, nothing is changed, and the gap is 0: to leave such
    queries out would leave out those whose sets agree.

    Parameters
    ----------
    changed : ArmOutcomes
        With the four differences as arms.
    reprompts : xarray.Dataset
        Group /reprompts.
    operation : str
        What was done to the neurons.

    Returns
    -------
    Ceiling
        The gap against N_j and that against N_i′.
    """
    there = compared(changed, reprompts)
    gap, again = (_gap(changed, operation, *arms) for arms in ((OWN, NEIGHBOR), AGAIN))
    both = there & ~np.isnan(gap) & ~np.isnan(again)
    return Ceiling(gap=np.where(both, gap, np.nan), again=np.where(both, again, np.nan))


def _gap(changed: ArmOutcomes, operation: str, first: str, second: str) -> Floats:
    n = changed.found["n_neurons"].sel({changed.arm: first}).values
    return np.where(n == 0, 0.0, changed.contrast(operation, first, second))


def overlaps(sets: NeuronSets, changed: ArmOutcomes, reprompts: xr.Dataset) -> tuple[Floats, Floats]:
    """Return the Dice overlap of N_i with N_j, and with N_i′, for the queries that are compared.

    Parameters
    ----------
    sets : NeuronSets
        The sets N_i that the arms were chosen by.
    changed : ArmOutcomes
        Of neurons.
    reprompts : xarray.Dataset
        Group /reprompts.

    Returns
    -------
    with_neighbor, with_reprompt : float64 ndarray, shape (query,)
        NaN for queries that are not compared.
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
    draws: Draws = DRAWS,
) -> TestResult:
    """Test whether own sets stand out more against another query than against their own re-prompt (H5).

    Estimate: mean over facts, of the mean over its queries that were asked again, of two gaps' difference:
    log-odds of the answer to i lost under N_i∖N_j less N_j∖N_i, less the same against N_i′, i′ having the
    words of i in another form. As many neurons of the same layers on both sides of a gap. One-sided; signs
    of whole relations are flipped.

    Parameters
    ----------
    study : Study
        With phase ``interventions``, and re-prompts.
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
        "Not identified" where no query can be compared.

    Raises
    ------
    InputError
        The store has no phase ``interventions``, or no re-prompts.
    """
    changed = ArmOutcomes.of(study, known)
    if not has_ceiling(changed, study.reprompts, operation):
        rule, have = f"arms {', '.join((OWN, NEIGHBOR, *AGAIN))} under {operation}", ", ".join(changed.arms)
        raise InputError(message("arms", have, rule, "interventions", "Extract these arms"))
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
    """Run H5 on outcomes that are already loaded.

    Parameters
    ----------
    changed : ArmOutcomes
        With the four differences as arms.
    reprompts : xarray.Dataset
        Group /reprompts.
    operation : str
        What was done to the neurons.
    draws : Draws
        Number of flips, confidence, α and seed.
    margin : float, default 0.1
        Difference in log-odds that counts as none.
    store : str, default ""
        Fingerprint of the store, for the result.

    Returns
    -------
    TestResult
        As of :func:`own_beyond_reprompt`.
    """
    ceiling = ceiling_of(changed, reprompts, operation)
    return paired_test(
        changed.rows.mean(ceiling.beyond),
        changed.rows.clusters,
        name=REGISTRY["H5"].name,
        question=REGISTRY["H5"].question,
        estimand=f"log-odds of the answer to i {gone(operation)} under {under(operation)} of N_i∖N_j less "
        "those under N_j∖N_i, less the same gap against N_i′ of the re-prompt",
        draws=draws,
        margin=margin,
        n_queries=int(np.sum(~np.isnan(ceiling.beyond))),
        checks=_checks(changed, reprompts, ceiling),
        store=store,
        stream=Stream.BEYOND_REPROMPT,
    )


def _checks(changed: ArmOutcomes, reprompts: xr.Dataset, ceiling: Ceiling) -> tuple[str, ...]:
    again, used = reprompts["n_neurons"].values >= 0, ~np.isnan(ceiling.beyond)
    n_again = f"{int(again.sum()):,} queries were asked again"
    if not used.any():
        return (f"{n_again}; none can be compared.",)
    first = float(np.mean(reprompts["rank"].values[again] == 1))
    moved = reprompts["log_probability"].values - changed.base["base_log_probability"].values
    by_median = float(np.median(np.abs(moved[again])))
    gap, most = (float(np.nanmean(changed.rows.mean(x))) for x in (ceiling.gap, ceiling.again))
    sizes = changed.found["n_neurons"].sel({changed.arm: [OWN, AGAIN[0]]}).values[:, used]
    near, reprompt = sizes.mean(axis=1).tolist()
    return (
        f"{n_again}: {percent(first)} of the answers still rank first, log P moves by {number(by_median, 2)} "
        f"nats (median). Compared: {int(used.sum()):,}, where it does, and where it does for the other query "
        "too.",
        f"The gap against another query is {number(gap)} log-odds, the ceiling {number(most)}; neurons on "
        f"either side, mean: {number(near)} and {number(reprompt)}.",
        "N_i was chosen by attribution to the answer to i: that alone makes both gaps; only their difference "
        "tells of queries.",
    )
