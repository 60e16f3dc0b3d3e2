"""H2: the share of inconsistent knowledge, as published and as it should be compared.

As published, K_I is the share of facts with CS < threshold (:func:`ratio`): it depends on k, on the threshold
and, with Otsu's threshold, on the very distribution that it describes. K_I(k₀) is the mean over facts of the
share of their k₀-subsets of queries with CS < threshold (:func:`inconsistent_share`), and does not depend on
k. :func:`ki_frame` tells both side by side, :func:`rarefaction` how they move with k₀.
See docs/methods.md#consistency-across-paraphrases.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inference.label_codes import codes, distinct
from qloc.analysis.inference.resampling import bootstrap_interval
from qloc.analysis.inference.share_intervals import share_interval
from qloc.analysis.inputs.neuron_sets import sets_and_store
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import (
    answer_codes,
    considered,
    consistency,
    filled,
    relation_codes,
)
from qloc.analysis.localization.otsu import otsu
from qloc.analysis.localization.query_subsets import subset_scores
from qloc.analysis.results import Interval, TestResult
from qloc.arrays import Floats, Ints
from qloc.hypothesis_registry import REGISTRY
from qloc.neurons import NeuronSets
from qloc.random_streams import Stream
from qloc.text.rounding import number
from qloc.vocabulary import DEFAULT_THRESHOLD

STATIC: Final = (0.1, 0.3)
"""Static thresholds of the consistency score; which one was published is not certain."""


def ratio(values: Floats, split: float | None) -> float:
    """Return K_I as published, the share of facts whose score is below the split.

    Parameters
    ----------
    values : float64 ndarray, shape (fact,)
        Scores; NaN are left out.
    split : float or None
        Otsu's threshold of the scores where it is None.

    Returns
    -------
    float
        Share in [0, 1]; NaN without a score, or where Otsu's threshold is not defined.

    Examples
    --------
    >>> ratio(np.array([0.1, 0.2, 0.8, np.nan]), 0.2)
    0.3333333333333333
    """
    defined = values[~np.isnan(values)]
    cut = float(otsu(defined)) if split is None else split
    return float(np.mean(defined < cut)) if len(defined) and not np.isnan(cut) else float("nan")


def ratio_interval(
    values: Floats, split: float | None, clusters: tuple[Ints, ...], *, draws: Draws = DRAWS
) -> Interval | None:
    """Return an interval of :func:`ratio`.

    It is cluster-robust at a static split, and a bootstrap where Otsu's threshold is estimated anew in each
    resample.

    Parameters
    ----------
    values : float64 ndarray, shape (fact,)
        Scores; NaN are left out.
    split : float or None
        Otsu's threshold of the scores where it is None.
    clusters : tuple of int64 ndarray, shape (fact,)
        Relations and answers for an interval that holds for new relations; answers alone for one that holds
        for these.
    draws : Draws
        Number of resamples, level and seed; without resamples, there is no interval of either kind.

    Returns
    -------
    Interval or None
        None without a score, with one cluster, or where no resample is defined.
    """
    defined = ~np.isnan(values)
    x = values[defined]
    if not draws.n_bootstrap or not len(x):
        return None
    if split is not None:
        below = np.where(defined, np.where(defined, values, 0.0) < split, np.nan)
        return share_interval(below, clusters, confidence=draws.confidence)

    def statistic(w: Floats) -> Floats:
        cut = otsu(x, w)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = (w * (x[None, :] < cut[:, None])).sum(axis=1) / w.sum(axis=1)
        return np.where(np.isnan(cut), np.nan, share)

    # Resampling both ways covers 100% here, the first alone 97–98% (docs/statistics.md).
    ways = distinct([codes(code[defined]) for code in clusters])[:1]
    return bootstrap_interval(
        statistic,
        tuple(ways),
        n_resamples=draws.n_bootstrap,
        rng=Stream.INCONSISTENT_SHARE.generator(draws.seed),
        confidence=draws.confidence,
    )


def inconsistent_share(
    study: Study | NeuronSets,
    *,
    method: str = "ig",
    threshold: float = DEFAULT_THRESHOLD,
    known: bool = True,
    k0: int = 3,
    cut: float = 0.1,
    draws: Draws = DRAWS,
) -> TestResult:
    """Estimate how much knowledge is inconsistent (H2), as K_I(k₀); descriptive.

    Estimate: mean over facts with k ≥ ``k0`` queries of the share of their ``k0``-subsets with CS2 <
    ``cut``, counted exactly: comparable between facts, relations and models. The interval is for new
    relations; that for these relations stands in ``checks``. The published ratios are in
    :func:`qloc.analysis.localization.inconsistent_share.ki_frame`.

    Parameters
    ----------
    study : Study or NeuronSets
        Where it is NeuronSets, ``method`` and ``threshold`` are those of the sets.
    method : str
        Attribution method of the store.
    threshold : float
        Attribution threshold of the sets, as a share of a query's largest attribution.
    known : bool
        Known queries only; otherwise all.
    k0 : int
        Queries in a subset, at least 2.
    cut : float
        A subset is inconsistent where its CS2 is below.
    draws : Draws
        Level of the interval; nothing is drawn.

    Returns
    -------
    TestResult
        ``H2``, without p and verdict.

    References
    ----------
    docs/methods.md#consistency-across-paraphrases
    """
    sets, store = sets_and_store(study, method, threshold)
    return share_test(sets, k0=k0, cut=cut, known=known, draws=draws, store=store)


def share_test(
    sets: NeuronSets,
    *,
    k0: int = 3,
    cut: float = 0.1,
    known: bool = True,
    draws: Draws = DRAWS,
    store: str = "",
) -> TestResult:
    """Estimate H2 from neuron sets; see :func:`inconsistent_share`.

    Parameters
    ----------
    sets : NeuronSets
        Sets of all queries.
    k0 : int
        Queries in a subset, at least 2.
    cut : float
        A subset is inconsistent where its CS2 is below.
    known : bool
        Known queries only; otherwise all.
    draws : Draws
        Level of the interval; nothing is drawn.
    store : str
        Fingerprint of the store that the sets are from.

    Returns
    -------
    TestResult
        ``H2``, without p and verdict.
    """
    used = filled(considered(sets, known))
    fact = used.queries["fact"].astype(np.int64)
    share = subset_scores(used.member, fact, sets.n_facts, [k0], cut).below_cs2[:, 0]
    relation, answer = relation_codes(sets)[1], answer_codes(sets)
    defined = ~np.isnan(share)
    interval = share_interval(share, (relation, answer), confidence=draws.confidence)
    few = int(np.sum(np.bincount(fact, minlength=sets.n_facts)[~defined] >= 2))
    these = share_interval(share, (answer,), confidence=draws.confidence)
    checks = [f"{few:,} facts with two queries or more have fewer than {k0}: left out."] if few else []
    if these:
        checks.append(
            f"For these relations alone: {number(these.low)} to {number(these.high)} ({these.method})."
        )
    return TestResult(
        name="H2",
        question=REGISTRY["H2"].question,
        estimand=f"K_I({k0}), mean share of a fact's {k0}-subsets of queries with CS2 < {cut:g}",
        unit="fact",
        n={"relations": len(np.unique(relation[defined])), "facts": int(defined.sum())},
        estimate=float(share[defined].mean()) if defined.any() else float("nan"),
        interval=interval,
        effect=None,
        method=interval.method if interval else "one cluster: no interval",
        p=None,
        role="descriptive",
        verdict="descriptive",
        alpha=draws.alpha,
        checks=tuple(checks),
        seed=draws.seed,
        store=store,
    )


def ki_frame(
    sets: NeuronSets,
    *,
    k0: int = 3,
    thresholds: tuple[float, ...] = STATIC,
    known: bool = True,
    draws: Draws = DRAWS,
) -> pd.DataFrame:
    """Tabulate K_I by score and rule: as published, and K_I(k₀) at the static thresholds.

    Parameters
    ----------
    sets : NeuronSets
        Sets of all queries.
    k0 : int
        Queries in a subset.
    thresholds : tuple of float
        Static thresholds of the score; Otsu's is added.
    known : bool
        Known queries only; otherwise all.
    draws : Draws
        Number of resamples (0 for no intervals), level and seed.

    Returns
    -------
    pandas.DataFrame
        One row a score and rule: ``measure`` (in words), ``ki, low, high, low_these, high_these, facts,
        score`` (cs2, cs1), ``rule`` (static, otsu, subsets), ``score_threshold, k0``. ``low`` and ``high``
        generalize to new relations, ``_these`` to other answers of the same relations; Otsu's threshold is
        estimated anew in each resample.
    """
    scores = consistency(sets, known=known)
    used = filled(considered(sets, known))
    fact = used.queries["fact"].astype(np.int64)
    clusters = (relation_codes(sets)[1], answer_codes(sets))
    rows: list[dict[str, Any]] = []
    for score in ("CS2", "CS1"):
        values = scores[score].values
        for t in thresholds:
            words = f"{score} < {t:g}, as published"
            rows.append(
                {"measure": words, **_row(values, t, clusters, draws), "score": score, "rule": "static"}
            )
        row = {"measure": f"{score} by Otsu, as published", **_row(values, None, clusters, draws)}
        rows.append({**row, "score": score, "rule": "otsu"})
        for t in thresholds:
            subsets = subset_scores(used.member, fact, sets.n_facts, [k0], t)
            share = (subsets.below_cs2 if score == "CS2" else subsets.below_cs1)[:, 0]
            row = {"measure": f"{score} < {t:g} in {k0} queries", **_mean_row(share, t, clusters, draws)}
            rows.append({**row, "score": score, "rule": "subsets", "k0": k0})
    frame = pd.DataFrame(rows)
    frame["score"] = frame["score"].str.lower()
    return frame


def _row(values: Floats, split: float | None, clusters: tuple[Ints, Ints], draws: Draws) -> dict[str, Any]:
    """K_I as published."""
    new = ratio_interval(values, split, clusters, draws=draws)
    these = ratio_interval(values, split, clusters[1:], draws=draws)
    cut = float(otsu(values)) if split is None else split
    n = int(np.sum(~np.isnan(values)))
    return {"ki": ratio(values, split), **_ends(new, these), "facts": n, "score_threshold": cut}


def _mean_row(share: Floats, t: float, clusters: tuple[Ints, Ints], draws: Draws) -> dict[str, Any]:
    """K_I(k₀)."""
    new, these = (
        share_interval(share, ways, confidence=draws.confidence) for ways in (clusters, clusters[1:])
    )
    if not draws.n_bootstrap:
        new = these = None
    defined = share[~np.isnan(share)]
    value = float(defined.mean()) if len(defined) else np.nan
    return {"ki": value, **_ends(new, these), "facts": len(defined), "score_threshold": t}


def _ends(new: Interval | None, these: Interval | None) -> dict[str, float]:
    by_column = {"low": new, "high": new, "low_these": these, "high_these": these}
    return {
        name: getattr(interval, name.partition("_")[0]) if interval else np.nan
        for name, interval in by_column.items()
    }


def rarefaction(
    sets: NeuronSets, *, threshold: float = 0.1, largest: int = 10, known: bool = True
) -> pd.DataFrame:
    """Tabulate K_I(k₀) and mean scores over k₀, for facts with at least k₀ non-empty sets.

    Parameters
    ----------
    sets : NeuronSets
        Sets of all queries.
    threshold : float
        A subset is inconsistent where its score is below.
    largest : int
        Largest k₀, where there are facts with so many sets.
    known : bool
        Known queries only; otherwise all.

    Returns
    -------
    pandas.DataFrame
        One row a k₀ from 2 on: ``k0, facts, ki_cs2, ki_cs1, mean_cs2, mean_cs1, dice``; ``dice`` is D of the
        same facts over all their queries, for comparison: what it moves by is who is in the row, not k₀.
    """
    used = filled(considered(sets, known))
    fact = used.queries["fact"].astype(np.int64)
    k = np.bincount(fact, minlength=sets.n_facts)
    sizes = list(range(2, min(largest, int(k.max(initial=0))) + 1))
    scores = subset_scores(used.member, fact, sets.n_facts, sizes, threshold)
    d = consistency(sets, known=known)["D"].values
    columns = {
        "ki_cs2": scores.below_cs2,
        "ki_cs1": scores.below_cs1,
        "mean_cs2": scores.mean_cs2,
        "mean_cs1": scores.mean_cs1,
    }
    rows = []
    for place, size in enumerate(sizes):
        enough = k >= size
        row: dict[str, Any] = {"k0": size, "facts": int(enough.sum())}
        row |= {name: float(values[enough, place].mean()) for name, values in columns.items()}
        rows.append({**row, "dice": float(d[enough].mean())})
    return pd.DataFrame(rows, columns=["k0", "facts", *columns, "dice"])
