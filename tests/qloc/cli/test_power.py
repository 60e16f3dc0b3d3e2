"""``qloc power``, as users type it."""

from __future__ import annotations

from commands import done, refused


def test_power_is_a_table() -> None:
    given = ("--facts", 12, "--relations", 3, "--templates", 3, "--simulations", 1)
    said = done("power", *given, "--hypotheses", "H1a, H5a", "--tests", 2)
    lines = said.splitlines()
    assert lines[0].split() == [
        "hypothesis",
        "planted",
        "power",
        "95%",
        "least",
        "p",
        "detectable",
        *"of interest".split(),
    ]
    assert [line.split()[0] for line in lines[1:3]] == ["H1a", "H5a"]
    assert "hypothesis is 'H4'; expected one of H1a" in refused("power", "--hypotheses", "H4")
