"""Planted outcomes of edits: what is moved, what is held out, and a stream of their own."""

from __future__ import annotations

import numpy as np
import pytest

from qloc.phase_plan import EDIT_SETS, IN_CONTEXT, UPDATED_ONLY
from qloc.random_streams import Stream
from qloc.simulation.edits import planted_edits
from qloc.simulation.interventions import Effects
from qloc.simulation.planted import Planted, plant

STILL = Effects(mean={"cas": 2.0}, size=0.0, relation=0, answer=0, template=0, fact=0, query=0)


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant(facts=30, relations=3, templates=4, n_neurons=32, pairs=5, empty=0.1, seed=1)


def test_edits_move_log_odds_by_what_is_asked(planted: Planted) -> None:
    """Log-odds of o fall by m, of o′ rise by 1.5 m from 8 below; float32."""
    edits = planted_edits(planted, STILL, ("erase", "update"), ("cas", "own"), damage={"cas": 0.0})

    def odds(name: str) -> np.ndarray:
        log_p = edits[name].values.astype(float)
        return np.asarray(log_p - np.log(-np.expm1(log_p)))

    moved = odds("log_probability") - odds("base_log_probability")
    new = odds("new_log_probability") - odds("base_new_log_probability")
    there = ~np.isnan(moved[0, 0])
    assert there.any()
    for operation, gain in ((0, 0.0), (1, 3.0)):
        np.testing.assert_allclose(moved[operation, 0][there], -2.0, atol=1e-3)
        np.testing.assert_allclose(new[operation, 0][there], gain, atol=1e-2)
        np.testing.assert_allclose(moved[operation, 1][there], 0.0, atol=1e-3)


def test_only_updates_have_edits_without_neurons(planted: Planted) -> None:
    edits = planted_edits(planted, Effects())
    for name in EDIT_SETS:
        erased = edits["log_probability"].sel(edit_operation="erase", edit_set=name)
        assert bool(erased.isnull().all()) == (name in UPDATED_ONLY), name
    slots = edits["n_slots"].sel(edit_set=[IN_CONTEXT, "rome"]).values
    assert set(slots[0]) == {0}
    assert set(slots[1]) == {planted.outline.sizes["neuron"]}
    assert bool(edits["text_nats"].sel(edit_set=IN_CONTEXT).isnull().all())


def test_edited_queries_are_a_facts_own_and_not_held_out(planted: Planted) -> None:
    edits, facts = planted_edits(planted, Effects()), planted.outline.facts
    edited, held = edits["edited_query"].values, edits["held_out"].values
    c = planted.columns
    assert (edited[c.is_pair] == -1).all()
    for fact in np.flatnonzero(edited >= 0):
        first, n = facts["first_query"][fact], facts["n_queries"][fact]
        assert first <= edited[fact] < first + n
        known = c.known[first : first + n]
        assert c.known[edited[fact]] == known.any()  # a known query where there is one
        assert held[fact, edited[fact] - first] == 0
        assert (held[fact, :n] == 1).sum() == (max(1, (n - 1) // 2) if n >= 3 else 0)
        assert (held[fact, n:] == -1).all()


def test_edits_and_reprompts_do_not_share_a_stream() -> None:
    numbers = [Stream.PLANTED_EDITS.generator(7).random(), Stream.PLANTED_REPROMPTS.generator(7).random()]
    assert numbers[0] != numbers[1]
    assert numbers == [np.random.default_rng([7, n]).random() for n in (24, 23)]
