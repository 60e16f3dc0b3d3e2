"""The shipped extraction: what it is, that it is not stale, and how it gets into place."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from qloc import shipped
from qloc.canonical_json import canonical
from qloc.errors import FingerprintError, InputError, StorageError, VerificationError
from qloc.progress import Progress
from qloc.shipped import KINDS, MOST_BYTES, archive, fingerprint, place, shipped_plan
from qloc.shipped import __main__ as shipping
from qloc.simulation.simulate import simulate
from qloc.store.integrity.verify import verify
from qloc.workflows.analyze import open_study

FEW_FACTS = 2


def test_the_shipped_stores_are_whole_and_small() -> None:
    assert sum(archive(kind).stat().st_size for kind in KINDS) <= MOST_BYTES <= 2_000_000
    for kind in KINDS:
        assert verify(archive(kind)) == []
        study, plan = open_study(archive(kind)), shipped_plan(kind)
        assert study.complete
        assert study.attrs["model"] == f"embedded:{kind}"
        assert study.facts.sizes["fact"] == len(plan.relations) * (plan.max_facts or 0)
        floors = study.signals["panel_floor"].values
        assert floors.max() <= min(plan.analysis.thresholds), "an analysis would be refused"


@pytest.mark.parametrize("kind", KINDS)
def test_the_shipped_facts_entail_what_was_taught_and_what_was_not(kind: shipped.Kind) -> None:
    """Edits are asked for inverses and synonyms; the unedited model knows those that it was taught."""
    study = open_study(archive(kind))
    asked, known = study.entailments["kind"].values, study.entailments["base_rank"].values == 1
    assert {"new_inverse", "old_inverse", "synonym"} <= set(asked.ravel().tolist())
    told = study.column("facts", "entailment")[:, None]
    own = np.isin(asked, ("old_inverse", "synonym"))
    assert known[own & (told == "taught")].mean() > 0.9
    assert {"taught", "untaught"} <= set(np.broadcast_to(told, own.shape)[own].tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_the_shipped_store_is_what_extraction_gives(kind: shipped.Kind) -> None:
    """The very same parameters; a few facts extracted again give its numbers. `make shipped` where not."""
    pytest.importorskip("torch", reason="qloc[extract] is not installed")
    from qloc.block import Unit
    from qloc.extract.signals.extraction import prepare

    made_from, study = fingerprint(archive(kind)), open_study(archive(kind))
    extraction = prepare(shipped_plan(kind)).as_in(made_from)
    assert json.loads(canonical(extraction.fingerprint)) == made_from
    n = int(study.facts["n_queries"].values[:FEW_FACTS].sum())
    unit = Unit(number=0, first_fact=0, last_fact=FEW_FACTS, first_query=0, last_query=n)
    block = extraction.extract(unit)
    queries, signals = study.queries.isel(query=slice(n)), study.signals.isel(query=slice(n))
    for name in ("fact", "prompt", "template", "answer_token_id", "target_position", "argmax", "known"):
        assert (np.asarray(block.queries[name]) == study.column("queries", name)[:n]).all(), name
    # Another processor or batch sums float32 in another order: 1e-4 of the largest is a hundred times that.
    np.testing.assert_allclose(
        block.queries["log_probability"], queries["log_probability"].values, rtol=1e-4, atol=1e-4
    )
    neuron = signals["panel_neuron"].values[queries["fact"].values]
    best = signals["maximum"].values.max(axis=2)[..., None]
    scores = block.attribution.reshape(*block.attribution.shape[:2], -1)
    for name, dense, scale in (
        ("attribution", scores, best),
        ("activation", block.activation.reshape(n, -1), np.abs(block.activation).max()),
        ("gradient", block.gradient.reshape(n, -1), np.abs(block.gradient).max()),
    ):
        slots = np.broadcast_to(np.maximum(neuron, 0), (*dense.shape[:-1], neuron.shape[1]))
        got = np.where(neuron >= 0, np.take_along_axis(dense, slots, axis=-1), np.nan)
        np.testing.assert_allclose(got / scale, signals[name].values / scale, atol=1e-4, err_msg=name)
    outside = scores.copy()
    for row, own in enumerate(neuron):
        outside[:, row, own[own >= 0]] = 0
    assert (outside <= (shipped_plan(kind).floor + 1e-4) * best).all()


def test_it_is_put_in_place_once(tmp_path: Path) -> None:
    out = tmp_path / "d" / "causal.zarr"
    place("causal", out)
    assert verify(out) == []
    at = (out / "manifest.json").stat()
    place("causal", out)
    assert (out / "manifest.json").stat() == at
    with pytest.raises(FingerprintError, match="fingerprint of signals is"):
        place("masked", out)
    (out / "manifest.json").write_text("{}")
    with pytest.raises(VerificationError, match="expected the keys"):
        place("causal", out)


def test_it_is_put_over_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "causal.zarr").mkdir()
    (tmp_path / "causal.zarr" / "mine").touch()
    with pytest.raises(InputError) as caught:
        place("causal", tmp_path / "causal.zarr")
    where = tmp_path / "causal.zarr"
    assert str(caught.value) == (
        f"path is 'there already'; expected nothing yet. At {where}. Give another OUT."
    )


def test_an_unknown_or_missing_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError) as unknown:
        archive("other")  # type: ignore[arg-type]
    assert str(unknown.value) == (
        "shipped extraction is 'other'; expected causal or masked. At qloc.shipped. Use 'causal'."
    )
    monkeypatch.setattr(shipped, "_HERE", tmp_path)
    with pytest.raises(InputError) as missing:
        archive("causal")
    assert str(missing.value) == (
        f"shipped extraction is 'missing'; expected a packed store. At {tmp_path / 'causal.zarr.zip'}. "
        "Install qloc again; in a clone with qloc[extract], run: make shipped."
    )


# Making it


class _Simulated:
    """What stands for an extraction: a planted store."""

    def __init__(self, plan: object, out: Path, progress: Progress) -> None:
        simulate(out, facts=6, relations=2, templates=3, seed=1)
        self.path = out


def test_making_replaces_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shipping, "extract_study", _Simulated)
    (tmp_path / "causal.zarr.zip").write_text("an older one")
    monkeypatch.setattr(sys, "argv", ["shipped", "--out", str(tmp_path)])
    shipping.main()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["causal.zarr.zip", "masked.zarr.zip"]
    for kind in KINDS:
        assert verify(tmp_path / f"{kind}.zarr.zip") == []
    size = (tmp_path / "causal.zarr.zip").stat().st_size
    assert f"{tmp_path / 'causal.zarr.zip'}: {size:,} bytes\n" in capsys.readouterr().err


def test_making_refuses_what_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping, "extract_study", _Simulated)
    monkeypatch.setattr(shipping, "MOST_BYTES", 1000)
    shutil.copy(archive("causal"), tmp_path)
    with pytest.raises(StorageError, match=r"bytes of the shipped stores is \d+; expected 1000 at most"):
        shipping.make(tmp_path, Progress(quiet=True))
    assert [path.name for path in tmp_path.iterdir()] == ["causal.zarr.zip"]
    assert verify(tmp_path / "causal.zarr.zip") == []
