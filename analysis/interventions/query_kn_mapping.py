"""Query–KN mapping (H5c): a query's own neurons against those of another query of its fact.

N_i was chosen because it moves the answer to i: that N_i∖N_j moves it more than N_j∖N_i is arithmetic. So is
that the gap is wider where a fact's queries agree less (here): such sets share less, and more of what was
chosen on i is in the difference. What can be tested is whether the gap is wider than that against the same
query reworded (:mod:`qloc.analysis.interventions.reprompt_ceiling`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy import sparse

from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inference.effect_sizes import rank_biserial
from qloc.analysis.inference.paired import log_odds
from qloc.analysis.inference.skewed_interval import skewed_interval
from qloc.analysis.inference.slope_test import slope_test
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.neuron_effects import ArmOutcomes
from qloc.analysis.localization.consistency import consistency
from qloc.analysis.localization.neuron_counts import counts_by, row_sums
from qloc.analysis.results import TestResult
from qloc.analysis.wording import gone, under
from qloc.arrays import Floats, Ints
from qloc.errors import InputError, message
from qloc.hypothesis_registry import REGISTRY
from qloc.neurons import NeuronSets
from qloc.vocabulary import DEFAULT_THRESHOLD

OWN: Final = "own_minus_neighbor"
"""N_i∖N_j."""

NEIGHBOR: Final = "neighbor_minus_own"
"""N_j∖N_i."""

_ARITHMETIC: Final = (
    "No verdict: N_i and N_j were chosen by attribution, and where effects of neurons add up the gap is "
    "wider by arithmetic in facts whose sets share less."
)

_PIECE: Final = 2**14
"""Queries whose counts are in memory at a time."""


@dataclass(frozen=True)
class LeftOutConsistency:
    """Consistency of a fact over its queries other than two, query by query.

    Attributes
    ----------
    kappa, cs2 : float64 ndarray, shape (query,)
        NaN with fewer than two other queries with a non-empty set.
    n : int64 ndarray, shape (query,)
        How many others there are.
    """

    kappa: Floats
    cs2: Floats
    n: Ints


def others(sets: NeuronSets, neighbor: Ints, *, known: bool = True) -> LeftOutConsistency:
    """Return κ and CS2 of each query's fact, over its queries other than the query and its neighbor.

    Parameters
    ----------
    sets : NeuronSets
        N_i of every query.
    neighbor : int64 ndarray, shape (query,)
        The other query j that is left out beside i; -1 where there is none.
    known : bool, default True
        Whether to count known queries only.

    Returns
    -------
    LeftOutConsistency
        κ is corrected by the relation's D₀ over all its queries, as in the headline.
    """
    d0 = consistency(sets, known=known)["D0"].values
    fact = sets.queries["fact"].astype(np.int64)
    usable = (sets.sizes() > 0) & (sets.queries["known"] if known else True)
    member = sparse.csr_array(sets.member.astype(np.int32).multiply(usable.astype(np.int32)[:, None]))
    # Row −1 is of no neighbor.
    member = sparse.vstack([member, sparse.csr_array((1, member.shape[1]), dtype=np.int32)], format="csr")
    of_fact = counts_by(member[:-1], fact, sets.n_facts).astype(np.int32)
    parts = [
        _counted(of_fact[fact[here]] - member[here] - member[neighbor[here]])
        for here in np.array_split(np.arange(len(fact)), 1 + len(fact) // _PIECE)
    ]
    pairs, total, shared, there = np.concatenate(parts, axis=1)
    taken = usable.astype(np.int64) + np.where(neighbor < 0, 0, usable[neighbor])
    k = np.bincount(fact, weights=usable, minlength=sets.n_facts).astype(np.int64)[fact] - taken
    enough = (k >= 2) & (np.bincount(fact, minlength=sets.n_facts)[fact] >= 3)
    with np.errstate(invalid="ignore", divide="ignore"):
        d, cs2 = pairs / ((k - 1) * total), shared / there
        kappa = (d - d0[fact]) / (1 - d0[fact])
    return LeftOutConsistency(kappa=np.where(enough, kappa, np.nan), cs2=np.where(enough, cs2, np.nan), n=k)


def _counted(count: sparse.csr_array) -> Floats:
    """Return Σ c(c − 1), Σ c, and the numbers of neurons with c > 1 and c > 0: float64, (4, query)."""
    c = count.data.astype(np.float64)
    return np.stack([row_sums(count, values) for values in (c * (c - 1), c, c > 1, c > 0)])


def gap_test(changed: ArmOutcomes, operation: str, draws: Draws, store: str = "") -> TestResult:
    """Return H5 of a store without re-prompts, as a descriptive result.

    Estimate: what N_i∖N_j takes from (under ``enhance``, brings to) the answer to i, less what N_j∖N_i does.

    Parameters
    ----------
    changed : ArmOutcomes
        With both differences as arms.
    operation : str
        What was done to the neurons.
    draws : Draws
        Confidence and α.
    store : str, default ""
        Fingerprint of the store, for the result.

    Returns
    -------
    TestResult
        Without p or verdict: N_i was chosen on i, which makes a gap by itself.
    """
    x = changed.contrast(operation, OWN, NEIGHBOR)
    by_fact, clusters = changed.rows.mean(x), changed.rows.clusters
    facts = ~np.isnan(by_fact)
    used = changed.rows.used
    none = float("nan")
    return TestResult(
        name=REGISTRY["H5"].name,
        question="Does a query's own set matter more to its answer than that of another query of the fact?",
        estimand=f"log-odds of the answer to i {gone(operation)} under {under(operation)} of N_i∖N_j, less "
        f"those {gone(operation)} under {under(operation)} of N_j∖N_i, as many neurons of the same layers",
        unit="fact",
        n={
            "relations": len(np.unique(clusters[0][facts])),
            "facts": int(facts.sum()),
            "queries": int(np.sum(used & ~np.isnan(x))),
        },
        estimate=float(by_fact[facts].mean()) if facts.any() else none,
        interval=skewed_interval(by_fact, clusters, confidence=draws.confidence) if facts.any() else None,
        effect=rank_biserial(by_fact, clusters, confidence=draws.confidence) if facts.any() else None,
        method="no test: N_i was chosen by attribution to the answer to i, which makes this gap by itself",
        p=None,
        role="descriptive",
        verdict="descriptive",
        alpha=draws.alpha,
        checks=(
            f"{int(np.sum(used & np.isnan(x))):,} of {int(used.sum()):,} queries have no neighbor, or no "
            "neuron that only one of the two sets has: left out.",
            "No ceiling: the store has no near-identical re-prompts, which tell how much of the gap is the "
            "noise of attribution.",
        ),
        seed=draws.seed,
        store=store,
    )


def query_kn_mapping(
    study: Study,
    *,
    operation: str = "suppress",
    known: bool = True,
    draws: Draws = DRAWS,
) -> TestResult:
    """Return how much more own sets stand out, against a neighbor's, where a fact's queries agree less (H5c).

    Estimate: slope, over facts within relations, of the gap in log-odds lost (gained, under ``enhance``) by
    N_i∖N_j and by N_j∖N_i (as many neurons of the same layers), on κ of the fact over templates other than i
    and j; numbers of neurons changed and log-odds before as covariates. Query localization says < 0; so does
    arithmetic where the effects of neurons add up, without any consistency of knowledge: hence no test.

    Parameters
    ----------
    study : Study
        With phase ``interventions``.
    operation : str, default "suppress"
        What was done to the neurons.
    known : bool, default True
        Whether to count known queries only.
    draws : Draws
        Number of resamples, confidence and seed.

    Returns
    -------
    TestResult
        Descriptive: slope and interval, without p or verdict. Without them with fewer than three relations,
        or where no fact has four known queries.

    Raises
    ------
    InputError
        The store has no phase ``interventions``, or not these arms.

    References
    ----------
    Chen et al. 2025 (arXiv 2405.14117), §2.2, who compare the classes, chosen on the same sets.
    """
    changed = ArmOutcomes.of(study, known)
    if not changed.has(operation, OWN, NEIGHBOR):
        rule, have = f"arms {OWN} and {NEIGHBOR} under {operation}", ", ".join(changed.arms)
        raise InputError(message("arms", have, rule, "interventions", "Extract these arms"))
    other = others_of(study, known)
    return mapping_slope(changed, other, operation, draws, store=study.fingerprint)


def sets_of_arms(study: Study) -> NeuronSets:
    """Return the sets N_i that the store's arms were chosen by.

    Parameters
    ----------
    study : Study
        With phase ``interventions``.

    Returns
    -------
    NeuronSets
        Of all queries, by the method and threshold of the phase.
    """
    attrs = study.interventions.attrs
    method = str(attrs.get("method", study.methods[0]))
    return study.neurons(method=method, threshold=float(attrs.get("threshold", DEFAULT_THRESHOLD)))


def others_of(study: Study, known: bool = True, sets: NeuronSets | None = None) -> LeftOutConsistency:
    """Return :func:`others` of the sets and neighbors that the store's arms were chosen by.

    Parameters
    ----------
    study : Study
        With phase ``interventions``.
    known : bool, default True
        Whether to count known queries only.
    sets : NeuronSets, optional
        Those of :func:`sets_of_arms`, where they have been read already.

    Returns
    -------
    LeftOutConsistency
        Query by query.
    """
    neighbor = study.interventions["neighbor"].values.astype(np.int64)
    return others(sets_of_arms(study) if sets is None else sets, neighbor, known=known)


def mapping_slope(
    changed: ArmOutcomes, other: LeftOutConsistency, operation: str, draws: Draws, store: str = ""
) -> TestResult:
    """Return H5c of outcomes that are already loaded.

    Parameters
    ----------
    changed : ArmOutcomes
        With N_i∖N_j and N_j∖N_i as arms.
    other : LeftOutConsistency
        κ by templates other than i and j.
    operation : str
        What was done to the neurons.
    draws : Draws
        Number of resamples, confidence and seed.
    store : str, default ""
        Fingerprint of the store, for the result.

    Returns
    -------
    TestResult
        As of :func:`query_kn_mapping`.
    """
    x = np.where(np.isnan(other.kappa), np.nan, changed.contrast(operation, OWN, NEIGHBOR))
    there = ~np.isnan(x)
    n = changed.per_arm("n_neurons", OWN)
    before = log_odds(changed.base["base_log_probability"].values)
    columns = {
        name: changed.rows.mean(np.where(there, values, np.nan))
        for name, values in (
            ("κ over other templates", other.kappa),
            ("neurons changed", n),
            ("log neurons changed", np.log1p(n)),
            ("log-odds before", before),
        )
    }
    slope = slope_test(
        changed.rows.mean(x),
        columns,
        changed.rows.clusters,
        name=REGISTRY["H5c"].name,
        question=REGISTRY["H5c"].question,
        estimand=f"slope, within relations, on κ over templates other than i and j, of the log-odds "
        f"{gone(operation)} under {under(operation)} of N_i∖N_j less those under {under(operation)} of "
        "N_j∖N_i",
        draws=draws,
        checks=(_ARITHMETIC,),
        store=store,
    )
    return replace(
        slope,
        method=f"{slope.method}; no test",
        role="descriptive",
        direction="descriptive",
        verdict="descriptive",
        checks=slope.checks[:-1],  # the last is of a smallest effect of interest
        p=None,
        target="",
        p_equivalence=None,
        margin=None,
        least_p=None,
    )
