"""A dry run: every phase that is left is told, from what the store has; nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qloc.analysis.tracing.traced_queries import TracedQueries
from qloc.block import Shard
from qloc.errors import FingerprintError, InputError
from qloc.phase_plan import ProbePlan, TracingPlan
from qloc.plan import Plan
from qloc.workflows import append_phases
from qloc.workflows.dry_run import Estimate, _few
from qloc.workflows.extract import extract_study, prepared


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    from qloc.extract.models.loading import ModelSource

    def loaded(self: ModelSource, **_: object) -> None:
        raise AssertionError("the weights were read")

    monkeypatch.setattr(ModelSource, "load", loaded)


def test_it_writes_nothing_and_is_near(
    signals_plan: Plan, signals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Phase edits is made up: its last unit takes 2 s, in which one fact is edited."""
    monkeypatch.setattr(append_phases, "timed", lambda few, store, phase: 2.0)
    probes = ProbePlan(of_relations={"capital": ("Rome",)})
    plan = signals_plan.model_copy(update={"phases": ("signals", "edits"), "probes": probes})
    would = extract_study(plan, tmp_path / "s.zarr", dry_run=True)
    assert [*tmp_path.iterdir()] == []
    did = extract_study(signals_plan, signals)  # which holds it already
    assert (would.n_facts, would.n_queries, would.n_units) == (did.n_facts, did.n_queries, did.n_units)
    told = would.estimate
    assert told is not None
    assert told.seconds["signals"] > 0
    assert told.seconds["edits"] == 3 * 2.0
    assert would.seconds == sum(told.seconds.values())
    assert told.n_done == {"signals": 0, "edits": 0}
    assert told.asked_besides == ("Each change is also tried on 1 probe word a query at most.",)
    assert told.n_memory > 10**8  # torch alone
    # Chunks only: metadata and manifest do not grow with the facts, and are most of so small a store.
    chunks = sum(p.stat().st_size for p in did.path.glob("**/c/**/*") if p.is_file())
    assert 0.5 * chunks < would.n_bytes < 2 * chunks


def test_what_is_there_is_not_counted(
    signals_plan: Plan, copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append_phases, "timed", lambda few, store, phase: 2.0)
    plan = signals_plan.model_copy(update={"phases": ("signals", "edits")})
    for shard, edited in ((None, 3), (Shard(number=1, of=2), 2)):
        told = extract_study(plan, copied(f"{shard is None}.zarr"), dry_run=True, shard=shard).estimate
        assert told is not None
        assert told.seconds == {"signals": 0.0, "edits": edited * 2.0}
        assert told.n_done == {"signals": edited, "edits": 0}


def test_tracing_is_told_by_the_share_of_queries_that_are_traced(
    signals_plan: Plan, copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two facts that are tried, one fact of two queries each a unit, those are traced that are said here."""
    monkeypatch.setattr(append_phases, "timed", lambda few, store, phase: 2.0)
    few_traced = np.zeros(4, dtype=bool)
    monkeypatch.setattr(TracedQueries, "chosen", few_traced)

    def told(**tracing: object) -> tuple[float, tuple[str, ...]]:
        part = TracingPlan(**tracing)
        plan = signals_plan.model_copy(update={"phases": ("signals", "tracing"), "tracing": part})
        would = extract_study(plan, store, dry_run=True).estimate
        assert would is not None
        assert not would.nothing_left
        return would.seconds["tracing"], would.asked_besides

    store = copied("s.zarr")
    nothing = "Tracing is not in it: it takes known queries, and none of those that were tried is traced."
    assert told() == (0.0, (nothing,))
    few_traced[2] = True  # half of the facts, by one query: of three facts, 1.5 queries, each 2 s
    assert told() == (1.5 * 2.0, ())
    assert told(max_facts=1) == (2.0, ())  # one that is known is found
    few_traced[:] = True  # each fact by two queries, of which 2 s are for both
    assert told() == (3 * 2.0, ())


def test_of_a_whole_store_nothing_is_left(signals_plan: Plan, signals: Path, no_weights: None) -> None:
    found = extract_study(signals_plan, signals, dry_run=True)
    assert found.estimate == Estimate(seconds={"signals": 0.0}, n_done={"signals": 3}, nothing_left=True)
    assert (found.n_facts, found.n_queries, found.n_units, found.n_done) == (3, 6, 3, 3)


def test_another_store_is_refused_before_the_weights(
    signals_plan: Plan, signals: Path, tmp_path: Path, no_weights: None
) -> None:
    with pytest.raises(FingerprintError, match=r"steps: 3 → 5"):
        extract_study(signals_plan.model_copy(update={"steps": 5}), signals, dry_run=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"^path is 'a file'; expected a qloc store, or nothing yet"):
        extract_study(signals_plan, tmp_path / "file", dry_run=True)


def test_facts_that_are_tried_have_other_objects_and_are_asked(signals_plan: Plan) -> None:
    extraction = prepared(signals_plan.model_copy(update={"facts": "embedded"}))
    few = _few(extraction)
    facts = few.facts.facts
    assert len({fact.object for fact in facts}) == len({fact.id for fact in facts}) == len(facts)
    assert len({fact.relation for fact in facts}) == 1
    assert len(facts) == 2 * few.plan.unit_facts
    assert all(few.asking.asked)
    contrast = prepared(signals_plan.model_copy(update={"facts": "embedded", "target": "contrast"}))
    kinds = {fact.kind for fact in _few(contrast).facts.facts}
    assert kinds == {"fact"}  # minimal pairs have a contrast; these few have none, and are asked all the same
    assert all(asked for asked in _few(contrast).asking.asked)


def test_what_is_tried_can_be_edited_and_entails_about_the_mean(signals_plan: Plan, tmp_path: Path) -> None:
    synonyms = [{"answer": "old", "queries": ["[X] is [Y]."]}]
    path, lines = tmp_path / "facts.jsonl", []
    for relation, entails in (("plain", 0), ("some", 1), ("much", 9)):
        for n in range(4):
            fact = {"id": f"{relation}{n}", "relation": relation, "subject": f"S{n}", "object": f"O{n}"}
            lines.append({**fact, "queries": ["[X]: [Y]"], "synonyms": entails * synonyms})
    pair = {"kind": "minimal_pair", "relation": "pair", "good": "is", "bad": "are"}
    lines += [{"id": f"p{n}", **pair, "queries": [f"The book {n} [Y]"]} for n in range(8)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    plan = signals_plan.model_copy(update={"facts": str(path), "phases": ("signals", "edits")})
    # The mean of facts is 3.3 prompts; more pairs could be tried, but no pair entails anything.
    assert {fact.relation for fact in _few(prepared(plan)).facts.facts} == {"some"}
    assert {
        f.relation for f in _few(prepared(plan.model_copy(update={"phases": ("signals",)}))).facts.facts
    } == {"pair"}
