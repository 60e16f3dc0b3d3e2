"""Columns that formulas are written in: a fact's scores, how the model answers it, and its attributes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from qloc.analysis.inference.label_codes import codes
from qloc.analysis.inference.means import mean_by
from qloc.analysis.inputs.study import CORE_FACTS, Study
from qloc.analysis.localization.consistency import (
    CONSISTENCY_SCORES,
    considered,
    consistency,
    filled,
    kappa,
)
from qloc.analysis.localization.overlap.pairwise_dice import dice_of_rows
from qloc.analysis.localization.overlap.query_pairs import pairs_of
from qloc.analysis.localization.reliability import kappa_error
from qloc.arrays import Array, Floats, Ints
from qloc.neurons import NeuronSets
from qloc.vocabulary import DEFAULT_THRESHOLD, NO_INDEX

_FACT_LABELS: Final = ("id", "subject", "relation", "object")
_SCORE_COLUMNS: Final = (*CONSISTENCY_SCORES, "k", "n_neurons", "mean_size")
_BEHAVIOUR: Final = (
    *("agreement", "candidate_agreement", "log_probability", "known_share", "n_tokens"),
    *("template_agreement", "template_log_probability"),
)
"""Columns of :func:`behaviour`."""

_PIECE: Final = 2**23
"""Probabilities of candidates that are in memory at a time."""


def fact_columns(
    study: Study, *, method: str = "ig", threshold: float = DEFAULT_THRESHOLD, known: bool = True
) -> pd.DataFrame:
    """Tabulate one row a fact, of facts that do not leak and of which something was asked.

    Parameters
    ----------
    study : Study
        What the model was asked, and what it answered.
    method : str
        Attribution method of the store.
    threshold : float
        Attribution threshold of the sets, as a share of a query's largest attribution.
    known : bool
        Scores and ``log_probability`` over known queries only; the other columns of behaviour are over all.

    Returns
    -------
    pandas.DataFrame
        ``id, subject, relation, object``; ``CS1, CS2, D, kappa, kappa_same_answer, k, n_neurons, mean_size``
        (:func:`qloc.analysis.localization.consistency.consistency`); ``agreement, candidate_agreement,
        log_probability, known_share, n_tokens`` (:func:`behaviour`); ``answer_count``, facts of the relation
        with the answer; ``template_kappa`` (:func:`template_kappa`); ``kappa_error``, the error variance of κ
        by few queries (:func:`qloc.analysis.localization.reliability.kappa_error`); every attribute; and
        ``log_<name>`` of counts, sizes and attributes that are positive throughout.
    """
    sets = study.neurons(method=method, threshold=threshold)
    return columns_from_sets(sets, behaviour(study, known=known), known=known)


def columns_from_sets(sets: NeuronSets, answered: Mapping[str, Array], *, known: bool = True) -> pd.DataFrame:
    """Tabulate one row a fact from neuron sets and columns of behaviour; see :func:`fact_columns`.

    Parameters
    ----------
    sets : NeuronSets
        Sets of all queries.
    answered : dict of str to ndarray, shape (fact,)
        Columns by name, such as those of :func:`behaviour`.
    known : bool
        Scores over known queries only; otherwise over all.

    Returns
    -------
    pandas.DataFrame
        Columns of :func:`fact_columns`.
    """
    scores = consistency(sets, known=known)
    queried = np.bincount(considered(sets, known=False).queries["fact"], minlength=sets.n_facts) > 0
    columns: dict[str, Any] = {name: sets.facts[name] for name in _FACT_LABELS}
    columns |= {name: scores[name].values for name in _SCORE_COLUMNS}
    columns |= answered
    columns["answer_count"] = _answer_count(sets.facts)
    used = filled(considered(sets, known))
    columns["template_kappa"] = template_kappa(used, scores["D0"].values)
    columns["kappa_error"] = kappa_error(used)
    columns |= {name: v for name, v in sets.facts.items() if name not in {*CORE_FACTS, *columns, "leaks"}}
    frame = pd.DataFrame(columns).loc[queried & ~sets.facts["leaks"]].copy()
    kept = {*_FACT_LABELS, *CONSISTENCY_SCORES, *_BEHAVIOUR, "template_kappa", "kappa_error"}
    for name in [str(name) for name in frame if name not in kept]:
        cells = frame[name]
        if cells.dtype.kind in "iuf" and cells.notna().any() and (cells.dropna() > 0).all():
            frame[f"log_{name}"] = np.log(cells.astype(float))
    return pd.DataFrame(frame.reset_index(drop=True))


def template_kappa(sets: NeuronSets, chance: Floats) -> Floats:
    """Return the κ that each fact's templates make: it is high for templates that are alike.

    It is (m − D_0)/(1 − D_0), m the mean over the fact's pairs of templates of the mean Dice overlap, over
    all facts of the relation, of sets under these two templates.

    Parameters
    ----------
    sets : NeuronSets
        Non-empty sets of the queries considered.
    chance : float64 ndarray, shape (fact,)
        D_0 of each fact's relation.

    Returns
    -------
    float64 ndarray, shape (fact,)
        NaN with fewer than two queries.
    """
    pairs = pairs_of(sets)
    overlap = dice_of_rows(sets.member, sets.member, pairs.first, pairs.second)
    cell = codes(pairs.template[pairs.first], pairs.template[pairs.second]) if len(overlap) else pairs.fact
    usual = mean_by(overlap, cell, len(overlap))[cell]
    return kappa(mean_by(usual, pairs.fact, sets.n_facts), chance)


def behaviour(study: Study, *, known: bool = False) -> dict[str, Floats]:
    """Return how the model answers the queries of each fact.

    Parameters
    ----------
    study : Study
        What the model was asked, and what it answered.
    known : bool
        ``log_probability`` over known queries only; otherwise over all.

    Returns
    -------
    dict of str to float64 ndarray, shape (fact,)
        ``agreement``: share of pairs of its queries with the same most likely token.
        ``candidate_agreement``: the probability that two of its queries, each answering by its distribution
        over the relation's candidate answers, say the same; with p_i that distribution, Σ_{i≠j} p_i·p_j /
        (k(k − 1)). ``log_probability``: mean of log P(answer). ``known_share``, ``n_tokens``: means over
        queries. ``template_agreement``, ``template_log_probability``: what the fact's templates make of both,
        means over its pairs of templates, and its templates, of what the relation's facts that do not leak
        have under them; NaN for those that do.
    """
    fact = study.column("queries", "fact").astype(np.int64)
    n = study.facts.sizes["fact"]
    is_known = study.column("queries", "known") == 1
    log_p = study.column("queries", "log_probability").astype(np.float64)
    answer = study.column("queries", "argmax")
    used = is_known if known else np.ones(len(fact), dtype=bool)
    template = codes(study.column("queries", "relation"), study.column("queries", "template"))
    counted = study.column("facts", "leaks")[fact] == 0
    told = used & counted
    usual_log_p = mean_by(log_p[told], template[told], int(template.max(initial=-1)) + 1)
    tokens = np.sum(study.column("queries", "answer_token_id") != NO_INDEX, axis=1).astype(np.float64)
    return {
        "agreement": same_answer(fact, answer, n),
        "candidate_agreement": same_candidate(fact, study.answers["candidate_log_probability"], n),
        "log_probability": mean_by(log_p[used], fact[used], n),
        "known_share": mean_by(is_known.astype(np.float64), fact, n),
        "n_tokens": mean_by(tokens, fact, n),
        "template_agreement": template_agreement(fact[counted], template[counted], answer[counted], n),
        "template_log_probability": mean_by(usual_log_p[template][told], fact[told], n),
    }


def template_agreement(fact: Ints, template: Ints, answer: Array, n: int) -> Floats:
    """Return the share of equal answers that each fact's pairs of templates make.

    It is the mean over the fact's pairs of templates of how often the relation's facts, this one among them,
    have one answer to both.

    Parameters
    ----------
    fact : int64 ndarray, shape (query,)
        Fact of each query.
    template : int64 ndarray, shape (query,)
        Number of each query's template; no two relations share one.
    answer : ndarray, shape (query,)
        What the model answers.
    n : int
        Number of facts.

    Returns
    -------
    float64 ndarray, shape (fact,)
        NaN with fewer than two queries.

    Examples
    --------
    >>> fact, template = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 1, 1, 2])
    >>> template_agreement(fact, template, np.array([7, 7, 7, 8, 8, 8]), 3).tolist()
    [0.5, 0.5, 1.0]
    """
    order = np.lexsort((template, fact))
    fact, template, answer = fact[order], template[order], answer[order]
    lags = range(1, int(np.bincount(fact).max(initial=0)))
    first = np.concatenate([np.flatnonzero(fact[:-lag] == fact[lag:]) for lag in lags] or [fact[:0]])
    apart = np.repeat(lags, [int(np.sum(fact[:-lag] == fact[lag:])) for lag in lags]).astype(np.int64)
    second = first + apart
    same = (answer[first] == answer[second]).astype(np.float64)
    cell = codes(template[first], template[second]) if len(first) else first
    return mean_by(mean_by(same, cell, len(same))[cell], fact[first], n)


def same_answer(fact: Ints, answer: Array, n: int) -> Floats:
    """Return the share of pairs of a fact's queries with the same answer.

    It is Σ_v m_v (m_v − 1) / (k (k − 1)), where m_v of k queries answer v.

    Parameters
    ----------
    fact : int64 ndarray, shape (query,)
        Fact of each query.
    answer : ndarray, shape (query,)
        What the model answers.
    n : int
        Number of facts.

    Returns
    -------
    float64 ndarray, shape (fact,)
        Shares; NaN with fewer than two queries.

    Examples
    --------
    >>> same_answer(np.array([0, 0, 0, 1]), np.array([7, 7, 8, 7]), 2).round(3).tolist()
    [0.333, nan]
    """
    cell = codes(fact, answer) if len(fact) else fact
    times = np.bincount(cell).astype(np.float64)
    owner = np.zeros(len(times), dtype=np.int64)
    owner[cell] = fact
    k = np.bincount(fact, minlength=n)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.bincount(owner, weights=times * (times - 1), minlength=n) / (k * (k - 1)))


def same_candidate(fact: Ints, log_p: Array | xr.DataArray, n: int) -> Floats:
    """Return the probability that two queries of a fact give the same one of the candidate answers.

    It is Σ_{i≠j} p_i·p_j / (k (k − 1)), with p_i ∝ exp(log_p_i) over what is not NaN.

    Parameters
    ----------
    fact : int64 ndarray, shape (query,)
        Fact of each query.
    log_p : float ndarray or DataArray, shape (query, candidate)
        Log-probabilities; where it is lazy, it is read some facts at a time.
    n : int
        Number of facts.

    Returns
    -------
    float64 ndarray, shape (fact,)
        Probabilities; NaN with fewer than two queries, or where a query has no candidate.
    """
    probability = np.full(n, np.nan)
    order = np.argsort(fact, kind="stable")
    first = np.flatnonzero(np.diff(fact[order], prepend=-1))
    step = max(1, _PIECE // max(1, log_p.shape[1]))
    cuts = first[np.flatnonzero(np.diff(first // step, prepend=-1))]
    for low, high in pairwise([*cuts, len(order)] if log_p.shape[1] else []):
        rows = order[low:high]
        run = slice(rows[0], rows[-1] + 1) if np.all(np.diff(rows) == 1) else rows
        facts, place = np.unique(fact[rows], return_inverse=True)
        probability[facts] = _alike(np.asarray(log_p[run], dtype=np.float64), place)
    return probability


def _alike(log_p: Floats, fact: Ints) -> Floats:
    """:func:`same_candidate` of facts that are numbered in the order of their queries."""
    best = np.fmax.reduce(log_p, axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        share = np.exp(log_p - best)
        share = np.nan_to_num(share, copy=False) / np.nansum(share, axis=1, keepdims=True)
    share[~np.isfinite(best[:, 0])] = np.nan
    k, own = np.bincount(fact), np.bincount(fact, weights=np.einsum("qc,qc->q", share, share))
    total = np.add.reduceat(share, np.flatnonzero(np.diff(fact, prepend=-1)), axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((np.einsum("fc,fc->f", total, total) - own) / (k * (k - 1)))


def _answer_count(facts: Mapping[str, Array]) -> Ints:
    """Facts of the relation with the same answer: int64, (fact,)."""
    cell = codes(facts["relation"], facts["object"])
    return np.bincount(cell)[cell]
