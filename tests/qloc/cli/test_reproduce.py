"""``qloc reproduce``, as users type it."""

from pathlib import Path

import yaml
from commands import done, refused


def test_tables_are_printed_and_kept(planted: Path, tmp_path: Path) -> None:
    page = done("reproduce", "chen", planted)
    assert "to keep them, for a report" in page.splitlines()[-1]
    out = tmp_path / "chen"
    page = done("reproduce", "chen", planted, "--out", out)
    assert page.endswith(f"\nResults: {out}\nNext:\n  qloc report {out}\n")
    assert (out / "study.json").exists()


def test_the_plan_that_extracts_as_published_is_yaml() -> None:
    plan = yaml.safe_load(done("reproduce", "chen", "--print-plan"))
    assert plan["quadrature"] == "right"


def test_without_a_store_it_says_what_to_give() -> None:
    assert refused("reproduce", "chen") == (
        "Error: stores is []; expected one store at least. At qloc reproduce. Give one, or --print-plan for the plan "
        "that makes it."
    )
