"""What users type: every command, every refusal, in whole; and what ends a command from outside."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
import zarr
from typer.testing import CliRunner, Result

from qloc.cli import app
from qloc.cli.analyze import folders_of
from qloc.cli.cite import REFERENCES
from qloc.plan import Plan
from qloc.version import __version__
from qloc.workflows.analyze import open_study

FACTS = [
    {
        "id": f"f{n}",
        "relation": "capital",
        "subject": subject,
        "object": answer,
        "queries": ["The capital of [X] is [Y].", "[X] has its capital in [Y]."],
    }
    for n, (subject, answer) in enumerate(
        [("France", "Paris"), ("Kenya", "Nairobi"), ("Peru", "Lima"), ("Austria", "Vienna")]
    )
]

COMMANDS = ["demo", "extract", "analyze", "report", "compare", "show", "reproduce", "simulate", "cite"]

BLOCKED = """
import sys
from importlib.machinery import PathFinder
ABSENT, found = {"torch", "transformers", "tokenizers", "safetensors"}, PathFinder.find_spec
PathFinder.find_spec = staticmethod(lambda name, path=None, target=None:
    None if name.partition(".")[0] in ABSENT else found(name, path, target))
from qloc.cli import main
sys.argv[0] = "qloc"
main()
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="qloc")


def done(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: object, code: int = 2) -> str:
    """What a refused command says; that it says nothing else, and no traceback."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert isinstance(result.exception, SystemExit)
    return result.stderr.removesuffix("\n")


def process(*arguments: object, code: str = "from qloc.cli import main; main()") -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


def write_facts(path: Path, *facts: object) -> Path:
    path.write_text("".join(f if isinstance(f, str) else json.dumps(f) + "\n" for f in facts or FACTS))
    return path


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("planted") / "planted.zarr"
    done("simulate", "--facts", 60, "--relations", 3, "--templates", 5, "--out", path)
    return path


@pytest.fixture(scope="module")
def embedded() -> None:
    """Skip where the embedded models or the extraction are not there."""
    pytest.importorskip("torch", reason="qloc[extract] is not installed")
    from qloc.extract.embedded import checkpoint

    if not (checkpoint("causal") / "config.json").exists():
        pytest.skip("the embedded models are not made yet")


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory, embedded: None) -> Path:
    """Give a folder with facts.jsonl and the store made of it."""
    folder = tmp_path_factory.mktemp("extracted")
    write_facts(folder / "facts.jsonl")
    done(*extraction(folder), "--quiet")
    return folder


def extraction(folder: Path, *more: object, store: str = "s.zarr") -> list[object]:
    facts, out = folder / "facts.jsonl", folder / store
    given = ["--model", "embedded:causal", "--facts", facts, "--out", out, "--steps", 3, "--device", "cpu"]
    return ["extract", "--phases", "signals", *given, *more]


# Help


def test_version() -> None:
    assert done("--version") == f"qloc {__version__}\n"


@pytest.mark.parametrize(
    "command", [[], *([name] for name in COMMANDS), ["store", "info"], ["store", "verify"]]
)
def test_help_is_a_page_to_act_on(command: list[str]) -> None:
    page = done(*command, "--help")
    assert page.startswith(f"Usage: {' '.join(['qloc', *command])} ")
    assert "\b" not in page
    assert re.search(r"\n +qloc [a-z]+", page)


def test_help_lists_what_there_is() -> None:
    page = done("--help").partition("Commands:\n")[2]
    assert [line.split()[0] for line in page.splitlines()] == [*COMMANDS, "facts", "store"]


IN_YAML_ONLY = {"analysis", "interventions", "edits"}


def test_the_defaults_in_the_help_are_those_of_the_plan() -> None:
    page = " ".join(done("extract", "--help").split())
    shown = dict(re.findall(r" --([a-z-]+) \S+ (?:(?! --).)*?\[default: ([^\]]+)\]", page))
    plan = Plan().model_dump(mode="json")
    unset = {"model", "facts", "revision", "blocks", "down", "relations", "max_facts", "analysis"}
    unset |= {"workers", "cluster", "sets"}
    expected = {
        name.replace("_", "-"): ",".join(plan[name]) if isinstance(plan[name], list) else plan[name]
        for name in plan
        if name not in unset and name not in IN_YAML_ONLY
    }
    assert shown == {name: str(value) for name, value in {**expected, "memory": "8GB"}.items()}
    assert plan["memory"] == 8 * 10**9


def test_every_field_of_a_plan_has_a_flag() -> None:
    flags = set(re.findall(r"^  --([a-z-]+)", done("extract", "--help"), re.MULTILINE))
    fields = {name.replace("_", "-") for name in Plan.model_fields} - IN_YAML_ONLY
    assert flags == fields | {"out", "plan", "dry-run", "quiet", "log"}


def test_the_command_line_is_light() -> None:
    code = "import sys, qloc.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = {"torch", "transformers", "zarr", "xarray", "pandas", "scipy", "numpy", "pydantic", "matplotlib"}
    assert heavy & set(loaded.split()) == set()


# Simulate, look, verify, cite


def test_simulate_says_where_and_what_next(tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    said = done("simulate", "--facts", 12, "--relations", 2, "--templates", 3, "--out", out)
    pattern = r"Store: (.*) \(12 facts, \d+ queries, \d[\d.]* kB\)\nNext:\n  qloc analyze (.*)\n"
    found = re.fullmatch(pattern, said)
    assert found
    assert found.groups() == (str(out), str(out))


def test_simulate_writes_every_phase(tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    given = ("--facts", 12, "--relations", 2, "--templates", 3, "--methods", "ig,sig", "--network", 1)
    done("simulate", *given, "--phases", "signals,interventions,edits", "--effect", 0, "--out", out)
    found = open_study(out)
    assert (found.phases, found.methods) == (("signals", "interventions", "edits"), ("ig", "sig"))
    assert found.attrs["model"] == "planted, network 1"
    assert "phases is 'tracking'; expected" in refused(
        "simulate", "--phases", "tracking", "--out", tmp_path / "t.zarr"
    )


def test_simulate_refuses_all_at_once(tmp_path: Path) -> None:
    said = refused("simulate", "--facts", -1, "--fact-strength", 2, "--out", tmp_path / "s.zarr")
    assert said.startswith("Errors:\n  - fact_strength is 2.0; expected a share in [0, 1].")
    assert "  - facts is -1; expected" in said
    assert refused("simulate", "--tier", "thick", "--out", tmp_path / "s.zarr") == (
        "Error: tier is 'thick'; expected panel or dense. At --tier. Correct it."
    )


def test_a_store_can_be_looked_into_and_verified(planted: Path) -> None:
    assert done("store", "info", planted).startswith(f"{planted}: qloc store, schema 1, complete\n")
    assert done("store", "verify", planted) == (
        f"{planted}: every byte is as it was written.\nNext:\n  qloc analyze {planted}\n"
    )


def test_a_damaged_store_is_told_with_exit_code_3(tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    done("simulate", "--facts", 6, "--relations", 2, "--templates", 2, "--out", out)
    chunk = next(path for path in sorted(out.rglob("c/*")) if path.is_file())
    chunk.write_bytes(chunk.read_bytes() + b"x")
    (out / "queries" / "rank" / "zarr.json").unlink()
    said = refused("store", "verify", out, code=3)
    assert said.startswith("Errors:\n  - ")
    assert chunk.relative_to(out).as_posix() in said
    assert "queries/rank/zarr.json" in said


def test_cite_lists_what_was_used(planted: Path, tmp_path: Path) -> None:
    everything = done("cite").splitlines()
    assert everything == list(dict.fromkeys(line for lines in REFERENCES.values() for line in lines))
    assert done("cite", planted).splitlines() == [*REFERENCES["ig"], *REFERENCES["consistency"]]
    assert refused("cite", tmp_path, tmp_path / "none") == (
        "Errors:\n" + "\n".join(
            f"  - path is '{path}'; expected a store, or a folder with results. At {path}. "
            "Give what qloc extract or qloc analyze wrote."
            for path in (tmp_path, tmp_path / "none")
        )
    )  # fmt: skip
    pytest.importorskip("obstore", reason="qloc[remote] is not installed")
    assert done("cite", planted.as_uri()) == done("cite", planted)
    nothing = tmp_path.as_uri()
    assert refused("cite", nothing) == (
        f"Error: path is '{nothing}'; expected a store, or a folder with results. At {nothing}. "
        "Give what qloc extract or qloc analyze wrote."
    )


def test_pack_of_a_url_says_to_pull_it(tmp_path: Path) -> None:
    url = "s3://bucket/gpt2.zarr"
    assert refused("store", "pack", url) == (
        f"Error: store is '{url}'; expected a path on this machine. At qloc store pack. "
        f"Run qloc store pull {url} STORE, and give STORE."
    )


# Analyze and report


def test_analyze_and_report(planted: Path, tmp_path: Path) -> None:
    pytest.importorskip("qloc.analysis.analyze")
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump({"analysis": {"n_permutations": 99, "n_bootstrap": 99}}))
    results, page = tmp_path / "results", tmp_path / "report.html"
    said = done("analyze", planted, "--plan", plan, "--out", results)
    assert said.endswith(f"Results: {results}\nNext:\n  qloc report {results}\n")
    assert done("report", results, "--out", page) == (f"Report: {page}\nNext:\n  open {page} in a browser\n")
    assert page.read_text().startswith("<!DOCTYPE html>")
    first = page.read_bytes()
    done("analyze", planted, "--plan", plan, "--out", results, "--quiet")
    done("report", results, "--out", page)
    assert page.read_bytes() == first
    for format, name in (("md", "r.md"), ("latex", "r.tex"), ("json", "r.json")):
        assert done("report", results, "--format", format, "--out", tmp_path / name) == (
            f"Report: {tmp_path / name}\n"
        )
    assert done("cite", results)


def test_results_of_several_stores_lie_apart() -> None:
    stores = [Path("a/x.zarr"), Path("b/x.zarr"), Path("y.zarr.zip")]
    assert folders_of(stores, Path("r")) == [Path("r/x"), Path("r/x-2"), Path("r/y")]
    assert folders_of(stores[2:], None) == [Path("y-results")]
    assert folders_of(stores[:1], Path("r")) == [Path("r")]


def test_a_threshold_below_the_floor_is_refused(planted: Path, tmp_path: Path) -> None:
    pytest.importorskip("qloc.analysis.analyze")
    plan = tmp_path / "plan.yaml"
    plan.write_text("analysis: {threshold: 0.01, thresholds: [0.2], n_permutations: 99, n_bootstrap: 99}\n")
    said = refused("analyze", planted, "--plan", plan, "--out", tmp_path / "r", "--quiet")
    assert re.match(r"Error: threshold is 0\.01; expected .*0\.05", said), said
    assert not (tmp_path / "r").exists()


def test_what_is_no_result_is_no_report(tmp_path: Path) -> None:
    rule = "a folder that `qloc analyze` wrote, with study.json in it"
    assert refused("report", tmp_path, tmp_path / "x", "--out", tmp_path / "r.html") == (
        "Errors:\n" + "\n".join(
            f"  - results is '{path}'; expected {rule}. At {path}. Run `qloc analyze` first."
            for path in (tmp_path, tmp_path / "x")
        )
    )  # fmt: skip
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize("command", [["store", "info"], ["store", "verify"], ["analyze"]], ids=" ".join)
def test_another_programs_zarr_is_refused(tmp_path: Path, command: list[str]) -> None:
    path = tmp_path / "foreign.zarr"
    zarr.create_group(path).create_array("x", shape=(3,), dtype="f4")
    said = refused(*command, path, *(["--quiet"] if command == ["analyze"] else []))
    assert said == (
        'Error: Zarr hierarchy is "another program\'s"; expected root attributes schema_version, '
        f"fingerprint, layout. At {path}. Give the path of a store that qloc extract wrote."
    )


# Extract: usage


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


def test_an_unknown_command_is_a_usage_error() -> None:
    result = run("extrct")
    assert result.exit_code == 2
    assert "No such command 'extrct'. Did you mean 'extract'?" in result.stderr


# Extract: bad facts, bad models

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


# Extract: the work


def test_extract_says_where_and_what_next(tmp_path: Path, embedded: None) -> None:
    write_facts(tmp_path / "facts.jsonl")
    out = tmp_path / "s.zarr"
    dry = done(*extraction(tmp_path, "--dry-run"))
    assert re.fullmatch(
        re.escape(f"{out} would hold 4 facts, 8 queries, 1 unit: about ")
        + r"[\d.]+ kB, in about .+\.\nNext:\n  the same command without --dry-run\n",
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
    assert [event["event"] for event in events] == ["message", "start", "progress", "end", "message"]
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


# What ends a command from outside


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupted(folder: Path, number: signal.Signals) -> subprocess.CompletedProcess[str]:
    """Send a signal to an extraction that has just saved a unit."""
    before = len(list(folder.glob("s.zarr/ledger/unit-*.json")))
    command = process(*extraction(folder, "--unit-facts", 1))
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_interrupts,  # a shell's background job is told to ignore Ctrl-C, and so are its children
    )
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
        for n in range(15)
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
    again = process(*extraction(tmp_path, "--unit-facts", 1))
    went_on = subprocess.run(again, capture_output=True, text=True)
    assert went_on.returncode == 0, went_on.stderr
    assert re.search(r"\d+ of 60 units are in .*s\.zarr already\.", went_on.stderr)
    assert done("store", "verify", out)
    subprocess.run(process(*extraction(tmp_path, "--unit-facts", 1, store="whole.zarr")), check=True)
    assert contents(out) == contents(tmp_path / "whole.zarr")


def blocked(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(process(*arguments, code=BLOCKED), capture_output=True, text=True)


def test_without_torch_extraction_names_what_to_install(tmp_path: Path) -> None:
    write_facts(tmp_path / "facts.jsonl")
    result = blocked(*extraction(tmp_path, "--quiet"))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "Error: package torch is 'missing'; expected installed; qloc[extract] brings it. "
        "At qloc extract. In the clone, run: pip install -c constraints.txt '.[extract]'.\n"
    )


@pytest.mark.slow
def test_without_torch_the_demo_starts_from_the_shipped_extraction(tmp_path: Path) -> None:
    from qloc.shipped import KINDS

    result = blocked("demo", "--out", tmp_path / "demo")
    assert result.returncode == 0, result.stderr
    page = tmp_path / "demo" / "report.html"
    assert result.stdout.startswith(f"Report: {page}\n")
    text = page.read_text()
    for kind in KINDS:
        store = tmp_path / "demo" / f"{kind}.zarr"
        assert f"{store} starts from the shipped extraction, 5 facts a relation" in result.stderr
        assert done("store", "verify", store)
        assert f"embedded:{kind}" in text


def test_without_torch_everything_else_works(planted: Path, tmp_path: Path) -> None:
    pytest.importorskip("qloc.analysis.analyze")
    plan, results = tmp_path / "plan.yaml", tmp_path / "results"
    plan.write_text("analysis: {n_permutations: 99, n_bootstrap: 99}\n")
    for command in (
        ["--help"],
        ["simulate", "--facts", 6, "--relations", 2, "--out", tmp_path / "s.zarr"],
        ["store", "info", planted],
        ["store", "verify", planted],
        ["analyze", planted, "--plan", plan, "--out", results],
        ["report", results, "--out", tmp_path / "report.html"],
        ["cite", planted],
    ):
        result = blocked(*command)
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "report.html").exists()


def test_anybodys_xarray_opens_what_was_extracted(extracted: Path) -> None:
    queries = xr.open_zarr(extracted / "s.zarr", group="queries", consolidated=False)
    assert queries["prompt"].values[0].startswith("The capital of France is")
