"""What is simulated of facts and syntax for calibration.py: the last relations pass for paradigms."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from calibration_cells import Cell, Outcome, _of

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.two_groups import compare_groups
from qloc.analysis.localization.syntax import (
    SYNTAX_MARGIN,
    BothKinds,
    distance_test,
    kinds_compared,
    profiles_compared,
)
from qloc.simulation.planted import plant

SIZE = {"facts": 100, "relations": 10, "templates": 5, "n_neurons": 64, "one_to_one": 0}
DRAWS = Draws(n_permutations=199)


def both_kinds(planting: dict[str, Any], n_paradigms: int) -> BothKinds:
    """Facts, and the facts of the last relations as groups of pairs."""
    sets = plant(**{**SIZE, **planting}).sets()
    relation = sets.queries["relation"]
    pair = np.isin(relation, np.unique(sets.facts["relation"])[-n_paradigms:])
    kind = np.where(pair, "minimal_pair", "fact")
    return BothKinds.of(replace(sets, queries={**sets.queries, "kind": kind}))


def kappa(planting: dict[str, Any], seed: int, *, n: int = 4, more: float = 0.0) -> Outcome:
    """H11a; ``more`` is added to κ of the groups."""
    both = both_kinds(planting, n)
    values = both.kappa() + more * both.is_pair
    return _of(kinds_compared(both, values, "kappa", margin=SYNTAX_MARGIN, draws=replace(DRAWS, seed=seed)))


def layers(planting: dict[str, Any], seed: int, *, share: float = 0.0) -> Outcome:
    """H11c; a share of the groups' sets is moved by one layer."""
    both = both_kinds(planting, 4)
    moved = both.pairs.member.tocoo()
    chosen = np.random.default_rng([seed, 11]).random(both.pairs.n_queries) < share
    width = both.sets.n_layers * both.sets.n_neurons
    column = (moved.col + both.sets.n_neurons * chosen[moved.row]) % width
    member = type(both.pairs.member)((moved.data, (moved.row, column)), shape=moved.shape)
    other = replace(both, pairs=replace(both.pairs, member=member))
    return _of(profiles_compared(other, draws=replace(DRAWS, seed=seed)))


def means_that_vary(
    planting: dict[str, Any], seed: int, *, n: tuple[int, int], sd: tuple[float, float]
) -> Outcome:
    """H11a on normal means of paradigms and relations, drawn here, which vary to different degrees."""
    rng = np.random.default_rng([seed, 13])
    first, second = (rng.normal(0, of, many) for many, of in zip(n, sd, strict=True))
    found = compare_groups(
        first, second, margin=0.5, confidence=0.95, n_permutations=DRAWS.n_permutations, rng=rng
    )
    return found.difference, found.p, found.low, found.high


def profiles_that_vary(
    planting: dict[str, Any],
    seed: int,
    *,
    n: tuple[int, int],
    alike: tuple[float, float],
    more: float = 0.0,
) -> Outcome:
    """H11c on profiles over 12 layers, drawn here from Dirichlet's law with ``alike`` a layer.

    ``more`` is added to the first layer of paradigms before shares are taken.
    """
    rng = np.random.default_rng([seed, 17])
    pairs, facts = (rng.dirichlet(np.full(12, of), many) for many, of in zip(n, alike, strict=True))
    pairs[:, 0] += more
    shares = np.concatenate([pairs / pairs.sum(axis=1, keepdims=True), facts])
    return _of(distance_test(shares, np.arange(sum(n)) < n[0], draws=replace(DRAWS, seed=seed)))


FEW = {"relations": 6, "facts": 60}
UNEQUAL = {"spread": 0.5}
CELLS = {
    "H11a null, 6 relations, 4 paradigms": Cell(kappa, "null"),
    "H11a null, relations differ": Cell(kappa, "null", UNEQUAL),
    "H11a null, 4 relations, 2 paradigms": Cell(partial(kappa, n=2), "null", FEW),
    "H11a null, 18 relations, 2 paradigms": Cell(
        partial(kappa, n=2), "null", {"relations": 20, "facts": 120, **UNEQUAL}
    ),
    "H11a, κ of syntax 0.1 more": Cell(partial(kappa, more=0.1), "planted"),
    "H11a, κ of syntax 0.1 more, relations differ": Cell(partial(kappa, more=0.1), "planted", UNEQUAL),
    "H11c null": Cell(layers, "null"),
    "H11c null, relations differ": Cell(layers, "null", UNEQUAL),
    **{
        f"H11a null, 12 relations, {n} paradigms that vary {words}": Cell(
            partial(means_that_vary, n=(n, 12), sd=(sd, 1.0)), "null"
        )
        for n in (2, 4)
        for words, sd in (("alike", 1.0), ("three times as much", 3.0))
    },
    **{
        f"H11c null, {m} relations, {n} paradigms, {words}": Cell(
            partial(profiles_that_vary, n=(n, m), alike=alike), "null"
        )
        for m, n in ((12, 4), (12, 2), (40, 4))
        for words, alike in (
            ("alike", (5.0, 5.0)),
            ("paradigms vary more", (1.0, 5.0)),
            ("relations vary more", (5.0, 1.0)),
        )
    },
    "H11c, 12 relations, 4 paradigms, one layer 0.12 more": Cell(
        partial(profiles_that_vary, n=(4, 12), alike=(5.0, 5.0), more=0.12), "planted"
    ),
    "H11c, a quarter of the sets one layer off": Cell(partial(layers, share=0.25), "planted"),
}
