"""``qloc store repair`` of every phase: the model runs the units of damaged objects, and no others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from qloc.block import PhaseBlock, Unit
from qloc.cli import app
from qloc.phase_plan import EditPlan, InterventionPlan, RomePlan, TracingPlan
from qloc.plan import IN_ORDER, Plan
from qloc.store.integrity import check
from qloc.store.integrity.verify import verify
from qloc.store.schema import manifest
from qloc.workflows import append_phases
from qloc.workflows.extract import extract_study
from qloc.workflows.repair import _part, _plan

SUBJECTS = (("France", "Paris"), ("Kenya", "Nairobi"), ("Peru", "Lima"), ("Austria", "Vienna"))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["store", "repair", *map(str, arguments)], prog_name="qloc")


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def last(store: Path, array: str) -> str:
    """Give the last piece of an array."""
    found = [path for path in (store / array).rglob("c/**/*") if path.is_file()]
    return max(path.relative_to(store).as_posix() for path in found)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Give a plan with every phase, and with sets of the user's own; the model is in a folder of its own."""
    pytest.importorskip("torch", reason="qloc[extract] is not installed")
    from qloc.extract.embedded import checkpoint

    if not (checkpoint("causal") / "config.json").exists():
        pytest.skip("the embedded models are not made yet")
    folder = tmp_path_factory.mktemp("planned")
    shutil.copytree(checkpoint("causal"), folder / "model")
    with (folder / "facts.jsonl").open("w") as lines:
        for subject, answer in SUBJECTS:
            queries = ["The capital of [X] is [Y].", "[X] has its capital in [Y]."]
            fact = {"id": subject, "relation": "capital", "subject": subject, "object": answer}
            lines.write(json.dumps({**fact, "queries": queries}) + "\n")
    (folder / "sets.json").write_text('{"mine": {"France": [[0, 1], [1, 2]], "": [[0, 3]]}}')
    return Plan(
        model=str(folder / "model"),
        facts=str(folder / "facts.jsonl"),
        sets=str(folder / "sets.json"),
        quadrature="midpoint", steps=3,
        unit_facts=1,
        device="cpu",
        threads=1,
        seed=3,
        probes=["Rome", "Lima"],
        interventions=InterventionPlan(
            operations=("suppress", "mean", "resample"), sets=("own", "union", "other_fact", "matched"),
            synapse_operations=("suppress",), threshold=0.3,
        ),
        tracing=TracingPlan(samples=1, queries=1, parts=("mlp",), roles=("last_subject", "last_token")),
        edits=EditPlan(
            operations=("erase", "update"), sets=("own", "cas", "matched", "rome_traced"), n_probes=2,
            text_tokens=8, greedy_tokens=2, rome=RomePlan(layer=0.0, prefixes=0, steps=2, sample_tokens=32),
        ),
        phases=IN_ORDER,
    )  # fmt: skip


@pytest.fixture(scope="module")
def extracted(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the store of the plan, whose phase interventions was run in two halves."""
    store, whole, ran = tmp_path_factory.mktemp("extracted") / "s.zarr", append_phases.PhaseUnits.block, []

    def half(self: append_phases.PhaseUnits, unit: Unit) -> PhaseBlock:
        ran.append(unit.number)
        if len(ran) == 3:
            raise KeyboardInterrupt
        return whole(self, unit)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("qloc.store.schema.zarr_arrays.CHUNK_BYTES", 2000)
        patched.setattr("qloc.store.schema.zarr_arrays.SHARD_BYTES", 4000)
        extract_study(plan.model_copy(update={"phases": ("signals",)}), store)
        patched.setattr("qloc.store.schema.zarr_arrays.CHUNK_BYTES", 30)
        patched.setattr("qloc.store.schema.zarr_arrays.SHARD_BYTES", 60)
        patched.setattr(append_phases.PhaseUnits, "block", half)
        with pytest.raises(KeyboardInterrupt):
            extract_study(plan, store)
        extract_study(plan, store)
    assert ran == [0, 1, 2, 2, 3, *range(4), *range(4)]
    return store


@pytest.fixture
def damaged(extracted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(extracted, tmp_path / "s.zarr"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """List the units that the model runs over, by phase."""
    from qloc.extract.edits.phase import Edits
    from qloc.extract.interventions.phase import Interventions
    from qloc.extract.signals.extraction import Extraction
    from qloc.extract.tracing.phase import Tracing

    found: list[tuple[str, int]] = []

    def count(phase: str, of: type) -> None:
        whole = of.extract  # type: ignore[attr-defined]

        def counted(self: object, unit: Unit, *arms: object) -> object:
            found.append((phase, unit.number))
            return whole(self, unit, *arms)

        monkeypatch.setattr(of, "extract", counted)

    for phase, of in zip(IN_ORDER, (Extraction, Interventions, Tracing, Edits), strict=True):
        count(phase, of)
    return found


def units_of(store: Path, name: str) -> list[int]:
    """Units with rows in an object: two queries, or one fact, each."""
    array, _, chunk = name.partition("/c/")
    found = json.loads((store / array / "zarr.json").read_bytes())
    dims = found["dimension_names"]
    axis = dims.index("query") if "query" in dims else dims.index("fact")
    step = found["chunk_grid"]["configuration"]["chunk_shape"][axis]
    first, of_unit = int(chunk.split("/")[axis]) * step, 2 if "query" in dims else 1
    rows = range(first, min(first + step, found["shape"][axis]))
    return sorted({row // of_unit for row in rows})


def test_the_model_runs_the_units_of_damaged_objects(
    damaged: Path, extracted: Path, asked: list[tuple[str, int]]
) -> None:
    """Of every group; sums of relations, which interventions need, take all units of signals."""
    arrays = ("signals/gradient", "interventions/logit", "interventions/margin", "synapses/margin",
              "interventions/word_log_probability", "tracing/log_odds", "edits/new_object", "edits/probe_kl",
              "edits/word_log_probability")  # fmt: skip
    names = [last(damaged, array) for array in arrays]
    for name in names:
        flip(damaged / name)
    expected: dict[str, set[int]] = {phase: set() for phase in IN_ORDER}
    for name in names:
        group = name.partition("/")[0]
        expected[{"synapses": "interventions"}.get(group, group)] |= {*units_of(damaged, name)}
    assert all(0 < len(units) < 4 for units in expected.values())
    result = run(damaged, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert asked == [(phase, unit) for phase, units in expected.items() for unit in sorted(units)]
    told = ", ".join(
        f"{len(units)} {'unit' if len(units) == 1 else 'units'} of {phase}"
        for phase, units in expected.items()
    )
    assert result.stdout.startswith(
        f"{damaged}: 9 objects rebuilt ({told} run again); every byte is as it was written.\n"
    )
    assert contents(damaged) == contents(extracted)
    asked.clear()
    for name in (last(damaged, "statistics/activation_sum"), last(damaged, "interventions/logit")):
        flip(damaged / name)
    assert run(damaged, "--device", "cpu", "--quiet").output == ""
    assert asked[:4] == [("signals", unit) for unit in range(4)]
    assert {phase for phase, _ in asked[4:]} == {"interventions"}
    assert contents(damaged) == contents(extracted)


def test_labels_and_coordinates_of_phases_need_no_model(
    damaged: Path, extracted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qloc.workflows.repair.prepared", None)
    names = ("interventions/neuron_set", "synapses/relation", "edits/relation", "edits/edit_set")
    for name in (*(last(damaged, name) for name in names), "edits/zarr.json", "README.md"):
        flip(damaged / name)
    assert run(damaged, "--quiet").output == ""
    assert contents(damaged) == contents(extracted)


def test_an_interrupted_repair_goes_on(
    damaged: Path, extracted: Path, asked: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from qloc.extract.edits.phase import Edits

    flip(damaged / last(damaged, "signals/gradient"))
    shutil.rmtree(damaged / "edits" / "rank" / "c")
    with monkeypatch.context() as patched:
        whole = Edits.extract

        def dies(self: Edits, unit: Unit, arms: object) -> PhaseBlock:
            if unit.number == 2:
                raise KeyboardInterrupt
            return whole(self, unit, arms)  # type: ignore[arg-type]

        patched.setattr(Edits, "extract", dies)
        assert run(damaged, "--device", "cpu").exit_code == 130
    assert all(problem.startswith("array edits/rank") for problem in verify(damaged))
    asked.clear()
    assert run(damaged, "--device", "cpu").exit_code == 0
    assert asked == [("edits", 2), ("edits", 3)]
    assert contents(damaged) == contents(extracted)
    assert [path.name for path in damaged.parent.iterdir()] == ["s.zarr"]


def test_what_is_no_longer_there_is_named_and_nothing_lost(
    damaged: Path, extracted: Path, plan: Plan, tmp_path: Path, asked: list[tuple[str, int]]
) -> None:
    """Model and own sets; found again elsewhere, they are taken where they are the same."""
    flip(damaged / last(damaged, "interventions/rank"))
    before = contents(damaged)
    model, sets = Path(plan.model), Path(str(plan.sets))
    there = shutil.move(model, tmp_path / "model")
    try:
        gone = run(damaged, "--device", "cpu")
        assert (gone.exit_code, gone.stdout) == (2, "")
        assert gone.stderr.startswith("Error: model")
        assert str(model) in gone.stderr
        lost = run(damaged, "--device", "cpu", "--model", there, "--sets", tmp_path / "none.json")
        assert (lost.exit_code, lost.stdout) == (2, "")
        assert str(tmp_path / "none.json") in lost.stderr
        (tmp_path / "other.json").write_text('{"mine": {"": [[0, 3]]}}')
        other = run(damaged, "--device", "cpu", "--model", there, "--sets", tmp_path / "other.json")
        assert (other.exit_code, other.stdout) == (2, "")
        assert "fingerprint of interventions" in other.stderr
        assert "parameters.own_sets: " in other.stderr
        assert (contents(damaged), asked) == (before, [])
        moved = shutil.copy(sets, tmp_path / "moved.json")
        assert run(damaged, "--device", "cpu", "--model", there, "--sets", moved, "--quiet").output == ""
        assert contents(damaged) == contents(extracted)
    finally:
        shutil.move(there, model)


@pytest.mark.parametrize(
    "part",
    [
        EditPlan(),
        EditPlan(pairs=False),
        EditPlan(matching="decile", text="joined", rome=RomePlan(best_by="loss")),
        InterventionPlan(),
        InterventionPlan(matching="decile", own_controls=False),
        TracingPlan(samples=3, window=0.5),
        TracingPlan(pairs=False),
    ],
)
def test_a_phases_part_of_the_plan_is_that_of_its_fingerprint(
    part: EditPlan | InterventionPlan | TracingPlan,
) -> None:
    """Older stores do not name what they did otherwise than defaults say."""
    phase = {EditPlan: "edits", InterventionPlan: "interventions"}.get(type(part), "tracing")
    own = {name: True for name in ("own_controls", "pairs", "entailments") if getattr(part, name, False)}
    assert type(part)(**_part(phase, {**part.parameters(), **own, "seed": 0})) == part


def test_what_facts_gave_to_edits_is_taken_from_the_facts_again() -> None:
    """The fingerprint has a digest of what is entailed, or that new objects are the facts' own."""
    for given in ({"entailments": "ab12"}, {"new_object": "target_new"}):
        assert EditPlan(**_part("edits", {**EditPlan().parameters(), **given})).entailments
    assert not EditPlan(**_part("edits", EditPlan().parameters())).entailments


def test_groups_of_pairs_are_made_again_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """How pairs are grouped stands in the store's attributes, where it has groups, and in no fingerprint."""
    signals = {"made_from": {"parameters": {"steps": 3}}}
    attributes = {"model": "m", "facts": "blimp:x", "fingerprint": {"signals": signals}}
    repair: Any = SimpleNamespace(path=Path("s.zarr"), stages=(SimpleNamespace(phase="signals"),))
    for given, expected in (({"pairs": "feature", "pair_queries": 7}, ("feature", 7)), ({}, ("single", 20))):
        monkeypatch.setattr(check, "root_attributes", lambda _, more=given: attributes | more)
        found = _plan(repair, {})
        assert (found.pairs, found.pair_queries) == expected


def test_a_packed_store_is_refused(extracted: Path, tmp_path: Path) -> None:
    from qloc.store.exchange.pack import pack

    packed = pack(extracted, tmp_path / "s.zarr.zip")
    refused = run(packed)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith("Error: store is 'packed'; expected a folder. ")


def test_other_numbers_of_a_phase_are_accepted_by_its_name(
    damaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qloc.extract.edits.phase import Edits

    whole = Edits.extract

    def elsewhere(self: Edits, unit: Unit, arms: object) -> PhaseBlock:
        block = whole(self, unit, arms)  # type: ignore[arg-type]
        block.arrays["edits/log_probability"][...] *= 1.000001
        return block

    monkeypatch.setattr(Edits, "extract", elsewhere)
    flip(damaged / last(damaged, "edits/log_probability"))
    refused = run(damaged, "--device", "cpu", "--quiet")
    assert (refused.exit_code, refused.stdout) == (3, "")
    assert refused.stderr.startswith("Error: array edits/log_probability, facts ")
    assert run(damaged, "--device", "cpu", "--accept").exit_code == 0
    assert verify(damaged) == []
    (told,) = manifest.read(damaged)["run"]["repairs"]
    assert (told["phase"], told["environment"]["device"]) == ("edits", "cpu")
    assert {name.partition("/")[0] for name in told["objects"]} <= {"edits", "README.md"}
