"""What the paper's tables say: recounted from their rows, and nothing where a number is missing."""

from __future__ import annotations

import math

from qloc.analysis.reproductions.chen_findings import (
    consistency_aware,
    inconsistent_shares,
    own_and_neighbor,
    synapses,
    updates,
)

NAN = math.nan


def test_shares_are_otsu_s_of_cs2_and_of_equal_queries():
    rows = [
        {"model": model, "method": "ig", "score": score, "threshold": cut, "ratio": ratio, "ki_k0": ki}
        for model, ki in (("a", 0.125), ("b", 0.0))
        for score, cut, ratio in (("CS1", "Otsu", 0.9), ("CS2", "Otsu", 0.5), ("CS2", "0.1", 0.2))
    ]
    assert inconsistent_shares(rows) == (
        "As published, CS2 by Otsu's threshold calls facts inconsistent: 50% in a, 50% in b. "
        "K_I(k₀), of as many queries of every fact, is 12% in a, 0% in b."
    )
    both = [*rows, {**rows[1], "method": "sig"}]
    assert "50% in a by ig, 50% in b by ig, 50% in a by sig. " in inconsistent_shares(both)
    assert inconsistent_shares([{**row, "ratio": NAN} for row in rows]) == ""


def test_updates_of_n_i_are_those_of_all_facts():
    row = {
        "model": "a",
        "operation": "update",
        "set": "own",
        "class": "all",
        "generalization": 1.0,
        "locality": 0.25,
    }
    rows = [{**row, "class": "K_C", "locality": 0.5}, {**row, "set": "union", "locality": 0.75}, row]
    assert updates(rows) == (
        "Updates of N_i bring o′ to held-out paraphrases: 100% in a. "
        "Unrelated prompts that they leave as they were are 25% in a."
    )
    assert updates([{**row, "generalization": NAN}]) == ""


def test_effects_stand_against_their_controls():
    row = {
        "operation": "suppress",
        "class": "all",
        "model": "a",
        "log_odds_own": -2.0,
        "log_odds_neighbor": -0.5,
    }
    assert own_and_neighbor([{**row, "operation": "enhance"}, row]) == (
        "Suppressing a query's own neurons changes log-odds by −2.00 in a. "
        "Suppressing those of its neighbor changes them by −0.50 in a."
    )
    sets = [
        {"operation": "suppress", "synapses": name, "model": "a", "log_odds": value}
        for name, value in (("published", -9.0), ("knowledge", -3.0), ("random_columns", -1.0))
    ]
    assert synapses(sets).startswith("Suppressing knowledge synapses changes log-odds by −3.00 in a. ")
    assert synapses(sets).endswith(" changes them by −1.00 in a.")
    assert synapses(sets[:2]) == ""


def test_cas_stands_against_n_i():
    rows = [
        {"operation": "update", "set": name, "model": "a", "harmonic": value}
        for name, value in (("own", 0.5), ("cas", 0.75))
    ]
    assert consistency_aware(rows).endswith("against that of N_i, 0.75 against 0.50 in a.")
    assert consistency_aware(rows[:1]) == ""
