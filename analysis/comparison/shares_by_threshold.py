"""Shares of inconsistent facts of several models, by attribution method and threshold, on common queries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from qloc.analysis.comparison.studies import Studies
from qloc.analysis.inference.means import mean
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import consistency, filled
from qloc.analysis.localization.query_subsets import subset_scores
from qloc.analysis.results import Table
from qloc.neurons import NeuronSets
from qloc.plan import AnalysisPlan


def shares_by_threshold(studies: Studies, plan: AnalysisPlan) -> Table:
    """Tabulate K_I of every model by attribution method and threshold, over queries that all models know.

    Parameters
    ----------
    studies : Studies
        The models' studies.
    plan : AnalysisPlan
        Thresholds, k₀, and the static threshold of CS2.

    Returns
    -------
    Table
        ``models_ki``: a row for each method that all stores have, each threshold that all of them can answer
        for, and each model; K_I(k₀), and the share of facts with CS2 below the threshold, as published.

    Examples
    --------
    >>> from qloc.simulation.simulate import simulate
    >>> study = simulate(facts=40, relations=2, templates=4, seed=1)
    >>> frame = shares_by_threshold(Studies({"a": study, "b": study}), AnalysisPlan()).to_frame()
    >>> frame.columns.tolist(), sorted(set(frame["threshold"]))[:2]
    (['method', 'threshold', 'model', 'ki', 'published', 'facts'], [0.1, 0.15])
    """
    rows = [row for method in studies.methods for row in _rows(studies, plan, method)]
    cut = plan.consistency_threshold
    return Table.from_frame(
        pd.DataFrame(rows),
        name="models_ki",
        title="Share of inconsistent facts by method and threshold, of each model",
        labels={
            "threshold": "attribution threshold",
            "ki": f"K_I({plan.k0}), CS2 < {cut:g}",
            "published": f"CS2 < {cut:g}, as published",
        },
        note="The same queries for every model: those that all of them know. Otsu's threshold, another in "
        "every model, compares nothing.",
    )


def _rows(studies: Studies, plan: AnalysisPlan, method: str) -> Iterator[dict[str, Any]]:
    floor = max(_floor(study, method) for study in studies)
    wanted = sorted({*plan.thresholds, plan.threshold})
    able = [threshold for threshold in wanted if threshold >= floor]
    by_model = {model: list(studies.neurons_at(model, able, method)) for model in studies.models}
    for place, threshold in enumerate(able):
        for model, sets in by_model.items():
            yield {"method": method, "threshold": threshold, "model": model, **_shares(sets[place], plan)}


def _floor(study: Study, method: str) -> float:
    floors = study.signals_of(method).floors
    return 0.0 if floors is None else float(np.nanmax(floors, initial=0.0))


def _shares(sets: NeuronSets, plan: AnalysisPlan) -> dict[str, Any]:
    used, cut = filled(sets.known()), plan.consistency_threshold
    cs2 = consistency(sets)["CS2"].values
    scored = cs2[~np.isnan(cs2)]
    subsets = subset_scores(used.member, used.queries["fact"], sets.n_facts, [plan.k0], cut)
    return {
        "ki": mean(subsets.below_cs2[:, 0]),
        "published": mean((scored < cut).astype(np.float64)),
        "facts": len(scored),
    }
