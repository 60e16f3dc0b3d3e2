"""Phases after signals, joined: run in order, resumed by unit, refused with the difference shown."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qloc
from qloc.block import PhaseBlock, PhaseOutline, Shard, Unit
from qloc.errors import FingerprintError, InputError, SchemaError
from qloc.phase_plan import (
    NEURON_SETS,
    REPROMPT_SETS,
    EditPlan,
    InterventionPlan,
    ProbePlan,
    RomePlan,
    TracingPlan,
)
from qloc.plan import Plan
from qloc.progress import Progress
from qloc.store.exchange.merge import merge
from qloc.store.integrity.verify import verify
from qloc.store.schema import manifest
from qloc.workflows import append_phases
from qloc.workflows.extract import extract_study
from qloc.workflows.phase_steps import PhaseSteps

Copies = Callable[[str], Path]
OUTCOMES = ("log_probability", "logit", "margin", "rank", "argmax")


@pytest.fixture
def plan(signals_plan: Plan) -> Plan:
    """Give a plan of three facts, with interventions."""
    return signals_plan.model_copy(update={"phases": ("signals", "interventions")})


@dataclass
class Sizes:
    """A phase without a model: of each arm how many neurons it has, as its log-probability."""

    asked: list[int]
    made_of: list[Any] = field(default_factory=list)
    fail_at: int | None = None
    words: tuple[str, ...] = ("Lima", "Rome")

    @property
    def outline(self) -> PhaseOutline:
        labels = {"operation": ("suppress",), "neuron_set": ("own",)}
        return PhaseOutline(
            phase="interventions",
            labels=labels,
            sizes={"word": 2},
            attrs={"made": "up", "probes": {"capital": list(self.words)}},
            absent=("synapses",),
            added=("interventions/word_log_probability", "interventions/base_word_log_probability"),
        )

    def extract(self, unit: Unit, arms: Any) -> PhaseBlock:
        self.asked.append(unit.number)
        if unit.number == self.fail_at:
            raise KeyboardInterrupt
        own = arms.sum(axis=1)
        arrays = {name: np.zeros((1, 1, unit.n_queries)) + own for name in OUTCOMES}
        arrays |= {f"base_{name}": np.zeros(unit.n_queries) for name in OUTCOMES}
        arrays |= {
            "n_neurons": own[None],
            **{n: np.full(unit.n_queries, -1) for n in ("neighbor", "other_fact")},
            "word_log_probability": -np.stack([own, np.arange(unit.first_query, unit.last_query)], 1)[
                None, None
            ],
            "base_word_log_probability": np.full((unit.n_queries, 2), np.nan),
        }
        return PhaseBlock(unit=unit, arrays={f"interventions/{name}": a for name, a in arrays.items()})


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Sizes:
    """Put a phase without a model in place of interventions."""
    run = Sizes([])

    def steps(extraction: object, study: Any) -> PhaseSteps:
        member = study.neurons().member

        def arms(unit: Unit) -> Any:
            return member[unit.first_query : unit.last_query].toarray()

        run.made_of.append(extraction)
        return arms, run

    monkeypatch.setattr(append_phases, "STEPS", {"interventions": steps})
    return run


def test_a_phase_is_chosen_from_the_store_and_appended(plan: Plan, made_up: Sizes, tmp_path: Path) -> None:
    said = io.StringIO()
    found = extract_study(plan, tmp_path / "s.zarr", progress=Progress(stream=said))
    study = qloc.open(found.path)
    assert study.phases == ("signals", "interventions")
    np.testing.assert_array_equal(study.interventions["n_neurons"][0], study.neurons().sizes())
    words = -study.interventions["word_log_probability"].values[0, 0]
    np.testing.assert_array_equal(words, np.stack([study.neurons().sizes(), np.arange(6)], 1))
    assert study.synapses.sizes == study.edits.sizes == {}
    assert verify(found.path) == []
    assert found.n_bytes == sum(p.stat().st_size for p in found.path.rglob("*") if p.is_file())
    run = manifest.read(found.path)["run"]
    assert set(run["phases"]) == {"interventions"}
    assert run["phases"]["interventions"]["environment"] == run["environment"]
    assert "interventions: 6 of 6 queries" in said.getvalue()
    made = study.attrs["fingerprint"]
    assert set(made) == {"signals", "interventions"}


def test_a_store_whose_words_are_not_named_is_refused(plan: Plan, made_up: Sizes, copied: Copies) -> None:
    made_up.words = ("Lima", "Rome", "Bern")  # a word more than the axis is long
    store = extract_study(plan, copied("s.zarr")).path
    with pytest.raises(
        SchemaError, match=r"^probes is 'another form'; expected of each relation a list of at most 2"
    ):
        qloc.open(store)


def test_a_stopped_phase_goes_on_and_is_equal(plan: Plan, made_up: Sizes, copied: Copies) -> None:
    whole = extract_study(plan, copied("whole.zarr")).path
    made_up.asked.clear()
    made_up.fail_at = 2
    out = copied("s.zarr")
    with pytest.raises(KeyboardInterrupt):
        extract_study(plan, out)
    assert qloc.open(out).phases == ("signals",)
    assert verify(out) == []
    made_up.fail_at = None
    assert made_up.made_of[-1].made == {}  # nor is what failed kept: the next run may be on another device
    said = io.StringIO()
    extract_study(plan.model_copy(update={"device": "auto"}), out, progress=Progress(stream=said))
    assert [made.plan.device for made in made_up.made_of] == [plan.device, plan.device, "auto"]
    assert made_up.asked == [0, 1, 2, 2]
    assert "2 of 3 units of interventions are there already.\n" in said.getvalue()
    assert manifest.read(out)["objects"] == manifest.read(whole)["objects"]


def test_shards_make_the_store_of_one_machine(
    plan: Plan, made_up: Sizes, signals: Path, copied: Copies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real signals; which units run where is told by a phase without a model."""
    from qloc.extract.models.loading import ModelSource

    whole = extract_study(plan, copied("whole.zarr")).path
    made_up.asked.clear()
    shards = [Shard(number=number, of=2) for number in (1, 2)]
    stores = [tmp_path / f"{part.number}.zarr" for part in shards]
    for part, store in zip(shards, stores, strict=True):
        found = extract_study(plan, store, shard=part, signals=signals)
        assert (found.n_units, found.n_done, found.waiting) == (3 - part.number, 0, ())
    assert made_up.asked == [0, 2, 1]
    merged = merge(stores, tmp_path / "merged.zarr")
    ours, theirs = manifest.read(merged.path), manifest.read(whole)
    assert ours["objects"] == theirs["objects"]
    assert ours["run"]["environment"] == theirs["run"]["environment"]

    def loaded(self: ModelSource, **_: object) -> None:
        raise AssertionError("the weights were read")

    monkeypatch.setattr(ModelSource, "load", loaded)
    for given in (None, signals):
        assert extract_study(plan, stores[0], shard=shards[0], signals=given).n_done == 2


def test_what_no_shard_can_be_run_from_is_refused(plan: Plan, signals: Path, tmp_path: Path) -> None:
    part, out = Shard(number=1, of=2), tmp_path / "1.zarr"
    with pytest.raises(
        InputError, match=r"^shard is '1/4'; expected at most 3 shards: 3 facts are 3 units\. "
    ):
        extract_study(plan, out, shard=Shard(number=1, of=4))
    with pytest.raises(
        InputError, match=r"^shard is None; expected one job's part of it, as --signals is given"
    ):
        extract_study(plan, out, signals=signals)
    with pytest.raises(FingerprintError, match=r"steps: 3 → 5.*At .*s\.zarr"):
        extract_study(plan.model_copy(update={"steps": 5}), out, shard=part, signals=signals)
    begun = extract_study(plan, out, shard=part)
    assert (begun.n_units, begun.n_done, begun.waiting) == (2, 0, ("interventions",))
    with pytest.raises(
        InputError, match=r"^store is 'unfinished'; expected complete, merged from all shards\. "
    ):
        extract_study(plan, out, shard=part, signals=begun.path)


def test_a_finished_phase_needs_no_weights(
    plan: Plan, made_up: Sizes, copied: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qloc.extract.models.loading import ModelSource

    store = copied("s.zarr")
    done = extract_study(plan, store)

    def loaded(self: ModelSource, **_: object) -> None:
        raise AssertionError("the weights were read")

    monkeypatch.setattr(ModelSource, "load", loaded)
    assert extract_study(plan, store) == replace(done, n_done=3, seconds=0.0)
    signals = plan.model_copy(update={"phases": ("signals",)})
    assert extract_study(signals, store) == replace(done, n_done=3, seconds=0.0)
    other = plan.interventions.model_copy(update={"threshold": 0.3})
    with pytest.raises(FingerprintError, match=r"\(parameters\.threshold: 0\.2 → 0\.3\)"):
        extract_study(plan.model_copy(update={"interventions": other}), store)


def test_interventions_on_the_embedded_model(plan: Plan, copied: Copies, tmp_path: Path) -> None:
    """The real phase, with a set of one's own; suppressing nothing changes nothing."""
    from qloc.extract.signals.extraction import prepare

    (tmp_path / "sets.json").write_text('{"mine": {"France": [[0, 1], [1, 2]], "": []}}')
    part = plan.interventions.model_copy(update={"operations": ("suppress", "mean")})
    plan = plan.model_copy(update={"sets": str(tmp_path / "sets.json"), "interventions": part})
    study = qloc.open(extract_study(plan, copied("s.zarr")).path)
    found = study.interventions.load()
    assert found["neuron_set"].values.tolist()[-3:] == ["mine", "mine_matched", "matched"]
    np.testing.assert_array_equal(found["n_neurons"].sel(neuron_set="own"), study.neurons().sizes())
    for name in ("mine", "mine_matched"):
        assert found["n_neurons"].sel(neuron_set=name).values.tolist() == [2, 2, 0, 0, 0, 0]
    own, control = found["strength"].sel(neuron_set=["mine", "mine_matched"]).isel(query=slice(2)).values
    np.testing.assert_allclose(control, own, rtol=0.05)
    assert not np.array_equal(control, own)
    test = qloc.hypotheses.own_against_control(study, neurons="mine", known=False)
    assert (test.name, test.n["facts"]) == ("mine against matched", 1)
    older = plan.model_copy(update={"interventions": part.model_copy(update={"own_controls": False})})
    digests = [
        append_phases.fingerprint(prepare(each), "interventions")["parameters"] for each in (plan, older)
    ]
    assert digests[0] == {**digests[1], "own_controls": True}
    changed = np.isfinite(found["log_probability"].sel(operation="suppress"))
    np.testing.assert_array_equal(changed, found["n_neurons"] > 0)
    # The same forward pass in rows of other lengths: a few float32 roundings of a log-probability.
    np.testing.assert_allclose(
        found["base_log_probability"], study.queries["log_probability"], rtol=1e-4, atol=1e-5
    )


def test_own_sets_that_cannot_be_read_are_refused_before_any_work(plan: Plan, tmp_path: Path) -> None:
    asked = plan.model_copy(update={"sets": str(tmp_path / "none.json")})
    with pytest.raises(
        InputError, match=r"^file is .*No such file.* At .*none\.json\. Give another --sets\.$"
    ):
        extract_study(asked, tmp_path / "s.zarr")
    assert not (tmp_path / "s.zarr").exists()


def test_reprompts_are_what_asking_the_reworded_facts_gives(tmp_path: Path) -> None:
    """N_i′, its overlap with N_i and its answer, against the signals of facts that have the prefix themselves."""
    pytest.importorskip("torch", reason="qloc[extract] is not installed")
    from qloc.extract.datasets import read_facts

    part = InterventionPlan(operations=("suppress",), sets=("own", *REPROMPT_SETS), reprompt="* ")
    asked = {
        "relations": ("capital",),
        "max_facts": 3,
        "quadrature": "midpoint",
        "steps": 3,
        "unit_facts": 2,
        "device": "cpu",
        "threads": 1,
    }
    plan = Plan(**asked, phases=("signals", "interventions"), interventions=part)
    path = tmp_path / "facts.jsonl"
    with path.open("w") as lines:
        for fact in read_facts("embedded", relations=("capital",), max_facts=3, seed=0).facts:
            texts = [{"template": q.template, "text": f"* {q.text}"} for q in fact.queries]
            plain = {name: getattr(fact, name) for name in ("id", "relation", "subject", "object")}
            lines.write(json.dumps({**plain, "queries": texts}) + "\n")
    study = qloc.open(extract_study(plan, tmp_path / "s.zarr").path)
    other = qloc.open(
        extract_study(Plan(facts=str(path), **asked, phases=("signals",)), tmp_path / "t.zarr").path
    )
    mine, theirs, again = study.neurons(), other.neurons(), study.reprompts.load()
    here = np.flatnonzero(again["n_neurons"].values >= 0)
    assert 2 <= len(here) <= 6
    assert mine.queries["known"][here].all()
    shared = mine.member.astype(int).multiply(theirs.member.astype(int)).sum(axis=1)
    np.testing.assert_array_equal(again["n_neurons"].values[here], theirs.sizes()[here])
    np.testing.assert_array_equal(again["n_shared"].values[here], np.asarray(shared).ravel()[here])
    # Rows of other batches: a few float32 roundings of a log-probability.
    np.testing.assert_allclose(
        again["log_probability"].values[here],
        other.queries["log_probability"].values[here],
        rtol=1e-4,
        atol=1e-5,
    )
    arms = study.interventions.load().sel(operation="suppress")
    apart = arms["n_neurons"].sel(neuron_set=["own_minus_reprompt", "reprompt_minus_own"]).values
    assert (apart[0] == apart[1]).all()
    assert (apart[0][here] <= mine.sizes()[here] - np.asarray(shared).ravel()[here]).all()
    np.testing.assert_array_equal(np.isfinite(arms["log_probability"]), arms["n_neurons"] > 0)


def test_without_reprompts_parameters_are_those_of_older_stores(plan: Plan) -> None:
    from qloc.extract.signals.extraction import prepare

    sets = tuple(name for name in NEURON_SETS if name not in REPROMPT_SETS)
    older = plan.model_copy(update={"interventions": InterventionPlan(sets=sets, matching="decile")})
    parameters = append_phases.fingerprint(prepare(older), "interventions")["parameters"]
    assert set(parameters) == {
        *("method", "threshold", "top", "refined", "operations", "sets", "synapse_operations"),
        *("synapse_sets", "alpha", "seed"),
    }
    of_first = older.model_copy(update={"answer_tokens": "first"})
    more = append_phases.fingerprint(prepare(of_first), "interventions")["parameters"]
    assert more == {**parameters, "mean": "of stored activations"}
    parameters = append_phases.fingerprint(prepare(plan), "interventions")["parameters"]
    assert (parameters["reprompt"], parameters["reprompted"]) == ("- ", 2)
    probes: dict[str, Any] = {"words": [], "of_relations": {}, "most": 16}
    for synapses, told in ((True, {**probes, "synapses": True}), (False, probes)):
        probed = plan.model_copy(update={"probes": ProbePlan(synapses=synapses)})
        more = append_phases.fingerprint(prepare(probed), "interventions")["parameters"]
        assert more == {**parameters, "probes": told}
        edited = append_phases.fingerprint(prepare(probed), "edits")["parameters"]
        assert edited["probes"] == probes


@pytest.mark.parametrize("phase", ["tracing", "edits"])
def test_phases_that_use_cues_of_grouped_pairs_know_them(plan: Plan, tmp_path: Path, phase: str) -> None:
    """A cue bears on no signal, but is corrupted, or ROME's subject: where it is corrected, these begin anew."""
    from qloc.extract.signals.extraction import prepare

    def fingerprints(cue: str, pairs: str) -> tuple[str, dict[str, Any]]:
        lines = [
            {"id": name, "kind": "minimal_pair", "relation": "agreement", "feature": "plural", "good": "are",
             "bad": "is", "subject": cue.format(name), "queries": [f"The {name} and all of them [Y] here."]}
            for name in ("books", "lamps")
        ]  # fmt: skip
        (tmp_path / "f.jsonl").write_text("\n".join(map(json.dumps, lines)))
        update = {"facts": str(tmp_path / "f.jsonl"), "pairs": pairs, "phases": ("signals", phase)}
        extraction = prepare(plan.model_copy(update=update))
        return extraction.facts.digest(), append_phases.fingerprint(extraction, phase)["parameters"]

    (signals, whole), (same, corrected) = (fingerprints(cue, "feature") for cue in ("The {}", "{}"))
    assert signals == same
    assert {name for name in whole if whole[name] != corrected[name]} == {"cues"}
    (signals, single), (other, _) = (fingerprints(cue, "single") for cue in ("The {}", "{}"))
    assert signals != other  # of a single pair the cue is the subject
    assert "cues" not in single


def test_edits_go_on_in_another_process_and_are_equal(
    plan: Plan, copied: Copies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ROME's prefixes and second moment are made anew there, of the same text: the same bits.

    The facts say what edits of them entail, which the store of their signals did not know.
    """
    from qloc.extract.edits.phase import Edits
    from qloc.extract.signals.extraction import prepare

    small = {"n_probes": 2, "text_tokens": 16, "greedy_tokens": 2, "rome": RomePlan(steps=3)}
    edits = EditPlan(sets=("own", "rome", "rome_identity"), operations=("update",), **small)
    facts = [json.loads(line) for line in Path(plan.facts).read_text().splitlines()]
    for fact in facts:
        fact["inverse"] = {"object": fact["subject"], "queries": ["[X] is the capital of [Y]."]}
        fact["generation"] = ["[X] is"]
    (tmp_path / "f.jsonl").write_text("\n".join(map(json.dumps, facts)))
    probes = ProbePlan(words=("Rome", "Lima"))
    plan = plan.model_copy(update={"phases": ("signals", "edits"), "edits": edits, "probes": probes})
    bare = append_phases.fingerprint(prepare(plan), "edits")["parameters"]
    plan = plan.model_copy(update={"facts": str(tmp_path / "f.jsonl")})
    given = append_phases.fingerprint(prepare(plan), "edits")["parameters"]
    assert {name for name in given if given[name] != bare.get(name)} == {"entailments"}
    assert given["probes"]["words"] == ["Rome", "Lima"]
    whole, out = extract_study(plan, copied("whole.zarr")).path, copied("s.zarr")
    extract = Edits.extract

    def stopped(self: Edits, unit: Unit, arms: Any) -> PhaseBlock:
        if unit.number == 1:
            raise KeyboardInterrupt
        return extract(self, unit, arms)

    monkeypatch.setattr(Edits, "extract", stopped)
    with pytest.raises(KeyboardInterrupt):
        extract_study(plan, out)
    monkeypatch.setattr(Edits, "extract", extract)
    extract_study(plan, out)
    assert manifest.read(out)["objects"] == manifest.read(whole)["objects"]
    found = qloc.open(out).edits
    assert (found["n_slots"].sel(edit_set="rome") == 512).all()
    assert np.isfinite(found["new_log_probability"].sel(edit_set="rome_identity")).all()
    assert verify(out) == []
    words, answers = qloc.open(out).edits.load(), qloc.open(out).column("facts", "object")
    assert words.attrs["probes"] == {"capital": ["Rome", "Lima"]}
    lima = {name: words[name].isel(fact=answers == "Lima") for name in words}
    for base in ("", "base_"):  # the answer as a probe word is the answer
        own = lima[f"{base}log_probability"].values
        np.testing.assert_allclose(lima[f"{base}word_log_probability"].values[..., 1], own, rtol=1e-6)
    assert "bad_log_probability" not in words
    entailed = qloc.open(out).entailments.load()
    assert (entailed["kind"].values == [["new_inverse", "old_inverse"]]).all()
    objects = qloc.open(out).column("facts", "object")
    assert (objects[entailed["partner"].values] == found["new_object"].values).all()
    assert np.isfinite(entailed["log_probability"].sel(edit_set="rome")).all()
    assert (entailed["generated_token_id"].sel(edit_set="rome", generated=["inverse", "text"]) >= 0).all()


def test_tracing_goes_on_in_another_process_and_in_shards_and_is_equal(
    plan: Plan, signals: Path, copied: Copies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Appended to a complete store, stopped at the second unit, verified; and merged from two shards."""
    from qloc.extract.tracing.phase import Tracing

    part = TracingPlan(samples=2, queries=1, parts=("residual", "mlp"))
    plan = plan.model_copy(update={"phases": ("signals", "tracing"), "tracing": part})
    whole, out = extract_study(plan, copied("whole.zarr")).path, copied("s.zarr")
    extract = Tracing.extract

    def stopped(self: Tracing, unit: Unit, arms: Any) -> PhaseBlock:
        if unit.number == 1:
            raise KeyboardInterrupt
        return extract(self, unit, arms)

    monkeypatch.setattr(Tracing, "extract", stopped)
    with pytest.raises(KeyboardInterrupt):
        extract_study(plan, out)
    monkeypatch.setattr(Tracing, "extract", extract)
    extract_study(plan, out)
    assert manifest.read(out)["objects"] == manifest.read(whole)["objects"]
    assert verify(out) == []
    study = qloc.open(out)
    assert study.phases == ("signals", "tracing")
    found = study.tracing
    traced = np.isfinite(found["clean_log_odds"].values)
    assert traced.sum() == len(
        np.unique(study.column("queries", "fact")[study.column("queries", "known") == 1])
    )
    assert traced.any()
    assert (found["clean_log_odds"] > found["corrupted_log_odds"].mean("corruption")).values[traced].all()
    shards = [Shard(number=number, of=2) for number in (1, 2)]
    parts = [
        extract_study(plan, tmp_path / f"{n.number}.zarr", shard=n, signals=signals).path for n in shards
    ]
    merged = merge(parts, tmp_path / "merged.zarr").path
    assert manifest.read(merged)["objects"] == manifest.read(whole)["objects"]
    other = plan.model_copy(update={"tracing": part.model_copy(update={"noise": 2.0})})
    with pytest.raises(FingerprintError, match="noise"):
        extract_study(other, out)


@pytest.mark.slow
def test_two_workers_one_killed_in_each_phase_give_the_bytes_of_one_process(
    plan: Plan, tmp_path: Path
) -> None:
    """A real scheduler with two processes; whichever has not ended by then is a hang, which once there was."""
    pytest.importorskip("distributed", reason="qloc[cluster] is not installed")
    from qloc.workers.dask_clients import dask_settings, started

    small = EditPlan(sets=("own",), operations=("update",), n_probes=2, text_tokens=16, greedy_tokens=2)
    arms = InterventionPlan(operations=("suppress",), sets=("own", "union", "matched"))
    phases = ("signals", "interventions", "tracing", "edits")
    traced = TracingPlan(samples=1, queries=1, parts=("mlp",))
    given = {"interventions": arms, "edits": small, "tracing": traced, "probes": ProbePlan()}
    plan = plan.model_copy(update={"phases": phases, **given})
    whole = extract_study(plan, tmp_path / "whole.zarr").path
    killed: dict[str, int] = {}
    with dask_settings(), started(2, ()) as cluster:

        class Killing(Progress):
            """Kills a worker as soon as a phase has recorded its first unit."""

            def note(self, event: str, **told: Any) -> None:
                if event == "progress" and told["stage"] not in killed:
                    nanny = cluster.workers[len(killed) % 2]
                    killed[told["stage"]] = nanny.pid
                    os.kill(nanny.pid, signal.SIGKILL)

        def hangs(*_: object) -> None:
            raise TimeoutError("the workers hang")

        earlier = signal.signal(signal.SIGALRM, hangs)
        signal.alarm(1200)
        try:
            joined = plan.model_copy(update={"cluster": cluster.scheduler_address})
            found = extract_study(joined, tmp_path / "s.zarr", progress=Killing(quiet=True)).path
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, earlier)
    assert list(killed) == ["extract", "interventions", "tracing", "edits"]
    assert len({*killed.values()}) == 4
    assert manifest.read(found)["objects"] == manifest.read(whole)["objects"]


def test_views_of_no_synapse_are_the_signals(plan: Plan, tmp_path: Path) -> None:
    """Where nothing is a synapse, activations and gradients are those of /signals."""
    part = InterventionPlan(
        operations=("suppress",), sets=("own",), synapse_operations=("suppress",), alpha=1e6,
        synapse_sets=("knowledge",), viewed_facts=2, viewed_neurons=7,
    )  # fmt: skip
    viewed = plan.model_copy(update={"interventions": part, "unit_facts": 1})
    study = qloc.open(extract_study(viewed, tmp_path / "whole.zarr").path)
    assert verify(tmp_path / "whole.zarr") == []
    views = study.synapse_views.load()
    assert dict(views.sizes)["view"] == 7
    neuron = views["viewed_neuron"].values
    rows = np.flatnonzero((neuron >= 0).any(axis=1))
    fact = study.column("queries", "fact")
    assert len(np.unique(fact[rows])) == 2
    assert set(np.unique(views["synapse"].values[rows])) <= {-1, 0}
    panel = study.signals["panel_neuron"].values[fact]
    for row in rows:
        told = neuron[row] >= 0
        slots = np.searchsorted(panel[row][panel[row] >= 0], neuron[row][told])
        for name in ("activation", "gradient"):
            expected = study.signals[name].values[row][slots]
            np.testing.assert_allclose(views[name].values[row][told], expected, rtol=2e-3, atol=1e-6)
