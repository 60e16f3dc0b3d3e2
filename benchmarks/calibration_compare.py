"""What is simulated of models compared for calibration.py: two networks of one structure, asked the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import xarray as xr
from calibration_cells import N_PERMUTATIONS, Cell, Outcome, _of
from scipy.special import expit, logit

from qloc.analysis.comparison.measures import MEASURE_SYMBOLS, Measures
from qloc.analysis.comparison.studies import Studies
from qloc.analysis.inputs.study import Study
from qloc.neurons import NeuronSets
from qloc.plan import AnalysisPlan
from qloc.simulation.planted import Planted, plant
from qloc.vocabulary import FACT, QUERY

SIZE = {"facts": 160, "relations": 10, "templates": 5, "n_neurons": 64, "one_to_one": 1}
FIRST, SECOND = "first", "second"

Parameters = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class InMemory(Study):
    """A study whose sets are at hand."""

    sets: NeuronSets | None = None

    def neurons(
        self, method: str = "ig", threshold: float | None = None, *, top: int | None = None
    ) -> NeuronSets:
        """The planted sets, whatever the rule."""
        assert self.sets is not None
        return self.sets


def study_of(planted: Planted) -> InMemory:
    """What a comparison reads of a study."""
    c, of_query = planted.columns, ("template", "prompt", "relation", "answer", "log_probability")
    queries = {name: (QUERY, getattr(c, name)) for name in ("fact", *of_query)}
    queries |= {"known": (QUERY, c.known.astype(np.int8)), "rank": (QUERY, 2 - c.known.astype(np.int32))}
    facts = {name: (FACT, column) for name, column in planted.outline.facts.items()}
    groups = {"queries": xr.Dataset(queries), "facts": xr.Dataset(facts)}
    return InMemory(groups, planted.outline.attrs, sets=planted.sets())


def knowing(planted: Planted, differ: float) -> Planted:
    """The same where relations are known to different degrees: log-odds with a deviation of ``differ``."""
    p, c = planted.planting, planted.columns
    rng = np.random.default_rng([p.seed, 9, p.network])
    share = expit(logit(p.known) + differ * rng.standard_normal(c.n_relations))[c.relation_code]
    return replace(planted, columns=replace(c, known=rng.random(c.n_queries) < share))


@lru_cache(maxsize=1)
def networks(given: Parameters, other: Parameters, differ: float, seed: int) -> Measures:
    """Two networks measured; the second is planted with ``other`` besides, the first without."""
    pair = (plant(**dict(given), network=1), plant(**{**dict(given), **dict(other)}, network=2))
    first, second = (study_of(knowing(network, differ)) for network in pair)
    plan = AnalysisPlan(n_permutations=N_PERMUTATIONS, seed=seed)
    return Measures(Studies({FIRST: first, SECOND: second}), plan)


def compared(
    measure: str, planting: dict[str, Any], seed: int, *, other: Parameters = (), differ: float = 0.0
) -> Outcome:
    """One measure of two networks."""
    given = tuple({**SIZE, **planting}.items())
    return _of(networks(given, other, differ, seed).test(measure, FIRST, SECOND))


STRUCTURES: dict[str, dict[str, Any]] = {
    "": {},
    ", no answers, no facts": {"answer_strength": 0.0, "fact_strength": 0.0},
    ", relations differ": {"spread": 0.5},
    ", templates differ": {"template_spread": 0.8},
    ", answers shared by relations": {"shared_answers": 0.6, "answer_strength": 0.6},
}
FEW = {"facts": 80, "relations": 4, "one_to_one": 0}
CELLS = {
    **{
        f"compare {symbol} null{words}": Cell(
            partial(compared, name, differ=1.0 if "relations differ" in words else 0.0),
            "null",
            planting,
            group=f"compare{words}",
        )
        for words, planting in STRUCTURES.items()
        for name, symbol in MEASURE_SYMBOLS.items()
    },
    **{
        f"compare {symbol} null, 4 relations": Cell(
            partial(compared, name), "null", FEW, group="compare, 4 relations"
        )
        for name, symbol in MEASURE_SYMBOLS.items()
    },
    "compare practice, κ, 4 relations that differ, taken for new ones": Cell(
        partial(compared, "kappa"), "null", {**FEW, "spread": 0.5}
    ),
    **{
        f"compare {symbol}, facts' neurons 0.2 and 0.3, 85% and 90% known": Cell(
            partial(compared, name, other=(("fact_strength", 0.3), ("known", 0.9))),
            "planted",
            group="compare, planted",
        )
        for name, symbol in MEASURE_SYMBOLS.items()
    },
}
