"""What is simulated of causal tracing for calibration.py: H12a and H12b, and H14b, whose unit are pairs."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from calibration_cells import NAN, Cell, Outcome, _draws, _of
from calibration_effects import EQUAL, changed, effects_of

from qloc.analysis.interventions.categorical_flips import PREFERRED, Flips, flips_test
from qloc.analysis.interventions.neuron_effects import ArmOutcomes
from qloc.analysis.tracing.restoring_effects import RestoringEffects
from qloc.analysis.tracing.restoring_tests import layers_test, site_test
from qloc.phase_plan import TOKEN_ROLES
from qloc.simulation.planted import plant

N_LAYERS, QUERIES, ANSWERS = 12, 2, 5
SIZE = {"relations": 8, "facts": 12}


def _nested(rng: np.random.Generator, relation: np.ndarray, terms: tuple[float, float]) -> np.ndarray:
    """A term of each relation and of each fact, for all layers, (fact, layer)."""
    of_relation = rng.standard_normal((relation.max() + 1, N_LAYERS))[relation]
    return np.asarray(terms[0] * of_relation + terms[1] * rng.standard_normal((len(relation), N_LAYERS)))


def _study(seed: int, planting: dict[str, Any]) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    """Relation of each fact, and its answer."""
    given = {**SIZE, **planting}
    rng = np.random.default_rng([seed, 12])
    relation = np.repeat(np.arange(given["relations"]), given["facts"])
    answer = rng.integers(ANSWERS, size=len(relation)) + ANSWERS * relation
    return rng, relation, answer


def site(planting: dict[str, Any], seed: int, *, more: float = 0.0, relations: float = 0.3) -> Outcome:
    """H12a; ``relations`` is by how much relations differ in where restoring helps."""
    rng, relation, answer = _study(seed, planting)
    n, fact = len(relation), np.repeat(np.arange(len(relation)), QUERIES)
    total = rng.normal(2, 1.5, n * QUERIES)
    indirect = np.zeros((1, len(TOKEN_ROLES), N_LAYERS, n * QUERIES))
    for place, role in enumerate(TOKEN_ROLES):
        terms = _nested(rng, relation, (relations, 0.3)).T[:, fact] + 0.1 * total
        indirect[0, place] = terms + 0.5 * rng.standard_normal(terms.shape) + more * (role == "last_subject")
    short = rng.random(n)[fact] < 0.5  # subjects of one token
    indirect[0, :2, :, short] = NAN
    effects = RestoringEffects(
        parts=("mlp",), roles=TOKEN_ROLES, fact=fact, total=total, indirect=indirect, used=total > 0
    )
    return _of(site_test(effects, (relation, answer), _draws(seed)))


def layers(
    planting: dict[str, Any], seed: int, *, follow: float = 0.0, model: float = 0.0, relations: float = 0.5
) -> Outcome:
    """H12b; ``follow``: how far tracing follows the shares; ``model``: two profiles that all facts have."""
    rng, relation, answer = _study(seed, planting)
    fact = np.arange(len(relation))
    profiles = model * rng.standard_normal((2, 1, N_LAYERS))
    log_share = profiles[0] + _nested(rng, relation, (relations, 0.5))
    shares = np.exp(log_share) / np.exp(log_share).sum(1, keepdims=True)
    traced = profiles[1] + _nested(rng, relation, (relations, 0.5)) + follow * log_share
    effects = RestoringEffects(
        parts=("mlp",),
        roles=("last_subject",),
        fact=fact,
        total=np.ones(len(fact)),
        indirect=traced.T[None, None],
        used=np.ones(len(fact), dtype=bool),
    )
    return _of(layers_test(effects, shares, (relation, answer), _draws(seed)))


PAIRS = {"facts": 24, "relations": 8, "templates": 16, "n_neurons": 64, "one_to_one": 0}
"""Eight paradigms, three features of each, sixteen sentences of a feature."""

DIFFER = {"relation": 1.0}


def pair_flips(more: float, given: dict[str, Any], planting: dict[str, Any], seed: int) -> Outcome:
    """H14b: N_i moves ``more`` log-odds of the good form than the control; the bad form stays."""
    planted = plant(**{**PAIRS, **planting})
    effects = effects_of(seed, {"own": EQUAL + more, "matched": EQUAL}, given)
    arms = changed(planted, effects, "own", "matched")
    rng = np.random.default_rng([seed, 14])
    good = arms.found["base_log_probability"].values
    bad = (good - rng.normal(1.5, 1.5, len(good))).astype(np.float32)
    after = arms.found["log_probability"]
    found = arms.found.assign(
        {f"base_{PREFERRED}": ("query", bad), PREFERRED: (after.dims, np.broadcast_to(bad, after.shape))}
    )
    right = arms.rows.used & (good > bad)
    return _of(
        flips_test(Flips(ArmOutcomes(found, found, arms.rows), "preferred", right), "suppress", _draws(seed))
    )


CELLS = {
    "H12a null": Cell(site, "null"),
    "H12a null, relations differ": Cell(partial(site, relations=1.0), "null"),
    "H12a null, 4 relations that do not differ": Cell(partial(site, relations=0.0), "null", {"relations": 4}),
    "H12a, 0.2 more": Cell(partial(site, more=0.2), "planted"),
    "H12b null": Cell(layers, "null"),
    "H12b null, relations differ": Cell(partial(layers, relations=1.0), "null"),
    "H12b null, 4 relations that do not differ": Cell(
        partial(layers, relations=0.0), "null", {"relations": 4}
    ),
    "H12b, tracing follows a quarter": Cell(partial(layers, follow=0.25), "planted"),
    "H12b practice, two unrelated profiles of the whole model": Cell(partial(layers, model=1.0), "practice"),
    "H14b null": Cell(partial(pair_flips, 0.0, {}), "null"),
    "H14b null, paradigms differ": Cell(partial(pair_flips, 0.0, DIFFER), "null"),
    "H14b null, 4 paradigms": Cell(partial(pair_flips, 0.0, {}), "null", {"facts": 12, "relations": 4}),
    "H14b, 1": Cell(partial(pair_flips, 1.0, {}), "planted"),
}
