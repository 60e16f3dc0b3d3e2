"""Scores of what edits entail against brute force, prompt by prompt."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import special

from qloc.analysis.editing.entailment_outcomes import ENTAILED_SCORES, EntailmentOutcomes, Moved
from qloc.errors import InputError
from qloc.simulation.entailments import KINDS

KIND_OF = {"gained": "new_inverse", "lost": "old_inverse", "symmetry": "new_inverse", "synonymy": "synonym",
           "synonymy_of_stem": "synonym_of_stem", "neighborhood": "neighborhood"}  # fmt: skip


@pytest.fixture(scope="module")
def study(edited_study):
    """Outcomes drawn anew, so that ranks and probabilities differ, with a second inverse of each fact."""
    rng, group = np.random.default_rng(5), edited_study.entailments.load()
    order = ["new_inverse", "old_inverse", "new_inverse", "old_inverse", "synonym", "synonym_of_stem",
             "neighborhood"]  # fmt: skip
    wide = group.isel(entailed=[KINDS.index(kind) for kind in order])
    there = wide["kind"].values[:, :1] != ""
    changed: dict[str, Any] = {
        "kind": (("fact", "entailed"), np.where(there, np.array(order), "").astype(object))
    }
    for name, values in wide.data_vars.items():
        if "probability" in str(name):
            drawn = -rng.exponential(2.0, values.shape).astype(np.float32)
            changed[str(name)] = (values.dims, np.where(np.isnan(values.values), np.nan, drawn))
        elif "rank" in str(name):
            changed[str(name)] = (
                values.dims,
                np.where(values.values < 0, -1, rng.integers(1, 3, values.shape)),
            )
    return replace(edited_study, datasets={**edited_study.datasets, "entailments": wide.assign(changed)})


def _brute(study, score, operation, name, criterion, conditional):
    found, edits = study.entailments, study.edits
    after = found.sel(edit_operation=operation, edit_set=name)
    known, leaks = study.queries["known"].values, study.facts["leaks"].values
    means = np.full(len(leaks), np.nan)
    for fact in range(len(leaks)):
        edited, kept = int(edits["edited_query"].values[fact]), []
        if edited < 0 or leaks[fact] or (conditional and not known[edited]):
            continue
        kinds = found["kind"].values[fact].tolist()

        def of(column, place, base=False, fact=fact):
            return float((found[f"base_{column}"] if base else after[column]).values[fact, place])

        def lost(place):
            if np.isnan(of("log_probability", place)) or of("rank", place, base=True) != 1:
                return np.nan
            gone = 1 - np.exp(of("log_probability", place) - of("log_probability", place, base=True))
            return min(max(gone, 0.0), 1.0) if criterion == "probability" else float(of("rank", place) > 1)

        def gained(place, rival):
            new, old = of("new_log_probability", place), of("log_probability", rival)
            if np.isnan(new) or (criterion == "probability" and np.isnan(old)):
                return np.nan
            return float(new > old) if criterion == "probability" else float(of("new_rank", place) == 1)

        for place, kind in enumerate(kinds):
            if kind != KIND_OF[score]:
                continue
            knows = place + (score in ("gained", "symmetry"))
            if score == "lost" or (operation == "erase" and score.startswith("synonymy")):
                value = lost(place)
            elif score.startswith("synonymy"):
                value = gained(place, place)
            elif score == "neighborhood":
                old, new = of("log_probability", place), of("new_log_probability", place)
                value = float(old > new) if criterion == "probability" else float(of("rank", place) == 1)
                value = np.nan if np.isnan(old) else value
            else:
                value = np.nan if operation == "erase" else gained(place, place + 1)
                value = float(np.minimum(value, lost(place + 1))) if score == "symmetry" else value
            if not np.isnan(value) and (not conditional or of("rank", knows, base=True) == 1):
                kept.append(value)
        means[fact] = np.mean(kept) if kept else np.nan
    return means


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("criterion", ["argmax", "probability"])
def test_scores_by_brute_force(study, criterion, conditional):
    outcomes = EntailmentOutcomes.of(study, known=conditional)
    seen = 0
    for score in ENTAILED_SCORES:
        for operation, name in (("update", "cas"), ("erase", "own"), ("update", "rome")):
            if operation == "erase" and score == "neighborhood" and criterion == "probability":
                continue
            ours = outcomes.score(score, operation, name, criterion, conditional=conditional)
            expected = _brute(study, score, operation, name, criterion, conditional)
            np.testing.assert_allclose(ours, expected, rtol=1e-6, err_msg=f"{score} {operation} {name}")
            seen += int(np.sum(~np.isnan(expected)))
    assert seen > 200


def test_moves_are_in_log_odds(study):
    outcomes = EntailmentOutcomes.of(study)
    kinds: dict[Moved, str] = {"inverse": "new_inverse", "synonym": "synonym"}
    for entailment, kind in kinds.items():
        ours, group = outcomes.moved(entailment, "update", "rome"), study.entailments
        after = group["new_log_probability"].sel(edit_operation="update", edit_set="rome").values
        before, first = group["base_new_log_probability"].values, group["base_rank"].values == 1
        for fact in np.flatnonzero(outcomes.edited.probes_left)[:20]:
            moved = [
                special.logit(np.exp(after[fact, n])) - special.logit(np.exp(before[fact, n]))
                for n, own in enumerate(group["kind"].values[fact])
                if own == kind and first[fact, n + (kind == "new_inverse")]
            ]
            expected = np.mean(moved) if moved else np.nan
            assert ours[fact] == pytest.approx(expected, rel=1e-4, nan_ok=True)


def test_a_store_without_entailments_is_refused(study):
    bare = {name: group for name, group in study.datasets.items() if name != "entailments"}
    with pytest.raises(
        InputError, match=r"expected a store with group /entailments\. At entailments\. Extract"
    ):
        EntailmentOutcomes.of(replace(study, datasets=bare))
