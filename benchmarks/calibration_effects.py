"""What is simulated of interventions and edits for calibration.py: H5 to H8, and H10d."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np
import xarray as xr
from calibration_cells import NAN, UNEQUAL, Cell, Outcome, _draws, _of

from qloc.analysis.editing.edit_tests import MatchedEdit, budget_test, damage_test, matched_test
from qloc.analysis.editing.generalization import generalization_test
from qloc.analysis.editing.outcomes import EditOutcomes, On
from qloc.analysis.inference.equivalence import mean_tost_p
from qloc.analysis.inference.label_codes import codes
from qloc.analysis.inference.paired import LOG_ODDS_MARGIN, log_odds, paired_test
from qloc.analysis.inputs.query_rows import QueryRows
from qloc.analysis.interventions.categorical_flips import Flips, flips_test
from qloc.analysis.interventions.knowledge_synapses import AttentionOutcomes, synapse_test
from qloc.analysis.interventions.neuron_effects import ArmOutcomes, control_test
from qloc.analysis.interventions.query_kn_mapping import NEIGHBOR, OWN
from qloc.analysis.interventions.reprompt_ceiling import AGAIN, ceiling_test
from qloc.analysis.localization.consistency import consistency
from qloc.arrays import Floats
from qloc.simulation.edits import planted_edits
from qloc.simulation.interventions import Effects, interventions_of, log_p, reprompts_of, synapses_of
from qloc.simulation.planted import Planted, plant

SIZE = {"facts": 160, "relations": 8, "templates": 6, "n_neurons": 64, "one_to_one": 1}
FEW = {"facts": 80, "relations": 4, "one_to_one": 0}
SUPPRESS: Final = ("suppress",)
ARMS: Final = (OWN, NEIGHBOR, *AGAIN)
ARITHMETIC: Final = 0.2
"""Log-odds that a neuron moves more for having been chosen on the query that it is suppressed in."""

EQUAL: Final = 1.0
"""Mean log-odds moved by every set that is compared, under a null."""


def rows(planted: Planted) -> QueryRows:
    """Known queries of facts that do not leak, as :func:`qloc.analysis.inputs.query_rows.rows_of` finds

    them.
    """
    c = planted.columns
    return QueryRows(
        fact=c.fact.astype(np.int64),
        used=c.known & ~c.leaks[c.fact] & (c.kind == "fact"),
        relation=codes(c.relation_of_fact),
        answer=codes(c.answer_of_fact),
    )


def effects_of(seed: int, means: Mapping[str, float], given: Mapping[str, Any]) -> Effects:
    """Planted effects whose seed is the simulation's."""
    return Effects(mean=means, seed=seed, **given)


# H5: neurons --------------------------------------------------------------------------------------


def changed(planted: Planted, effects: Effects, *sets: str) -> ArmOutcomes:
    """Suppression of some sets."""
    found = interventions_of(planted, effects, SUPPRESS, sets)
    return ArmOutcomes(found, found, rows(planted))


def control(
    more: float, given: Mapping[str, Any], planting: dict[str, Any], seed: int, which: str = "matched"
) -> Outcome:
    """H5a, H5b: N_i moves ``more`` log-odds than the control."""
    planted = plant(**{**SIZE, **planting})
    effects = effects_of(seed, {"own": EQUAL + more, which: EQUAL}, given)
    return _of(control_test(changed(planted, effects, "own", which), which, "suppress", _draws(seed)))


def flips(more: float, given: Mapping[str, Any], planting: dict[str, Any], seed: int) -> Outcome:
    """H14a: of answers that rank first, N_i moves ``more`` log-odds than the control."""
    planted = plant(**{**SIZE, **planting})
    effects = effects_of(seed, {"own": EQUAL + more, "matched": EQUAL}, given)
    arms = changed(planted, effects, "own", "matched")
    right = arms.rows.used & (arms.found["base_rank"].values == 1)
    return _of(flips_test(Flips(arms, "first", right), "suppress", _draws(seed)))


def equivalent(more: float, planting: dict[str, Any], seed: int) -> Outcome:
    """Two one-sided tests of H5a's difference; at the margin itself they must keep 5%."""
    planted = plant(**{**SIZE, **planting})
    small = {"relation": 0.02, "answer": 0.02, "template": 0.02, "fact": 0.1, "query": 0.2}
    found = changed(
        planted, effects_of(seed, {"own": EQUAL + more, "matched": EQUAL}, small), "own", "matched"
    )
    x = found.rows.mean(found.contrast("suppress", "own", "matched"))
    return float(np.nanmean(x)), mean_tost_p(x, found.rows.clusters, LOG_ODDS_MARGIN), NAN, NAN


def ceiling(
    kept: float | None, given: Mapping[str, Any], planting: dict[str, Any], seed: int, *, alone: bool = False
) -> Outcome:
    """H5: each neuron of N_i∖N_j, and of N_i∖N_i′, moves 0.2 more, N_i having been chosen on i.

    Parameters
    ----------
    kept : share of N_i that N_i′ has; None: N_i′ is as near as N_j, the null.
    alone : the gap against N_j without a ceiling.
    """
    planted = plant(**{**SIZE, **planting})
    effects = replace(effects_of(seed, dict.fromkeys(ARMS, EQUAL), given), kept=kept)
    found = interventions_of(planted, effects, SUPPRESS, ARMS)
    for name in (OWN, AGAIN[0]):
        n = found["n_neurons"].sel(neuron_set=name).values
        found = moved_by(found, name, ARITHMETIC * n)
    outcomes, again = ArmOutcomes(found, found, rows(planted)), reprompts_of(planted, effects)
    if alone:
        x = outcomes.rows.mean(outcomes.contrast("suppress", OWN, NEIGHBOR))
        draws = _draws(seed)
        return _of(
            paired_test(x, outcomes.rows.clusters, name="practice", question="?", estimand="gap", draws=draws)
        )
    return _of(ceiling_test(outcomes, again, "suppress", _draws(seed)))


def moved_by(found: xr.Dataset, name: str, more: Floats) -> xr.Dataset:
    """The same outcomes where a set moves so many log-odds more at each query."""
    values = found["log_probability"].values.copy()
    place = list(found["neuron_set"].values).index(name)
    values[:, place] = log_p(log_odds(values[:, place]) - more)
    return found.assign(log_probability=(found["log_probability"].dims, values))


# H6: attention ------------------------------------------------------------------------------------


def synapses(
    outcome: Any, more: float, given: Mapping[str, Any], planting: dict[str, Any], seed: int
) -> Outcome:
    """H6a, H6b: knowledge synapses move ``more`` log-odds, or a tenth of it in activation."""
    planted = plant(**{**SIZE, **planting})
    names = "knowledge", "random_columns"
    effects = effects_of(seed, {names[0]: EQUAL + more, names[1]: EQUAL}, given)
    found = synapses_of(planted, effects, SUPPRESS, names)
    base = interventions_of(planted, effects, SUPPRESS, ("own",))
    attended = AttentionOutcomes(found, base, rows(planted), "synapse_operation", "synapse_set")
    return _of(synapse_test(attended, outcome, "suppress", names[1], _draws(seed)))


# H7, H8, H10d: edits ------------------------------------------------------------------------------


def edited(planted: Planted, found: xr.Dataset) -> EditOutcomes:
    """Outcomes of edits of known queries, as :meth:`EditOutcomes.of` reads them."""
    first = planted.outline.facts["first_query"].astype(np.int64)
    held, told = found["held_out"].values, found["edited_query"].values
    query = first[:, None] + np.arange(held.shape[1])
    which = rows(planted)
    used = (held >= 0) & which.used[np.where(held >= 0, query, 0)]
    is_told = used & (query == told[:, None])
    used &= is_told.any(axis=1)[:, None]
    on: dict[On, Any] = {"edited": is_told, "held_out": used & (held == 1), "used": used & (held == 0)}
    return EditOutcomes(found, which, on, is_told.any(axis=1))


def edits(test: str, more: float, given: Mapping[str, Any], planting: dict[str, Any], seed: int) -> Outcome:
    """H7a, H7b, H8a: the first set moves ``more`` log-odds than the second."""
    planted = plant(**{**SIZE, **planting})
    first, second = ("cas_top", "own_top") if test == "H8a" else ("own", "matched")
    operation: MatchedEdit = "erase" if test == "H7a" else "update"
    effects = effects_of(seed, {first: EQUAL + more, second: EQUAL}, given)
    found = edited(planted, planted_edits(planted, effects, (operation,), (first, second)))
    if test == "H8a":
        return _of(budget_test(found, "own_top", _draws(seed)))
    return _of(matched_test(found, operation, _draws(seed)))


def at_equal_damage(
    more: float,
    per_nat: float,
    planting: dict[str, Any],
    seed: int,
    given: Mapping[str, Any] | None = None,
    cas_damage: float = 0.5,
) -> Outcome:
    """H8c: CAS moves ``more`` at equal damage; N_i damages 1 nat, and each nat moves ``per_nat``."""
    planted = plant(**{**SIZE, **planting})
    effects = effects_of(seed, {"cas": EQUAL + more, "own": EQUAL}, given or {})
    damage = {"cas": cas_damage, "own": 1.0}
    made = planted_edits(planted, effects, ("update",), ("cas", "own"), per_nat=per_nat, damage=damage)
    return _of(damage_test(edited(planted, made), "own", _draws(seed)))


def carries(
    slope: float, differ: float, planting: dict[str, Any], seed: int, given: Mapping[str, Any] | None = None
) -> Outcome:
    """H10d: o′ gains ``slope`` κ more, κ by used templates."""
    planted = plant(**{**SIZE, **planting})
    made = planted_edits(planted, effects_of(seed, {"own": EQUAL}, given or {}), ("update",), ("own",))
    sets = planted.sets()
    fact = sets.queries["fact"].astype(np.int64)
    place = np.arange(len(fact)) - np.searchsorted(fact, fact)
    used = made["held_out"].values[fact, place] == 0
    kappa = consistency(sets.select(used))["kappa"].values
    values = made["new_log_probability"].values
    by_relation = slope + differ * np.random.default_rng([seed, 7]).standard_normal(64)
    more = (by_relation[codes(planted.columns.relation_of_fact)] * np.nan_to_num(kappa))[:, None]
    made = made.assign(new_log_probability=(made["new_log_probability"].dims, log_p(log_odds(values) + more)))
    return _of(generalization_test(edited(planted, made), kappa, _draws(seed)))


MANY = {"facts": 240, "relations": 45, "one_to_one": 4}
ONE = {"shared_templates": True}
PLAIN: dict[str, float] = {"relation": 0.0, "answer": 0.0, "template": 0.0}
DIFFER = {"relation": 1.0}
SHARED = {"shared_answers": 0.6}
CELLS = {
    "H5a null": Cell(partial(control, 0.0, {}), "null"),
    "H5a null, facts alone differ": Cell(partial(control, 0.0, PLAIN), "null"),
    "H5a null, relations differ": Cell(partial(control, 0.0, DIFFER), "null"),
    "H5a null, answers shared by relations": Cell(partial(control, 0.0, {"answer": 1.0}), "null", SHARED),
    "H5a null, answers shared by relations, a little": Cell(partial(control, 0.0, {}), "null", SHARED),
    "H5a null, skewed": Cell(partial(control, 0.0, {"skewed": True, "fact": 1.0}), "null"),
    "H5a null, relations skewed": Cell(
        partial(control, 0.0, {"relation": 1.0, "skewed_relations": True}), "null"
    ),
    "H5a null, 20 relations, skewed": Cell(
        partial(control, 0.0, {"relation": 1.0, "skewed_relations": True}), "null", {"relations": 20}
    ),
    "H5a null, unequal relations that differ": Cell(partial(control, 0.0, DIFFER), "null", UNEQUAL),
    "H5a null, 45 relations that differ": Cell(partial(control, 0.0, DIFFER), "null", MANY),
    "H5a null, templates vary": Cell(partial(control, 0.0, {"template": 1.0}), "null"),
    "H5a null, templates vary, 4 relations": Cell(
        partial(control, 0.0, {"template": 1.0, "relation": 0.0}), "null", FEW
    ),
    "H5a practice, templates that all relations share, taken for new ones": Cell(
        partial(control, 0.0, {"template": 1.0}), "null", ONE
    ),
    "H5a null, facts with few templates": Cell(partial(control, 0.0, {}), "null", {"few_templates": 0.5}),
    "H5a null, 4 relations that do not differ": Cell(partial(control, 0.0, {"relation": 0.0}), "null", FEW),
    "H5a practice, 4 relations that differ, taken for new ones": Cell(
        partial(control, 0.0, {}), "null", FEW
    ),
    "H5a, 0.5": Cell(partial(control, 0.5, {}), "planted"),
    "H5a, 1": Cell(partial(control, 1.0, {}), "planted"),
    "H14a null": Cell(partial(flips, 0.0, {}), "null"),
    "H14a null, relations differ": Cell(partial(flips, 0.0, DIFFER), "null"),
    "H14a null, 4 relations that do not differ": Cell(partial(flips, 0.0, {"relation": 0.0}), "null", FEW),
    "H14a practice, 4 relations that differ, taken for new ones": Cell(partial(flips, 0.0, {}), "null", FEW),
    "H14a, 1": Cell(partial(flips, 1.0, {}), "planted"),
    "H5a equivalence, at the margin": Cell(partial(equivalent, LOG_ODDS_MARGIN), "planted"),
    "H5a equivalence, no difference": Cell(partial(equivalent, 0.0), "planted"),
    "H5b null": Cell(partial(control, 0.0, {}, which="other_fact"), "null"),
    "H5 null": Cell(partial(ceiling, None, {}), "null"),
    "H5 null, relations differ": Cell(partial(ceiling, None, DIFFER), "null"),
    "H5 null, answers shared by relations": Cell(partial(ceiling, None, {"answer": 1.0}), "null", SHARED),
    "H5 null, skewed": Cell(partial(ceiling, None, {"skewed": True, "fact": 1.0}), "null"),
    "H5 null, 4 relations that do not differ": Cell(partial(ceiling, None, {"relation": 0.0}), "null", FEW),
    "H5 practice, without a ceiling": Cell(partial(ceiling, None, {}, alone=True), "null"),
    "H5, re-prompts share 70%": Cell(partial(ceiling, 0.7, {}), "planted"),
    "H5, re-prompts share 90%": Cell(partial(ceiling, 0.9, {}), "planted"),
    "H6a null": Cell(partial(synapses, "activation", 0.0, {}), "null"),
    "H6a null, relations differ": Cell(partial(synapses, "activation", 0.0, DIFFER), "null"),
    "H6a, 1": Cell(partial(synapses, "activation", 1.0, {}), "planted"),
    "H6b null": Cell(partial(synapses, "answer", 0.0, {}), "null"),
    "H6b, 1": Cell(partial(synapses, "answer", 1.0, {}), "planted"),
    "H7a null": Cell(partial(edits, "H7a", 0.0, {}), "null"),
    "H7a, 1": Cell(partial(edits, "H7a", 1.0, {}), "planted"),
    "H7b null": Cell(partial(edits, "H7b", 0.0, {}), "null"),
    "H7b null, relations differ": Cell(partial(edits, "H7b", 0.0, DIFFER), "null"),
    "H7b, 1": Cell(partial(edits, "H7b", 1.0, {}), "planted"),
    "H8a null": Cell(partial(edits, "H8a", 0.0, {}), "null"),
    "H8a null, skewed": Cell(partial(edits, "H8a", 0.0, {"skewed": True, "fact": 1.0}), "null"),
    "H8a, 1": Cell(partial(edits, "H8a", 1.0, {}), "planted"),
    "H8c null": Cell(partial(at_equal_damage, 0.0, 0.0), "null"),
    "H8c null, damage moves": Cell(partial(at_equal_damage, 0.0, 1.0), "null"),
    "H8c null, relations differ": Cell(partial(at_equal_damage, 0.0, 1.0, given=DIFFER), "null"),
    "H8c null, answers shared by relations": Cell(
        partial(at_equal_damage, 0.0, 1.0, given={"answer": 1.0}), "null", SHARED
    ),
    **{
        f"H8c null, error in damage ({error:g})": Cell(
            partial(at_equal_damage, 0.0, 1.0, given={"damage_error": error}, cas_damage=1.5), "null"
        )
        for error in (0.15, 0.3, 0.6)
    },
    "H8c, 1, error in damage (0.3)": Cell(
        partial(at_equal_damage, 1.0, 1.0, given={"damage_error": 0.3}, cas_damage=1.5), "planted"
    ),
    "H8c, 1": Cell(partial(at_equal_damage, 1.0, 1.0), "planted"),
    "H10d null": Cell(partial(carries, 0.0, 0.0), "null"),
    "H10d null, relations differ": Cell(partial(carries, 0.0, 4.0), "null"),
    "H10d null, answers shared by relations": Cell(
        partial(carries, 0.0, 0.0, given={"answer": 1.0}), "null", SHARED
    ),
    "H10d null, 45 relations that differ": Cell(partial(carries, 0.0, 4.0), "null", MANY),
    "H10d, slope 4": Cell(partial(carries, 4.0, 0.0), "planted"),
}  # fmt: skip
