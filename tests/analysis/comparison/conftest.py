"""Two models of planted facts: alone, and on the facts that both were asked."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qloc.analysis.comparison.studies import Studies
from qloc.analysis.inputs.study import Study
from qloc.simulation.simulate import simulate

SIZE: dict[str, Any] = {"facts": 48, "relations": 6, "templates": 4, "n_neurons": 64}


def _of_facts(study: Study, keep: np.ndarray, shuffle: int | None = None) -> Study:
    """The study of some of its facts, in another order if ``shuffle``: an independent re-indexing."""
    rows = np.flatnonzero(keep)
    if shuffle is not None:
        rows = np.random.default_rng(shuffle).permutation(rows)
    fact = study.column("queries", "fact")
    queries = np.concatenate([np.flatnonzero(fact == row) for row in rows])
    place = {row: n for n, row in enumerate(rows)}
    groups: dict[str, Any] = {}
    for name in ("queries", "facts", "signals"):
        group = study.datasets[name]
        taken = {dim: index for dim, index in (("query", queries), ("fact", rows)) if dim in group.dims}
        groups[name] = group.isel(taken)
    new = np.array([place[row] for row in fact[queries]], dtype=np.int32)
    groups["queries"] = groups["queries"].assign(fact=("query", new))
    if "fact" in groups["signals"].coords:
        groups["signals"] = groups["signals"].assign_coords(fact=("query", new))
    return replace(study, datasets=groups)


@pytest.fixture(scope="session")
def with_pairs(pair: tuple[Study, Study]) -> Callable[[Sequence[str]], Studies]:
    """Both models with some relations turned into paradigms, each of their facts into a group of pairs."""

    def turned(study: Study, relations: Sequence[str]) -> Study:
        pairs = np.isin(study.column("queries", "relation"), relations)
        queries = study.queries.assign(kind=("query", np.where(pairs, "minimal_pair", "fact")))
        return replace(study, datasets={**study.datasets, "queries": queries})

    return lambda relations: Studies({"a": turned(pair[0], relations), "b": turned(pair[1], relations)})


@pytest.fixture(scope="session")
def pair() -> tuple[Study, Study]:
    """Return two models of the same facts: one with weak facts, one with strong ones."""
    one = simulate(**SIZE, fact_strength=0.1, seed=3)
    two = simulate(**SIZE, fact_strength=0.6, seed=3)
    known = two.column("queries", "known")
    known[::9] = 1 - known[::9]  # drawn with the same seed, they would know the same
    queries = two.queries.assign(known=("query", known))
    return one, replace(two, datasets={**two.datasets, "queries": queries})


@pytest.fixture(scope="session")
def studies(pair: tuple[Study, Study]) -> Studies:
    """Return both models on the facts that both were asked: 48 less every seventh, less every fifth."""
    first, second = np.arange(48) % 7 != 0, np.arange(48) % 5 != 0
    return Studies({"weak": _of_facts(pair[0], first), "strong": _of_facts(pair[1], second, shuffle=1)})
