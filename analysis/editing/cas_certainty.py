"""Which CAS sets may lack neurons, because the store keeps a panel of neurons and not the whole network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qloc.analysis.editing.cas import cas
from qloc.analysis.inputs.study import Study

CAS_SETS: Final = ("cas", "cas_no_penalty", "cas_top")
"""Edited sets that are chosen by CAS."""

_CHOSEN_BY: Final = frozenset({"method", "beta1", "beta2", "cas_threshold", "top"})


def uncertified_cas(study: Study) -> Mapping[str, NDArray[np.bool_]]:
    """Return which facts' CAS sets are not certain to be those of the whole network.

    A neuron outside a fact's panel has a mean ratio below the panel's floor, and so a score below β1 · floor.
    A set is certain where its bar is no lower: t · max CAS, or for ``cas_top`` the score of its b-th neuron.

    Parameters
    ----------
    study : Study
        With phase ``edits``.

    Returns
    -------
    mapping of str to bool ndarray, shape (fact,)
        Set → facts that were edited, and whose set may lack neurons. Empty where nothing was chosen by CAS,
        as in planted studies.
    """
    edits = study.edits
    if not edits.attrs.keys() >= _CHOSEN_BY or not {"edited_query", "held_out"} <= set(edits):
        return {}
    attrs = edits.attrs
    signals = study.signals_of(str(attrs["method"] or study.methods[0]))
    edited = np.asarray(edits["edited_query"].values) >= 0
    found = {name: np.zeros(len(edited), dtype=bool) for name in CAS_SETS}
    if signals.floors is None:
        return found
    first, used = study.column("facts", "first_query").astype(np.int64), edits["held_out"].values == 0
    for fact in np.flatnonzero(edited):
        _, values, panel = signals.rows(queries := first[fact] + np.flatnonzero(used[fact]))
        maximum, floor = signals.maximum[queries], float(signals.floors[fact])
        betas = {"cas": (attrs["beta1"], attrs["beta2"]), "cas_no_penalty": (attrs["beta1"], 0.0)}
        for name, (beta1, beta2) in betas.items():
            scores = cas(values, panel[0], maximum, beta1, beta2)
            found[name][fact] = not scores.certified(float(attrs["cas_threshold"]), beta1, floor)
            if name == "cas":
                best = np.sort(scores.score)[::-1][int(attrs["top"]) - 1 : int(attrs["top"])]
                found["cas_top"][fact] = not (len(best) and best[0] >= beta1 * floor)
    return found
