"""How alike the knowledge neurons of a fact's paraphrases are (Chen et al. 2025, §2).

Kernels (:func:`cs1`, :func:`cs2`, :func:`dice`, :func:`kappa`, :func:`chance_overlap`) take arrays and return
numbers. :func:`consistency` applies them to neuron sets and labels the scores by fact. The other functions
choose the queries that scores run over, and number relations and answers, which intervals are clustered by.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import sparse

from qloc.analysis.inference.label_codes import codes, sizes_of
from qloc.analysis.inputs.public_arguments import require_sets
from qloc.analysis.inputs.selectable import FACT_LABELS, selectable
from qloc.analysis.localization.neuron_counts import counts_by, row_sums, squares_by
from qloc.arrays import Floats, Ints
from qloc.neurons import NeuronSets
from qloc.vocabulary import FACT

CONSISTENCY_SCORES: Final = ("CS1", "CS2", "D", "kappa", "kappa_same_answer")
"""Scores of a fact, as :func:`consistency` names them."""

# Pairs of queries by what they share, as signed sums over groups (see chance_overlap).
_SAME_ANSWER: Final = {"a": 1, "ta": -1, "sa": -1, "sta": 1}
_OTHER_ANSWER: Final = {
    "r": 1,
    "t": -1,
    "s": -1,
    "st": 1,
    **{name: -sign for name, sign in _SAME_ANSWER.items()},
}


def considered(sets: NeuronSets, known: bool = True) -> NeuronSets:
    """Select the queries that scores run over.

    Parameters
    ----------
    sets : NeuronSets
        Sets of all queries.
    known : bool
        Known queries only; otherwise all. Facts whose answer is in their subject are left out either way, and
        so are minimal pairs where there are facts.

    Returns
    -------
    NeuronSets
        Sets of the selected queries; the table of facts stays whole.
    """
    if known:
        return sets.known()
    return sets.select(~sets.facts["leaks"][sets.queries["fact"]] & sets.of_facts())


def filled(sets: NeuronSets) -> NeuronSets:
    """Select the queries whose set is not empty, which k, intersections, pairs and subsets run over.

    Parameters
    ----------
    sets : NeuronSets
        Sets of any queries.

    Returns
    -------
    NeuronSets
        The non-empty sets.
    """
    return sets.select(sets.sizes() > 0)


def first_queries(sets: NeuronSets, k: int) -> NeuronSets:
    """Select at most the first ``k`` queries of each fact, to see what a score owes to k alone.

    Parameters
    ----------
    sets : NeuronSets
        Sets of any queries.
    k : int
        Queries that a fact may keep.

    Returns
    -------
    NeuronSets
        The selected sets, in their order.
    """
    fact = sets.queries["fact"]
    order = np.argsort(fact, kind="stable")
    starts = np.searchsorted(fact[order], fact[order])
    keep = np.zeros(len(fact), dtype=bool)
    keep[order] = np.arange(len(fact)) - starts < k
    return sets.select(keep)


def relation_codes(sets: NeuronSets) -> tuple[NDArray[Any], Ints]:
    """Number the relations of facts, for clustering.

    Parameters
    ----------
    sets : NeuronSets
        Only its table of facts is read.

    Returns
    -------
    names : str ndarray, shape (relation,)
        Relations, sorted.
    code : int64 ndarray, shape (fact,)
        Position of each fact's relation in ``names``.
    """
    names, code = np.unique(sets.facts["relation"], return_inverse=True)
    return names, code.astype(np.int64)


def answer_codes(sets: NeuronSets) -> Ints:
    """Number the answers of facts, for clustering; the same answer in two relations has one number.

    Parameters
    ----------
    sets : NeuronSets
        Only its table of facts is read.

    Returns
    -------
    int64 ndarray, shape (fact,)
        Number of each fact's answer, counted from 0.
    """
    return codes(sets.facts["object"])


def query_answers(sets: NeuronSets) -> NDArray[Any]:
    """Return the answer of each query's fact: of a group of minimal pairs its feature, not the form.

    Parameters
    ----------
    sets : NeuronSets
        Its tables of queries and facts are read.

    Returns
    -------
    str ndarray, shape (query,)
        What queries are compared by when they have the same answer or another.
    """
    answer: NDArray[Any] = np.asarray(sets.facts["object"])[sets.queries["fact"]]
    return answer


def subject_codes(sets: NeuronSets) -> Ints:
    """Number the subjects of queries within their relation.

    Two facts of one subject are asked with the same prompts: they tell nothing of each other that is not the
    prompt's. Each minimal pair, or group of pairs, has a number of its own: pairs have prompts of their own.

    Parameters
    ----------
    sets : NeuronSets
        Only its tables of queries and facts are read.

    Returns
    -------
    int64 ndarray, shape (query,)
        Number of each query's subject.
    """
    fact = sets.queries["fact"]
    alone = np.where(sets.queries["kind"] == "fact", -1, fact)
    return codes(sets.queries["relation"], sets.facts["subject"][fact], alone)


def union_size(counts: sparse.csr_array) -> Ints:
    """Return |∪ N_i| of every fact.

    Parameters
    ----------
    counts : int64 CSR array, shape (fact, neuron)
        In how many of a fact's sets each neuron is, without stored zeros.

    Returns
    -------
    int64 ndarray, shape (fact,)
        Neurons in at least one of the fact's sets.
    """
    return np.diff(counts.indptr).astype(np.int64)


def cs1(counts: sparse.csr_array, k: Ints) -> Floats:
    """Return consistency score 1 of every fact, |∩ N_i| / |∪ N_i|.

    Parameters
    ----------
    counts : int64 CSR array, shape (fact, neuron)
        c_n, in how many of a fact's sets each neuron is, without stored zeros.
    k : int64 ndarray, shape (fact,)
        Number of a fact's non-empty sets.

    Returns
    -------
    float64 ndarray, shape (fact,)
        Scores in [0, 1]; NaN where k < 2. CS1 falls with k by construction.

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
    """Return consistency score 2 of every fact, |{n : c_n > 1}| / |∪ N_i|.

    Parameters
    ----------
    counts : int64 CSR array, shape (fact, neuron)
        c_n, in how many of a fact's sets each neuron is, without stored zeros.
    k : int64 ndarray, shape (fact,)
        Number of a fact's non-empty sets.

    Returns
    -------
    float64 ndarray, shape (fact,)
        Scores in [0, 1]; NaN where k < 2. CS2 rises with k by construction.

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
    """Return the micro-averaged pairwise Dice of every fact, D = Σ_n c_n(c_n − 1) / ((k − 1) Σ_n c_n).

    D equals Σ_{i<j} 2|N_i ∩ N_j| / Σ_{i<j} (|N_i| + |N_j|), and does not move with k.

    Parameters
    ----------
    counts : int64 CSR array, shape (fact, neuron)
        c_n, in how many of a fact's sets each neuron is, without stored zeros.
    k : int64 ndarray, shape (fact,)
        Number of a fact's non-empty sets.

    Returns
    -------
    float64 ndarray, shape (fact,)
        Overlaps in [0, 1]; NaN where k < 2.

    Examples
    --------
    >>> dice(sparse.csr_array(np.array([[2, 1, 0]])), np.array([2])).round(3).tolist()
    [0.667]
    """
    c = counts.data.astype(np.float64)
    return _ratio(row_sums(counts, c * (c - 1)), (k - 1) * row_sums(counts), k)


def kappa(observed: Floats, expected: Floats) -> Floats:
    """Return the overlap corrected for chance, κ = (D − D_0) / (1 − D_0).

    Parameters
    ----------
    observed : float64 ndarray
        D.
    expected : float64 ndarray
        D_0, of a shape that broadcasts with ``observed``.

    Returns
    -------
    float64 ndarray
        κ; NaN where D_0 is 1 or NaN.

    Examples
    --------
    >>> kappa(np.array([0.6, 0.6]), np.array([0.2, 1.0])).round(3).tolist()
    [0.5, nan]
    """
    room = 1 - expected
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(room > 0, (observed - expected) / room, np.nan)


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any], k: Ints) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(k >= 2, numerator / denominator, np.nan)


def chance_overlap(sets: NeuronSets, relations: NDArray[Any]) -> tuple[Floats, Floats]:
    """Return D_0 of each relation, the overlap of different facts asked with different templates.

    D_0 = Σ 2|N_i ∩ N_j| / Σ (|N_i| + |N_j|) over the relation's pairs of queries of different subjects and
    different templates, in closed form: facts of one subject, with other objects, have the same prompts. With
    C(g) = Σ_n (count of n in group g)², pairs with the same answer overlap by C(answer) − C(template, answer)
    − C(subject, answer) + C(subject, template, answer), and pairs with other answers by C(relation) −
    C(template) − C(subject) + C(subject, template) less that.

    Parameters
    ----------
    sets : NeuronSets
        Non-empty sets.
    relations : str ndarray, shape (relation,)
        Sorted; those of the sets are among them.

    Returns
    -------
    other : float64 ndarray, shape (relation,)
        D_0 of pairs with different answers; NaN without such pairs.
    same : float64 ndarray, shape (relation,)
        D_0 of pairs with the same answer; NaN without such pairs.
    """
    q = sets.queries
    relation = np.searchsorted(relations, q["relation"])
    template, answer = codes(relation, q["template"]), codes(relation, query_answers(sets))
    subject = subject_codes(sets)
    groups = {
        "r": relation,
        "t": template,
        "a": answer,
        "ta": codes(template, answer),
        "s": subject,
        "st": codes(template, subject),
        "sa": codes(answer, subject),
        "sta": codes(template, answer, subject),
    }
    overlap = {name: squares_by(sets.member, code, relation, len(relations)) for name, code in groups.items()}
    partners = {name: sizes_of(code) for name, code in groups.items()}
    size = sets.sizes()
    chance = []
    for signs in (_OTHER_ANSWER, _SAME_ANSWER):
        shared = sum(sign * overlap[name] for name, sign in signs.items())
        n = sum(sign * partners[name] for name, sign in signs.items())
        room = np.bincount(relation, weights=size * n, minlength=len(relations))
        with np.errstate(invalid="ignore", divide="ignore"):
            chance.append(np.where(room > 0, shared / room, np.nan))
    return chance[0], chance[1]


def consistency(sets: NeuronSets, *, known: bool = True) -> xr.Dataset:
    """Return CS1, CS2, D and κ of every fact.

    Over the k non-empty sets N_i of a fact's queries, c_n of which hold neuron n::

        CS1 = |∩ N_i| / |∪ N_i|        CS2 = |{n : c_n > 1}| / |∪ N_i|
        D   = Σ_n c_n (c_n − 1) / ((k − 1) Σ_n c_n)        κ = (D − D_0) / (1 − D_0)

    D_0 is D between facts of different subjects asked with different templates of the relation, with other
    answers (``kappa``, the headline) or with the same answer (``kappa_same_answer``). CS1 falls and CS2 rises
    with k by construction: they are comparable at equal k only; D is flat in k.

    Parameters
    ----------
    sets : NeuronSets
        Sets of all queries.
    known : bool
        Known queries only, as in the headline; otherwise all. Facts whose answer is in their subject are left
        out either way.

    Returns
    -------
    xarray.Dataset
        Along ``fact`` (all facts): ``CS1, CS2, D, kappa, kappa_same_answer`` (float64, NaN where k < 2),
        ``k`` (non-empty sets), ``n_empty`` (empty ones), ``n_neurons`` (|∪ N_i|), ``mean_size`` (of the k
        sets), ``D0`` (of its relation, other answers), ``D0_same_answer``. Coordinates ``id, subject,
        relation, object`` select facts: ``.sel(relation="P36")``. Attributes: method, rule, which queries,
        number of undefined facts.

    Raises
    ------
    InputError
        ``sets`` is not neuron sets.

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
    require_sets(sets, "qloc.consistency")
    chosen = considered(sets, known)
    n_empty = np.bincount(chosen.queries["fact"][chosen.sizes() == 0], minlength=sets.n_facts)
    used = filled(chosen)
    fact = used.queries["fact"].astype(np.int64)
    counts = counts_by(used.member, fact, sets.n_facts)
    k = np.bincount(fact, minlength=sets.n_facts)
    d = dice(counts, k)
    names, relation = relation_codes(sets)
    other, same = chance_overlap(used, names)
    per_fact: dict[str, NDArray[Any]] = {
        "CS1": cs1(counts, k),
        "CS2": cs2(counts, k),
        "D": d,
        "D0": other[relation],
        "D0_same_answer": same[relation],
        "kappa": kappa(d, other[relation]),
        "kappa_same_answer": kappa(d, same[relation]),
        "k": k,
        "n_empty": n_empty,
        "n_neurons": union_size(counts),
        "mean_size": _mean(np.bincount(fact, weights=used.sizes(), minlength=sets.n_facts), k),
    }
    queried = np.bincount(chosen.queries["fact"], minlength=sets.n_facts) > 0
    attrs = {
        "attribution_method": sets.method,
        "rule": sets.rule,
        "queries": "known" if known else "all",
        "n_undefined": int(np.sum(queried & (k < 2))),
    }
    scores = xr.Dataset({name: (FACT, values) for name, values in per_fact.items()}, attrs=attrs)
    return selectable(scores, FACT, {name: sets.facts[name] for name in FACT_LABELS})


def _mean(total: NDArray[Any], n: Ints) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n > 0, total / n, np.nan)
