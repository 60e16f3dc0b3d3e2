"""``qloc show``, as users type it."""

from __future__ import annotations

from pathlib import Path

from commands import done, refused


def test_show_gives_a_page(stores: tuple[Path, Path]) -> None:
    page = done("show", stores[1], "F00003")
    assert page.splitlines()[0].endswith("(F00003)")
    for head in ("Queries", "Knowledge neurons (ig, threshold 0.2)", "Scores over known queries"):
        assert f"\n{head}\n" in page
    assert "Interventions" not in page
    assert max(map(len, page.splitlines())) <= 100
    several = done("show", stores[1], "F0001")
    assert several.startswith("10 facts with 'F0001' in id or subject:\n")


def test_show_refuses_what_is_not_there(stores: tuple[Path, Path]) -> None:
    said = refused("show", stores[1], "nobody at all")
    assert said.startswith("Error: fact is 'nobody at all'; expected an id, a subject, or a part of one.")
