"""The rooms joined, from Python: plans in, stores, results and reports out; and how far it is."""

from __future__ import annotations

import io
import json
import platform
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import qloc
from qloc import progress as progress_module
from qloc.errors import FloorError, InputError, SchemaError
from qloc.plan import AnalysisPlan, Plan
from qloc.progress import Progress, duration, size
from qloc.simulation.simulate import simulate
from qloc.workflows.analyze import analyze, open_study, report, result_folders
from qloc.workflows.extract import extract_study

QUICK = AnalysisPlan(n_permutations=99, n_bootstrap=99)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("planted") / "planted.zarr"
    simulate(path, facts=60, relations=3, templates=5, seed=1)
    return path


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Give a plan of three facts for the embedded causal model."""
    pytest.importorskip("torch", reason="qloc[extract] is not installed")
    from qloc.extract.embedded import checkpoint

    if not (checkpoint("causal") / "config.json").exists():
        pytest.skip("the embedded models are not made yet")
    path = tmp_path / "facts.jsonl"
    with path.open("w") as lines:
        for subject, answer in (("France", "Paris"), ("Kenya", "Nairobi"), ("Peru", "Lima")):
            fact = {"id": subject, "relation": "capital", "subject": subject, "object": answer}
            queries = ["The capital of [X] is [Y].", "[X] has its capital in [Y]."]
            lines.write(json.dumps({**fact, "queries": queries}) + "\n")
    given = {"steps": 3, "unit_facts": 1, "device": "cpu", "phases": ("signals",)}
    return Plan(model="embedded:causal", facts=str(path), **given)


# Stores


def test_an_opened_study_is_that_of_memory(planted: Path) -> None:
    there = open_study(planted)
    here = simulate(facts=60, relations=3, templates=5, seed=1)
    assert there.complete
    assert re.fullmatch("[0-9a-f]{64}", there.fingerprint)
    assert (there.neurons().member != here.neurons().member).nnz == 0
    assert qloc.open(planted).fingerprint == there.fingerprint


def test_an_opened_study_is_read_lazily(planted: Path) -> None:
    study = open_study(planted)
    assert study.attribution.chunks is not None
    relation = study.facts["relation"].values[0]
    selected = study.attribution.sel(relation=relation)
    assert selected.sizes["query"] == (study.queries["relation"].values == relation).sum()


def test_what_is_no_store_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(SchemaError) as caught:
        open_study(tmp_path)
    assert str(caught.value) == (
        f"zarr.json is 'No such file or directory'; expected the root of a Zarr v3 hierarchy. At {tmp_path}. "
        "Give the path of a store that qloc extract wrote."
    )


# Extraction


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
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qloc.extract.signals.extraction import Extraction
    from qloc.store.writing.writer import Writer

    whole = extract_study(plan, tmp_path / "whole.zarr").path
    whole_extract = Extraction.extract

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


def test_a_dry_run_writes_nothing_and_is_near(plan: Plan, tmp_path: Path) -> None:
    would = extract_study(plan, tmp_path / "s.zarr", dry_run=True)
    assert not (tmp_path / "s.zarr").exists()
    did = extract_study(plan, tmp_path / "s.zarr")
    assert (would.n_facts, would.n_queries, would.n_units) == (did.n_facts, did.n_queries, did.n_units)
    assert would.seconds > 0
    # Chunks only: metadata and manifest do not grow with the facts, and are most of so small a store.
    chunks = sum(p.stat().st_size for p in did.path.glob("**/c/**/*") if p.is_file())
    assert 0.5 * chunks < would.n_bytes < 2 * chunks


def test_a_finished_store_needs_no_weights(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qloc.extract.models.loading import ModelSource

    out = tmp_path / "s.zarr"
    done = extract_study(plan, out)

    def loaded(self: ModelSource, **_: object) -> None:
        raise AssertionError("the weights were read")

    monkeypatch.setattr(ModelSource, "load", loaded)
    again = extract_study(plan, out)
    assert again == replace(done, n_done=3, seconds=0.0)
    with pytest.raises(InputError, match=r"^fingerprint of signals is .*steps: 3 → 5"):
        extract_study(plan.model_copy(update={"steps": 5}), out)


@pytest.mark.slow
def test_workers_give_the_same_store_bit_for_bit(plan: Plan, tmp_path: Path) -> None:
    """Each worker prepares model and facts by itself; threads, batches and proofs must not differ."""
    pytest.importorskip("distributed", reason="qloc[cluster] is not installed")
    from qloc.store.schema import manifest

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
            assert first.load().identical(second.load())
    assert extract_study(plan, found.path).n_done == 3  # another number of workers, the same extraction


def test_a_worker_that_finds_another_model_says_so(plan: Plan) -> None:
    from qloc.extract.signals.extraction import _prepared_again, prepare

    prepared = prepare(plan)
    function, (sent, expected) = prepared.__reduce__()
    assert function(sent, expected).fingerprint == prepared.fingerprint
    with pytest.raises(InputError) as caught:
        _prepared_again(plan, "0" * 64)
    assert str(caught.value) == (
        f"model or facts is 'of fingerprint {expected[:12]}'; expected those of fingerprint 000000000000, as planned. "
        f"At embedded:causal and {plan.facts} on {platform.node()}. Give every worker the same files."
    )


def test_a_unit_is_computed_with_the_threads_of_the_plan(plan: Plan) -> None:
    """On the machine that this was written on, bits differ where it is not."""
    torch = pytest.importorskip("torch")
    from qloc.extract.signals.extraction import prepare

    extraction, before = prepare(plan), torch.get_num_threads()
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


# Analysis and report


def test_analysis_is_saved_and_reported(planted: Path, tmp_path: Path) -> None:
    result = analyze(planted, QUICK, tmp_path / "results" / "a")
    assert (tmp_path / "results" / "a" / "study.json").exists()
    assert result.question("consistency") is not None
    analyze(planted, QUICK, tmp_path / "results" / "b")
    page = report([tmp_path / "results"], "html", tmp_path / "report.html")
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_nothing_is_saved_where_the_floor_is_asked_below(planted: Path, tmp_path: Path) -> None:
    with pytest.raises(FloorError, match=r"0\.01.*0\.05"):
        analyze(planted, QUICK.model_copy(update={"threshold": 0.01}), tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_an_unknown_format_leaves_no_file(planted: Path, tmp_path: Path) -> None:
    analyze(planted, QUICK, tmp_path / "r")
    with pytest.raises(InputError) as caught:
        report([tmp_path / "r"], "pdf", tmp_path / "report.pdf")
    assert str(caught.value) == (
        "format is 'pdf'; expected html or md or latex or json. At qloc report --format. Name one of these."
    )
    assert not (tmp_path / "report.pdf").exists()


def test_a_folder_of_results_stands_for_them(tmp_path: Path) -> None:
    for name in ("one", "many/b", "many/a"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "study.json").touch()
    found = result_folders([tmp_path / "one", tmp_path / "many", tmp_path / "one"])
    assert [str(folder.relative_to(tmp_path)) for folder in found] == ["one", "many/a", "many/b"]


@pytest.mark.slow
def test_the_demo_makes_everything_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="qloc[extract] is not installed")
    from qloc.extract.embedded import checkpoint
    from qloc.workflows import demo

    if not all((checkpoint(kind) / "config.json").exists() for kind in demo.KINDS):
        pytest.skip("the embedded models are not made yet")
    monkeypatch.setattr(demo, "FACTS_OF_A_RELATION", 3)
    monkeypatch.setattr(demo, "EDITED_OF_A_RELATION", 1)
    said = io.StringIO()
    page = demo.demo(tmp_path / "d", progress=Progress(stream=said))
    assert page == tmp_path / "d" / "report.html"
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == [
        "causal.zarr",
        "masked.zarr",
        "report.html",
        "results",
    ]
    text = page.read_text()
    for kind in demo.KINDS:
        assert f"embedded:{kind}" in text
        assert (tmp_path / "d" / "results" / kind / "study.json").exists()
    assert "How do the models differ on the same facts?" in text
    first = page.read_bytes()
    again = io.StringIO()
    demo.demo(tmp_path / "d", progress=Progress(stream=again))
    assert again.getvalue().count("holds this extraction already.") == 2
    assert page.read_bytes() == first


# Progress


class Terminal(io.StringIO):
    """What takes itself for a screen."""

    def isatty(self) -> bool:
        return True


def test_plain_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 4.0, 12.0, 13.0, 20.0])
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(clock))
    said = io.StringIO()
    with Progress(stream=said) as progress, progress.stage("extract", 1000, done=200) as advance:
        for more in (100, 200, 100, 400):
            advance(more)
    assert said.getvalue().splitlines() == [
        "extract: 500 of 1,000 queries, 25 a second, 20 s left",  # 10 s after the start; not at 4 s
        "extract: 1,000 of 1,000 queries, 40 a second",
    ]


def test_a_bar_on_a_terminal_counts_what_was_done() -> None:
    screen = Terminal()
    with Progress(stream=screen) as progress, progress.stage("extract", 10, done=4) as advance:
        advance(6)
    assert re.search(r"extract: 100%.*10/10", screen.getvalue())
    assert "4/10" in screen.getvalue()


def test_the_log_tells_what_quiet_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log.jsonl"

    def work() -> None:
        with Progress(quiet=True, log=log) as progress:
            progress.say("Loading …")
            with progress.stage("extract", 3, done=1) as advance:
                advance(1)
                raise InputError("no more")

    with pytest.raises(InputError, match=r"^no more$"):
        work()
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", event.pop("time")) for event in events)
    assert events == [
        {"event": "message", "text": "Loading …"},
        {"event": "start", "stage": "extract", "total": 3, "done": 1, "unit": "queries"},
        {"event": "progress", "stage": "extract", "total": 3, "done": 2},
        {"event": "failed", "error": "InputError", "message": "no more"},
    ]
    assert capsys.readouterr() == ("", "")


def test_a_log_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        Progress(log=tmp_path / "none" / "log")
    assert str(caught.value) == (
        f"log is '{tmp_path / 'none' / 'log'}'; expected a file that can be written (No such file or "
        "directory). At --log. Give another path."
    )


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "1 s"), (60, "1 min"), (3599.6, "1 h"), (3661, "1 h 1 min"), (86400, "1 d")]
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("n_bytes", "said"), [(0, "0 B"), (999, "999 B"), (999.6, "1 kB"), (1e6, "1 MB"), (3e15, "3e+03 TB")]
)
def test_sizes(n_bytes: float, said: str) -> None:
    assert size(n_bytes) == said
