"""``qloc cite``: everything, or what a store used."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import done, refused

from qloc.references import BIBLIOGRAPHY, SOFTWARE, cited


def test_cite_lists_what_was_used(planted: Path, tmp_path: Path) -> None:
    assert done("cite").splitlines() == [reference.line() for reference in BIBLIOGRAPHY.values()]
    assert done("cite", planted).splitlines() == [*cited("sundararajan2017", "dai2022", "chen2025")]
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


def test_cite_writes_bibtex(planted: Path) -> None:
    entries = done("cite", "--bibtex", planted).split("\n\n")
    assert entries[0].startswith("@software{qloc,\n  author = {{qloc contributors}},")
    keys = [entry.partition("{")[2].partition(",")[0] for entry in entries[1:]]
    assert keys == sorted({*SOFTWARE, "sundararajan2017", "dai2022", "chen2025"})
    assert all(entry.startswith("@misc{") and entry.rstrip().endswith("\n}") for entry in entries[1:])
    assert done("cite", "--bibtex").count("@misc{") == len(BIBLIOGRAPHY)
