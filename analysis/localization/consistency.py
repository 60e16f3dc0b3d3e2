"""How alike the knowledge neurons of a fact's paraphrases are (Chen et al. 2025, §2), labelled per fact."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import sparse

from qloc.analysis.inference.codes import codes, sizes_of
from qloc.analysis.localization.neuron_counts import counts_by, row_sums, squares_by
from qloc.arrays import Floats, Ints
from qloc.neurons import NeuronSets
from qloc.vocabulary import FACT

SCORES = ("CS1", "CS2", "D", "kappa", "kappa_same_answer")


def considered(sets: NeuronSets, known: bool = True) -> NeuronSets:
    """The queries that scores run over: of facts that do not leak, known ones only if ``known``."""
    return sets.known() if known else sets.select(~sets.facts["leaks"][sets.queries["fact"]])


def filled(sets: NeuronSets) -> NeuronSets:
    """The queries whose set is not empty: k, ∩, pairs and subsets run over these."""
    return sets.select(sets.sizes() > 0)


def consistency(sets: NeuronSets, *, known: bool = True) -> xr.Dataset:
    """CS1, CS2, D and κ of every fact.

    Over the k non-empty sets N_i of a fact's queries, c_n of which hold neuron n::

        CS1 = |∩ N_i| / |∪ N_i|        CS2 = |{n : c_n > 1}| / |∪ N_i|
        D   = Σ_n c_n (c_n − 1) / ((k − 1) Σ_n c_n)        κ = (D − D_0) / (1 − D_0)

    D_0 is D between different facts asked with different templates of the relation, with other answers
    (``kappa``, the headline) or with the same answer (``kappa_same_answer``). CS1 falls and CS2 rises with k
    by construction: they are comparable at equal k only; D is flat in k.

    Parameters
    ----------
    sets : NeuronSets
    known : over known queries only (headline); else over all. Facts whose answer is in their subject are left
        out.

    Returns
    -------
    xarray.Dataset
        Along ``fact`` (all facts): ``CS1, CS2, D, kappa, kappa_same_answer`` (float64, NaN where k < 2),
        ``k`` (non-empty sets), ``n_empty`` (empty ones), ``n_neurons`` (|∪ N_i|), ``mean_size`` (of the k
        sets). Along ``relation``: ``D0`` (other answers), ``D0_same_answer``. Coordinates ``id, subject,
        object, relation_of_fact``. Attributes: method, rule, known, number of undefined facts.

    References
    ----------
    Chen et al. 2025, "Knowledge Localization: Mission Not Accomplished?", arXiv 2405.14117, §2.

    Examples
    --------
    >>> from qloc.simulation.planted import plant
    >>> scores = consistency(plant(facts=20, relations=2, seed=1).sets())
    >>> bool((scores.CS1 <= scores.CS2).all())
    True
    """
    chosen = considered(sets, known)
    n_empty = np.bincount(chosen.queries["fact"][chosen.sizes() == 0], minlength=sets.n_facts)
    used = filled(chosen)
    fact = used.queries["fact"].astype(np.int64)
    counts = counts_by(used.member, fact, sets.n_facts)
    k = np.bincount(fact, minlength=sets.n_facts)
    d = dice(counts, k)
    names, relation = np.unique(sets.facts["relation"], return_inverse=True)
    other, same = chance_overlap(used, names)
    per_fact: dict[str, NDArray[Any]] = {
        "CS1": cs1(counts, k),
        "CS2": cs2(counts, k),
        "D": d,
        "kappa": kappa(d, other[relation]),
        "kappa_same_answer": kappa(d, same[relation]),
        "k": k,
        "n_empty": n_empty,
        "n_neurons": union_size(counts),
        "mean_size": _mean(np.bincount(fact, weights=used.sizes(), minlength=sets.n_facts), k),
    }
    coords = {name: (FACT, sets.facts[name]) for name in ("id", "subject", "object")}
    coords |= {"relation_of_fact": (FACT, sets.facts["relation"]), "relation": ("relation", names)}
    queried = np.bincount(chosen.queries["fact"], minlength=sets.n_facts) > 0
    attrs = {
        "attribution_method": sets.method,
        "rule": sets.rule,
        "queries": "known" if known else "all",
        "n_undefined": int(np.sum(queried & (k < 2))),
    }
    variables = {name: (FACT, values) for name, values in per_fact.items()}
    return xr.Dataset(
        {**variables, "D0": ("relation", other), "D0_same_answer": ("relation", same)},
        coords=coords,
        attrs=attrs,
    )


def chance_overlap(sets: NeuronSets, relations: NDArray[Any]) -> tuple[Floats, Floats]:
    """D_0 of each relation: overlap of different facts asked with different templates.

    D_0 = Σ 2|N_i ∩ N_j| / Σ (|N_i| + |N_j|) over the relation's pairs of queries of different facts and
    different templates, in closed form. With C(g) = Σ_n (count of n in group g)², pairs with other answers
    overlap by C(relation) − C(template) − C(answer) + C(template, answer), and pairs with the same answer by
    C(answer) − C(template, answer) − C(fact, answer) + C(fact, template, answer).

    Parameters
    ----------
    sets : non-empty sets.
    relations : (relation,), sorted, those of the sets among them.

    Returns
    -------
    other, same : float64, (relation,): with other answers, with the same answer; NaN without such pairs.
    """
    q = sets.queries
    relation = np.searchsorted(relations, q["relation"])
    template, answer = codes(relation, q["template"]), codes(relation, q["answer"])
    by = {
        "r": relation,
        "t": template,
        "a": answer,
        "ta": codes(template, answer),
        "fa": codes(answer, q["fact"]),
        "fta": codes(template, answer, q["fact"]),
    }
    overlap = {name: squares_by(sets.member, code, relation, len(relations)) for name, code in by.items()}
    partners = {name: sizes_of(code) for name, code in by.items()}
    size = sets.sizes()
    found = []
    for signs in (_OTHER, _SAME):
        shared = sum(sign * overlap[name] for name, sign in signs.items())
        n = sum(sign * partners[name] for name, sign in signs.items())
        room = np.bincount(relation, weights=size * n, minlength=len(relations))
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append(np.where(room > 0, shared / room, np.nan))
    return found[0], found[1]


_OTHER = {"r": 1, "t": -1, "a": -1, "ta": 1}
_SAME = {"a": 1, "ta": -1, "fa": -1, "fta": 1}


def inconsistent(score: Floats, threshold: float | Floats) -> Floats:
    """Share of facts whose score is defined and below the threshold (K_I as published); NaN without facts."""
    defined = score[~np.isnan(score)]
    return np.asarray(np.mean(defined < threshold) if len(defined) and not np.isnan(threshold) else np.nan)


def first_queries(sets: NeuronSets, k: int) -> NeuronSets:
    """At most the first ``k`` queries of each fact: for looking at what depends on k."""
    fact = sets.queries["fact"]
    order = np.argsort(fact, kind="stable")
    starts = np.searchsorted(fact[order], fact[order])
    keep = np.zeros(len(fact), dtype=bool)
    keep[order] = np.arange(len(fact)) - starts < k
    return sets.select(keep)


def _mean(total: NDArray[Any], n: Ints) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n > 0, total / n, np.nan)


def relation_codes(sets: NeuronSets) -> tuple[NDArray[Any], Ints]:
    """Relations, sorted, and each fact's place among them."""
    names, code = np.unique(sets.facts["relation"], return_inverse=True)
    return names, code.astype(np.int64)


def answer_codes(sets: NeuronSets) -> Ints:
    """Number of each fact's answer; the same answer in two relations has one number: int64, (fact,)."""
    return codes(sets.facts["object"])


def union_size(counts: sparse.csr_array) -> Ints:
    """|∪ N_i|: int64, (fact,). ``counts`` : int64, CSR (fact, neuron), no stored zeros."""
    return np.diff(counts.indptr).astype(np.int64)


def cs1(counts: sparse.csr_array, k: Ints) -> Floats:
    """Consistency score 1, |∩ N_i| / |∪ N_i|.

    Parameters
    ----------
    counts : int64, CSR (fact, neuron), c_n of each fact, without stored zeros.
    k : int64, (fact,), number of non-empty sets.

    Returns
    -------
    float64, (fact,), in [0, 1]; NaN where k < 2. Falls with k by construction.

    References
    ----------
    Chen et al. 2025 (arXiv 2405.14117), §2.

    Examples
    --------
    >>> cs1(sparse.csr_array(np.array([[2, 1, 0], [3, 3, 1]])), np.array([2, 3])).round(3).tolist()
    [0.5, 0.667]
    """
    in_all = counts.data == np.repeat(k, np.diff(counts.indptr))
    return _ratio(row_sums(counts, in_all), union_size(counts), k)


def cs2(counts: sparse.csr_array, k: Ints) -> Floats:
    """Consistency score 2, |{n : c_n > 1}| / |∪ N_i|.

    Parameters
    ----------
    counts, k : as for :func:`cs1`.

    Returns
    -------
    float64, (fact,), in [0, 1]; NaN where k < 2. Rises with k by construction.

    References
    ----------
    Chen et al. 2025 (arXiv 2405.14117), §2.

    Examples
    --------
    >>> cs2(sparse.csr_array(np.array([[2, 1, 0], [3, 2, 1]])), np.array([2, 3])).round(3).tolist()
    [0.5, 0.667]
    """
    return _ratio(row_sums(counts, counts.data > 1), union_size(counts), k)


def dice(counts: sparse.csr_array, k: Ints) -> Floats:
    """Micro-averaged pairwise Dice, D_f = Σ_n c_n(c_n − 1) / ((k − 1) Σ_n c_n); flat in k.

    Equal to Σ_{i<j} 2|N_i ∩ N_j| / Σ_{i<j} (|N_i| + |N_j|).

    Parameters
    ----------
    counts, k : as for :func:`cs1`.

    Returns
    -------
    float64, (fact,), in [0, 1]; NaN where k < 2.

    Examples
    --------
    >>> dice(sparse.csr_array(np.array([[2, 1, 0]])), np.array([2])).round(3).tolist()
    [0.667]
    """
    c = counts.data.astype(np.float64)
    return _ratio(row_sums(counts, c * (c - 1)), (k - 1) * row_sums(counts), k)


def kappa(observed: Floats, expected: Floats) -> Floats:
    """Chance-corrected overlap, (D − D_0) / (1 − D_0); NaN where D_0 is 1 or not defined.

    Parameters
    ----------
    observed, expected : float64, broadcast.

    Examples
    --------
    >>> kappa(np.array([0.6, 0.6]), np.array([0.2, 1.0])).round(3).tolist()
    [0.5, nan]
    """
    room = 1 - expected
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(room > 0, (observed - expected) / room, np.nan)


def otsu(values: NDArray[Any], weights: NDArray[Any] | None = None) -> Floats:
    """Otsu's threshold: the cut with the largest between-class variance, halfway between two values.

    Exact, over every cut between distinct values, where histograms would depend on their bins.

    Parameters
    ----------
    values : float, (n,); NaN left out.
    weights : float, (…, n), one set of weights a row (bootstrap resamples); all 1 by default.

    Returns
    -------
    float64, (…,); NaN where fewer than two distinct values have weight. Values ≥ it form the upper class.

    References
    ----------
    Otsu 1979, "A threshold selection method from gray-level histograms", eq. 18.

    Examples
    --------
    >>> float(otsu(np.array([0.1, 0.2, 0.1, 0.8, 0.9])))
    0.5
    """
    values = np.asarray(values, dtype=np.float64)
    w = np.ones(values.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    level, place = np.unique(values[~np.isnan(values)], return_inverse=True)
    w = w[..., ~np.isnan(values)]
    if len(level) < 2:
        return np.full(w.shape[:-1], np.nan)
    mass = _binned(w, place, len(level))
    below = np.cumsum(mass, axis=-1)[..., :-1]
    total = mass.sum(axis=-1, keepdims=True)
    moment = np.cumsum(mass * level, axis=-1)
    above = total - below
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = moment[..., :-1] / below - (moment[..., -1:] - moment[..., :-1]) / above
        between = np.where(
            (below > 0) & (above > 0.5 * np.min(w, where=w > 0, initial=1.0)), below * above * gap**2, -1.0
        )
    cut = between.argmax(axis=-1)
    middle = _halfway(level, mass, cut)
    return np.where(between.max(axis=-1) > 0, middle, np.nan)


def _halfway(level: Floats, mass: Floats, cut: NDArray[np.intp]) -> Floats:
    """Halfway between the last value with weight at or below the cut, and the first above it."""
    position = np.arange(len(level))
    seen = mass > 0
    low = np.where(seen & (position <= cut[..., None]), position, -1).max(axis=-1)
    high = np.where(seen & (position > cut[..., None]), position, len(level)).min(axis=-1)
    return np.asarray((level[np.maximum(low, 0)] + level[np.minimum(high, len(level) - 1)]) / 2)


def _binned(w: Floats, place: NDArray[np.intp], n: int) -> Floats:
    """Total weight at each distinct value: float64, (…, n)."""
    spread = sparse.csr_array((np.ones(len(place)), (np.arange(len(place)), place)), shape=(len(place), n))
    return np.asarray(w.reshape(-1, w.shape[-1]) @ spread).reshape(*w.shape[:-1], n)


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any], k: Ints) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(k >= 2, numerator / denominator, np.nan)
