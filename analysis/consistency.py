"""How alike the knowledge neurons of a fact's paraphrases are (Chen et al. 2025, §2), labelled per fact."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from qloc.analysis import kernels
from qloc.analysis.groups import Floats, Ints, codes, counts_by, sizes_of, squares_by
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
    >>> from qloc.planted import plant
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
    d = kernels.dice(counts, k)
    names, relation = np.unique(sets.facts["relation"], return_inverse=True)
    other, same = chance_overlap(used, names)
    per_fact: dict[str, NDArray[Any]] = {
        "CS1": kernels.cs1(counts, k),
        "CS2": kernels.cs2(counts, k),
        "D": d,
        "kappa": kernels.kappa(d, other[relation]),
        "kappa_same_answer": kernels.kappa(d, same[relation]),
        "k": k,
        "n_empty": n_empty,
        "n_neurons": kernels.union_size(counts),
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
