"""Panel against dense, from attributions to scores: the same, exactly, at every threshold from the floor up.

Attributions are few different values, so that ties, zeros, empty sets and values at a bar are common.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import consistency, filled
from qloc.analysis.localization.inconsistent_share import ki_frame
from qloc.analysis.localization.query_subsets import subset_scores
from qloc.arrays import Array
from qloc.block import Block, Outline, Unit
from qloc.errors import FloorError
from qloc.store.schema.layout import Layout
from qloc.store.units.panel import unit_arrays

FACT = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2, 4, 4, 4])  # fact 3 has no query
TEMPLATE = np.array(["a", "b", "c", "a", "b", "c", "d", "a", "b", "s", "t", "u"])
RELATION = np.array(["P1", "P1", "P1", "P1", "P2"])
OBJECT = np.array(["x", "x", "y", "y", "z"])
METHODS = ("ig", "grad_x_act")
N_FACTS, N_LAYERS, N_NEURONS = 5, 2, 6
SHAPE = (len(METHODS), len(FACT), N_LAYERS, N_NEURONS)

COMMON = [0.0, -0.0, 1.0, 0.05, 0.1, 0.2, 1 / 3, 0.5, 0.7, 0.15000001, 1e-30, 1e-45, -1.0, 3.0]
VALUES = st.one_of(st.sampled_from(COMMON), st.floats(-4, 4, width=32))


def attributions(dtype: type) -> st.SearchStrategy[Array]:
    return hnp.arrays(dtype, SHAPE, elements=VALUES.map(lambda value: float(dtype(value))))


ATTRIBUTIONS = st.sampled_from([np.float32, np.float64]).flatmap(attributions)
SHARES = st.one_of(st.sampled_from([0.0, 0.05, 0.1, 0.2, 1 / 3, 0.5]), st.floats(0, 0.9))


def study_of(attribution: Array, known: Array, tier: str, floor: float, capacity: int) -> Study:
    """What the store writes for one unit, as the Datasets that it would be read as."""
    outline, block = outline_of(), block_of(attribution, known)
    layout = Layout.of(
        outline,
        tier=tier,  # type: ignore[arg-type]
        floor=floor,
        capacity=capacity,
        store_dtype=str(attribution.dtype),
    )
    arrays = unit_arrays(block, layout)
    groups: dict[str, dict[str, tuple[tuple[str, ...], Array]]] = {}
    for variable in layout.variables():
        if variable.path in arrays:
            groups.setdefault(variable.group, {})[variable.name] = (variable.dims, arrays[variable.path])
    signals = groups.pop("signals")
    named = {name: signals.pop(name) for name in ("relation", "template")}
    del signals["fact"]
    coords = {"attribution_method": list(METHODS), **named}
    facts = {name: ("fact", column) for name, column in outline.facts.items()}
    datasets = {name: xr.Dataset(group) for name, group in groups.items()}
    datasets |= {"facts": xr.Dataset(facts), "signals": xr.Dataset(signals, coords, layout.signals_attrs())}
    return Study(datasets)


def outline_of() -> Outline:
    n = np.bincount(FACT, minlength=N_FACTS)
    facts = {
        "id": np.array([f"f{number}" for number in range(N_FACTS)]),
        "subject": np.array([f"s{number}" for number in range(N_FACTS)]),
        "relation": RELATION,
        "object": OBJECT,
        "feature": np.full(N_FACTS, ""),
        "first_query": np.where(n > 0, np.cumsum(n) - n, -1),
        "n_queries": n,
        "n_objects": np.ones(N_FACTS),
        "leaks": np.zeros(N_FACTS, dtype=np.int8),
    }
    sizes = {"fact": N_FACTS, "query": len(FACT), "layer": N_LAYERS, "neuron": N_NEURONS, "head": 0}
    sizes |= {"token": 0, "answer_token": 1, "top": 1, "candidate": 1, "query_of_fact": 4}
    unit = Unit(number=0, first_fact=0, last_fact=N_FACTS, first_query=0, last_query=len(FACT))
    return Outline(facts=facts, candidates={}, methods=METHODS, sizes=sizes, units=(unit,), attrs={})


def block_of(attribution: Array, known: Array) -> Block:
    n = len(FACT)
    one, column = np.zeros(n), np.zeros((n, 1))
    numbers = ("log_probability", "rank", "argmax", "bad_log_probability")
    wide = ("answer_token_id", "target_position", "token_log_probability", "token_rank", "top_token_id")
    queries = {
        "fact": FACT,
        "template": TEMPLATE,
        "relation": RELATION[FACT],
        "prompt": np.full(n, "[Y]"),
        "answer": OBJECT[FACT],
        "kind": np.full(n, "fact"),
        "known": known,
        **dict.fromkeys(numbers, one),
        **dict.fromkeys((*wide, "top_log_probability", "candidate_log_probability"), column),
    }
    gram = np.zeros((len(METHODS), N_FACTS, 4, 4))
    return Block(
        unit=outline_of().units[0],
        queries=queries,
        attribution=attribution,
        activation=attribution[0],
        gradient=attribution[0],
        completeness_gap=np.zeros(SHAPE[:3]),
        n_nodes=np.ones(SHAPE[:3], np.int32),
        error_bound=np.zeros(SHAPE[:3], np.float32),
        converged=np.ones(SHAPE[:3], np.int8),
        gram=gram,
        null_gram=gram,
    )


def brute_force(attribution: Array, method: int, t: float) -> list[set[int]]:
    """Attribution > 0 and > t · max, neuron by neuron in Python's floats."""
    rows = attribution[method].reshape(len(FACT), -1).tolist()
    return [{n for n, value in enumerate(row) if value > 0 and value > t * max(row)} for row in rows]


def brute_force_scores(sets: list[set[int]], fact: int) -> list[float]:
    """CS1, CS2 and D of one fact, by their definitions on sets."""
    own = [found for found, of in zip(sets, FACT, strict=True) if of == fact and found]
    if len(own) < 2:
        return [np.nan] * 3
    union = set.union(*own)
    several = [n for n in union if sum(n in found for found in own) > 1]
    pairs = [(2 * len(a & b), len(a) + len(b)) for a, b in combinations(own, 2)]
    shared, size = np.sum(pairs, axis=0)
    return [len(set.intersection(*own)) / len(union), len(several) / len(union), shared / size]


@settings(max_examples=40)
@given(
    attribution=ATTRIBUTIONS,
    known=hnp.arrays(bool, len(FACT)),
    floor=SHARES,
    capacity=st.sampled_from([1, 2, 3, 5, 1024]),
    extra=st.lists(SHARES, max_size=2),
    data=st.data(),
)
def test_tiers_lead_to_the_same_scores(
    attribution: Array, known: Array, floor: float, capacity: int, extra: list[float], data: st.DataObject
) -> None:
    panel, dense = (study_of(attribution, known, tier, floor, capacity) for tier in ("panel", "dense"))
    effective = float(np.nanmax(panel.signals["panel_floor"].values))
    assert effective >= floor
    for number, method in enumerate(METHODS):
        thresholds = [t for t in (effective, *(effective + more for more in extra)) if t < 1]
        # A ratio that occurs: the strict bar then lies on a value, or next to it.
        flat = attribution[number].astype(float).reshape(len(FACT), -1)
        best = flat.max(axis=1, keepdims=True)
        at_bars = (flat / np.where(best > 0, best, np.inf)).ravel()
        if len(at_bars := at_bars[(at_bars >= effective) & (at_bars < 1)]):
            thresholds.append(float(data.draw(st.sampled_from(at_bars.tolist()))))
        for t, at_once in zip(thresholds, panel.neurons_at(thresholds, method), strict=True):
            found, expected = panel.neurons(method, t), dense.neurons(method, t)
            sets = brute_force(attribution, number, t)
            for some in (found, expected, at_once):
                assert [set(some.of(query).tolist()) for query in range(len(FACT))] == sets
            same_scores(found, expected)
            every = consistency(found, known=False)
            by_definition = [brute_force_scores(sets, fact) for fact in range(N_FACTS)]
            for name, column in zip(("CS1", "CS2", "D"), np.transpose(by_definition), strict=True):
                np.testing.assert_array_equal(every[name].values, column, err_msg=name)
        if effective > 0:
            with pytest.raises(FloorError, match="the largest floor of the panels asked for"):
                panel.neurons(method, float(np.nextafter(effective, 0)))


def same_scores(found: object, expected: object) -> None:
    """CS1, CS2, D, both κ, their D_0, K_I and K_I(2) are identical, over known and over all queries."""
    for known in (True, False):
        scores = [consistency(sets, known=known) for sets in (found, expected)]  # type: ignore[arg-type]
        xr.testing.assert_identical(*scores)
    frames = [ki_frame(sets, k0=2, draws=Draws(n_bootstrap=0)) for sets in (found, expected)]  # type: ignore[arg-type]
    assert frames[0].equals(frames[1])


def test_overflow_ties_and_thresholds_at_the_floor_occur() -> None:
    """The panel of three neurons: the fourth ties with the third, and its ratio is the floor asked at."""
    attribution = np.zeros(SHAPE, dtype=np.float32)
    attribution[:, :, 0, :5] = [1.0, 0.9, 0.5, 0.5, 0.2]
    known = np.ones(len(FACT), dtype=bool)
    panel, dense = (study_of(attribution, known, tier, 0.05, 3) for tier in ("panel", "dense"))
    assert panel.signals["panel_neuron"].values[0].tolist() == [0, 1, 2]
    assert panel.signals["panel_floor"].values[0] == 0.5
    assert panel.neurons("ig", 0.5).of(0).tolist() == dense.neurons("ig", 0.5).of(0).tolist() == [0, 1]
    assert dense.neurons("ig", 0.49).of(0).tolist() == [0, 1, 2, 3]
    with pytest.raises(FloorError):
        panel.neurons("ig", 0.49)


def test_several_thresholds_read_the_store_once() -> None:
    rng = np.random.default_rng(0)
    attribution = rng.exponential(size=SHAPE).astype(np.float32)
    study = study_of(attribution, np.ones(len(FACT), dtype=bool), "panel", 0.05, 1024)
    thresholds = [0.5, 0.05, 0.2]
    for t, sets in zip(thresholds, study.neurons_at(thresholds, "grad_x_act"), strict=True):
        alone = study.neurons("grad_x_act", t)
        assert sets.rule == alone.rule == f"threshold {t:g}"
        for name in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(sets.member, name), getattr(alone.member, name))
        used, fact = filled(sets), filled(sets).queries["fact"]
        assert subset_scores(used.member, fact, N_FACTS, [2], 0.3).below_cs2.shape == (N_FACTS, 1)
    assert list(study.neurons_at([], "ig")) == []
    with pytest.raises(FloorError, match=r"threshold is 0.01; expected a number ≥ 0.05"):
        next(study.neurons_at([0.2, 0.01]))
