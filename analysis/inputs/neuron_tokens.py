"""The tokens that neurons promote and suppress, as texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from qloc.analysis.inputs.study import Study
from qloc.arrays import Array


@dataclass(frozen=True, kw_only=True)
class NeuronTokens:
    """Tokens whose logits a neuron's row of the down-projection raises, and lowers, most.

    Attributes
    ----------
    promoted, suppressed : tuple of str
        Texts of tokens, the largest product of the row with the output embedding first, and the smallest.
    """

    promoted: tuple[str, ...]
    suppressed: tuple[str, ...]


def neuron_tokens(study: Study, neurons: Iterable[int]) -> dict[int, NeuronTokens]:
    """Return the tokens of neurons, as far as the store has them.

    Parameters
    ----------
    study : Study
        What the neurons are of.
    neurons : iterable of int
        Neuron numbers.

    Returns
    -------
    dict of int to NeuronTokens
        Those of the neurons that have some, in their order; empty for stores without ``/neurons``.
    """
    here = study.tokens
    if "token" not in here:
        return {}
    wanted = np.fromiter(neurons, dtype=np.int64)
    text = here["token"].values
    ids = [here[f"{name}_token_id"].values for name in ("promoted", "suppressed")]
    rows = [both.reshape(-1, both.shape[-1])[wanted] for both in ids]
    return {
        int(neuron): NeuronTokens(promoted=_texts(text, most), suppressed=_texts(text, least))
        for neuron, most, least in zip(wanted, *rows, strict=True)
        if (most >= 0).any()
    }


def _texts(text: Array, ids: Array) -> tuple[str, ...]:
    return tuple(str(text[token]) for token in ids if token >= 0)
