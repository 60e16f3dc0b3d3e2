"""Groups of minimal pairs are edited, from extraction to the tables of a report, and repaired."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qloc
from qloc.block import PhaseBlock, Unit
from qloc.phase_plan import EditPlan, RomePlan
from qloc.plan import Plan
from qloc.store.integrity.verify import verify
from qloc.store.schema import manifest
from qloc.workflows import append_phases
from qloc.workflows.extract import extract_study
from qloc.workflows.repair import repair_store


def test_groups_of_pairs_are_edited_go_on_and_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """o′ of each sentence is its bad form; stopped at the second unit, damaged and repaired: the same bytes."""
    from qloc.extract.edits.phase import Edits
    from qloc.extract.signals.extraction import prepare

    pytest.importorskip("torch", reason="qloc[extract] is not installed")
    small = {"n_probes": 6, "text_tokens": 8, "greedy_tokens": 0, "rome": RomePlan(steps=2, layer=0.0)}
    edits = EditPlan(sets=("own", "matched", "rome"), operations=("erase", "update"), **small)
    given = {
        "relations": ("capital", "determiner_noun"),
        "pairs": "feature",
        "pair_queries": 3,
        "max_facts": 2,
    }
    plan = Plan(
        model="embedded:causal", facts="embedded", quadrature="midpoint", steps=3, unit_facts=1, device="cpu",
        phases=("signals", "edits"), edits=edits, **given,
    )  # fmt: skip
    older = plan.model_copy(update={"edits": edits.model_copy(update={"pairs": False})})
    parameters = [append_phases.fingerprint(prepare(of), "edits")["parameters"] for of in (plan, older)]
    cues = prepare(plan).facts.cues_digest()
    assert cues
    assert parameters[0] == {**parameters[1], "pairs": True, "cues": cues}
    signals = extract_study(plan.model_copy(update={"phases": ("signals",)}), tmp_path / "signals.zarr").path
    whole, out, without = (
        Path(shutil.copytree(signals, tmp_path / f"{name}.zarr")) for name in ("whole", "s", "older")
    )
    extract_study(plan, whole)
    extract, done = Edits.extract, []

    def stopped(self: Edits, unit: Unit, arms: Any) -> PhaseBlock:
        done.append(unit.number)
        if done == [0, 1, 2]:
            raise KeyboardInterrupt
        return extract(self, unit, arms)

    monkeypatch.setattr(Edits, "extract", stopped)
    with pytest.raises(KeyboardInterrupt):
        extract_study(plan, out)
    extract_study(plan, out)
    monkeypatch.setattr(Edits, "extract", extract)
    assert manifest.read(out)["objects"] == manifest.read(whole)["objects"]
    study = qloc.open(out)
    found, pair = study.edits.load(), study.column("facts", "first_query")
    kind, bad = study.column("queries", "kind"), study.column("queries", "bad_log_probability")
    groups = 0
    for fact, first in enumerate(pair.tolist()):
        if kind[first] != "minimal_pair":
            continue
        groups += 1
        of = slice(first, first + 3)
        base = found["base_new_log_probability"].values[fact, :3]
        np.testing.assert_allclose(base, bad[of], rtol=1e-4)
        assert found["new_object"].values[fact]
        assert found["held_out"].values[fact, :3].sum() == 1
        probes = found["probe_query"].values[fact]
        assert not np.isin(probes, np.arange(first, first + 3)).any()
        assert {"fact", "minimal_pair"} == set(kind[probes[probes >= 0]])
    assert groups == 2
    edited = kind[found["edited_query"].values] == "minimal_pair"
    made = found.isel(fact=edited)
    assert np.isfinite(made["new_log_probability"].sel(edit_operation="erase", edit_set="own")[:, :3]).all()
    assert np.isfinite(made["new_log_probability"].sel(edit_operation="update", edit_set="rome")[:, :3]).all()
    bare = qloc.open(extract_study(older, without).path).edits.load()
    assert (bare["edited_query"].values[edited] == -1).all()
    ranks = [of["new_rank"].values[:, :, ~edited] for of in (bare, found)]
    np.testing.assert_array_equal(ranks[0], ranks[1])
    stored = (out / "edits" / "new_log_probability" / "c").rglob("*")
    flipped = next(path for path in stored if path.is_file())
    content = flipped.read_bytes()
    flipped.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert verify(out) != []
    repair_store(out, device="cpu")
    assert flipped.read_bytes() == content
    assert verify(out) == []
