"""Extraction into a store: run, stopped, gone on with, divided over workers."""

from __future__ import annotations

import io
import platform
import re
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qloc.errors import FingerprintError, InputError
from qloc.plan import Plan
from qloc.progress import Progress
from qloc.store.writing.skeleton import made_from
from qloc.workflows import append_phases
from qloc.workflows.analyze import open_study
from qloc.workflows.extract import _loading_words, extract_study, prepared


@pytest.fixture
def plan(signals_plan: Plan) -> Plan:
    """Give the plan of those signals."""
    return signals_plan


def test_extraction_gives_a_study(plan: Plan, tmp_path: Path) -> None:
    found = extract_study(plan, tmp_path / "s.zarr")
    assert (found.n_facts, found.n_queries, found.n_units, found.n_done) == (3, 6, 3, 0)
    assert found.path == tmp_path / "s.zarr"
    assert found.seconds > 0
    assert found.n_bytes == sum(p.stat().st_size for p in found.path.rglob("*") if p.is_file())
    study = open_study(found.path)
    assert study.queries["answer"].values.tolist() == ["Paris"] * 2 + ["Nairobi"] * 2 + ["Lima"] * 2
    assert np.isfinite(study.queries["log_probability"].values).all()
    assert study.attrs["model"] == "embedded:causal"


def test_a_stopped_extraction_goes_on_and_is_equal(
    plan: Plan, signals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qloc.extract.signals.extraction import Extraction
    from qloc.store.writing.writer import Writer

    whole, whole_extract = signals, Extraction.extract

    def stopped(self: Extraction, unit: object) -> object:
        if unit.number == 2:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return whole_extract(self, unit)  # type: ignore[arg-type]

    out = tmp_path / "stopped.zarr"
    with monkeypatch.context() as patched:
        patched.setattr(Extraction, "extract", stopped)
        with pytest.raises(KeyboardInterrupt):
            extract_study(plan, out)
    assert not open_study(out).complete

    def cannot_finalize(self: Writer, run: object = None) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:  # all units are in, but the store is not assembled
        patched.setattr(Writer, "finalize", cannot_finalize)
        with pytest.raises(KeyboardInterrupt):
            extract_study(plan, out)
    said = io.StringIO()
    found = extract_study(plan, out, progress=Progress(stream=said))
    assert found.n_done == 3
    assert f"3 of 3 units are in {out} already.\n" in said.getvalue()
    assert (out / "signals" / "zarr.json").read_bytes() == (whole / "signals" / "zarr.json").read_bytes()
    for name in ("queries", "facts", "signals"):
        assert getattr(open_study(out), name).load().identical(getattr(open_study(whole), name).load())


def test_a_finished_store_needs_no_weights(
    plan: Plan, signals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qloc.extract.models.loading import ModelSource

    done = extract_study(plan, signals)

    def loaded(self: ModelSource, **_: object) -> None:
        raise AssertionError("the weights were read")

    monkeypatch.setattr(ModelSource, "load", loaded)
    again = extract_study(plan, signals)
    assert again == replace(done, n_done=3, seconds=0.0)
    assert (again.n_facts, again.n_queries, again.n_units) == (3, 6, 3)
    with pytest.raises(InputError, match=r"^fingerprint of signals is .*steps: 3 → 5"):
        extract_study(plan.model_copy(update={"steps": 5}), signals)


def test_a_store_of_an_older_version_is_gone_on_with(
    plan: Plan, signals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its fingerprints of model and tokenizer are single digests, which follow the installed transformers."""
    from qloc.extract.signals.extraction import Extraction, prepare

    out, whole_extract = tmp_path / "older.zarr", Extraction.extract

    def stopped(self: Extraction, unit: object) -> object:
        if unit.number == 1:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return whole_extract(self, unit)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(
            "qloc.workflows.extract.as_held", lambda extraction, _: replace(extraction, older=True)
        )
        patched.setattr(Extraction, "extract", stopped)
        with pytest.raises(KeyboardInterrupt):
            extract_study(plan, out)
    with pytest.raises(InputError, match=r"^fingerprint of signals is .*steps: 3 → 5\)'"):
        extract_study(plan.model_copy(update={"steps": 5}), out)
    (out / "zarr.json").write_bytes(b"")
    assert extract_study(plan, out).n_done == 1
    held, later = made_from(out), plan.model_copy(update={"phases": ("signals", "interventions")})
    assert re.fullmatch("[0-9a-f]{64}", held["model"]["config"])
    assert open_study(out).signals.load().identical(open_study(signals).signals.load())
    assert not append_phases.is_held(replace(prepare(later), older=True), out, "interventions")
    with pytest.raises(FingerprintError, match=r"^fingerprint of signals is "):
        append_phases.is_held(prepare(later), out, "interventions")


@pytest.mark.slow
def test_own_code_that_is_not_run_is_told(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    extraction = prepared(plan)
    assert _loading_words(extraction) == f"Loading {plan.model} …"
    monkeypatch.setattr(extraction.source.config, "auto_map", {"AutoModelForCausalLM": "a.B"}, raising=False)
    assert _loading_words(extraction) == (
        f"Loading {plan.model} … The checkpoint's own code (a.B) is not run; transformers' code of gpt2 is."
    )


def test_workers_give_the_same_store_bit_for_bit(plan: Plan, tmp_path: Path) -> None:
    """Each worker prepares model and facts by itself; threads, batches and proofs must not differ."""
    pytest.importorskip("distributed", reason="qloc[cluster] is not installed")
    from qloc.store.schema import manifest

    plan = plan.model_copy(update={"threads": 2})  # which is not what processes have by themselves here
    whole = extract_study(plan, tmp_path / "whole.zarr").path
    said = io.StringIO()
    shared = plan.model_copy(update={"workers": 2})
    found = extract_study(shared, tmp_path / "shared.zarr", progress=Progress(stream=said))
    assert (found.n_done, found.n_units) == (0, 3)
    assert "extract: 6 of 6 queries" in said.getvalue()
    ours, theirs = (manifest.read(store) for store in (found.path, whole))
    assert ours["objects"] == theirs["objects"]
    assert ours["run"]["environment"] == theirs["run"]["environment"]
    for name in ("queries", "facts", "signals", "attention", "grams"):
        first, second = (getattr(open_study(store), name, None) for store in (found.path, whole))
        if first is not None:
            assert second is not None
            assert first.load().identical(second.load())
    assert extract_study(plan, found.path).n_done == 3  # another number of workers, the same extraction


def test_a_worker_that_finds_another_model_says_so(plan: Plan) -> None:
    from qloc.extract.signals.extraction import _prepared_again, prepare

    prepared = prepare(plan)
    function, (sent, expected, older) = prepared.__reduce__()
    assert function(sent, expected, older).fingerprint == prepared.fingerprint
    with pytest.raises(InputError) as caught:
        _prepared_again(plan, "0" * 64)
    assert str(caught.value) == (
        f"model or facts is 'of fingerprint {expected[:12]}'; expected those of fingerprint 000000000000, as planned. "
        f"At embedded:causal and {plan.facts} on {platform.node()}. Give every worker the same files."
    )


def test_a_worker_lets_one_plan_go_before_it_prepares_the_next(plan: Plan) -> None:
    from qloc.extract.signals.extraction import prepare

    function, given = prepare(plan).__reduce__()
    kept = function(*given)
    kept.made["phase"] = kept  # as what a phase made holds its extraction
    assert function(*given) is kept
    gone = weakref.ref(kept)
    del kept
    other, those = prepare(plan.model_copy(update={"device": "auto"})).__reduce__()
    assert other(*those).plan.device == "auto"  # the same fingerprint, but not the same run
    assert gone() is None


def test_a_unit_is_computed_with_the_threads_of_the_plan(plan: Plan) -> None:
    """On the machine that this was written on, bits differ where it is not."""
    torch = pytest.importorskip("torch")
    from qloc.extract.signals.extraction import prepare

    extraction, before = prepare(plan.model_copy(update={"threads": 2})), torch.get_num_threads()
    blocks = []
    try:
        for ambient in (1, 3):
            torch.set_num_threads(ambient)
            blocks.append(extraction.extract(extraction.outline.units[0]))
            assert torch.get_num_threads() == ambient
    finally:
        torch.set_num_threads(before)
    first, second = blocks
    for name in ("attribution", "activation", "gradient", "completeness_gap", "gram"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
