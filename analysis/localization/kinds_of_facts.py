"""H4, whether there are two kinds of facts, consistent and inconsistent, or a continuum.

Every fact's counts c_n (in how many of its k sets a neuron of their union is) are taken for draws from the
counts of its relation at this k, tilted by the fact::

    P(c | fact f) ∝ p(c | relation, k) · exp(θ_f (c − 1)),    c = 1 … k,  once for each of the |∪ N_i| neurons

θ_f > 0 where its neurons recur more than is usual for facts of its relation asked as often. Neither k nor
the size of the sets moves θ. What is asked is how θ is spread over facts: one normal component, or two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import optimize

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.label_codes import codes
from qloc.analysis.inference.resampling import permutation_p
from qloc.analysis.inputs.neuron_sets import sets_and_store
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import considered, filled, relation_codes
from qloc.analysis.localization.neuron_counts import counts_by, row_sums
from qloc.analysis.results import EffectSize, TestResult
from qloc.arrays import Floats, Ints
from qloc.hypothesis_registry import REGISTRY
from qloc.neurons import NeuronSets
from qloc.random_streams import Stream
from qloc.text.rounding import p_value
from qloc.vocabulary import DEFAULT_THRESHOLD

GRID: Final = np.linspace(-3.0, 3.0, 61)
"""Tilts that are told apart."""

LEAST_FACTS: Final = 10
"""Facts of a relation and k below which there is no telling what is usual for them."""

MOST_BOOTSTRAPPED_FACTS: Final = 2000
"""Facts that the test draws on; more are sampled by seed."""

KINDS_DRAWS: Final = Draws(n_bootstrap=99)
"""What is drawn by default: every sample is a fit to all facts, and its p has no verdict."""

_MEANS: Final = np.linspace(-0.4, 0.2, 7)
_SPREADS: Final = np.array([0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.25, 1.5])
_SHARES: Final = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
_APART: Final = np.array([0.4, 0.7, 1.0, 1.5, 2.0, 3.0])
_WITHIN: Final = np.array([0.02, 0.2, 0.4])


@dataclass(frozen=True, kw_only=True)
class Counts:
    """In how many of their fact's sets neurons recur: what the facts of one study are compared by.

    Attributes
    ----------
    facts : int64 ndarray, shape (fact,)
        The facts compared.
    stratum : int64 ndarray, shape (fact,)
        Code of relation × k.
    histogram : int64 ndarray, shape (fact, count)
        How many of the fact's neurons are in 1, 2, … of its sets.
    """

    facts: Ints
    stratum: Ints
    histogram: Ints

    def usual(self) -> Floats:
        """Return p(c | relation, k), smoothed by half a neuron a count.

        Returns
        -------
        float64 ndarray, shape (stratum, count)
            Probabilities; rows sum to 1.
        """
        n = int(self.stratum.max(initial=-1)) + 1
        pooled = np.stack(
            [np.bincount(self.stratum, weights=column, minlength=n) for column in self.histogram.T], axis=1
        )
        # Beyond the largest count seen there is nothing to smooth.
        most = pooled.shape[1] - 1 - (pooled[:, ::-1] > 0).argmax(axis=1)
        smooth = pooled + 0.5 * (np.arange(pooled.shape[1]) <= most[:, None])
        return np.asarray(smooth / smooth.sum(axis=1, keepdims=True))


def recurrence_counts(sets: NeuronSets) -> Counts:
    """Count c_n for every fact with two sets or more, in a stratum of at least ten such facts.

    Parameters
    ----------
    sets : NeuronSets
        Non-empty sets of the queries considered.

    Returns
    -------
    Counts
        Histograms of c_n; without facts where no stratum has ten.
    """
    fact = sets.queries["fact"].astype(np.int64)
    k = np.bincount(fact, minlength=sets.n_facts)
    counts = counts_by(sets.member, fact, sets.n_facts)
    stratum = codes(relation_codes(sets)[1], k)
    size = np.bincount(stratum[k >= 2], minlength=int(stratum.max(initial=0)) + 1)
    facts = np.flatnonzero((k >= 2) & (size[stratum] >= LEAST_FACTS))
    most = max(int(k.max(initial=0)), 1)
    histogram = np.stack([row_sums(counts, counts.data == c) for c in range(1, most + 1)], axis=1)
    of_stratum = codes(stratum[facts]) if len(facts) else np.zeros(0, dtype=np.int64)
    return Counts(facts=facts, stratum=of_stratum, histogram=histogram[facts].astype(np.int64))


def log_likelihoods(counts: Counts) -> Floats:
    """Return log P(counts | θ) at every tilt of :data:`GRID`, up to a constant.

    Parameters
    ----------
    counts : Counts
        Histograms of c_n.

    Returns
    -------
    float64 ndarray, shape (fact, tilt)
        Each fact's largest is 0.
    """
    step = np.arange(counts.histogram.shape[1])
    usual = counts.usual()
    norm = np.log(usual @ np.exp(np.outer(step, GRID)))
    sum_c = counts.histogram @ step
    n = counts.histogram.sum(axis=1)
    log_p = sum_c[:, None] * GRID - n[:, None] * norm[counts.stratum]
    return np.asarray(log_p - log_p.max(axis=1, keepdims=True))


def _normal(mean: Floats, spread: Floats) -> Floats:
    """Normal weights on the grid: float64, (tilt, parameter)."""
    z = (GRID[:, None] - np.ravel(mean)) / np.ravel(spread)
    weight = np.exp(-0.5 * z**2)
    return np.asarray(weight / weight.sum(axis=0))


def _components() -> tuple[Floats, Floats]:
    """All one- and two-component distributions that are tried, with the same few total means."""
    mean, spread = np.meshgrid(_MEANS, _SPREADS, indexing="ij")
    one = _normal(mean, spread)
    m, share, apart, s = (
        axis.ravel() for axis in np.meshgrid(_MEANS, _SHARES, _APART, _WITHIN, indexing="ij")
    )
    two = (1 - share) * _normal(m - share * apart, s) + share * _normal(m + (1 - share) * apart, s)
    return one, two


_ONE, _TWO = _components()


def likelihood_ratio(counts: Counts) -> tuple[float, Floats]:
    """Compare the best distribution of θ with two normal components with the best one with one.

    Both are the best of fixed lists (77 and 630), so that thousands of bootstrap samples are affordable.

    Parameters
    ----------
    counts : Counts
        Histograms of c_n.

    Returns
    -------
    ratio : float
        Log-likelihood ratio; 0 where two components are no better than one.
    weights : float64 ndarray, shape (tilt,)
        The best one-component distribution on :data:`GRID`.
    """
    like = np.exp(log_likelihoods(counts))
    one, two = (np.log(np.maximum(like @ family, 1e-300)).sum(axis=0) for family in (_ONE, _TWO))
    best = int(one.argmax())
    return max(float(two.max() - one[best]), 0.0), _ONE[:, best]


def bootstrapped(counts: Counts, weights: Floats, n: int, rng: np.random.Generator) -> Floats:
    """Return the log-likelihood ratio in samples from one component.

    Parameters
    ----------
    counts : Counts
        Histograms of c_n; each fact keeps its k and number of neurons in every sample.
    weights : float64 ndarray, shape (tilt,)
        Distribution of θ on :data:`GRID` that samples are drawn from.
    n : int
        Number of samples.
    rng : numpy.random.Generator
        What samples are drawn by.

    Returns
    -------
    float64 ndarray, shape (sample,)
        Ratios under one component.
    """
    step = np.arange(counts.histogram.shape[1])
    usual, n_neurons = counts.usual(), counts.histogram.sum(axis=1)
    ratios = np.empty(n)
    for sample in range(n):
        theta = rng.choice(GRID, p=weights, size=len(n_neurons))
        tilted = usual[counts.stratum] * np.exp(theta[:, None] * step)
        drawn = rng.multinomial(n_neurons, tilted / tilted.sum(axis=1, keepdims=True))
        resampled = Counts(facts=counts.facts, stratum=counts.stratum, histogram=drawn)
        ratios[sample] = likelihood_ratio(resampled)[0]
    return ratios


def deconvolved(counts: Counts, *, degree: int = 5, penalty: float = 0.1) -> Floats:
    """Estimate the distribution of θ over facts, freed of the noise of few counts.

    Efron's g-model: g(θ) ∝ exp(Q α), Q orthonormal polynomials up to ``degree``, α by maximum likelihood less
    ``penalty`` · ‖α‖.

    Parameters
    ----------
    counts : Counts
        Histograms of c_n.
    degree : int
        Degree of the polynomials.
    penalty : float
        Weight of the norm of α.

    Returns
    -------
    float64 ndarray, shape (tilt,)
        Weights on :data:`GRID`, which sum to 1.

    References
    ----------
    Efron 2016, "Empirical Bayes deconvolution estimates", Biometrika 103, eqs. 6 and 20.
    """
    like = np.exp(log_likelihoods(counts))
    basis = np.linalg.qr(np.vander(GRID / 3, degree + 1, increasing=True))[0][:, 1:]

    def loss(alpha: Floats) -> tuple[float, Floats]:
        log_g = basis @ alpha
        g = np.exp(log_g - log_g.max())
        g /= g.sum()
        fit = np.maximum(like @ g, 1e-300)
        pull = g * (like.T @ (1 / fit)) - len(like) * g
        size = float(np.sqrt(alpha @ alpha + 1e-12))
        return -float(np.log(fit).sum()) + penalty * size, -(basis.T @ pull) + penalty * alpha / size

    alpha = optimize.minimize(loss, np.zeros(degree), jac=True, method="L-BFGS-B").x
    g = np.exp(basis @ alpha - (basis @ alpha).max())
    return np.asarray(g / g.sum())


def kinds_of_facts(
    study: Study | NeuronSets,
    *,
    method: str = "ig",
    threshold: float = DEFAULT_THRESHOLD,
    known: bool = True,
    draws: Draws = KINDS_DRAWS,
) -> TestResult:
    """Describe how consistency is spread over facts (H4), in two kinds or as a continuum; without a verdict.

    One against two components, by a parametric bootstrap of the log-likelihood ratio, is given in
    ``checks``; it has no verdict, since it calls a skewed continuum two kinds. The dip test of unimodality is
    not given: no library with a permissive licence has it.

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
    draws : Draws
        Number of bootstrap samples, and seed.

    Returns
    -------
    TestResult
        ``H4``, descriptive; the estimate is the standard deviation of θ over facts.

    References
    ----------
    docs/statistics.md#h4-kinds-or-a-continuum-kinds_of_facts
    """
    sets, store = sets_and_store(study, method, threshold)
    return kinds_test(filled(considered(sets, known)), draws=draws, store=store)


def kinds_test(sets: NeuronSets, *, draws: Draws = KINDS_DRAWS, store: str = "") -> TestResult:
    """Describe H4 from neuron sets; see :func:`kinds_of_facts`.

    Parameters
    ----------
    sets : NeuronSets
        Non-empty sets of the queries considered.
    draws : Draws
        Number of bootstrap samples, and seed.
    store : str
        Fingerprint of the store that the sets are from.

    Returns
    -------
    TestResult
        ``H4``, descriptive.
    """
    counts = sampled(recurrence_counts(sets), draws.seed)
    check = f"No relation has {LEAST_FACTS} facts of the same number of queries: not defined."
    ratio = spread = float("nan")
    if len(counts.facts):
        ratio, p = components_p(counts, draws)
        spread = spread_of(deconvolved(counts))
        check = (
            f"Two components against one, by parametric bootstrap of {draws.n_bootstrap} samples; p-value: "
            f"{p_value(p)}. No verdict: a skewed continuum, too, passes for two kinds (docs/statistics.md)."
        )
    return TestResult(
        name="H4",
        question=REGISTRY["H4"].question,
        estimand="spread of consistency over facts (standard deviation of θ) within relation × k, less noise",
        unit="fact",
        n={"strata": len(np.unique(counts.stratum)), "facts": len(counts.facts)},
        estimate=spread,
        interval=None,
        effect=None
        if np.isnan(ratio)
        else EffectSize(name="log-likelihood ratio of two components against one", value=ratio),
        method="deconvolution of the counts c_n, given k and the number of neurons",
        p=None,
        role="descriptive",
        verdict="descriptive",
        checks=(check,),
        seed=draws.seed,
        store=store,
    )


def components_p(counts: Counts, draws: Draws) -> tuple[float, float]:
    """Test two components against one by the parametric bootstrap.

    Parameters
    ----------
    counts : Counts
        Histograms of c_n.
    draws : Draws
        Number of samples, and seed.

    Returns
    -------
    ratio : float
        Log-likelihood ratio.
    p : float
        Share of samples from one component with a ratio at least as large.
    """
    ratio, weights = likelihood_ratio(counts)
    rng = Stream.KINDS_BOOTSTRAP.generator(draws.seed)
    return ratio, permutation_p(ratio, bootstrapped(counts, weights, draws.n_bootstrap, rng))


def spread_of(weights: Floats) -> float:
    """Return the standard deviation of θ.

    Parameters
    ----------
    weights : float64 ndarray, shape (tilt,)
        Distribution on :data:`GRID`.

    Returns
    -------
    float
        Standard deviation.
    """
    return float(np.sqrt(max(float(weights @ GRID**2 - (weights @ GRID) ** 2), 0.0)))


def sampled(counts: Counts, seed: int) -> Counts:
    """Sample facts where there are more than :data:`MOST_BOOTSTRAPPED_FACTS`.

    Parameters
    ----------
    counts : Counts
        Histograms of c_n.
    seed : int
        Seed of the sample.

    Returns
    -------
    Counts
        At most so many facts, in their order.
    """
    n = len(counts.facts)
    if n <= MOST_BOOTSTRAPPED_FACTS:
        return counts
    rng = Stream.KINDS_SAMPLE.generator(seed)
    keep = np.sort(rng.choice(n, MOST_BOOTSTRAPPED_FACTS, replace=False))
    return Counts(
        facts=counts.facts[keep], stratum=codes(counts.stratum[keep]), histogram=counts.histogram[keep]
    )
