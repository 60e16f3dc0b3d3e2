"""H12a and H12b: where restoring MLPs helps, and whether knowledge neurons lie in the same layers.

See docs/statistics.md#h12-where-does-restoring-help.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inference.paired import LOG_ODDS_MARGIN, paired_test
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.neuron_effects import require_group
from qloc.analysis.localization.consistency import answer_codes, relation_codes
from qloc.analysis.localization.layer_profile import layer_shares
from qloc.analysis.results import TestResult
from qloc.analysis.tracing.restoring_effects import RestoringEffects, profile_correlation
from qloc.arrays import Floats, Ints
from qloc.hypothesis_registry import hypothesis_of
from qloc.neurons import NeuronSets
from qloc.random_streams import Stream
from qloc.vocabulary import DEFAULT_THRESHOLD

CORRELATION_MARGIN: Final = 0.1
"""Correlation of layer profiles up to which tracing and knowledge neurons count as unrelated."""

_NEEDED: Final = "It takes the MLPs' effects at the subject's last token {}; the store does not have them."

Clusters = tuple[Ints, Ints]
"""Relation and answer of each fact."""


def restoring_at_subject(
    study: Study, *, margin: float = LOG_ODDS_MARGIN, draws: Draws = DRAWS
) -> TestResult:
    """Test whether restoring MLPs brings back more at the subject's last token than elsewhere (H12a).

    Estimate: mean over facts of the indirect effect of MLPs at the subject's last token, mean over layers,
    less the mean over its other tokens and those behind it but the prompt's last. One-sided; signs of whole
    relations are flipped.

    Parameters
    ----------
    study : Study
        With phase ``tracing``. Where it has facts, minimal pairs are left out.
    margin : float, default 0.1
        Difference in log-odds that counts as none; fix it before looking.
    draws : Draws
        Number of flips, confidence, α and seed.

    Returns
    -------
    TestResult
        "Not identified" where fewer than two clusters have both kinds of tokens.

    Raises
    ------
    InputError
        The store has no phase ``tracing``.

    References
    ----------
    Meng et al. 2022 (arXiv 2202.05262), §2.
    """
    effects, sets = headline_effects(study), study.neurons()
    return site_test(effects, clusters_of(sets), draws, margin=margin, store=study.fingerprint)


def layers_of_tracing(
    study: Study,
    *,
    method: str = "ig",
    threshold: float = DEFAULT_THRESHOLD,
    margin: float = CORRELATION_MARGIN,
    draws: Draws = DRAWS,
) -> TestResult:
    """Test whether layers with more knowledge neurons are those where restoring MLPs helps more (H12b).

    Estimate: mean over facts of Spearman's correlation, over layers, of the share of a fact's knowledge
    neurons in the layer with its indirect effect of MLPs at the subject's last token. One-sided; signs of
    whole relations are flipped. It speaks for this model's layers: where all facts of a model have the same
    two profiles, chance makes their correlation once, not once a fact.

    Parameters
    ----------
    study : Study
        With phase ``tracing``. Where it has facts, minimal pairs are left out.
    method : str
        Attribution method of the knowledge neurons.
    threshold : float
        Of the neuron sets.
    margin : float, default 0.1
        Correlation that counts as none; fix it before looking.
    draws : Draws
        Number of flips, confidence, α and seed.

    Returns
    -------
    TestResult
        "Not identified" with fewer than three layers, or two clusters of facts that have both profiles.

    Raises
    ------
    InputError
        The store has no phase ``tracing``, or lacks the method.
    """
    effects, sets = headline_effects(study), study.neurons(method, threshold)
    return layers_test(
        effects, layer_shares(sets.known()), clusters_of(sets), draws, margin=margin, store=study.fingerprint
    )


def headline_effects(study: Study) -> RestoringEffects:
    """Return the effects under noise that verdicts are on: of facts, or of pairs where there are no facts.

    Parameters
    ----------
    study : Study
        With phase ``tracing``.

    Returns
    -------
    RestoringEffects
        Queries of the other kind are not used.

    Raises
    ------
    InputError
        The store has no phase ``tracing``.
    """
    require_group(study, "tracing")
    effects = RestoringEffects.of(study.tracing)
    return effects.only(of_headline(study.column("queries", "kind")))


def of_headline(kind: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Return which queries verdicts are on.

    Parameters
    ----------
    kind : str ndarray, shape (query,)
        ``fact`` or ``minimal_pair``.

    Returns
    -------
    bool ndarray, shape (query,)
        Facts; all queries where there is none.
    """
    is_fact: NDArray[np.bool_] = np.asarray(kind).astype(str) == "fact"
    return is_fact if is_fact.any() else ~is_fact


def clusters_of(sets: NeuronSets) -> Clusters:
    """Return relation and answer of each fact.

    Parameters
    ----------
    sets : NeuronSets
        Of the study.

    Returns
    -------
    tuple of int64 ndarray, shape (fact,) each
        Codes.
    """
    return relation_codes(sets)[1], answer_codes(sets)


def site_test(
    effects: RestoringEffects,
    clusters: Clusters,
    draws: Draws,
    *,
    margin: float = LOG_ODDS_MARGIN,
    store: str = "",
) -> TestResult:
    """Run H12a on effects that are already loaded.

    Parameters
    ----------
    effects : RestoringEffects
        Under noise, in log-odds.
    clusters : tuple of int64 ndarray, shape (fact,) each
        Relation and answer of each fact.
    draws : Draws
        Number of flips, confidence, α and seed.
    margin : float, default 0.1
        Difference in log-odds that counts as none.
    store : str, default ""
        Fingerprint of the store, for the result.

    Returns
    -------
    TestResult
        As of :func:`restoring_at_subject`.
    """
    n_facts, hypothesis = len(clusters[0]), hypothesis_of("restoring_at_subject")
    others = [role for role in effects.roles if role not in ("last_subject", "last_token")]
    checks: tuple[str, ...]
    values, checks = np.full(n_facts, np.nan), (_NEEDED.format("and at other tokens"),)
    if effects.has("mlp", "last_subject") and others:
        own = effects.at("mlp", "last_subject").mean(0)
        rest = np.stack([effects.at("mlp", role).mean(0) for role in others])
        there = ~np.isnan(rest)
        with np.errstate(invalid="ignore", divide="ignore"):
            compared = np.where(there, rest, 0.0).sum(0) / there.sum(0)
        values, checks = effects.of_facts(own - compared, n_facts), ()
    return paired_test(
        values,
        clusters,
        name=hypothesis.name,
        question=hypothesis.question,
        estimand="indirect effect of MLPs at the subject's last token, less the mean at its other tokens and "
        "those behind it, mean over layers",
        draws=draws,
        margin=margin,
        n_queries=int(np.sum(effects.used & ~np.isnan(values)[effects.fact])),
        checks=checks,
        store=store,
        stream=Stream.TRACING_SITE,
    )


def layers_test(
    effects: RestoringEffects,
    shares: Floats,
    clusters: Clusters,
    draws: Draws,
    *,
    margin: float = CORRELATION_MARGIN,
    store: str = "",
) -> TestResult:
    """Run H12b on effects that are already loaded.

    Parameters
    ----------
    effects : RestoringEffects
        Under noise, in log-odds.
    shares : float64 ndarray, shape (fact, layer)
        Shares of each fact's knowledge neurons, as of
        :func:`qloc.analysis.localization.layer_profile.layer_shares`.
    clusters : tuple of int64 ndarray, shape (fact,) each
        Relation and answer of each fact.
    draws : Draws
        Number of flips, confidence, α and seed.
    margin : float, default 0.1
        Correlation that counts as none.
    store : str, default ""
        Fingerprint of the store, for the result.

    Returns
    -------
    TestResult
        As of :func:`layers_of_tracing`.
    """
    n_facts, hypothesis = len(clusters[0]), hypothesis_of("layers_of_tracing")
    checks: tuple[str, ...]
    values, checks = np.full(n_facts, np.nan), (_NEEDED.format("in three layers at least"),)
    if effects.has("mlp", "last_subject") and shares.shape[1] > 2:
        values, checks = correlations(effects, shares, clusters[0], "last_subject")[0], ()
    return paired_test(
        values,
        clusters,
        name=hypothesis.name,
        question=hypothesis.question,
        estimand="Spearman's correlation over layers of a fact's share of knowledge neurons and its indirect "
        "effect of MLPs at the subject's last token",
        draws=draws,
        margin=margin,
        margin_unit="correlation",
        n_queries=int(np.sum(effects.used & ~np.isnan(values)[effects.fact])),
        checks=checks,
        store=store,
        stream=Stream.TRACING_LAYERS,
    )


def correlations(
    effects: RestoringEffects, shares: Floats, relation: Ints, role: str
) -> tuple[Floats, Floats]:
    """Correlate each fact's layers of tracing with its own knowledge neurons, and with other facts'.

    Parameters
    ----------
    effects : RestoringEffects
        With MLPs restored at the role.
    shares : float64 ndarray, shape (fact, layer)
        Shares of each fact's knowledge neurons.
    relation : int64 ndarray, shape (fact,)
        Relation of each fact.
    role : str
        A restored token.

    Returns
    -------
    own, others : float64 ndarray, shape (fact,)
        Spearman's correlations over layers; ``others`` with the mean profile of the relation's other facts.
    """
    traced = effects.of_facts(effects.at("mlp", role), len(relation))
    there = ~np.isnan(shares[:, 0])
    others = np.full_like(shares, np.nan)
    for code in np.unique(relation):
        here = np.flatnonzero((relation == code) & there)
        if len(here) > 1:
            others[here] = (shares[here].sum(0) - shares[here]) / (len(here) - 1)
    return profile_correlation(shares, traced), profile_correlation(others, traced)
