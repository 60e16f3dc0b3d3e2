"""``qloc simulate``, as users type it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from commands import done, refused

from qloc.workflows.analyze import open_study


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


def test_simulate_plants_what_tests_may_be_wrong_in(tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    given = (
        "--templates",
        3,
        "--size-spread",
        0.3,
        "--hubs",
        2,
        "--shared-templates",
        "--few-templates",
        0.5,
    )
    done("simulate", "--facts-by-relation", "9,4", *given, "--out", out)
    found = open_study(out)
    assert np.unique(found.facts["relation"].values, return_counts=True)[1].tolist() == [9, 4]
    assert found.attrs["parameters"]["hubs"] == 2
    assert set(found.queries["template"].values) == {"T-1", "T-2", "T-3"}
    assert refused("simulate", "--facts-by-relation", "9,x", "--out", tmp_path / "t.zarr") == (
        "Error: facts by relation is '9,x'; expected whole numbers parted by commas. At --facts-by-relation. "
        "Correct it."
    )


def test_simulate_refuses_all_at_once(tmp_path: Path) -> None:
    said = refused("simulate", "--facts", -1, "--fact-strength", 2, "--out", tmp_path / "s.zarr")
    assert said.startswith("Errors:\n  - fact_strength is 2.0; expected a share in [0, 1].")
    assert "  - facts is -1; expected" in said
    assert refused("simulate", "--tier", "thick", "--out", tmp_path / "s.zarr") == (
        "Error: tier is 'thick'; expected panel or dense. At --tier. Correct it."
    )
