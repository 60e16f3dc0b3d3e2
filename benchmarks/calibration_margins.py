"""Null worlds of H1 and H3 that `qloc simulate` does not plant: facts that differ in sizes and hub neurons.

A query has each neuron independently, with a probability that is a product over sources (its template, its
answer, its fact, noise of log-normal popularity, hubs), each times the fact's own factor of size.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from calibration_cells import Cell, Outcome, _draws, _of
from scipy import sparse

from qloc.analysis.localization.consistency import considered, filled
from qloc.analysis.localization.overlap.overlap_tests import overlap_tests
from qloc.analysis.localization.reliability import reliability_test
from qloc.neurons import NeuronSets

N, POOL, N_HUBS = 512, 8, 40


def relation_rows(
    rng: np.random.Generator,
    noise: np.ndarray,
    *,
    facts: int,
    templates: int = 4,
    answers: int = 5,
    sizes: float = 0.0,
    template: float = 0.5,
    answer: float = 0.0,
    own: float = 0.0,
    hubs: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Memberships, fact, template and answer of the queries of one relation.

    ``sizes`` : standard deviation over facts of the log of how many times more neurons their sets have.
    ``hubs`` : mean number of neurons that a fact divides, by a share of its own, between 40 hubs of Zipf's
    frequencies and all other neurons.
    """
    of_fact = rng.integers(answers, size=facts)
    factor = np.exp(sizes * rng.standard_normal(facts) - sizes**2 / 2)
    share = rng.random(facts)
    pools = [np.zeros((count, N)) for count in (templates, answers, facts)]
    shared = rng.integers(N, size=POOL // 2)
    for row in pools[0]:
        row[np.concatenate([shared, rng.integers(N, size=POOL // 2)])] = template
    for pool, strength in ((pools[1], answer), (pools[2], own)):
        for row in pool:
            row[rng.integers(N, size=POOL)] = strength
    zipf = 1 / np.arange(1, N_HUBS + 1)
    use = np.repeat((1 - share)[:, None] * hubs / (N - 2 * N_HUBS), N, axis=1)
    use[:, :N_HUBS] = 0.0
    use[:, N_HUBS : 2 * N_HUBS] = (hubs * share)[:, None] * zipf / zipf.sum()
    fact, asked = np.nonzero(rng.random((facts, templates)) < 0.85)
    sources = (pools[0][asked], pools[1][of_fact[fact]], pools[2][fact], noise[None, :], use[fact])
    absent = np.prod([1 - np.minimum(1, factor[fact][:, None] * source) for source in sources], axis=0)
    return rng.random(absent.shape) >= absent, fact, asked, of_fact


def study(
    seed: int,
    relations: tuple[int, ...] = (20,) * 8,
    own_hubs: bool = False,
    **planting: float,
) -> NeuronSets:
    """Sets of relations of so many facts each; ``own_hubs``: hubs are other ones in each."""
    rng = np.random.default_rng([seed, 91])
    popularity = np.exp(rng.standard_normal(N))
    member, queries = [], []
    facts: list[tuple[str, str]] = []
    for r, n in enumerate(relations):
        rows, fact, asked, answer = relation_rows(rng, 4 * popularity / popularity.sum(), facts=n, **planting)  # type: ignore[arg-type]
        member.append(rows[:, rng.permutation(N)] if own_hubs else rows)
        queries += [
            (len(facts) + f, f"R{r}", f"R{r}-{t}", f"a{r}-{answer[f]}")
            for f, t in zip(fact, asked, strict=True)
        ]
        facts += [(f"R{r}", f"a{r}-{a}") for a in answer]
    number, relation, template, said = (np.array(column) for column in zip(*queries, strict=True))
    names = np.arange(len(facts)).astype(str)
    return NeuronSets(
        member=sparse.csr_array(np.concatenate(member)),
        queries={"fact": number, "relation": relation, "template": template, "answer": said,
                 "known": np.ones(len(number), dtype=bool), "kind": np.full(len(number), "fact")},
        facts={"id": names, "subject": names, "leaks": np.zeros(len(facts), dtype=bool),
               **dict(zip(("relation", "object"), np.array(facts).T, strict=True))},
        method="ig", rule="drawn", n_layers=1, n_neurons=N,
    )  # fmt: skip


def overlap(level: Any, planting: dict[str, Any], seed: int) -> Outcome:
    """H1a (template) and H1b (answer)."""
    return _of(overlap_tests(study(**planting), (level,), draws=_draws(seed))[0])


def told(level: Any, planting: dict[str, Any], seed: int) -> Outcome:
    """The verdict of H1a or H1b in place of its p: 0 where it is "holds", 1 where it is not."""
    result = overlap_tests(study(**planting), (level,), draws=_draws(seed))[0]
    estimate, _, low, high = _of(result)
    return estimate, float(result.verdict != "holds"), low, high


def stable(planting: dict[str, Any], seed: int) -> Outcome:
    """H3."""
    return _of(reliability_test(filled(considered(study(**planting))), n_splits=10, draws=_draws(seed)))


H1A, H1B = partial(overlap, "template"), partial(overlap, "answer")
DEEP: dict[str, Any] = {"relations": (30,) * 8, "templates": 6, "answers": 3}
UNEQUAL = (60, 41, 28, 19, 13, 9, 6, 4)
FEW: dict[str, Any] = {"relations": (8,) * 30, "answers": 2, "sizes": 0.3}
OF_EACH: dict[str, Any] = {"relations": (60,) * 4, "hubs": 12.0, "own_hubs": True}
CELLS = {
    "H1a null, sizes of facts differ (0.34)": Cell(H1A, "null", {"sizes": 0.34}),
    "H1a null, hubs used unequally": Cell(H1A, "null", {"hubs": 6.0}),
    "H1a null, hubs used unequally and nothing else": Cell(H1A, "null", {"hubs": 12.0, "template": 0.0}),
    "H1a null, verdict, hubs used unequally and nothing else": Cell(
        partial(told, "template"), "null", {"hubs": 12.0, "template": 0.0}
    ),
    "H1b null, sizes of facts differ (0.17)": Cell(H1B, "null", {"answer": 0.4, "sizes": 0.17}),
    "H1b null, sizes of facts differ (0.34)": Cell(H1B, "null", {"answer": 0.4, "sizes": 0.34}),
    "H1b null, hubs used unequally": Cell(H1B, "null", {"answer": 0.4, "hubs": 6.0}),
    "H1a null, hubs of each relation": Cell(H1A, "null", {"hubs": 8.0, "own_hubs": True}),
    "H1b null, hubs of each relation": Cell(H1B, "null", {"answer": 0.4, "hubs": 8.0, "own_hubs": True}),
    "H1a null, 4 relations of 60 facts, hubs of each": Cell(H1A, "null", OF_EACH),
    "H1b null, 4 relations of 60 facts, hubs of each": Cell(H1B, "null", {"answer": 0.4, **OF_EACH}),
    "H1b null, unequal relations, sizes differ (0.34)": Cell(
        H1B, "null", {"answer": 0.4, "sizes": 0.34, "relations": UNEQUAL}
    ),
    "H1a null, 30 relations of 8 facts, sizes differ (0.3)": Cell(H1A, "null", FEW),
    "H1b null, 30 relations of 8 facts, sizes differ (0.3)": Cell(H1B, "null", {**FEW, "answer": 0.4}),
    "H3 null, sizes of facts differ (0.5)": Cell(stable, "null", {**DEEP, "sizes": 0.5}),
    "H3 null, hubs used unequally": Cell(stable, "null", {**DEEP, "hubs": 12.0}),
    "H3 null, hubs of each relation": Cell(stable, "null", {**DEEP, "hubs": 12.0, "own_hubs": True}),
    "H1b, fact neurons (0.2), sizes differ (0.34)": Cell(
        H1B, "planted", {"answer": 0.4, "own": 0.2, "sizes": 0.34}
    ),
    "H1b, fact neurons (0.2), hubs used unequally": Cell(
        H1B, "planted", {"answer": 0.4, "own": 0.2, "hubs": 6.0}
    ),
}
