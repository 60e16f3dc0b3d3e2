"""Simulations of the p of all choices together (table ``multiverse_joint``): four that share data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from calibration_cells import N_PERMUTATIONS, NAN, NULL_A, NULL_B, SIZE, Cell, Outcome
from calibration_margins import study

from qloc.analysis.inference.label_codes import codes
from qloc.analysis.localization.consistency import answer_codes, considered, filled, relation_codes
from qloc.analysis.localization.overlap.margins import PREDICTION_ERROR, net_excess
from qloc.analysis.localization.specification_curve import curve_test
from qloc.neurons import NeuronSets
from qloc.simulation.planted import plant

N_CHOICES, KEPT = 4, 0.7
"""Choices of a study, and the share of its memberships that each keeps, at random."""


def planted(**planting: Any) -> NeuronSets:
    """Sets as ``qloc simulate`` plants them."""
    return plant(**{**SIZE, **planting}).sets()


def together(level: Any, make: Callable[..., NeuronSets], planting: dict[str, Any], seed: int) -> Outcome:
    """Median excess over choices, and their p; no interval."""
    sets, rng, found = make(**planting), np.random.default_rng([seed, 17]), []
    for _ in range(N_CHOICES):
        member = sets.member.copy()
        member.data = (rng.random(member.nnz) < KEPT).astype(member.dtype)
        member.eliminate_zeros()
        found.append(net_excess(filled(considered(replace(sets, member=member))), level))
    test = curve_test(
        np.stack(found),
        codes(relation_codes(sets)[1], answer_codes(sets)),
        least=PREDICTION_ERROR[level],
        n_permutations=N_PERMUTATIONS,
        rng=rng,
    )
    return test.median, test.p, NAN, NAN


A, B = partial(together, "template"), partial(together, "answer")
HUBS = {"hubs": 12.0, "template": 0.0}
CELLS = {
    "together null, H1a, template neurons": Cell(partial(A, planted), "null", NULL_A),
    "together null, H1a, hubs used unequally and nothing else": Cell(partial(A, study), "null", HUBS),
    "together null, H1b, template and answer neurons": Cell(partial(B, planted), "null", NULL_B),
    "together null, H1b, relations differ": Cell(partial(B, planted), "null", {**NULL_B, "spread": 0.5}),
    "together, H1a, fact neurons (0.1)": Cell(
        partial(A, planted), "planted", {"answer_strength": 0.0, "fact_strength": 0.1}
    ),
    "together, H1b, fact neurons (0.2)": Cell(partial(B, planted), "planted", {"fact_strength": 0.2}),
}
