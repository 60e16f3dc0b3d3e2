"""Of each part and token, the layer in which restoring brings back the most."""

from __future__ import annotations

import numpy as np

from qloc.analysis.inference.share_intervals import bounded_intervals
from qloc.analysis.tracing.restoring_effects import RestoringEffects
from qloc.arrays import Ints


def greatest_effects(
    effects: RestoringEffects, clusters: tuple[Ints, Ints], *, confidence: float = 0.95
) -> list[dict[str, str | int | float]]:
    """Tabulate the layer of the greatest indirect effect of each part at each role.

    Parameters
    ----------
    effects : RestoringEffects
        In log-odds.
    clusters : tuple of int64 ndarray, shape (fact,) each
        Relation and answer of each fact.
    confidence : float, default 0.95
        Of the intervals, which do not know that the layer was chosen.

    Returns
    -------
    list of dict
        ``part, role, layer, indirect, indirect_low, indirect_high, normalized, total, facts``; roles that no
        used query has are left out. Means over facts; ``normalized`` is the ratio of two.
    """
    n = len(clusters[0])
    total, indirect = effects.of_facts(effects.total, n), effects.of_facts(effects.indirect, n)
    rows: list[dict[str, str | int | float]] = []
    for place, part in enumerate(effects.parts):
        for number, role in enumerate(effects.roles):
            values = indirect[:, place, number]
            there = ~np.isnan(values[:, 0])
            if not there.any():
                continue
            means = values[there].mean(axis=0)
            best = int(np.argmax(means))
            low, high = bounded_intervals(values[:, [best]], clusters, (), confidence=confidence)
            rows.append(
                {
                    "part": part,
                    "role": role,
                    "layer": best,
                    "indirect": float(means[best]),
                    "indirect_low": float(low[0]),
                    "indirect_high": float(high[0]),
                    "normalized": float(means[best] / total[there].mean()),
                    "total": float(total[there].mean()),
                    "facts": int(there.sum()),
                }
            )
    return rows
