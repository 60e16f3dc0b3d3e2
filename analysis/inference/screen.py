"""Tables of means and of paired differences over facts, and a screen's p-values corrected together."""

from __future__ import annotations

from typing import Any

import numpy as np

from qloc.analysis.inference.cluster_intervals import cluster_interval
from qloc.analysis.inference.codes import codes, n_codes
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.effect_sizes import rank_biserial
from qloc.analysis.inference.means import mean
from qloc.analysis.inference.multiplicity import adjusted
from qloc.analysis.inference.paired import paired_p
from qloc.arrays import Floats, Ints
from qloc.streams import Stream

SCREEN_NOTE = (
    "p: signs of whole relations flipped (under six, of answers within relations; where answers "
    "cross relations, no less than of the two-way cluster-robust t), two-sided; adjusted by "
    "Benjamini–Hochberg over the table."
)


def spread(name: str, values: Floats, clusters: tuple[Ints, Ints], confidence: float) -> dict[str, float]:
    """Mean of (fact,) values and its cluster-robust interval, as columns ``name, name_low, name_high``."""
    ends = cluster_interval(values, clusters, confidence=confidence) if len(values) else None
    return {
        name: mean(values),
        f"{name}_low": ends.low if ends else np.nan,
        f"{name}_high": ends.high if ends else np.nan,
    }


def screened(
    x: Floats, clusters: tuple[Ints, Ints], draws: Draws, stream: Stream, number: int
) -> dict[str, Any]:
    """A paired difference as columns: ``difference`` with interval, rank-biserial, p, facts, relations."""
    facts = np.flatnonzero(~np.isnan(x))
    row: dict[str, Any] = spread("difference", x, clusters, draws.confidence)
    row |= {"rank_biserial": np.nan, "p": np.nan, "facts": len(facts), "relations": 0}
    if len(facts):
        relation, answer = (codes(way[facts]) for way in clusters)
        row["relations"] = n_codes(relation)
        row["rank_biserial"] = rank_biserial(x[facts], (relation, answer)).value
        row["p"] = paired_p(
            x[facts],
            (relation, answer),
            n_permutations=draws.n_permutations,
            rng=stream.generator(draws.seed, number),
            alternative="two-sided",
            level=draws.alpha,
        )[0]
    return row


def corrected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with ``p_adjusted``, by Benjamini–Hochberg over all of them."""
    p = adjusted([row["p"] for row in rows], "fdr_bh")
    return [{**row, "p_adjusted": float(value)} for row, value in zip(rows, p, strict=True)]
