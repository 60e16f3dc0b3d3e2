"""In which layers the knowledge neurons are: shares by layer, each query counting alike within its fact."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qloc.analysis.inference.share_intervals import Bound, bounded_intervals
from qloc.analysis.localization.consistency import answer_codes, filled, relation_codes
from qloc.arrays import Floats
from qloc.neurons import NeuronSets


def layer_shares(sets: NeuronSets) -> Floats:
    """Return the share of a fact's knowledge neurons in each layer, the mean over its queries.

    Parameters
    ----------
    sets : NeuronSets
        Sets of the queries considered; empty ones are left out.

    Returns
    -------
    float64 ndarray, shape (fact, layer)
        Mean of |N_i in layer| / |N_i|; rows sum to 1, and are NaN for facts without a non-empty set.
    """
    used = filled(sets)
    layer = used.member.indices // sets.n_neurons
    query = np.repeat(np.arange(used.n_queries), used.sizes())
    shape = (used.n_queries, sets.n_layers)
    count = np.bincount(query * sets.n_layers + layer, minlength=shape[0] * shape[1]).reshape(shape)
    share = count / np.maximum(used.sizes(), 1)[:, None]
    fact = used.queries["fact"]
    total = np.stack(
        [np.bincount(fact, weights=column, minlength=sets.n_facts) for column in share.T], axis=1
    )
    n = np.bincount(fact, minlength=sets.n_facts)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(n > 0, total / n, np.nan))


def layer_profile(sets: NeuronSets, *, confidence: float = 0.95) -> pd.DataFrame:
    """Tabulate the mean share of knowledge neurons by layer, over facts.

    Parameters
    ----------
    sets : NeuronSets
        Sets of the queries considered; empty ones are left out.
    confidence : float
        Level of the intervals, which are cluster-robust by relation and answer.

    Returns
    -------
    pandas.DataFrame
        One row a layer: ``layer, share, low, high, neurons, facts``; ``neurons`` is the mean number of a
        query's neurons in the layer. Empty without a non-empty set.
    """
    shares = layer_shares(sets)
    used = filled(sets)
    defined = ~np.isnan(shares[:, 0]) if sets.n_layers else np.zeros(0, dtype=bool)
    if not defined.any():
        return pd.DataFrame(columns=["layer", "share", "low", "high", "neurons", "facts"])
    clusters = (relation_codes(sets)[1], answer_codes(sets))
    share: Bound = "share"
    low, high = bounded_intervals(shares, clusters, (share,) * sets.n_layers, confidence=confidence)
    count = np.bincount(used.member.indices // sets.n_neurons, minlength=sets.n_layers)
    return pd.DataFrame(
        {
            "layer": np.arange(sets.n_layers),
            "share": np.nanmean(shares, axis=0),
            "low": low,
            "high": high,
            "neurons": count / used.n_queries,
            "facts": int(defined.sum()),
        }
    )
