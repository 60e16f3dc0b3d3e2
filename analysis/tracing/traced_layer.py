"""The layer that causal tracing names: where restoring MLPs at the subject's last token helps most."""

from __future__ import annotations

import numpy as np

from qloc.analysis.inputs.study import Study
from qloc.analysis.tracing.restoring_tests import headline_effects
from qloc.arrays import Floats
from qloc.vocabulary import NO_INDEX


def traced_layer(study: Study) -> int:
    """Return the layer with the greatest indirect effect of MLPs at the subject's last token, under noise.

    Parameters
    ----------
    study : Study
        With phase ``tracing``.

    Returns
    -------
    int
        Of the greatest mean over facts, in log-odds, the first of equals; -1 where no query was traced whose
        answer corrupting takes away, or MLPs were not restored there.

    Raises
    ------
    InputError
        The store has no phase ``tracing``.

    References
    ----------
    Meng et al. 2022 (arXiv 2202.05262), §2 and §3, who choose the layer of their edits so.
    """
    effects = headline_effects(study)
    if not effects.has("mlp", "last_subject"):
        return NO_INDEX
    profiles = effects.of_facts(effects.at("mlp", "last_subject"), len(study.column("facts", "id")))
    return strongest_layer(profiles)


def strongest_layer(profiles: Floats) -> int:
    """Return the layer of the greatest mean.

    Parameters
    ----------
    profiles : float64 ndarray, shape (fact, layer)
        NaN for facts without a profile.

    Returns
    -------
    int
        The first of equals; -1 where no fact has a profile.

    Examples
    --------
    >>> strongest_layer(np.array([[0.0, 2.0, 1.0], [0.5, 0.0, 2.0], [np.nan] * 3]))
    2
    """
    there = profiles[~np.isnan(profiles).any(axis=1)]
    return int(np.argmax(there.mean(axis=0))) if len(there) else NO_INDEX
