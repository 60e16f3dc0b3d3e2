"""The tables of Chen et al. 2025 in the paper's layout.

The tables follow the paper and serve for comparison with it only: classes of facts are split on the score
that is compared, and changes of probability are ratios. Columns that qloc recommends instead stand beside
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import xarray as xr

from qloc.analysis.inference.means import mean
from qloc.analysis.interventions.knowledge_synapses import synapse_effects
from qloc.analysis.interventions.neuron_effects import Measure, intervention_effects
from qloc.analysis.localization.consistency import consistency
from qloc.analysis.localization.inconsistent_share import STATIC
from qloc.analysis.localization.query_subsets import subset_scores
from qloc.analysis.localization.welch import welch_of
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.questions.single_facts import heatmap_question
from qloc.analysis.reproductions.chen_findings import (
    consistency_aware,
    inconsistent_shares,
    own_and_neighbor,
    synapses,
    updates,
)
from qloc.analysis.reproductions.published_tables import (
    EDIT_LABELS,
    PUBLISHED_EDIT_SCORES,
    PublishedTable,
    Row,
    Side,
    among_labels,
    edit_rows,
)
from qloc.analysis.results import Question
from qloc.phase_plan import ROME_SETS

_CAS_SETS: Final = (
    *("own", "union", "refined", "cas", "cas_no_penalty"),
    *("own_top", "union_top", "cas_top", "in_context"),
    *ROME_SETS,
)
"""Edited sets that stand beside CAS, in the order of the rows."""

_DESCRIPTIVE: Final = "Descriptive: the classes are split on consistency, and differ in more than that."


def _ratio_rows(side: Side) -> Iterator[Row]:
    """Yield share of K_I, mean scores of both classes, and Welch's t between them (Table 1)."""
    for method, sets in side.sets.items():
        d = consistency(sets)
        known = sets.known()
        subsets = subset_scores(
            known.member,
            known.queries["fact"],
            sets.n_facts,
            [side.plan.k0],
            side.plan.consistency_threshold,
        )
        beside = {"kappa": mean(d["kappa"].values), "ki_k0": mean(subsets.below_cs2[:, 0])}
        for score in ("CS1", "CS2"):
            for split in (None, *STATIC):
                welch = welch_of(d[score].values, score, split)[1].iloc[0]
                n = int(welch.n_consistent + welch.n_inconsistent)
                yield {
                    "model": side.model,
                    "method": method,
                    "score": score,
                    "threshold": "Otsu" if split is None else f"{split:g}",
                    "split": welch.split,
                    "ratio": welch.n_inconsistent / n if n else np.nan,
                    "mean_consistent": welch.mean_consistent,
                    "mean_inconsistent": welch.mean_inconsistent,
                    "t": welch.t,
                    "facts": n,
                    **beside,
                }


def _modification_rows(side: Side) -> Iterator[Row]:
    """Yield scores of erase and update × N_i and N_u × K_C and K_I."""
    yield from edit_rows(side, ("own", "union"), side.edit_classes)


def _probability_rows(side: Side) -> Iterator[Row]:
    """Yield ΔProb when a query's own neurons, or its neighbor's, are suppressed or enhanced."""
    by: dict[Measure, xr.DataArray] = {
        measure: intervention_effects(side.study, measure=measure) for measure in ("probability", "log_odds")
    }
    for operation in among_labels(by["probability"], "operation", ("suppress", "enhance")):
        for name, among in side.classes.items():
            row: Row = {"model": side.model, "operation": operation, "class": name}
            facts = 0
            row |= {f"{measure}_{arm}": np.nan for measure in by for arm in ("own", "neighbor")}
            for measure, values in by.items():
                for arm in among_labels(values, "neuron_set", ("own", "neighbor")):
                    chosen = values.sel(operation=operation, neuron_set=arm).values[among]
                    row[f"{measure}_{arm}"] = mean(chosen)
                    facts = max(facts, int(np.sum(~np.isnan(chosen))))
            yield {**row, "facts": facts}


def _synapse_rows(side: Side) -> Iterator[Row]:
    """Yield effects on N_i and on the answer of changing each synapse set, as published or refined."""
    activation = synapse_effects(side.study, outcome="activation")
    probability = synapse_effects(side.study, outcome="probability")
    odds = synapse_effects(side.study, outcome="log_odds")
    for operation in map(str, activation["synapse_operation"].values):
        for arm in map(str, activation["synapse_set"].values):
            at = {"synapse_operation": operation, "synapse_set": arm}
            effects = [values.sel(at).values[side.facts] for values in (activation, probability, odds)]
            yield {
                "model": side.model,
                "operation": operation,
                "synapses": arm,
                **dict(zip(("activation", "probability", "log_odds"), map(mean, effects), strict=True)),
                "facts": int(np.sum(~np.isnan(effects[2]))),
            }


def _cas_rows(side: Side) -> Iterator[Row]:
    """Yield scores of edits of CAS and of the sets that it is compared with."""
    yield from edit_rows(side, _CAS_SETS, {"all": side.edit_classes["all"]})


LAYOUTS: Final = (
    PublishedTable(
        name="chen_ratio",
        title="Share of inconsistent facts, scores of the classes, and Welch's t",
        group="signals",
        phase="signals",
        rows=_ratio_rows,
        shown=("ratio", "mean_consistent", "mean_inconsistent", "t"),
        finding=inconsistent_shares,
        labels={
            "ratio": "share K_I",
            "mean_consistent": "mean score of K_C",
            "mean_inconsistent": "mean score of K_I",
            "t": "Welch's t",
            "kappa": "κ, beside",
            "ki_k0": "K_I(k₀), beside",
        },
        note="t is circular: the classes are split on the score that it compares. Otsu's threshold is "
        "another in every model: compare models by κ and K_I(k₀).",
    ),
    PublishedTable(
        name="chen_modification",
        title="Modification of N_i and N_u, consistent and inconsistent facts",
        group="edits",
        phase="edits",
        rows=_modification_rows,
        finding=updates,
        shown=(*PUBLISHED_EDIT_SCORES, "average", "perplexity"),
        labels=EDIT_LABELS,
        note=f"{_DESCRIPTIVE} Of three scores a wrecked model gets two for nothing: the harmonic mean is 0.",
    ),
    PublishedTable(
        name="chen_probability",
        title="ΔProb when own or neighbor neurons are suppressed or enhanced",
        group="interventions",
        phase="interventions",
        rows=_probability_rows,
        shown=("probability_own", "probability_neighbor"),
        finding=own_and_neighbor,
        labels={
            "probability_own": "ΔProb, own N_i",
            "probability_neighbor": "ΔProb, neighbor N_j",
            "log_odds_own": "Δ log-odds, own",
            "log_odds_neighbor": "Δ log-odds, neighbor",
        },
        note=f"{_DESCRIPTIVE} ΔProb = (after − before)/before: noise of mean zero alone raises it.",
    ),
    PublishedTable(
        name="chen_synapses",
        title="What changing knowledge synapses does to N_i and to the answer",
        group="synapses",
        phase="interventions",
        rows=_synapse_rows,
        shown=("activation", "probability"),
        finding=synapses,
        labels={
            "activation": "Δ activation of N_i, less matched",
            "probability": "ΔProb",
            "log_odds": "Δ log-odds",
        },
        note="Published: c > τ. Knowledge: without sink and position. The others are controls that remove as "
        "much attention as knowledge.",
    ),
    PublishedTable(
        name="chen_cas",
        title="Consistency-aware sets (CAS) beside others",
        group="edits",
        phase="edits",
        rows=_cas_rows,
        finding=consistency_aware,
        shown=(*PUBLISHED_EDIT_SCORES, "average", "perplexity"),
        labels=EDIT_LABELS,
        note="Sets of unequal size edit unequally: the top b neurons of own, union and CAS have one budget. "
        "In context nothing is edited: the query answered with o′ stands before the prompt. ROME changes a "
        "whole layer, by an edit of rank one that is optimized for o′.",
    ),
)
"""The tables, in the paper's order."""


def single_facts(side: Side) -> Question:
    """Show single facts of a model: neurons across queries, and what suppressed synapses leave of them.

    Parameters
    ----------
    side : Side
        The model.

    Returns
    -------
    Question
        With a heatmap of a consistent, a typical and an inconsistent fact.
    """
    return heatmap_question(AnalysisContext(side.study, side.plan))
