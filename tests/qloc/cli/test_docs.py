"""``qloc docs``: the pages, and one of them."""

from __future__ import annotations

from commands import done, refused

from qloc.workflows.documentation import pages


def test_pages_are_listed_and_read() -> None:
    lines = done("docs").splitlines()
    assert [line.split()[2] for line in lines] == list(pages())
    assert lines[-2].endswith("   Statistics: what each test does, and how well it holds")
    assert done("docs", "store") == pages()["store"]
    assert done("docs", "store.md#repair").startswith("## Repair\n")
    assert refused("docs", "stores").startswith("Error: page is 'stores'; expected one of ")
