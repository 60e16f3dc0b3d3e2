"""Variance components by Bayes: what relations differ by, and how much the prior decides.

An extra, ``pip install 'qloc[bayes]'``: it needs numpyro.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np

from qloc.analysis.localization.overlap.variance_components import SOURCES, Likelihood, Queries, likelihood
from qloc.arrays import Array, Floats
from qloc.errors import MissingDependencyError, message


@dataclass(frozen=True, kw_only=True)
class Prior:
    """What is thought of the sources' shares beforehand.

    Attributes
    ----------
    name : str
        Such as ``wide``.
    mean : float
        Standard deviation of μ, the mean over relations of log(share / share of queries).
    between : float
        Scale of the half-normal σ, by which relations differ in it.
    """

    name: str
    mean: float
    between: float


PRIORS: Final = (
    Prior(name="usual", mean=2.0, between=1.0),
    Prior(name="narrow", mean=1.0, between=0.5),
    Prior(name="wide", mean=3.0, between=2.0),
)
"""The first is what is told where one is; what the others give shows how much it decides."""

_CHAINS: Final = 2
_WARMUP: Final = 500
_DRAWS: Final = 1000
_NEW_RELATIONS: Final = 100
"""Relations that are drawn to average shares over, for each draw of μ and σ."""


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """Shares of the variance, averaged over new relations, by one prior.

    Attributes
    ----------
    shares, low, high : float64 ndarray, shape (source,)
        Posterior medians and the ends of central intervals, by
        :data:`~qloc.analysis.localization.overlap.variance_components.SOURCES`.
    r_hat : float
        Largest split R̂ of μ, σ, z and τ: near 1 where the chains agree.
    n_effective : float
        Smallest effective number of draws among them.
    """

    shares: Floats
    low: Floats
    high: Floats
    r_hat: float
    n_effective: float


def posteriors(
    relations: Sequence[Queries], *, confidence: float = 0.95, seed: int = 0, priors: Sequence[Prior] = PRIORS
) -> tuple[Posterior, ...] | None:
    """Return the shares of sources, by each of some priors.

    Relation r has shares s_rk of its variance τ_r, with k = query as the reference::

        log(s_rk / s_r,query) = μ_k + σ_k z_rk,  z_rk ~ N(0, 1),  μ_k ~ N(0, mean²),  σ_k ~ |N(0, between²)|,
        log(τ_r / τ) ~ N(0, 1),  τ the variance that REML finds in all

    Its data enter by the second-order expansion of REML's log-likelihood about the maximum over all
    relations, with the expected information, times the number of neurons that effectively vary, as if these
    were independent: hubs that go together make it too sharp, which the spread between relations covers
    where there are several. So the model is that of
    :func:`~qloc.analysis.localization.overlap.variance_components.components`, but shares are positive,
    relations differ, and the interval is of their mean over new ones. Draws are the No-U-Turn sampler's.

    Parameters
    ----------
    relations : sequence of Queries
        The queries of each relation.
    confidence : float, default 0.95
        Level of the intervals, within (0, 1).
    seed : int, default 0
        Of the draws.
    priors : sequence of Prior
        What is thought beforehand.

    Returns
    -------
    tuple of Posterior, or None
        For each prior; None where sources cannot be told apart.

    Raises
    ------
    MissingDependencyError
        Where numpyro is not installed.

    References
    ----------
    Gelman 2006, "Prior distributions for variance parameters in hierarchical models", Bayesian Analysis 1;
    Hoffman & Gelman 2014, "The No-U-Turn sampler", JMLR 15.
    """
    refuse_without_numpyro()
    if not relations or (expanded := likelihood(relations)) is None:
        return None
    weights = np.array([queries.n_effective for queries in relations])
    return tuple(_posterior(expanded, weights, prior, confidence, seed) for prior in priors)


def refuse_without_numpyro() -> None:
    """Refuse where the extra is not installed.

    Raises
    ------
    MissingDependencyError
        That names the extra.
    """
    try:
        import numpyro  # noqa: F401
    except ImportError:
        text = message(
            "bayes", True, "the package numpyro", "the analysis plan", "Run pip install 'qloc[bayes]'"
        )
        raise MissingDependencyError(text) from None


def _posterior(
    expanded: Likelihood, weights: Floats, prior: Prior, confidence: float, seed: int
) -> Posterior:
    import jax
    from numpyro.diagnostics import summary

    with jax.enable_x64(True):
        sampler = _sampler(_WARMUP, _DRAWS)
        score, information = expanded.score * weights[:, None], expanded.information * weights[:, None, None]
        sampler.run(jax.random.key(seed), expanded.variances, score, information, prior.mean, prior.between)
        drawn = {name: np.asarray(values) for name, values in sampler.get_samples().items()}
        told = summary(sampler.get_samples(group_by_chain=True)).values()
    z = np.random.default_rng(seed).normal(size=(len(drawn["mu"]), _NEW_RELATIONS, len(SOURCES) - 1))
    shares = _shares(np, drawn["mu"][:, None] + drawn["sigma"][:, None] * z).mean(axis=1)
    tail = (1 - confidence) / 2
    middle, low, high = np.quantile(shares, (0.5, tail, 1 - tail), axis=0)
    return Posterior(
        shares=middle,
        low=low,
        high=high,
        r_hat=float(max(np.max(one["r_hat"]) for one in told)),
        n_effective=float(min(np.min(one["n_eff"]) for one in told)),
    )


@cache
def _sampler(n_warmup: int, n_draws: int) -> Any:
    """Return the sampler: one, since it is compiled for each, once for all priors."""
    from numpyro.infer import MCMC, NUTS

    return MCMC(
        NUTS(_model, target_accept_prob=0.9),
        num_warmup=n_warmup,
        num_samples=n_draws,
        num_chains=_CHAINS,
        chain_method="sequential",
        progress_bar=False,
        jit_model_args=True,
    )


def _model(variances: Array, score: Array, information: Array, mean: float, between: float) -> None:
    import jax.numpy as jnp
    import numpyro
    from numpyro import distributions

    n_relations, n = len(score), len(SOURCES) - 1
    mu = numpyro.sample("mu", distributions.Normal(0, mean).expand([n]).to_event(1))
    sigma = numpyro.sample("sigma", distributions.HalfNormal(between).expand([n]).to_event(1))
    with numpyro.plate("relations", n_relations):
        z = numpyro.sample("z", distributions.Normal(0, 1).expand([n]).to_event(1))
        tau = numpyro.sample("tau", distributions.Normal(0, 1))
    of_relation = _shares(jnp, mu + sigma * z) * jnp.exp(tau)[:, None] * variances.sum()
    away = of_relation - variances
    curved = jnp.einsum("rk,rkl,rl->", away, information, away)
    numpyro.factor("sets", (score * away).sum() - curved / 2)


def _shares(xp: Any, ratios: Any) -> Any:
    """Return shares, (…, source), from their log-ratios to that of queries, (…, source − 1)."""
    odds = xp.concatenate([xp.exp(ratios), xp.ones_like(ratios[..., :1])], -1)
    return odds / odds.sum(-1, keepdims=True)
