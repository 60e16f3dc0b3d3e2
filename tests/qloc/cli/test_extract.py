"""``qloc extract``: every refusal, in whole; the work; and what ends it from outside."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import forked
import numpy as np
import pytest
import xarray as xr
import yaml
import zarr
from commands import FACTS, blocked, done, process, refused, run, write_facts

from qloc.plan import Plan, plan_from


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory, embedded: None) -> Path:
    """Give a folder with facts.jsonl and the store made of it."""
    folder = tmp_path_factory.mktemp("extracted")
    write_facts(folder / "facts.jsonl")
    done(*extraction(folder), "--quiet")
    return folder


def extraction(folder: Path, *more: object, store: str = "s.zarr") -> list[object]:
    facts, out = folder / "facts.jsonl", folder / store
    given = [
        "--model",
        "embedded:causal",
        "--facts",
        facts,
        "--out",
        out,
        "--quadrature",
        "midpoint",
        "--steps",
        3,
        "--device",
        "cpu",
        "--threads",
        1,
    ]
    return ["extract", "--phases", "signals", *given, *more]


IN_YAML_ONLY = {"analysis", "interventions", "edits", "tracing"}


def test_the_defaults_in_the_help_are_those_of_the_plan() -> None:
    page = " ".join(done("extract", "--help").split())
    shown = dict(re.findall(r" --([a-z-]+) \S+ (?:(?! --).)*?\[default: ([^\]]+)\]", page))
    plan = Plan().model_dump(mode="json")
    unset = {"model", "facts", "revision", "blocks", "down", "relations", "max_facts", "analysis"}
    unset |= {"workers", "cluster", "sets", "pairs", "probes"}
    expected = {
        name.replace("_", "-"): ",".join(map(str, plan[name])) if isinstance(plan[name], list) else plan[name]
        for name in plan
        if name not in unset and name not in IN_YAML_ONLY
    }
    assert shown == {name: str(value) for name, value in {**expected, "memory": "8GB"}.items()}
    assert plan["memory"] == 8 * 10**9


def test_every_field_of_a_plan_has_a_flag() -> None:
    flags = set(re.findall(r"^  --([a-z-]+)", done("extract", "--help"), re.MULTILINE))
    fields = {name.replace("_", "-") for name in Plan.model_fields} - IN_YAML_ONLY
    assert flags == fields | {"out", "plan", "shard", "signals", "print-plan", "dry-run", "quiet", "log"}


def test_all_that_is_wrong_with_a_command_is_said_at_once() -> None:
    assert refused("extract", "--tier", "thick", "--memory", "much") == "\n".join(
        [
            "Errors:",
            "  - tier is 'thick'; expected 'panel' or 'dense'. At flag --tier. Correct it.",
            "  - memory is 'much'; expected 'much' is no size; expected a number with B, KB, MB, GB, KiB, "
            "MiB or GiB, such as 8GB. At flag --memory. Correct it.",
            "  - model is None; expected a value of --model or in the plan. At qloc extract. "
            "Add one, such as --model embedded:causal.",
            "  - facts is None; expected a value of --facts or in the plan. At qloc extract. "
            "Add one, such as --facts embedded.",
            "  - out is None; expected a value of --out. At qloc extract. Add one, such as --out study.zarr.",
        ]
    )


def test_an_unknown_key_in_a_plan_is_refused(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("model: gpt2\nfacts: facts.jsonl\nstepz: 40\n")
    assert refused("extract", "--plan", plan, "--out", tmp_path / "s.zarr") == (
        f"Error: key is 'stepz'; expected one of {', '.join(Plan.model_fields)}. At plan {plan}. "
        "Remove or correct it."
    )


BAD_FACTS = {
    "no [Y]": (
        [{**FACTS[0], "queries": ["The capital of [X] is"]}],
        "query is 'The capital of France is'; expected exactly one [Y]. At {facts}, line 1, query 1. "
        "Put it where the answer stands.",
    ),
    "two [Y]": (
        [{**FACTS[0], "queries": ["[Y] [Y]"]}],
        "query is '[Y] [Y]'; expected exactly one [Y]. At {facts}, line 1, query 1. "
        "Put it where the answer stands.",
    ),
    "empty object": (
        [{**FACTS[0], "object": ""}],
        "object is ''; expected text that is not empty. At {facts}, line 1. Fill it in.",
    ),
    "duplicate ids": (
        [FACTS[0], {**FACTS[1], "id": "f0"}],
        "id is 'f0'; expected one that {facts}, line 1 does not have. At {facts}, line 2. Make ids unique.",
    ),
    "broken JSON": (
        [FACTS[0], FACTS[1], '{"id": "c",\n'],
        'line is \'{"id": "c",\'; expected JSON. At {facts}, line 3, column 12: Expecting property name '
        "enclosed in double quotes. Mend the line.",
    ),
}


@pytest.mark.parametrize(("facts", "expected"), BAD_FACTS.values(), ids=BAD_FACTS.keys())
def test_bad_facts_are_refused(tmp_path: Path, embedded: None, facts: list[object], expected: str) -> None:
    path = write_facts(tmp_path / "facts.jsonl", *facts)
    said = refused(*extraction(tmp_path, "--quiet"))
    assert said == "Error: " + expected.replace("{facts}", str(path))
    assert not (tmp_path / "s.zarr").exists()


def test_a_url_to_write_to_is_refused(embedded: None) -> None:
    said = refused("extract", "--model", "embedded:causal", "--facts", "embedded", "--out", "s3://b/x.zarr")
    assert said == (
        "Error: out is 's3:/b/x.zarr'; expected a folder of this machine. At qloc extract. "
        "Extract to a folder, then qloc store push it."
    )


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path, embedded: None) -> None:
    write_facts(tmp_path / "facts.jsonl")
    said = refused(*extraction(tmp_path, "--model", tmp_path, "--quiet"))
    assert said.startswith(f"Error: model is '{tmp_path}'; expected ")
    assert not (tmp_path / "s.zarr").exists()


def test_an_unknown_model_type_is_refused(tmp_path: Path, embedded: None) -> None:
    write_facts(tmp_path / "facts.jsonl")
    (tmp_path / "config.json").write_text('{"model_type": "crystal_ball"}')
    said = refused(*extraction(tmp_path, "--model", tmp_path, "--quiet"))
    assert said.startswith(f"Error: model is '{tmp_path}'; expected ")
    assert "model type" in said
    assert "crystal_ball" in said


def test_extract_says_where_and_what_next(tmp_path: Path, embedded: None) -> None:
    write_facts(tmp_path / "facts.jsonl")
    out = tmp_path / "s.zarr"
    dry = done(*extraction(tmp_path, "--dry-run"))
    assert re.fullmatch(
        re.escape(f"{out} would hold 4 facts, 8 queries, 1 unit: about ")
        + r"[\d.]+ kB, in about (.+) of one process \(signals \1\)\.\n"
        + r"A process takes about .+ of memory, more where prompts are longer than those tried\.\n"
        + r"Next:\n  the same command without --dry-run\n",
        dry,
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["facts.jsonl"]
    log = tmp_path / "log.jsonl"
    result = run(*extraction(tmp_path, "--log", log))
    assert re.fullmatch(
        re.escape(f"Store: {out} (4 facts, 8 queries, 1 unit, ") + r"[\d.]+ kB\)\n"
        + re.escape(f"Next:\n  qloc analyze {out}\n  qloc store info {out}\n"),
        result.stdout,
    )  # fmt: skip
    assert result.stderr.splitlines()[0] == "Loading embedded:causal …"
    assert re.fullmatch(r"extract: 8 of 8 queries, [\d.]+ a second", result.stderr.splitlines()[1])
    events = [json.loads(line) for line in log.read_text().splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[:5] == ["message", "start", "progress", "end", "message"]
    assert {*kinds[5:]} <= {"message"}  # that no fact has two known queries
    assert (events[2]["stage"], events[2]["done"], events[2]["total"]) == ("extract", 8, 8)


def test_what_is_not_asked_is_counted(tmp_path: Path, embedded: None) -> None:
    again = {**FACTS[0], "id": "again", "queries": ["[X]: [Y]", {"template": "t", "text": "France: [Y]"}]}
    behind = {**FACTS[1], "queries": ["The capital of [X] is [Y].", "[Y] is the capital of [X]."]}
    write_facts(tmp_path / "facts.jsonl", FACTS[0], again, behind)
    said = done(*extraction(tmp_path, "--quiet", "--log", tmp_path / "log"))
    assert said == ""
    told = done(*extraction(tmp_path)).splitlines()
    assert told[:3] == [
        "Merged: 1 fact with an earlier one.",
        "Counted while reading facts: 1 × query with the prompt of another of its fact.",
        "Left out: 1 query, text after the answer (causal).",
    ]
    assert told[3].startswith(f"Store: {tmp_path / 's.zarr'} (2 facts, 4 queries, 1 unit, ")


def test_a_finished_extraction_is_not_repeated(extracted: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in extracted.rglob("*")}
    result = run(*extraction(extracted))
    assert result.exit_code == 0
    assert result.stderr == f"{extracted / 's.zarr'} holds this extraction already.\n"
    assert {path: path.stat().st_mtime_ns for path in extracted.rglob("*")} == before


def test_quiet_is_quiet(extracted: Path) -> None:
    result = run(*extraction(extracted, "--quiet"))
    assert (result.exit_code, result.output) == (0, "")


def test_another_fingerprint_is_refused_with_the_difference(extracted: Path) -> None:
    said = refused(*extraction(extracted, "--steps", 4, "--quadrature", "right", "--quiet"))
    assert said.startswith("Error: fingerprint of signals is ")
    assert "(parameters.quadrature: 'midpoint' → 'right'; parameters.steps: 3 → 4)" in said


def test_a_path_with_something_else_is_refused(tmp_path: Path, embedded: None) -> None:
    write_facts(tmp_path / "facts.jsonl")
    zarr.create_group(tmp_path / "s.zarr")
    assert refused(*extraction(tmp_path, "--quiet")) == (
        "Error: path is 'a folder with something else in it'; expected a qloc store, or nothing yet. "
        f"At {tmp_path / 's.zarr'}. Give another --out."
    )


def test_flags_override_the_plan(tmp_path: Path, embedded: None) -> None:
    facts = write_facts(tmp_path / "facts.jsonl", *FACTS[:1])
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump({"model": "embedded:causal", "facts": str(facts), "steps": 9, "seed": 1}))
    out = tmp_path / "s.zarr"
    done("extract", "--plan", plan, "--steps", 2, "--phases", "signals", "--out", out, "--quiet")
    attrs = zarr.open_group(out, mode="r").attrs
    assert (attrs["steps"], attrs["seed"]) == (2, 1)


def interrupted(folder: Path, number: signal.Signals) -> subprocess.CompletedProcess[str]:
    """Send a signal to an extraction that has just saved a unit."""
    before = len(list(folder.glob("s.zarr/ledger/unit-*.json")))
    command = process(*extraction(folder, "--unit-facts", 1))
    running = forked.Popen(command, torch=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    while len(list(folder.glob("s.zarr/ledger/unit-*.json"))) <= before and running.poll() is None:
        assert time.monotonic() < deadline, "no progress"
        time.sleep(0.005)
    running.send_signal(number)
    out, error = running.communicate(timeout=120)
    return subprocess.CompletedProcess(command, running.returncode, out, error)


def contents(store: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for name, node in zarr.open_group(store, mode="r").members(max_depth=None):
        if isinstance(node, zarr.Array):
            value = np.asarray(node[...])
            exact = value.tobytes() if value.dtype.kind in "iufb" else repr(value.tolist())
            found[name] = (str(value.dtype), value.shape, exact)
    return found


@pytest.mark.slow
def test_an_interrupted_extraction_goes_on_and_is_equal(tmp_path: Path, embedded: None) -> None:
    many = [
        {**fact, "id": f"{fact['id']}-{n}", "subject": f"{fact['subject']} {n}"}
        for n in range(3)
        for fact in FACTS
    ]
    write_facts(tmp_path / "facts.jsonl", *many)
    out = tmp_path / "s.zarr"
    for number in (signal.SIGINT, signal.SIGTERM):
        stopped = interrupted(tmp_path, number)
        assert stopped.returncode == 130, stopped.stderr
        assert (
            "Interrupted. What was extracted is kept; to go on, run again:\n  qloc extract" in stopped.stderr
        )
        assert "Traceback" not in stopped.stderr
        assert stopped.stdout == ""
        assert "unfinished: " in done("store", "info", out)
    went_on = run(*extraction(tmp_path, "--unit-facts", 1))
    assert went_on.exit_code == 0, went_on.stderr
    assert re.search(r"\d+ of 12 units are in .*s\.zarr already\.", went_on.stderr)
    assert done("store", "verify", out)
    done(*extraction(tmp_path, "--unit-facts", 1, "--quiet", store="whole.zarr"))
    assert contents(out) == contents(tmp_path / "whole.zarr")


@pytest.mark.slow
def test_jobs_of_an_array_make_the_store_of_one_machine(tmp_path: Path, embedded: None) -> None:
    """Two processes at a time. Of later phases, tests/qloc/workflows/test_append_phases.py."""
    write_facts(tmp_path / "facts.jsonl", *FACTS[:3])
    stores = ["1.zarr", "2.zarr"]
    jobs = [
        forked.Popen(
            process(*extraction(tmp_path, "--unit-facts", 1, "--shard", f"{n}/2", store=store)),
            torch=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n, store in enumerate(stores, 1)
    ]
    done(*extraction(tmp_path, "--unit-facts", 1, "--quiet", store="whole.zarr"))
    ended = [(job, *job.communicate()) for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], [told for _, _, told in ended]
    first = tmp_path / "1.zarr"
    assert ended[0][1].startswith(f"Store: {first} (shard 1/2, 2 units, ")
    assert ended[0][1].endswith(
        "Next:\n  when all shards are done, qloc store merge on their stores, and the store to write\n"
    )
    merged = tmp_path / "merged.zarr"
    assert "(complete)" in done("store", "merge", *(tmp_path / store for store in stores), merged)
    ours, theirs = (
        json.loads((path / "manifest.json").read_text()) for path in (merged, tmp_path / "whole.zarr")
    )
    assert ours["objects"] == theirs["objects"]
    assert ours["run"]["plan"] == theirs["run"]["plan"]


def test_the_whole_plan_is_printed_and_read_again(tmp_path: Path) -> None:
    """It needs neither a store nor torch, and has every default in it."""
    printed = done(
        "extract", "--facts", "mine.jsonl", "--quadrature", "right", "--relations", "P36,P39", "--print-plan"
    )
    (tmp_path / "plan.yaml").write_text(printed)
    asked = Plan(facts="mine.jsonl", quadrature="right", relations=("P36", "P39"))
    assert plan_from(tmp_path / "plan.yaml") == asked
    assert set(yaml.safe_load(printed)) == set(Plan.model_fields)
    assert done("extract", "--plan", tmp_path / "plan.yaml", "--print-plan") == printed
    assert "steps is '0'; expected " in refused("extract", "--steps", "0", "--print-plan")


def test_without_torch_extraction_names_what_to_install(tmp_path: Path) -> None:
    write_facts(tmp_path / "facts.jsonl")
    result = blocked(*extraction(tmp_path, "--quiet"))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "Error: package torch is 'missing'; expected installed; qloc[extract] brings it. "
        "At qloc extract. In the clone, run: pip install -c constraints.txt '.[extract]'.\n"
    )


def test_anybodys_xarray_opens_what_was_extracted(extracted: Path) -> None:
    queries = xr.open_zarr(extracted / "s.zarr", group="queries", consolidated=False)
    assert queries["prompt"].values[0].startswith("The capital of France is")
