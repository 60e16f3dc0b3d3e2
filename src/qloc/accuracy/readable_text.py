"""Whether a model can read the held-out text that damage is measured on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_VOCABULARY = "n_vocabulary"
"""Attribute of phase ``edits``: the tokens that the model chooses among. Older stores do not have it."""


def unreadable_text(base_nats: NDArray[np.floating], attrs: Mapping[str, Any]) -> str:
    """Say so where a model is no better on held-out text than a guess among all its tokens, ln|V| nats.

    Parameters
    ----------
    base_nats : floating ndarray, shape (fact,)
        Nats a token of the unedited model; NaN where nothing was edited.
    attrs : mapping
        Attributes of phase ``edits``.

    Returns
    -------
    str
        One sentence; empty where the text can be read, or the store does not tell.

    Examples
    --------
    >>> unreadable_text(np.array([5.0, np.nan]), {"n_vocabulary": 100})
    'Before any edit the model is worse on held-out text (5.00 nats a token) than a uniform guess (4.61): it \
cannot read this text, so that its damage tells nothing.'
    >>> unreadable_text(np.array([2.0]), {"n_vocabulary": 100})
    ''
    """
    measured, n_tokens = base_nats[~np.isnan(base_nats)], attrs.get(N_VOCABULARY)
    if not len(measured) or not isinstance(n_tokens, int) or n_tokens < 2:
        return ""
    nats, guess = float(measured.mean()), math.log(n_tokens)
    if nats < guess:
        return ""
    return (
        f"Before any edit the model is worse on held-out text ({nats:.2f} nats a token) than a uniform guess "
        f"({guess:.2f}): it cannot read this text, so that its damage tells nothing."
    )
